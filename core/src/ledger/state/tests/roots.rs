//! The root says what is held, and nothing of how it came about.

use alloc::format;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::histories::any_history;
use super::model::{TOMBSTONES_MAX, bounds};
use super::*;
use crate::keystore::manifest_codec::tests::any_manifest;
use crate::limits::REAP_SLICE_MAX;

proptest! {
    /// Two states that hold the same have the same root, whatever else they held before.
    #[test]
    fn equal_states_have_equal_roots(
        history in any_history(40),
        manifests in prop::collection::vec(any_manifest(), 1..6),
    ) {
        let (mut winding, mut index) = (State::new(), 0);
        for (command, step, pick) in history {
            let stays = matches!(
                command.plain(),
                Command::SetClockRule { .. }
                    | Command::ResetClock { .. }
                    | Command::SweepStart { .. }
                    | Command::Clean { .. }
                    | Command::DeepClean { .. }
            );
            if stays {
                continue;
            }
            index += step;
            let command = if pick % 8 == 0 { Command::DeepClean { time: command.time() } } else { command };
            winding.apply_within(index, &command, &bounds(TOMBSTONES_MAX[0]));
        }
        let kept: Vec<_> = winding.names("", None).map(|(name, _)| name).collect();
        for name in kept {
            index += 1;
            let outcome = winding.apply(index, &Command::Purge { time: WallTime::default(), name, expect: Expect::Any });
            let purged = matches!(outcome, Outcome::Purged { .. });
            prop_assert!(purged);
        }
        index += 1;
        let reap = Command::Reap { time: WallTime::default(), before: WallTime::from_nanos(101), limit: REAP_SLICE_MAX };
        winding.apply(index, &reap);
        let mut straight = State::new();
        for (number, manifest) in manifests.into_iter().enumerate() {
            index += 1;
            let (time, name) = (WallTime::from_nanos(100), name(&format!("file {number}")));
            let command = Command::Put { time, lease: 0, name, expect: Expect::Absent, manifest };
            prop_assert_eq!(winding.apply(index, &command), straight.apply(index, &command));
        }
        winding.check();
        prop_assert_eq!(winding.root(), straight.root());
    }
}
