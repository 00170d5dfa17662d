//! Draws faults of a network by swarm: a random subset of the kinds with random weights, so that rare combinations come
//! up as often as common ones.

use std::collections::BTreeSet;

use dps_core::rng::Rng;
use serde::{Deserialize, Serialize};

use super::fault::{NetFault, NetFaultKind, NetStrike};
use crate::draws::index;

/// How much goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intensity {
    /// One to three faults.
    Rare,
    /// Four to twelve.
    Medium,
    /// Twelve to thirty.
    Storm,
}

/// Most nodes of a swizzle: more would only make its steps shorter.
const SWIZZLE_NODES_MAX: usize = 16;

/// Draws what goes wrong among `nodes` nodes, numbered from 0, within `span_ns` nanoseconds, in the order of
/// beginnings. Every fault ends within the span. Of less than two nodes nothing is drawn, nor in a span without time.
pub fn draw_net_faults(rng: &mut Rng, nodes: u32, span_ns: u64, intensity: Intensity) -> Vec<NetStrike> {
    if nodes < 2 || span_ns == 0 {
        return Vec::new();
    }
    let weights = draw_weights(rng);
    let count = match intensity {
        Intensity::Rare => rng.between(1, 3),
        Intensity::Medium => rng.between(4, 12),
        Intensity::Storm => rng.between(12, 30),
    };
    let mut strikes: Vec<NetStrike> = (0..count)
        .map(|_| {
            let kind = pick_weighted(rng, &weights);
            let at_ns = rng.below(span_ns);
            let duration_ns = draw_duration(rng, span_ns).min(span_ns - at_ns);
            NetStrike { at_ns, duration_ns, fault: draw_fault(rng, kind, nodes, duration_ns) }
        })
        .collect();
    strikes.sort_by_key(|strike| strike.at_ns);
    strikes
}

/// Chooses how many kinds first, so that few are as likely as many.
fn draw_weights(rng: &mut Rng) -> Vec<(NetFaultKind, u64)> {
    let mut kinds = NetFaultKind::ALL.to_vec();
    shuffle(rng, &mut kinds);
    kinds.truncate(1 + index(rng, kinds.len()));
    kinds.into_iter().map(|kind| (kind, rng.between(1, 100))).collect()
}

fn pick_weighted(rng: &mut Rng, weights: &[(NetFaultKind, u64)]) -> NetFaultKind {
    let mut left = rng.below(weights.iter().map(|(_, weight)| weight).sum());
    for (kind, weight) in weights {
        if left < *weight {
            return *kind;
        }
        left -= weight;
    }
    unreachable!("a draw below the sum of all weights falls on one of them")
}

/// A share of the span, short ones as likely as long ones: from a 256th to all of it.
fn draw_duration(rng: &mut Rng, span_ns: u64) -> u64 {
    let longest_ns = (span_ns >> rng.below(8)).max(1);
    rng.between(longest_ns.div_ceil(2), longest_ns)
}

fn draw_fault(rng: &mut Rng, kind: NetFaultKind, nodes: u32, duration_ns: u64) -> NetFault {
    let (one, other) = draw_pair(rng, nodes);
    match kind {
        NetFaultKind::Partition => {
            let (left, right) = draw_sides(rng, nodes);
            NetFault::Partition { left, right }
        }
        NetFaultKind::PartitionOneWay => {
            let (from, to) = draw_sides(rng, nodes);
            NetFault::PartitionOneWay { from, to }
        }
        NetFaultKind::PartitionPair => NetFault::PartitionPair { a: one, b: other },
        NetFaultKind::Isolate => NetFault::Isolate { node: one },
        NetFaultKind::ClogLink => NetFault::ClogLink { from: one, to: other },
        NetFaultKind::ClogNode => NetFault::ClogNode { node: one },
        NetFaultKind::SwizzleClog => {
            let mut clogged: Vec<u32> = (0..nodes).collect();
            shuffle(rng, &mut clogged);
            let most = clogged.len().min(SWIZZLE_NODES_MAX);
            clogged.truncate(2 + index(rng, most - 1));
            let mut released = clogged.clone();
            shuffle(rng, &mut released);
            NetFault::SwizzleClog { clogged, released }
        }
        NetFaultKind::Flap => {
            let longest_ns = (duration_ns / 4).max(1);
            NetFault::Flap { a: one, b: other, down_ns: rng.between(1, longest_ns), up_ns: rng.between(1, longest_ns) }
        }
        NetFaultKind::LossBurst => NetFault::LossBurst { permille: draw_permille(rng) },
        NetFaultKind::DuplicateBurst => NetFault::DuplicateBurst { permille: draw_permille(rng) },
        NetFaultKind::CorruptBurst => NetFault::CorruptBurst { permille: draw_permille(rng) },
        NetFaultKind::GreyLink => NetFault::GreyLink { from: one, to: other, factor: rng.between(2, 100) },
        // From what a modem has to what a wire has.
        NetFaultKind::BandwidthCap => NetFault::BandwidthCap { node: one, bytes_per_s: 1 << rng.between(14, 26) },
    }
}

/// A burst of a few in a hundred up to nearly all.
fn draw_permille(rng: &mut Rng) -> u16 {
    let most = if rng.chance(1, 2) { 200 } else { 900 };
    u16::try_from(rng.between(20, most)).expect("below a thousand")
}

fn draw_pair(rng: &mut Rng, nodes: u32) -> (u32, u32) {
    let one = draw_node(rng, nodes);
    let other = draw_node(rng, nodes - 1);
    (one, if other < one { other } else { other + 1 })
}

fn draw_node(rng: &mut Rng, nodes: u32) -> u32 {
    u32::try_from(rng.below(u64::from(nodes))).expect("below a number of nodes")
}

/// Two sides with at least one node each; in one of four draws some nodes are on neither.
fn draw_sides(rng: &mut Rng, nodes: u32) -> (BTreeSet<u32>, BTreeSet<u32>) {
    let mut order: Vec<u32> = (0..nodes).collect();
    shuffle(rng, &mut order);
    let cut = 1 + index(rng, order.len() - 1);
    let mut right = order.split_off(cut);
    if rng.chance(1, 4) {
        right.truncate(1 + index(rng, right.len()));
    }
    (order.into_iter().collect(), right.into_iter().collect())
}

fn shuffle<T>(rng: &mut Rng, all: &mut [T]) {
    for last in (1..all.len()).rev() {
        all.swap(last, index(rng, last + 1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dps_core::rng::Seed;

    const SPAN_NS: u64 = 1_000_000_000;

    fn drawn(number: u64, nodes: u32, intensity: Intensity) -> Vec<NetStrike> {
        draw_net_faults(&mut Seed::new([5; 32]).split("faults", number).rng(), nodes, SPAN_NS, intensity)
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Text {
        strike: Vec<NetStrike>,
    }

    #[test]
    fn what_is_drawn_survives_its_text() {
        for number in 0..100 {
            let text = Text { strike: drawn(number, 7, Intensity::Storm) };
            assert_eq!(toml::from_str::<Text>(&toml::to_string(&text).unwrap()).unwrap(), text);
            assert_eq!(serde_json::from_str::<Text>(&serde_json::to_string(&text).unwrap()).unwrap(), text);
        }
        assert!(
            toml::from_str::<Text>("[[strike]]\nat_ns = 1\nduration_ns = 1\nfault = { kind = \"storm\" }").is_err()
        );
    }

    #[test]
    fn faults_are_in_order_and_end_within_the_span() {
        for number in 0..300 {
            let intensity =
                [Intensity::Rare, Intensity::Medium, Intensity::Storm][usize::try_from(number % 3).unwrap()];
            let strikes = drawn(number, 2 + u32::try_from(number % 9).unwrap(), intensity);
            let range = [1..=3, 4..=12, 12..=30][usize::try_from(number % 3).unwrap()].clone();
            assert!(range.contains(&strikes.len()), "{intensity:?}: {}", strikes.len());
            assert!(strikes.is_sorted_by_key(|strike| strike.at_ns));
            assert!(strikes.iter().all(|strike| strike.duration_ns > 0 && strike.end_ns() <= SPAN_NS));
        }
    }

    #[test]
    fn every_kind_is_drawn_among_few_and_among_many_others() {
        let kinds = |number| drawn(number, 5, Intensity::Storm).iter().map(|strike| strike.fault.kind()).collect();
        let plans: Vec<BTreeSet<NetFaultKind>> = (0..400).map(kinds).collect();
        for kind in NetFaultKind::ALL {
            let with = plans.iter().filter(|plan| plan.contains(&kind));
            let (few, many): (Vec<_>, Vec<_>) = with.partition(|plan| plan.len() <= 4);
            assert!(!few.is_empty() && !many.is_empty(), "{}: {} and {}", kind.name(), few.len(), many.len());
        }
        assert!(plans.iter().any(|plan| plan.len() == 1) && plans.iter().any(|plan| plan.len() > 9));
    }

    #[test]
    fn sides_and_pairs_are_of_different_nodes_that_there_are() {
        for number in 0..300 {
            let nodes = 2 + u32::try_from(number % 4).unwrap();
            for strike in drawn(number, nodes, Intensity::Storm) {
                match strike.fault {
                    NetFault::Partition { left, right } | NetFault::PartitionOneWay { from: left, to: right } => {
                        assert!(!left.is_empty() && !right.is_empty() && left.is_disjoint(&right));
                        assert!(left.iter().chain(&right).all(|node| *node < nodes));
                    }
                    NetFault::PartitionPair { a, b } | NetFault::Flap { a, b, .. } => {
                        assert!(a != b && a < nodes && b < nodes);
                    }
                    NetFault::ClogLink { from, to } | NetFault::GreyLink { from, to, .. } => {
                        assert!(from != to && from < nodes && to < nodes);
                    }
                    NetFault::SwizzleClog { clogged, released } => {
                        let set: BTreeSet<u32> = clogged.iter().copied().collect();
                        assert!(set.len() == clogged.len() && set.len() >= 2 && set.iter().all(|node| *node < nodes));
                        assert_eq!(set, released.iter().copied().collect());
                    }
                    NetFault::Isolate { node } | NetFault::ClogNode { node } | NetFault::BandwidthCap { node, .. } => {
                        assert!(node < nodes);
                    }
                    NetFault::LossBurst { permille }
                    | NetFault::DuplicateBurst { permille }
                    | NetFault::CorruptBurst { permille } => assert!((20..=900).contains(&permille)),
                }
            }
        }
    }

    #[test]
    fn nothing_is_drawn_where_nothing_can_go_wrong() {
        let mut rng = Seed::new([6; 32]).rng();
        assert!(draw_net_faults(&mut rng, 1, SPAN_NS, Intensity::Storm).is_empty());
        assert!(draw_net_faults(&mut rng, 5, 0, Intensity::Storm).is_empty());
        assert_eq!(draw_net_faults(&mut rng, 2, 1, Intensity::Storm).iter().map(NetStrike::end_ns).max(), Some(1));
    }
}
