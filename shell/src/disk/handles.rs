//! A small cache of open files.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps_core::disk::File;

/// Files that are kept open at most.
pub(crate) const HANDLES_MAX: usize = 64;

/// What is kept of an open file.
#[derive(Debug)]
struct Handle {
    file: Arc<OwnedFd>,
    writable: bool,
    /// Written since its last good sync. Such a file stays open: an error of the write-back is reported only to those
    /// who had the file open when it happened.
    dirty: bool,
    /// When it was last used, in uses.
    used: u64,
}

/// A moment in the life of the cache. What was opened before a file was replaced or removed must not be kept after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

#[derive(Debug, Default)]
struct State {
    open: BTreeMap<File, Handle>,
    epoch: u64,
    uses: u64,
}

/// Open files by their logical name, at most [`HANDLES_MAX`], the least recently used one given up first.
#[derive(Debug, Default)]
pub(crate) struct Handles(Mutex<State>);

impl Handles {
    /// The open handle of `file`, if there is one that can do what is wanted; and the epoch to [`Handles::keep`] a new
    /// one with.
    pub(crate) fn find(&self, file: File, writable: bool) -> (Option<Arc<OwnedFd>>, Epoch) {
        let mut state = self.state();
        state.uses += 1;
        let (uses, epoch) = (state.uses, Epoch(state.epoch));
        let handle = state.open.get_mut(&file).filter(|handle| handle.writable || !writable);
        let found = handle.map(|handle| {
            handle.used = uses;
            Arc::clone(&handle.file)
        });
        (found, epoch)
    }

    /// Keeps a handle that was opened after `epoch`. Returns false when it must be kept but can't be, because every
    /// place is taken by a file with unsynced writes.
    pub(crate) fn keep(&self, epoch: Epoch, file: File, handle: &Arc<OwnedFd>, writable: bool) -> bool {
        let mut state = self.state();
        let stale = state.epoch != epoch.0;
        let better = state.open.get(&file).is_some_and(|handle| handle.writable);
        if !writable && (stale || better) {
            return true;
        }
        let mut evicted = None;
        if state.open.len() >= HANDLES_MAX && !state.open.contains_key(&file) {
            let idle = state.open.iter().filter(|(_, handle)| !handle.dirty);
            let Some(oldest) = idle.min_by_key(|(_, handle)| handle.used).map(|(file, _)| *file) else {
                return !writable;
            };
            evicted = state.open.remove(&oldest);
        }
        state.uses += 1;
        let used = state.uses;
        let replaced = state.open.insert(file, Handle { file: Arc::clone(handle), writable, dirty: false, used });
        assert!(state.open.len() <= HANDLES_MAX, "the cache has its bound");
        drop(state);
        drop((evicted, replaced));
        true
    }

    /// Remembers whether `file` has unsynced writes.
    pub(crate) fn set_dirty(&self, file: File, dirty: bool) {
        if let Some(handle) = self.state().open.get_mut(&file) {
            handle.dirty = dirty;
        }
    }

    /// Gives up the handles of `files`, which were replaced or removed. Handles that are being opened right now are not
    /// kept either.
    pub(crate) fn forget(&self, files: &[File]) {
        let mut state = self.state();
        state.epoch += 1;
        let gone: Vec<Option<Handle>> = files.iter().map(|file| state.open.remove(file)).collect();
        // The last handle of a removed file gives its space back when it closes, which takes most of a second for a
        // gigabyte: nobody else may have to wait for that.
        drop(state);
        drop(gone);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is a single call on the map, so a thread that panicked left nothing half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handle() -> Arc<OwnedFd> {
        Arc::new(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()))
    }

    #[test]
    fn a_handle_for_reading_does_not_serve_a_write() {
        let handles = Handles::default();
        let (none, epoch) = handles.find(File::Volume(1), false);
        assert!(none.is_none());
        assert!(handles.keep(epoch, File::Volume(1), &handle(), false));
        assert!(handles.find(File::Volume(1), false).0.is_some());
        assert!(handles.find(File::Volume(1), true).0.is_none());
    }

    #[test]
    fn what_was_opened_before_a_removal_is_not_kept() {
        let handles = Handles::default();
        let (_, epoch) = handles.find(File::Volume(1), false);
        handles.forget(&[File::Volume(1)]);
        assert!(handles.keep(epoch, File::Volume(1), &handle(), false));
        assert!(handles.find(File::Volume(1), false).0.is_none());
    }

    #[test]
    fn a_read_that_was_slow_to_open_does_not_displace_the_writer() {
        let handles = Handles::default();
        let (_, epoch) = handles.find(File::Volume(1), false);
        assert!(handles.keep(epoch, File::Volume(1), &handle(), true));
        assert!(handles.keep(epoch, File::Volume(1), &handle(), false));
        assert!(handles.find(File::Volume(1), true).0.is_some());
    }

    #[test]
    fn the_least_recently_used_clean_file_goes_first_and_a_dirty_one_never() {
        let handles = Handles::default();
        for number in 0..HANDLES_MAX as u64 {
            let (_, epoch) = handles.find(File::Volume(number), true);
            assert!(handles.keep(epoch, File::Volume(number), &handle(), true));
        }
        handles.set_dirty(File::Volume(0), true);
        handles.find(File::Volume(1), true);
        let (_, epoch) = handles.find(File::Journal(1), true);
        assert!(handles.keep(epoch, File::Journal(1), &handle(), true));
        assert!(handles.find(File::Volume(0), true).0.is_some(), "dirty");
        assert!(handles.find(File::Volume(1), true).0.is_some(), "just used");
        assert!(handles.find(File::Volume(2), true).0.is_none(), "the oldest of the rest");
    }

    #[test]
    fn a_write_is_refused_when_every_place_is_dirty() {
        let handles = Handles::default();
        for number in 0..HANDLES_MAX as u64 {
            let (_, epoch) = handles.find(File::Volume(number), true);
            assert!(handles.keep(epoch, File::Volume(number), &handle(), true));
            handles.set_dirty(File::Volume(number), true);
        }
        let (_, epoch) = handles.find(File::Journal(1), true);
        assert!(!handles.keep(epoch, File::Journal(1), &handle(), true));
        assert!(handles.keep(epoch, File::Journal(1), &handle(), false), "a read goes on uncached");
        assert!(handles.find(File::Journal(1), false).0.is_none());
    }
}
