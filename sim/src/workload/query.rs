//! Clients that delete, list, ask and verify.

use dps_core::ledger::file::{Expect, FileStat, Target};
use dps_core::ledger::name::Name;
use dps_core::node::{Finding, Reply, Request, RequestError, VerifyScope};

use super::desk::{Conversation, Desk, Outcome};
use super::get::not_found;
use crate::check::{conservation, crash, durable};
use crate::model::{Change, Done, Mark, WriteId};

/// Removes a name.
#[derive(Debug)]
pub(crate) struct Delete {
    name: Name,
    expect: Expect,
    write: WriteId,
    version_known: Option<u64>,
    absent: bool,
    /// With everything that could bring the name back, which may be there although the name is not.
    purge: bool,
}

impl Delete {
    pub(crate) const fn new(name: Name, expect: Expect) -> Self {
        Self { name, expect, write: 0, version_known: None, absent: false, purge: false }
    }

    pub(crate) fn for_good(name: Name) -> Self {
        Self { purge: true, ..Self::new(name, Expect::Any) }
    }
}

impl Conversation for Delete {
    fn open(&mut self, desk: &mut Desk<'_>) {
        let now = desk.mark();
        self.version_known = desk.oracle.model.version(&self.name);
        self.absent = !desk.oracle.model.possible(&self.name, now).iter().any(Option::is_some);
        let change = if self.purge { Change::Purge } else { Change::Delete };
        self.write = desk.oracle.model.begin(&self.name, change, desk.view.incarnation);
        let (name, expect) = (self.name.clone(), self.expect);
        desk.send(if self.purge { Request::Purge { name, expect } } else { Request::Delete { name, expect } });
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        if reply != Reply::Deleted || !last {
            desk.unexpected(&reply);
        }
        let holds = match (self.expect, self.version_known) {
            (Expect::Any, _) | (_, None) => !self.absent || self.purge,
            (Expect::Absent, Some(_)) => false,
            (Expect::Version(expected), Some(known)) => expected == known,
        };
        if !holds {
            crash::condition(&self.name, "the condition of a deletion", desk.view.at, desk.findings());
        }
        desk.oracle.model.acknowledge(&self.name, self.write, Done::default());
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        desk.not_done(&self.name, self.write, error);
        match error {
            RequestError::NotFound => {
                let since = desk.mark();
                desk.observe(&self.name, None, None, since);
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

/// Lists names page by page. Every page is a conversation; this is one.
#[derive(Debug)]
pub(crate) struct List {
    prefix: String,
    after: Option<Name>,
    limit: u32,
    since: Mark,
    /// Where to go on, for whoever wants all pages.
    pub(crate) more_after: Option<Name>,
}

impl List {
    pub(crate) const fn new(prefix: String, after: Option<Name>, limit: u32) -> Self {
        Self { prefix, after, limit, since: 0, more_after: None }
    }

    fn page(&mut self, desk: &mut Desk<'_>, entries: &[FileStat], more: bool) {
        let at = desk.view.at;
        conservation::within("names in a page", entries.len() as u64, u64::from(self.limit), at, desk.findings());
        let mut before = self.after.clone();
        let mut listed = Vec::new();
        for entry in entries {
            let Some(name) = entry.name.clone() else { return desk.unexpected(entry) };
            if before.as_ref().is_some_and(|before| name <= *before) || !name.as_str().starts_with(&self.prefix) {
                let text = format!("after {before:?}, prefix {:?}", self.prefix);
                durable::differs("a name in a page", name.as_str(), &text, at, desk.findings());
            }
            desk.observe(&name, Some(entry.file), Some(entry.version), self.since);
            desk.check_stat(entry, self.since);
            before = Some(name.clone());
            listed.push(name);
        }
        if more && listed.is_empty() {
            desk.unexpected(&"an empty page that is not the last one");
        }
        let end = if more { listed.last().cloned() } else { None };
        let passed = |name: &&Name| {
            let begins =
                name.as_str().starts_with(&self.prefix) && self.after.as_ref().is_none_or(|after| *name > after);
            begins && end.as_ref().is_none_or(|end| *name <= end) && !listed.contains(name)
        };
        let unlisted: Vec<Name> = desk.oracle.model.names().filter(passed).cloned().collect();
        for name in unlisted {
            if desk.oracle.model.possible(&name, self.since).contains(&None) {
                desk.observe(&name, None, None, self.since);
            } else {
                durable::unlisted(&name, at, desk.findings());
            }
        }
        self.more_after = end;
    }
}

impl Conversation for List {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.since = desk.mark();
        let (prefix, after, limit) = (self.prefix.clone(), self.after.clone(), self.limit);
        desk.send(Request::List { prefix, after, limit });
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Page { entries, more } if last => self.page(desk, &entries, more),
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
            if let Some(after) = self.more_after.take() {
                desk.oracle.list_after = Some(after);
            }
        }
    }

    fn failed(&mut self, _desk: &mut Desk<'_>, _error: &RequestError) -> Option<Outcome> {
        None
    }
}

/// Asks what is known of a file.
#[derive(Debug)]
pub(crate) struct Stat {
    target: Target,
    since: Mark,
}

impl Stat {
    pub(crate) const fn new(target: Target) -> Self {
        Self { target, since: 0 }
    }
}

impl Conversation for Stat {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.since = desk.mark();
        desk.send(Request::Stat(self.target.clone()));
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        match reply {
            Reply::Stat(stat) if last => {
                if let Target::Name(name) = &self.target {
                    desk.observe(name, Some(stat.file), Some(stat.version), self.since);
                }
                desk.check_stat(&stat, self.since);
            }
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        matches!(error, RequestError::NotFound).then(|| {
            not_found(desk, &self.target, self.since);
            Outcome::Done
        })
    }
}

/// Verifies everything or one file.
#[derive(Debug)]
pub(crate) struct Verify {
    scope: VerifyScope,
    grant: u32,
    cancel: bool,
    since: Mark,
    granted: u64,
    received: u64,
    cancelled: bool,
}

impl Verify {
    pub(crate) const fn new(scope: VerifyScope, grant: u32, cancel: bool) -> Self {
        Self { scope, grant, cancel, since: 0, granted: 0, received: 0, cancelled: false }
    }

    fn grant(&mut self, desk: &mut Desk<'_>) {
        self.granted += u64::from(self.grant);
        desk.send(Request::VerifyMore { findings: self.grant });
    }
}

impl Conversation for Verify {
    fn open(&mut self, desk: &mut Desk<'_>) {
        self.since = desk.mark();
        if self.scope == VerifyScope::All {
            desk.oracle.verified_bad.clear();
        }
        desk.send(Request::VerifyOpen(self.scope.clone()));
        self.grant(desk);
        if self.cancel {
            self.cancelled = true;
            let hesitation = desk.rng.below(1_000_000);
            desk.send_later(Request::Cancel, hesitation);
        }
    }

    fn reply(&mut self, desk: &mut Desk<'_>, reply: Reply, last: bool) {
        let at = desk.view.at;
        match reply {
            Reply::Finding(finding) if !last => {
                self.received += 1;
                conservation::within("findings", self.received, self.granted, at, desk.findings());
                let oracle = &mut *desk.oracle;
                oracle.damages.finding(&finding, desk.view.disk, (desk.opened_at, at), &mut oracle.findings);
                if let Finding::Chunk { chunk, .. } = *finding {
                    oracle.verified_bad.push(chunk);
                }
                if self.received == self.granted && !self.cancelled {
                    self.grant(desk);
                }
            }
            Reply::Verified(summary) if last => {
                if summary.findings != self.received {
                    let (found, expected) = (summary.findings.to_string(), self.received.to_string());
                    durable::differs("the count of findings", &found, &expected, at, desk.findings());
                }
            }
            Reply::Cancelled if last && self.cancelled => {}
            other => desk.unexpected(&other),
        }
        if last {
            desk.outcome = Some(Outcome::Done);
        }
    }

    fn failed(&mut self, desk: &mut Desk<'_>, error: &RequestError) -> Option<Outcome> {
        match (error, &self.scope) {
            (RequestError::NotFound, VerifyScope::One(target)) => {
                not_found(desk, &target.clone(), self.since);
                Some(Outcome::Done)
            }
            (RequestError::Missing, VerifyScope::One(target)) => Some(desk.target_missing(target, self.since)),
            _ => None,
        }
    }
}
