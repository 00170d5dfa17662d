//! Where a [`Node`] lives: a slow disk, and clients that put, get, list, remove and verify, in and out of turn.

use std::collections::{BTreeMap, VecDeque};

use dps_core::id::{OpId, RequestId, VerifiedChunk};
use dps_core::keystore::ingest::FileDigest;
use dps_core::ledger::file::{Expect, Target};
use dps_core::node::{ByteRange, Effect, Event, Node, Reply, Request, VerifyScope};
use dps_core::rng::{Rng, Seed};
use dps_tests::laws::Habitat;

use crate::disk::{Slow, encoded_bytes};
use crate::files::{Source, config, index, name};

/// Conversations that are open at once, at most.
const TALKS_MAX: usize = 6;

/// What a client still wants of its conversation.
enum Talk {
    Put { unsent: VecDeque<VerifiedChunk>, digest: Option<FileDigest>, credit: u64 },
    Get,
    Verify,
    OneShot,
}

pub(crate) struct Town {
    disk: Slow<OpId>,
    talks: BTreeMap<u64, Talk>,
    opened: u64,
    closing: bool,
    over: bool,
}

impl Town {
    pub(crate) fn new(seed: u64) -> Self {
        let disk = Slow::new(seed.is_multiple_of(3));
        Self { disk, talks: BTreeMap::new(), opened: 0, closing: false, over: false }
    }

    fn target(rng: &mut Rng) -> Target {
        if rng.chance(1, 3) { Target::Content(Source::drawn(rng).digest.file) } else { Target::Name(name(rng)) }
    }

    fn open(&mut self, rng: &mut Rng) -> Event {
        let (request, talk) = match rng.below(16) {
            0..7 => {
                let source = Source::drawn(rng);
                let expect = if rng.chance(1, 2) { Expect::Absent } else { Expect::Any };
                let unsent = source.chunks.into();
                let talk = Talk::Put { unsent, digest: Some(source.digest), credit: 0 };
                (Request::PutOpen { name: name(rng), expect, size: source.size }, talk)
            }
            7..11 => {
                let range = rng.chance(1, 3).then(|| ByteRange::From { first: rng.below(60) });
                (Request::GetOpen { target: Self::target(rng), range }, Talk::Get)
            }
            11 => {
                let scope = if rng.chance(1, 3) { VerifyScope::One(Self::target(rng)) } else { VerifyScope::All };
                (Request::VerifyOpen(scope), Talk::Verify)
            }
            12 => (Request::Delete { name: name(rng), expect: Expect::Any }, Talk::OneShot),
            13 => (Request::List { prefix: "a".into(), after: None, limit: 2 }, Talk::OneShot),
            14 => (Request::Stat(Self::target(rng)), Talk::OneShot),
            _ => {
                // Rarely, so that most lives are long, and once.
                if !self.closing && rng.chance(1, 4) {
                    self.closing = true;
                    (Request::Close, Talk::OneShot)
                } else {
                    (Request::List { prefix: String::new(), after: None, limit: 9 }, Talk::OneShot)
                }
            }
        };
        self.opened += 1;
        self.talks.insert(self.opened, talk);
        Event::Requested { id: RequestId(self.opened), request }
    }

    /// The next message of one conversation, or a stray one.
    fn go_on(&mut self, rng: &mut Rng) -> Option<Event> {
        if rng.chance(1, 10) {
            let id = RequestId(rng.below(self.opened + 1));
            let request = match rng.below(4) {
                0 => Request::Cancel,
                1 => Request::GetMore { bytes: u64::MAX },
                2 => Request::PutCommit(Source::drawn(rng).digest),
                _ => Request::VerifyMore { findings: u32::MAX },
            };
            return Some(Event::Requested { id, request });
        }
        let id = *self.talks.keys().nth(index(rng, self.talks.len().max(1)))?;
        let request = match self.talks.get_mut(&id).expect("just looked at") {
            Talk::Put { unsent, digest, credit } => match unsent.front() {
                Some(next) => {
                    *credit = credit.checked_sub(next.bytes().len() as u64)?;
                    Request::PutChunk(unsent.pop_front().expect("just looked at"))
                }
                None => Request::PutCommit(digest.take()?),
            },
            Talk::Get => Request::GetMore { bytes: rng.below(200) },
            Talk::Verify => Request::VerifyMore { findings: 1 },
            Talk::OneShot => return None,
        };
        Some(Event::Requested { id: RequestId(id), request })
    }
}

impl Habitat for Town {
    type Machine = Node;

    fn machine(&self) -> Node {
        Node::new(config(), Seed::new([9; 32]))
    }

    fn wake(&self) -> Event {
        Event::Wake
    }

    fn event(&mut self, rng: &mut Rng) -> Option<Event> {
        // Nothing is called after the end.
        if self.over {
            return None;
        }
        match rng.below(5) {
            0 | 1 => self.disk.end(rng).map(|(op, result)| Event::DiskDone { op, result }),
            2 if self.talks.len() < TALKS_MAX => Some(self.open(rng)),
            _ => self.go_on(rng),
        }
    }

    fn observe(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Disk { op, request } => self.disk.issue(*op, request.clone()),
                Effect::Reply { id, reply, last } => {
                    if let (Some(Talk::Put { credit, .. }), Ok(Reply::Credit { bytes })) =
                        (self.talks.get_mut(&id.0), reply)
                    {
                        *credit += bytes;
                    }
                    if *last {
                        self.talks.remove(&id.0);
                    }
                    self.over |= matches!(reply, Ok(Reply::Closed));
                }
                Effect::Halt(_) => self.over = true,
                Effect::Note(_) => {}
            }
        }
    }

    fn bytes(effect: &Effect) -> usize {
        match effect {
            Effect::Disk { request, .. } => encoded_bytes(request),
            Effect::Reply { reply: Ok(Reply::Page { entries, .. }), .. } => {
                entries.iter().filter_map(|stat| stat.name.as_ref()).map(|name| name.as_str().len()).sum()
            }
            Effect::Reply { .. } | Effect::Note(_) | Effect::Halt(_) => 0,
        }
    }
}
