//! CI: what is committed never changes, and is known to members in the same order. SMS: members that have applied
//! equally much are equal, also when that came by a snapshot, and equal to a ledger that applied everything one by one.

use dps_core::crypto::hash::HASH_LEN;
use dps_core::ledger::command::{Command, Outcome};
use dps_core::ledger::state::State;
use dps_core::raft::Raft;
use dps_core::raft::entry::{Entry, Payload, Position};
use dps_core::replica::event::Decision;

use super::super::exercise::Rows;
use super::super::member::Look;
use super::elections::Leads;
use super::{digest, sessions};
use crate::check::Findings;

/// A committed entry.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) position: Position,
    digest: u64,
    /// The term in which it was first known to be committed, at the earliest.
    pub(crate) in_term: u64,
    /// What it came to, if it is a command.
    outcome: Option<Outcome>,
    /// The ledger's roots after it.
    roots: [[u8; HASH_LEN]; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    commit: u64,
    applied: u64,
    fresh: bool,
}

/// The one list of what is committed.
#[derive(Debug)]
pub(crate) struct Committed {
    known: Vec<Known>,
    ledger: State,
    serials: sessions::Sessions,
    seen: Vec<Seen>,
}

fn roots(ledger: &State) -> [[u8; HASH_LEN]; 2] {
    [ledger.root(), ledger.sessions_root()]
}

impl Committed {
    pub(crate) fn new(hosts: usize) -> Self {
        Self {
            known: Vec::new(),
            ledger: State::new(),
            serials: sessions::Sessions::default(),
            seen: vec![Seen { commit: 0, applied: 0, fresh: true }; hosts],
        }
    }

    pub(crate) fn started(&mut self, host: u32) {
        self.seen[host as usize] = Seen { commit: 0, applied: 0, fresh: true };
    }

    /// The index of the last committed entry that is known.
    pub(crate) fn last(&self) -> u64 {
        self.known.len() as u64
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Known> {
        self.known.iter()
    }

    fn get(&self, index: u64) -> Option<&Known> {
        self.known.get(usize::try_from(index.checked_sub(1)?).ok()?)
    }

    /// Where a committed entry is.
    pub(crate) fn position(&self, index: u64) -> Position {
        self.get(index).map_or(Position::ZERO, |known| known.position)
    }

    /// Whether a member has the roots that belong to what it applied.
    pub(crate) fn is_canonical(&self, applied: u64, ledger: &State) -> bool {
        let expected = self.get(applied).map_or_else(|| roots(&State::new()), |known| known.roots);
        roots(ledger) == expected
    }

    /// Looks at what a member takes for committed and applied. True if it knows more than before.
    pub(crate) fn look(
        &mut self,
        at: u64,
        host: u32,
        look: &Look<'_>,
        leads: Leads,
        rows: &mut Rows,
        findings: &mut Findings,
    ) -> bool {
        let (raft, seen) = (look.raft, self.seen[host as usize]);
        let (commit, applied) = (raft.commit(), look.applied);
        let news = commit > seen.commit;
        if news {
            self.follow(at, host, raft, seen.commit, leads, findings);
            let own = raft.entry(commit).is_none_or(|entry| entry.position.term == raft.term());
            if raft.is_leader() && !own && !raft.is_alone() {
                // By counting (section 3.6.2): another leader might still replace it, where there may be another one.
                let text =
                    format!("host {host} leads term {} and commits {commit}, an entry of an older one", raft.term());
                findings.correctness("CI", at, text);
            }
            rows.set_most("commit index", commit);
        }
        if applied > commit {
            findings.correctness("SMS", at, format!("host {host} applied {applied}, and {commit} is committed"));
        } else if (applied != seen.applied || seen.fresh)
            && applied <= self.last()
            && !self.is_canonical(applied, look.ledger)
        {
            let text = format!("the ledger of host {host} at {applied} is not what the entries up to there come to");
            findings.correctness("SMS", at, text);
        }
        self.seen[host as usize] = Seen { commit, applied, fresh: false };
        news
    }

    fn follow(&mut self, at: u64, host: u32, raft: &Raft, before: u64, leads: Leads, findings: &mut Findings) {
        let base = raft.base();
        if base.index > 0 && before < base.index {
            let known = self.get(base.index).map(|known| known.position);
            if known != Some(base) {
                let text = format!("the log of host {host} begins after {base}, and {known:?} is committed there");
                return findings.correctness("CI", at, text);
            }
        }
        for index in before.max(base.index) + 1..=raft.commit() {
            let Some(entry) = raft.entry(index) else { continue };
            match self.get(index) {
                Some(known) if (known.position, known.digest) == (entry.position, digest(entry)) => {}
                Some(known) => {
                    let text = format!(
                        "host {host} takes entry {} for committed, and entry {} was committed there",
                        entry.position, known.position
                    );
                    return findings.correctness("CI", at, text);
                }
                None if index == self.last() + 1 => {
                    // Whoever is alone may commit what an earlier start wrote.
                    if leads == Leads::No && !raft.is_alone() {
                        // Somebody led and committed it; that a member hears of it first from nobody can't be.
                        let text = format!("host {host} takes {} for committed before any leader", entry.position);
                        findings.correctness("CI", at, text);
                    }
                    self.extend(at, entry, raft.term(), findings);
                }
                None => {
                    let text = format!("host {host} commits {index}, and {} is the last known", self.last());
                    return findings.correctness("CI", at, text);
                }
            }
        }
    }

    fn extend(&mut self, at: u64, entry: &Entry, in_term: u64, findings: &mut Findings) {
        let index = entry.position.index;
        let mut outcome = None;
        if let Payload::Command(bytes) = &entry.payload
            && let Ok(command) = Command::decode(bytes)
        {
            let came_to = self.ledger.apply(index, &command);
            if let Command::InSession { session, serial, .. } = &command {
                self.serials.applied(at, (*session, *serial), came_to, findings);
            }
            outcome = Some(came_to);
        }
        let roots = roots(&self.ledger);
        self.known.push(Known { position: entry.position, digest: digest(entry), in_term, outcome, roots });
    }

    /// A member says what a command came to: that must be what is committed there.
    pub(crate) fn decided(&self, at: u64, host: u32, decision: &Decision, findings: &mut Findings) {
        let Decision { position, outcome, .. } = decision;
        let known = self.get(position.index);
        if known.map(|known| (known.position, known.outcome)) != Some((*position, Some(*outcome))) {
            let known = known.map(|known| (known.position, known.outcome));
            let text = format!("host {host} says that {position} came to {outcome:?}, and {known:?} is committed");
            findings.correctness("SMS", at, text);
        }
    }
}
