//! Fates, faults and conservation.

use std::collections::{BTreeMap, BTreeSet};

use dps_core::rng::Rng;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;

const MILLISECOND: u64 = 1_000_000;

/// Every message takes a millisecond.
const STEADY: Latency = Latency { min_ns: MILLISECOND, median_ns: MILLISECOND, tail_ns: MILLISECOND };

fn seed(number: u64) -> Seed {
    Seed::new([21; 32]).split("test", number)
}

fn steady() -> Network {
    Network::new(seed(0), Shape { latency: STEADY, ..Shape::default() })
}

/// A network in which chance does everything that it can.
fn rough() -> Shape {
    Shape { loss_permille: 150, duplicate_permille: 150, corrupt_permille: 150, ..Shape::default() }
}

fn set<const N: usize>(nodes: [u32; N]) -> BTreeSet<u32> {
    nodes.into()
}

/// A network with one fault from 10 to 20 ms.
fn struck(fault: NetFault) -> Network {
    let mut network = steady();
    network.strike(10 * MILLISECOND, fault, 10 * MILLISECOND);
    network
}

/// Whether a message that is sent at this time, and judged at once, would come through, without any trace of asking.
fn passes(network: &Network, at_ns: u64, from: u32, to: u32) -> bool {
    let mut network = network.clone();
    let sent = !network.send(at_ns, from, to, 100).deliveries().is_empty();
    let arrived = network.arrives(at_ns, from, to) == Arrival::Deliver;
    assert_eq!(sent, arrived, "a cut is the same when a message is sent and when it arrives");
    sent
}

/// The links between nodes 0 to 3 over which nothing comes through at this time.
fn cut(network: &Network, at_ns: u64) -> Vec<(u32, u32)> {
    let links = (0..4).flat_map(|from| (0..4).map(move |to| (from, to))).filter(|(from, to)| from != to);
    links.filter(|(from, to)| !passes(network, at_ns, *from, *to)).collect()
}

/// Demands that a fault cuts exactly these links while it lasts, and nothing before or after.
fn assert_cuts(fault: NetFault, links: &[(u32, u32)]) {
    let network = struck(fault);
    assert_eq!(cut(&network, 10 * MILLISECOND - 1), []);
    assert_eq!(cut(&network, 10 * MILLISECOND), links);
    assert_eq!(cut(&network, 20 * MILLISECOND - 1), links);
    assert_eq!(cut(&network, 20 * MILLISECOND), []);
    let mut healed = network;
    healed.heal(15 * MILLISECOND);
    assert_eq!(cut(&healed, 15 * MILLISECOND), []);
}

/// Random sends of some nodes: time, sender, receiver, bytes.
fn traffic(rng: &mut Rng, nodes: u64) -> Vec<(u64, u32, u32, u64)> {
    let mut at_ns = 0;
    let node = |rng: &mut Rng| u32::try_from(rng.below(nodes)).unwrap();
    (0..400)
        .map(|_| {
            at_ns += rng.below(MILLISECOND);
            (at_ns, node(rng), node(rng), rng.below(5_000))
        })
        .collect()
}

#[test]
fn the_same_seed_gives_the_same_fates_and_another_one_others() {
    let traffic = traffic(&mut seed(1).rng(), 5);
    let fates = |number| {
        let mut network = Network::new(seed(number), rough());
        traffic.iter().map(|(at, from, to, bytes)| network.send(*at, *from, *to, *bytes)).collect::<Vec<Fate>>()
    };
    assert_eq!(fates(1), fates(1));
    assert_ne!(fates(1), fates(2));
}

#[test]
fn without_the_traffic_of_a_node_nobody_elses_luck_is_another() {
    let traffic = traffic(&mut seed(2).rng(), 5);
    // Without a limit, messages to the node may go as well; with one they take their time in the pipes of others.
    for (bandwidth, spare) in [(0, false), (10_000_000, true)] {
        let shape = Shape { bandwidth_bytes_per_s: bandwidth, queue_bytes: 20_000, ..rough() };
        let (mut whole, mut part) = (Network::new(seed(3), shape), Network::new(seed(3), shape));
        let mut compared = 0;
        for (at, from, to, bytes) in &traffic {
            let fate = whole.send(*at, *from, *to, *bytes);
            if *from == 2 || *to == 2 && !spare {
                continue;
            }
            assert_eq!(part.send(*at, *from, *to, *bytes), fate);
            compared += 1;
        }
        assert!((200..390).contains(&compared));
    }
}

#[test]
fn each_link_has_a_luck_of_its_own_in_each_direction() {
    let mut network = Network::new(seed(9), rough());
    let mut fates = |from, to| (0..20).map(|_| network.send(0, from, to, 10)).collect::<Vec<Fate>>();
    let links = [(0, 1), (1, 0), (0, 2), (2, 1), (0, 1)].map(|(from, to)| fates(from, to));
    for (index, link) in links.iter().enumerate() {
        assert!(!links[..index].contains(link), "{index}");
    }
}

#[test]
fn a_partition_cuts_both_ways_between_its_sides_alone() {
    let fault = NetFault::Partition { left: set([0, 1]), right: set([2]) };
    assert_cuts(fault, &[(0, 2), (1, 2), (2, 0), (2, 1)]);
}

#[test]
fn a_one_way_partition_leaves_the_way_back_open() {
    assert_cuts(NetFault::PartitionOneWay { from: set([0, 1]), to: set([2]) }, &[(0, 2), (1, 2)]);
}

#[test]
fn a_partial_partition_is_of_two_nodes() {
    assert_cuts(NetFault::PartitionPair { a: 3, b: 1 }, &[(1, 3), (3, 1)]);
}

#[test]
fn an_isolated_node_talks_to_nobody() {
    assert_cuts(NetFault::Isolate { node: 1 }, &[(0, 1), (1, 0), (1, 2), (1, 3), (2, 1), (3, 1)]);
}

#[test]
fn a_flapping_link_goes_on_and_off_from_its_beginning() {
    let flap = NetFault::Flap { a: 0, b: 3, down_ns: 2 * MILLISECOND, up_ns: MILLISECOND };
    let network = struck(flap);
    let down: Vec<u64> = (8..23).filter(|at| !cut(&network, at * MILLISECOND).is_empty()).collect();
    assert_eq!(down, [10, 11, 13, 14, 16, 17, 19]);
    assert_eq!(cut(&network, 13 * MILLISECOND), [(0, 3), (3, 0)]);
    // A period of nothing is no harm.
    let network = struck(NetFault::Flap { a: 0, b: 3, down_ns: 0, up_ns: 0 });
    assert_eq!(cut(&network, 13 * MILLISECOND), []);
}

#[test]
fn a_partition_that_comes_meanwhile_drops_what_is_on_its_way() {
    let mut network = struck(NetFault::Isolate { node: 1 });
    let early = network.send(10 * MILLISECOND - 1, 0, 1, 100).deliveries()[0].at_ns;
    assert_eq!(network.arrives(early, 0, 1), Arrival::Drop);
    // What is sent into a partition is gone, though it is over before the message would be there.
    assert_eq!(network.send(20 * MILLISECOND - 1, 0, 1, 100), Fate::Dropped(DropReason::Cut));
    assert_eq!(network.counts().cut, 2);
}

#[test]
fn a_clogged_link_holds_one_direction_until_its_end() {
    let mut network = struck(NetFault::ClogLink { from: 0, to: 1 });
    let early = network.send(10 * MILLISECOND - 1, 0, 1, 100).deliveries()[0].at_ns;
    assert_eq!(network.arrives(early, 0, 1), Arrival::HoldUntil(20 * MILLISECOND));
    assert_eq!(network.arrives(early, 1, 0), Arrival::Deliver);
    assert!(!network.send(12 * MILLISECOND, 0, 1, 100).deliveries().is_empty());
    assert_eq!(network.arrives(20 * MILLISECOND, 0, 1), Arrival::Deliver);
}

#[test]
fn a_clogged_node_holds_what_comes_and_what_goes() {
    let mut network = struck(NetFault::ClogNode { node: 1 });
    assert_eq!(network.arrives(9 * MILLISECOND, 0, 1), Arrival::Deliver);
    let held = Arrival::HoldUntil(20 * MILLISECOND);
    let judged = [(0, 1), (1, 0), (0, 2)].map(|(from, to)| network.arrives(15 * MILLISECOND, from, to));
    assert_eq!(judged, [held, held, Arrival::Deliver]);
    let mut healed = network.clone();
    healed.heal(16 * MILLISECOND);
    assert_eq!(healed.arrives(16 * MILLISECOND, 0, 1), Arrival::Deliver);
    assert_eq!(network.arrives(20 * MILLISECOND, 0, 1), Arrival::Deliver);
}

#[test]
fn a_swizzle_clogs_in_one_order_and_releases_in_the_other() {
    let network = struck(NetFault::SwizzleClog { clogged: vec![4, 2, 7], released: vec![7, 4, 2] });
    let judge = |at_ns, node| network.clone().arrives(at_ns, node, 9);
    let held = |at_ns: u64| [2, 4, 7].into_iter().filter(|node| judge(at_ns, *node) != Arrival::Deliver).collect();
    let step = 10 * MILLISECOND / 6;
    let (begin, end) = (10 * MILLISECOND, 20 * MILLISECOND);
    let turns: [(u64, Vec<u32>); 9] = [
        (begin - 1, vec![]),
        (begin, vec![4]),
        (begin + step, vec![2, 4]),
        (begin + 2 * step, vec![2, 4, 7]),
        (end - 2 * step - 1, vec![2, 4, 7]),
        (end - 2 * step, vec![2, 4]),
        (end - step, vec![2]),
        (end - 1, vec![2]),
        (end, vec![]),
    ];
    for (at_ns, expected) in turns {
        let found: Vec<u32> = held(at_ns);
        assert_eq!(found, expected, "at {at_ns}");
    }
    assert_eq!(judge(15 * MILLISECOND, 7), Arrival::HoldUntil(end - 2 * step));
    // Who is not in the second order is released at the end; who is in it alone is never clogged.
    let network = struck(NetFault::SwizzleClog { clogged: vec![4, 2], released: vec![8, 4] });
    let judged = [2, 4, 8].map(|node| network.clone().arrives(19 * MILLISECOND, node, 9));
    assert_eq!(judged, [Arrival::HoldUntil(end), Arrival::HoldUntil(end), Arrival::Deliver]);
}

/// How many of a thousand messages are lost, come twice, and have a flipped bit in their first copy.
fn chances(mut network: Network, at_ns: u64) -> [usize; 3] {
    let fates: Vec<Fate> = (0..1_000).map(|_| network.send(at_ns, 0, 1, 10)).collect();
    let twice = fates.iter().filter(|fate| fate.deliveries().len() == 2);
    let corrupt = fates.iter().filter(|fate| fate.deliveries().first().is_some_and(|first| first.corrupt.is_some()));
    [fates.iter().filter(|fate| fate.deliveries().is_empty()).count(), twice.count(), corrupt.count()]
}

#[test]
fn a_burst_lasts_as_long_as_it_says() {
    let bursts: [fn(u16) -> NetFault; 3] = [
        |permille| NetFault::LossBurst { permille },
        |permille| NetFault::DuplicateBurst { permille },
        |permille| NetFault::CorruptBurst { permille },
    ];
    for (index, burst) in bursts.into_iter().enumerate() {
        let only = |count| [0, 1, 2].map(|other| if other == index { count } else { 0 });
        let network = struck(burst(1_000));
        assert_eq!(chances(network.clone(), 10 * MILLISECOND), only(1_000));
        assert_eq!(chances(network.clone(), 20 * MILLISECOND - 1), only(1_000));
        assert_eq!(chances(network.clone(), 10 * MILLISECOND - 1), only(0));
        assert_eq!(chances(network, 20 * MILLISECOND), only(0));
        let some = chances(struck(burst(300)), 15 * MILLISECOND);
        assert!((250..350).contains(&some[index]), "{some:?}");
        assert_eq!(some, only(some[index]));
    }
}

#[test]
fn chances_of_the_network_and_of_bursts_add_up() {
    let shape = Shape { latency: STEADY, loss_permille: 100, ..Shape::default() };
    let mut network = Network::new(seed(4), shape);
    let before = chances(network.clone(), 0)[0];
    network.strike(0, NetFault::LossBurst { permille: 200 }, MILLISECOND);
    network.strike(0, NetFault::LossBurst { permille: 100 }, MILLISECOND);
    let during = chances(network, 0)[0];
    assert!((70..130).contains(&before) && (350..450).contains(&during), "{before}, then {during}");
}

#[test]
fn a_grey_link_is_so_many_times_slower_in_one_direction() {
    let mut calm = Network::new(seed(5), Shape::default());
    let mut grey = calm.clone();
    grey.strike(0, NetFault::GreyLink { from: 0, to: 1, factor: 7 }, MILLISECOND);
    for (at_ns, from, to, factor) in [(0, 0, 1, 7), (0, 1, 0, 1), (0, 0, 2, 1), (MILLISECOND, 0, 1, 1)] {
        let due = |network: &mut Network| network.send(at_ns, from, to, 100).deliveries()[0].at_ns - at_ns;
        assert_eq!(due(&mut grey), factor * due(&mut calm), "{from} to {to} at {at_ns}");
    }
}

#[test]
fn bandwidth_serialises_what_one_node_sends() {
    let shape = Shape { latency: STEADY, bandwidth_bytes_per_s: 1_000_000, queue_bytes: 2_500, ..Shape::default() };
    let mut network = Network::new(seed(6), shape);
    let mut due = |at_ns, from, to, bytes| network.send(at_ns, from, to, bytes).deliveries().first().map(|d| d.at_ns);
    // A thousand bytes take a millisecond, and every message another one; to whom they go does not matter.
    assert_eq!(due(0, 0, 1, 1_000), Some(2 * MILLISECOND));
    assert_eq!(due(0, 0, 2, 1_000), Some(3 * MILLISECOND));
    assert_eq!(due(0, 0, 1, 1_000), None);
    assert_eq!(due(0, 1, 0, 1_000), Some(2 * MILLISECOND));
    assert_eq!(due(MILLISECOND, 0, 1, 1_000), Some(4 * MILLISECOND));
    assert_eq!(network.counts().queue_full, 1);
}

#[test]
fn what_is_lost_on_its_way_has_taken_its_time_at_the_sender() {
    let shape = Shape { latency: STEADY, bandwidth_bytes_per_s: 1_000_000, ..Shape::default() };
    let mut network = Network::new(seed(6), shape);
    network.strike(0, NetFault::PartitionPair { a: 0, b: 1 }, MILLISECOND);
    assert_eq!(network.send(0, 0, 1, 1_000), Fate::Dropped(DropReason::Cut));
    assert_eq!(network.send(0, 0, 2, 1_000).deliveries()[0].at_ns, 3 * MILLISECOND);
}

#[test]
fn a_cap_slows_one_sender_and_leaves_nothing_behind() {
    let mut network = steady();
    network.strike(0, NetFault::BandwidthCap { node: 0, bytes_per_s: 10_000 }, 10 * MILLISECOND);
    network.strike(0, NetFault::BandwidthCap { node: 0, bytes_per_s: 1_000 }, 5 * MILLISECOND);
    let mut due = |at_ns, from| network.send(at_ns, from, 2, 10).deliveries()[0].at_ns - at_ns;
    assert_eq!([due(0, 0), due(0, 1)], [11 * MILLISECOND, MILLISECOND]);
    // Five bytes wait, which are done in half a millisecond at the rate of the other cap.
    assert_eq!(due(5 * MILLISECOND, 0), MILLISECOND / 2 + 2 * MILLISECOND);
    assert_eq!(due(10 * MILLISECOND, 0), MILLISECOND);
}

#[test]
fn latencies_lie_where_their_shape_says() {
    let shape = Shape { latency: Latency { min_ns: 200, median_ns: 1_000, tail_ns: 50_000 }, ..Shape::default() };
    let mut network = Network::new(seed(7), shape);
    let due: Vec<u64> = (0..20_000).map(|_| network.send(0, 0, 1, 10).deliveries()[0].at_ns).collect();
    assert!(due.iter().all(|at| (200..=50_000).contains(at)));
    let within = |limit| due.iter().filter(|at| **at <= limit).count();
    assert!((9_700..10_300).contains(&within(1_000)), "{} of 20000 are not above the median", within(1_000));
    // A quarter is within 49,646ths of 65,536 of the median's way; the slowest of 64 take more than a third of the
    // tail.
    let (quarter, slow) = (within(200 + 800 * 33_385 / 65_536), 20_000 - within(1_000 + 49_000 * 23_795 / 65_536));
    assert!((4_700..5_300).contains(&quarter), "{quarter}");
    assert!((220..410).contains(&slow), "{slow}");
    let overtaken = due.windows(2).filter(|pair| pair[1] < pair[0]).count();
    assert!(overtaken > 8_000, "{overtaken}");
}

#[test]
#[should_panic(expected = "time goes back")]
fn time_that_goes_back_is_a_bug_of_the_caller() {
    let mut network = steady();
    network.send(5, 0, 1, 1);
    network.arrives(4, 0, 1);
}

/// A caller of the network: what is on its way, what is held, and what came of it.
struct Bed {
    network: Network,
    at_ns: u64,
    sequence: u64,
    flying: BTreeMap<(u64, u64), (u32, u32)>,
    held: Held<(u64, u32, u32)>,
    /// Copies that were delivered, with the time.
    delivered: Vec<(u64, u64)>,
    dropped: BTreeMap<DropReason, u64>,
}

impl Bed {
    fn new(number: u64, shape: Shape) -> Self {
        Self {
            network: Network::new(seed(number), shape),
            at_ns: 0,
            sequence: 0,
            flying: BTreeMap::new(),
            held: Held::default(),
            delivered: Vec::new(),
            dropped: BTreeMap::new(),
        }
    }

    fn send(&mut self, from: u32, to: u32, bytes: u64) {
        let fate = self.network.send(self.at_ns, from, to, bytes);
        if let Fate::Dropped(reason) = fate {
            *self.dropped.entry(reason).or_default() += 1;
        }
        for delivery in fate.deliveries() {
            assert!(delivery.at_ns >= self.at_ns);
            self.flying.insert((delivery.at_ns, self.sequence), (from, to));
            self.sequence += 1;
        }
    }

    fn judge(&mut self, copy: u64, from: u32, to: u32) {
        match self.network.arrives(self.at_ns, from, to) {
            Arrival::Deliver => self.delivered.push((self.at_ns, copy)),
            Arrival::Drop => *self.dropped.entry(DropReason::Cut).or_default() += 1,
            Arrival::HoldUntil(until_ns) => {
                assert!(until_ns > self.at_ns, "what is held comes free later");
                self.held.hold(until_ns, (copy, from, to));
            }
        }
    }

    /// Goes on to this time, or as far as anything happens.
    fn run(&mut self, until_ns: u64) {
        loop {
            let flying = self.flying.first_key_value().map(|((at_ns, _), _)| *at_ns);
            let Some(next_ns) = [flying, self.held.due_ns()].into_iter().flatten().min() else { break };
            if next_ns > until_ns {
                break;
            }
            self.at_ns = next_ns;
            if let Some((copy, from, to)) = self.held.release(self.at_ns) {
                self.judge(copy, from, to);
            } else if let Some(((_, copy), (from, to))) = self.flying.pop_first() {
                self.judge(copy, from, to);
            }
        }
        if until_ns < u64::MAX {
            self.at_ns = until_ns;
        }
    }

    fn heal(&mut self) {
        self.network.heal(self.at_ns);
        while let Some((copy, from, to)) = self.held.release_any() {
            let others = self.held.len();
            self.judge(copy, from, to);
            assert_eq!(self.held.len(), others, "nothing is held in a network that is healed");
        }
    }

    /// Conservation, by the network's counters and by what came here.
    fn check(&self) {
        let counts = self.network.counts();
        counts.check((self.flying.len() + self.held.len()) as u64).unwrap();
        assert_eq!(counts.delivered, self.delivered.len() as u64);
        let told = |reason| self.dropped.get(&reason).copied().unwrap_or(0);
        assert_eq!(counts.lost, told(DropReason::Loss));
        assert_eq!(counts.cut, told(DropReason::Cut));
        assert_eq!(counts.queue_full, told(DropReason::QueueFull));
        assert_eq!(counts.dropped(), self.dropped.values().sum::<u64>());
    }
}

#[test]
fn held_messages_come_free_in_the_order_of_their_ends_and_none_is_lost() {
    let mut bed = Bed::new(8, Shape { latency: STEADY, ..Shape::default() });
    let clogs = [(0, 9), (1, 4), (2, 6), (3, 4)];
    for (node, end) in clogs {
        bed.network.strike(0, NetFault::ClogNode { node }, end * MILLISECOND);
    }
    // A second clog holds again what the first has held; a partition at its end takes what it held.
    bed.network.strike(5 * MILLISECOND, NetFault::ClogLink { from: 2, to: 9 }, 5 * MILLISECOND);
    bed.network.strike(0, NetFault::ClogNode { node: 5 }, 7 * MILLISECOND);
    bed.network.strike(6 * MILLISECOND, NetFault::Isolate { node: 5 }, 2 * MILLISECOND);
    for node in [0, 1, 2, 3, 5] {
        bed.send(node, 9, 10);
    }
    bed.run(3 * MILLISECOND);
    assert_eq!((bed.held.len(), bed.delivered.len()), (5, 0));
    bed.run(u64::MAX);
    let at: Vec<(u64, u64)> = bed.delivered.iter().map(|(at, copy)| (at / MILLISECOND, *copy)).collect();
    assert_eq!(at, [(4, 1), (4, 3), (9, 0), (10, 2)]);
    assert_eq!(bed.network.counts().cut, 1);
    bed.check();
}

#[test]
fn counts_that_do_not_add_up_are_told() {
    let mut network = steady();
    network.send(0, 0, 1, 10);
    assert!(network.counts().check(1).is_ok());
    assert!(network.counts().check(0).unwrap_err().contains("1 messages"));
    assert!(network.counts().check(2).is_err());
    network.arrives(MILLISECOND, 0, 1);
    assert!(network.counts().check(0).is_ok());
}

#[derive(Clone, Debug)]
enum Step {
    Send { from: u32, to: u32, bytes: u64 },
    Run { by_ns: u64 },
    Strikes { number: u64, intensity: Intensity },
    Heal,
}

fn step() -> impl Strategy<Value = Step> {
    let intensity = prop_oneof![Just(Intensity::Rare), Just(Intensity::Medium), Just(Intensity::Storm)];
    prop_oneof![
        12 => (0..5_u32, 0..5_u32, 0..20_000_u64).prop_map(|(from, to, bytes)| Step::Send { from, to, bytes }),
        4 => (0..20 * MILLISECOND).prop_map(|by_ns| Step::Run { by_ns }),
        2 => (any::<u64>(), intensity).prop_map(|(number, intensity)| Step::Strikes { number, intensity }),
        1 => Just(Step::Heal),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        rng_seed: RngSeed::Fixed(0x6470_7302),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn nothing_gets_lost_but_by_a_reason(
        steps in proptest::collection::vec(step(), 1..120),
        number in any::<u64>(),
        bandwidth_bytes_per_s in prop_oneof![Just(0), 1..50_000_000_u64],
        queue_bytes in 0..100_000_u64,
    ) {
        let mut bed = Bed::new(number, Shape { bandwidth_bytes_per_s, queue_bytes, ..rough() });
        for step in steps {
            match step {
                Step::Send { from, to, bytes } => bed.send(from, to, bytes),
                Step::Run { by_ns } => bed.run(bed.at_ns + by_ns),
                Step::Strikes { number, intensity } => {
                    for strike in draw_net_faults(&mut seed(number).rng(), 5, 100 * MILLISECOND, intensity) {
                        bed.network.strike(bed.at_ns + strike.at_ns, strike.fault, strike.duration_ns);
                    }
                }
                Step::Heal => bed.heal(),
            }
            bed.check();
        }
        bed.heal();
        bed.run(u64::MAX);
        prop_assert!(bed.flying.is_empty() && bed.held.is_empty());
        bed.check();
    }
}
