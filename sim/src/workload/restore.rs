//! Clients that bring back what was removed or replaced, look for it, and give up all contents.

use dps_core::ledger::file::{Expect, FileStat, TombstoneStat};
use dps_core::ledger::name::Name;
use dps_core::node::{Reply, Request, RequestError};

use super::desk::{Conversation, Desk, Outcome};
use crate::check::{conservation, crash, durable};
use crate::model::{Change, Done, End, Mark, WriteId};

/// Brings back what a tombstone keeps.
#[derive(Debug)]
pub(crate) struct Undelete {
    name: Name,
    /// Of the newest tombstone if it is 0.
    version: u64,
    expect: Expect,
    write: WriteId,
    version_known: Option<u64>,
    version_floor: u64,
    since: Mark,
}

impl Undelete {
    pub(crate) const fn new(name: Name, version: u64, expect: Expect) -> Self {
        Self { name, version, expect, write: 0, version_known: None, version_floor: 0, since: 0 }
    }

    fn restored(&self, desk: &mut Desk<'_>, stat: &FileStat) {
        let (at, name) = (desk.view.at, &self.name);
        let line = desk.oracle.reaped_before;
        if !desk.oracle.model.restorable(name, self.version, line).contains(&Some(stat.file)) {
            crash::phantom(name, &format!("file {}, which no tombstone keeps,", stat.file), at, desk.findings());
        }
        durable::version(name, stat.version, self.version_floor, at, desk.findings());
        let holds = match (self.expect, self.version_known) {
            (Expect::Any, _) | (_, None) => true,
            (Expect::Absent, Some(_)) => false,
            (Expect::Version(expected), Some(known)) => expected == known,
        };
        if !holds {
            crash::condition(name, "the condition of an undelete", at, desk.findings());
        }
        desk.oracle.version_max = desk.oracle.version_max.max(stat.version);
        let done = Done { version: Some(stat.version), file: Some(stat.file), after: stat.stored_at };
        desk.oracle.model.acknowledge(name, self.write, done);
        desk.check_stat(stat, self.since);
    }
}

impl Conversation for Undelete {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.since = desk.mark();
        self.version_known = desk.oracle.model.version(&self.name);
        self.version_floor = desk.oracle.version_max;
        self.write = desk.oracle.model.begin(&self.name, Change::Undelete(self.version), desk.view.incarnation);
        let (name, version, expect) = (self.name.clone(), self.version, self.expect);
        desk.send(Request::Undelete { name, version, expect });
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Restored(stat) if last && stat.name.as_ref() == Some(&self.name) => self.restored(desk, &stat),
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        desk.not_done(&self.name, self.write, error);
        match error {
            RequestError::NotFound => {
                let line = desk.oracle.reaped_before;
                if !desk.oracle.model.restorable(&self.name, self.version, line).contains(&None) {
                    let (what, at) = (format!("version {} of {:?}", self.version, self.name), desk.view.at);
                    durable::differs(&what, "gone for good", "a tombstone", at, desk.findings());
                }
                desk.oracle.model.nothing_restored(&self.name, self.version, line);
                Some(Outcome::Done)
            }
            RequestError::Conflict { current } if self.expect != Expect::Any => {
                desk.conflict(&self.name, *current);
                Some(Outcome::Done)
            }
            _ => None,
        }
    }
}

/// Lists a page of tombstones.
#[derive(Debug)]
pub(crate) struct Tombstones {
    prefix: String,
    after: Option<(Name, u64)>,
    limit: u32,
    since: Mark,
}

impl Tombstones {
    pub(crate) const fn new(prefix: String, after: Option<(Name, u64)>, limit: u32) -> Self {
        Self { prefix, after, limit, since: 0 }
    }

    fn page(&self, desk: &mut Desk<'_>, entries: &[TombstoneStat], more: bool) {
        let at = desk.view.at;
        conservation::within("tombstones in a page", entries.len() as u64, self.limit.into(), at, desk.findings());
        let mut before = self.after.clone();
        for stat in entries {
            let key = Some((stat.name.clone(), stat.version));
            if key <= before || !stat.name.as_str().starts_with(&self.prefix) {
                let text = format!("after {before:?}, prefix {:?}", self.prefix);
                durable::differs("a tombstone in a page", &format!("{key:?}"), &text, at, desk.findings());
            }
            desk.check_tombstone(stat);
            before = key;
        }
        if more && entries.is_empty() {
            desk.unexpected(&"an empty page that is not the last one");
        }
        // Names of which a page before or after this one may have some are left out.
        let first = self.after.as_ref().map(|(name, _)| name);
        let last = if more { entries.last().map(|stat| &stat.name) } else { None };
        let passed = |name: &&Name| {
            name.as_str().starts_with(&self.prefix)
                && first.is_none_or(|first| *name > first)
                && last.is_none_or(|last| *name < last)
        };
        let listed = entries.iter().map(|stat| &stat.name);
        let names: std::collections::BTreeSet<Name> =
            desk.oracle.model.names().chain(listed).filter(passed).cloned().collect();
        let (line, decides) = (desk.oracle.reaped_before, !desk.view.disk.is_refusing(false));
        for name in names {
            let of_name: Vec<TombstoneStat> = entries.iter().filter(|stat| stat.name == name).cloned().collect();
            if let Err(why) = desk.oracle.model.observe_graves(&name, &of_name, line, self.since, decides) {
                durable::tombstones(&name, &of_name, why, at, desk.findings());
            }
        }
    }
}

impl Conversation for Tombstones {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.since = desk.mark();
        let (prefix, after, limit) = (self.prefix.clone(), self.after.clone(), self.limit);
        desk.send(Request::Tombstones { prefix, after, limit });
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Tombstones { entries, more } if last => self.page(desk, &entries, more),
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, _desk: &mut Desk<'_>, _error: &RequestError) -> Option<Outcome> {
        None
    }
}

/// Gives up all contents, and names as well if it is a deep one: that is done only where nobody else is active.
#[derive(Debug)]
pub(crate) struct Clean {
    deep: bool,
    clean: WriteId,
}

impl Clean {
    pub(crate) const fn new(deep: bool) -> Self {
        Self { deep, clean: 0 }
    }
}

impl Conversation for Clean {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.clean = desk.oracle.model.begin_clean();
        desk.send(Request::Clean { deep: self.deep });
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Cleaned if last => {
                desk.oracle.model.end_clean(self.clean, End::Done);
                if self.deep {
                    desk.oracle.model.forget_all();
                    desk.oracle.leases.clear();
                }
            }
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        let unknown = matches!(error, RequestError::OutcomeUnknown(_));
        desk.oracle.model.end_clean(self.clean, if unknown { End::Unknown } else { End::Refused });
        None
    }
}
