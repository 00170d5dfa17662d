//! What goes between those who ask and the members.

use dps_core::id::NodeId;
use dps_core::raft;
use dps_core::raft::membership::Change;
use dps_core::replica::event::{Answer as Passed, Decision, Event, Refusal};

use super::client::{Mode, Ordered, Work, name_of};
use super::member::Member;
use super::setup::{host_of, node_id};
use super::world::{Answer, Item, World};
use crate::plan::WishKind;

/// How often the operator tries a change.
const ORDER_ATTEMPTS_MAX: u32 = 6;

impl<M: Member> World<M> {
    /// A client begins something, or tries again what it got no answer to.
    pub(super) fn client_goes_on(&mut self, client: u32, token: u64) {
        if self.desk.clients[client as usize].token != token {
            return;
        }
        if self.desk.clients[client as usize].op.is_some() {
            if self.desk.gives_up(client) {
                self.rows.add("operations given up");
                return self.think(client);
            }
            self.desk.try_another(client, None);
            return self.attempt(client);
        }
        if self.desk.begin(client, self.at).is_some() {
            self.attempt(client);
        }
    }

    fn attempt(&mut self, client: u32) {
        let target = self.desk.clients[client as usize].target;
        let time = self.hosts[target as usize].now(self.at).wall;
        let command = self.desk.command(client, time);
        let ticket = self.desk.ticket();
        let there = &mut self.desk.clients[client as usize];
        let session = there.session;
        let Some(op) = &mut there.op else { return };
        (op.ticket, op.attempts) = (ticket, op.attempts + 1);
        op.tickets.insert(ticket);
        if op.attempts > 1 {
            self.rows.add("operations repeated");
        }
        self.desk.owners.insert(ticket, client);
        let event = match command {
            Some(command) => {
                if let (Some(session), false) = (session, op.work == Work::Register) {
                    self.desk.serials.insert(ticket, (session, op.serial));
                }
                // Another host may pass it on, over a network that loses and repeats.
                let hosts = u64::from(self.setup.hosts());
                let through = there.rng.chance(1, 5).then(|| u32::try_from(there.rng.below(hosts)).expect("few hosts"));
                if let Some(through) = through.filter(|through| *through != target) {
                    self.rows.add("commands passed on");
                    op.direct = false;
                    if self.host(through).member.is_some() {
                        self.deliver(through, Event::Pass { to: node_id(target), ticket, command });
                    }
                    return self.wake_client(client, self.setup.patience_ns);
                }
                Event::Propose { ticket, volumes: Vec::new(), command }
            }
            None => {
                if let Work::Read { key } = op.work {
                    self.desk.reads.insert(ticket, key);
                }
                Event::Read { ticket }
            }
        };
        let delay_ns = there.rng.between(10_000, 500_000);
        self.schedule(self.at + delay_ns, Item::Ask { host: target, ticket, event });
        let patience_ns = self.setup.patience_ns;
        self.wake_client(client, patience_ns);
    }

    fn wake_client(&mut self, client: u32, delay_ns: u64) {
        let there = &mut self.desk.clients[client as usize];
        there.token += 1;
        let token = there.token;
        self.schedule(self.at + delay_ns, Item::Client { client, token });
    }

    fn think(&mut self, client: u32) {
        let delay_ns = if self.desk.mode == Mode::Script { 100_000 } else { self.desk.think(client) };
        self.wake_client(client, delay_ns);
    }

    /// Lets every client go on now.
    pub(super) fn wake_clients(&mut self) {
        for client in 0..self.setup.clients {
            if self.desk.clients[client as usize].op.is_none() {
                self.wake_client(client, 0);
            }
        }
    }

    /// A question reaches a host.
    pub(super) fn asked(&mut self, host: u32, ticket: u64, event: Event) {
        if self.host(host).member.is_none() {
            return self.tell(ticket, Answer::Unreachable);
        }
        if ticket > 0 {
            self.open.insert(ticket, host);
        }
        self.deliver(host, event);
    }

    /// A host went down: whoever waits for it hears of that, or of nothing.
    pub(super) fn hang_up(&mut self, host: u32) {
        let gone: Vec<u64> = self.open.extract_if(.., |_, at| *at == host).map(|(ticket, _)| ticket).collect();
        for ticket in gone {
            if self.desk.rng.chance(1, 2) {
                self.tell(ticket, Answer::Unreachable);
            } else if self.desk.orders.remove(&ticket).is_some() {
                self.rows.add("changes never answered");
            }
        }
    }

    fn tell(&mut self, ticket: u64, answer: Answer) {
        let delay_ns = self.desk.rng.between(10_000, 500_000);
        self.schedule(self.at + delay_ns, Item::Answer { ticket, answer });
    }

    /// A member answers.
    pub(super) fn answer(&mut self, host: u32, ticket: u64, answer: Answer) {
        if self.open.remove(&ticket) != Some(host) {
            let text = format!("host {host} answers question {ticket}, which is not open there: {answer:?}");
            self.findings.correctness("AO", self.at, text);
        }
        let lost = self.desk.rng.chance(self.setup.lost_answers_permille, 1_000);
        if lost && self.armed && !self.desk.orders.contains_key(&ticket) {
            self.rows.add("answers lost");
            return;
        }
        self.tell(ticket, answer);
    }

    pub(super) fn decided(&mut self, host: u32, ticket: u64, result: Result<Decision, Refusal>) {
        if self.astray && matches!(result, Err(Refusal::Group(raft::Refusal::Transferring))) {
            let text = format!("host {host} refuses a command since somebody shall lead who can't");
            self.findings.liveness("HEAL", self.at, text);
        }
        if let Ok(decision) = &result {
            let serial = self.desk.serials.get(&ticket).copied();
            self.oracle.decided(self.at, host, decision, serial, &mut self.findings);
        }
        self.answer(host, ticket, Answer::Decided(result.map(|decision| decision.outcome)));
    }

    /// A member answers what another host has passed on.
    pub(super) fn proposed(&mut self, ticket: u64, answer: Passed) {
        let result = match answer {
            Passed::Decided(outcome) => {
                if let Some(serial) = self.desk.serials.get(&ticket).copied() {
                    self.oracle.passed(self.at, serial, outcome, &mut self.findings);
                }
                Ok(outcome)
            }
            Passed::NotLeader(leader) => Err(Refusal::Group(raft::Refusal::NotLeader { leader })),
            Passed::Busy => Err(Refusal::Group(raft::Refusal::Busy)),
            Passed::TooLarge => Err(Refusal::Group(raft::Refusal::TooLarge)),
            Passed::Unknown => Err(Refusal::Group(raft::Refusal::Unconfirmed)),
        };
        self.hear(ticket, Answer::Decided(result));
    }

    pub(super) fn readable(&mut self, host: u32, ticket: u64, result: Result<u64, Refusal>) {
        let Some(key) = self.desk.reads.remove(&ticket) else {
            return self.answer(host, ticket, Answer::Unreachable);
        };
        let look = self.hosts[host as usize].member.as_ref().and_then(Member::look);
        let found = match (&result, look) {
            (Ok(index), Some(look)) => {
                if look.applied < *index {
                    let text = format!("host {host} lets read at {index} with {} applied", look.applied);
                    self.findings.correctness("LIN", self.at, text);
                }
                self.rows.add(if look.raft.is_leader() { "reads at leaders" } else { "reads at followers" });
                let entry = look.ledger.name(&name_of(key));
                entry.map(|entry| (self.desk.value_of(&entry.file), entry.version))
            }
            (Ok(_), None) | (Err(_), _) => None,
        };
        self.answer(host, ticket, Answer::Read(result.map(|_| found)));
    }

    /// Somebody hears of a question.
    pub(super) fn hear(&mut self, ticket: u64, answer: Answer) {
        if let Some(order) = self.desk.orders.remove(&ticket) {
            return self.order_answered(order, answer);
        }
        let Some(client) = self.desk.owners.remove(&ticket) else { return };
        let op = self.desk.clients[client as usize].op.as_ref();
        let Some(op) = op.filter(|op| op.tickets.contains(&ticket)) else { return };
        let is_last = op.ticket == ticket;
        match answer {
            Answer::Decided(Ok(outcome)) => {
                self.desk.decided(client, outcome, self.at);
                self.think(client);
            }
            Answer::Read(Ok(found)) => {
                self.desk.found(client, found, self.at);
                self.think(client);
            }
            Answer::Decided(Err(refusal)) | Answer::Read(Err(refusal)) if is_last => self.refused(client, refusal),
            Answer::Unreachable if is_last => {
                self.desk.try_another(client, None);
                self.wake_client(client, 1_000_000);
            }
            Answer::Decided(Err(_)) | Answer::Read(Err(_)) | Answer::Unreachable | Answer::Changed(_) => {}
        }
    }

    fn refused(&mut self, client: u32, refusal: Refusal) {
        // Each of these says that nothing was done and never will be.
        let for_good = matches!(
            refusal,
            Refusal::Group(
                raft::Refusal::NotLeader { .. }
                    | raft::Refusal::Busy
                    | raft::Refusal::TooLarge
                    | raft::Refusal::Transferring
                    | raft::Refusal::Superseded
            )
        );
        if for_good && self.desk.believes(client) {
            self.rows.add("refusals believed");
            return self.think(client);
        }
        let hint = match refusal {
            Refusal::Group(raft::Refusal::NotLeader { leader }) => leader.and_then(host_of),
            _ => None,
        };
        // A wake-up lets it try elsewhere: it goes where it was told, if it was.
        if hint.is_some() && !self.desk.gives_up(client) {
            self.desk.try_another(client, hint);
            return self.attempt(client);
        }
        let pause_ns = 1_000_000 + self.desk.think(client).min(20_000_000);
        self.wake_client(client, pause_ns);
    }

    /// The member that is furthest, for whoever wants to know what the group is like.
    pub(super) fn furthest(&self) -> Option<u32> {
        let known = self.hosts.iter().zip(0..).filter_map(|(there, host)| {
            let look = there.member.as_ref().and_then(Member::look)?;
            Some((look.raft.is_leader(), look.raft.last(), host))
        });
        known.max().map(|(_, _, host)| host)
    }

    /// The operator wants something.
    pub(super) fn wish(&mut self, index: u32) {
        let wish = self.plan.wishes[index as usize];
        if !self.armed {
            return;
        }
        let Some(host) = self.furthest() else { return };
        let Some(look) = self.hosts[host as usize].member.as_ref().and_then(Member::look) else { return };
        let membership = look.raft.membership();
        let voters: Vec<NodeId> = membership.voters().iter().copied().collect();
        let learners: Vec<NodeId> = membership.learners().iter().copied().collect();
        let strangers = (0..self.setup.hosts()).map(node_id).filter(|node| !membership.is_member(node)).collect();
        let some = |nodes: &Vec<NodeId>| -> Option<NodeId> {
            (!nodes.is_empty()).then(|| nodes[wish.pick as usize % nodes.len()])
        };
        let changes: Option<Vec<Change>> = match wish.kind {
            WishKind::AddLearner => some(&strangers).map(|node| vec![Change::AddLearner(node)]),
            WishKind::Promote => some(&learners).map(|node| vec![Change::Promote(node)]),
            WishKind::Demote => some(&voters).map(|node| vec![Change::Demote(node)]),
            WishKind::Remove => some(&voters).map(|node| vec![Change::Remove(node)]),
            WishKind::RemoveLeader => look.raft.leader().map(|node| vec![Change::Remove(node)]),
            WishKind::RemoveLearner => some(&learners).map(|node| vec![Change::Remove(node)]),
            WishKind::Replace => {
                some(&learners).zip(some(&voters)).map(|(new, old)| vec![Change::Promote(new), Change::Remove(old)])
            }
            WishKind::Several if learners.len() > 1 => {
                Some(learners.iter().map(|node| Change::Promote(*node)).collect())
            }
            WishKind::Several => Some(voters.iter().skip(1).take(2).map(|node| Change::Demote(*node)).collect()),
            WishKind::RemoveAll => Some(voters.iter().map(|node| Change::Remove(*node)).collect()),
            WishKind::Transfer => return self.hand_over(host, some(&voters)),
            WishKind::TransferAstray => return self.hand_over(host, some(&learners).or(some(&strangers))),
        };
        if let Some(changes) = changes {
            self.order(host, Ordered { changes, attempts: 0, demanded: false });
        }
    }

    fn hand_over(&mut self, host: u32, to: Option<NodeId>) {
        if let Some(to) = to {
            self.rows.add("transfers asked for");
            self.schedule(self.at, Item::Ask { host, ticket: 0, event: Event::Transfer { to } });
        }
    }

    pub(super) fn order(&mut self, host: u32, order: Ordered) {
        let ticket = self.desk.ticket();
        let changes = order.changes.clone();
        self.desk.orders.insert(ticket, order);
        let delay_ns = self.desk.rng.between(10_000, 500_000);
        self.schedule(self.at + delay_ns, Item::Ask { host, ticket, event: Event::Change { ticket, changes } });
    }

    fn order_answered(&mut self, order: Ordered, answer: Answer) {
        let refusal = match answer {
            Answer::Changed(Ok(_)) => return self.rows.add("changes of the membership committed"),
            Answer::Changed(Err(Refusal::Group(refusal))) if !order.demanded => refusal,
            Answer::Changed(Err(Refusal::Group(raft::Refusal::Change(_)))) => return,
            Answer::Changed(Err(_)) | Answer::Unreachable if order.demanded => {
                let host = self.furthest().unwrap_or(0);
                return self.order(host, order);
            }
            Answer::Changed(Err(_)) | Answer::Unreachable | Answer::Decided(_) | Answer::Read(_) => return,
        };
        if matches!(refusal, raft::Refusal::Change(_)) {
            return self.rows.add("changes refused as senseless");
        }
        if order.attempts >= ORDER_ATTEMPTS_MAX || !self.armed {
            return;
        }
        let order = Ordered { attempts: order.attempts + 1, ..order };
        match refusal {
            raft::Refusal::NotLeader { leader } => {
                let Some(host) = leader.and_then(host_of).or_else(|| self.furthest()) else { return };
                self.order(host, order);
            }
            raft::Refusal::ChangePending | raft::Refusal::NotCaughtUp | raft::Refusal::Transferring => {
                self.rows.add("changes refused for now");
                if let Some(host) = self.furthest() {
                    self.order(host, order);
                }
            }
            raft::Refusal::Busy
            | raft::Refusal::TooLarge
            | raft::Refusal::Change(_)
            | raft::Refusal::Superseded
            | raft::Refusal::Overtaken
            | raft::Refusal::Unconfirmed => {}
        }
    }
}
