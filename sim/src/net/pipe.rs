//! The outgoing pipe of one sender: what it sends goes one after the other, and waits in a queue with an end.

const SECOND_NS: u128 = 1_000_000_000;

/// When a sender's pipe is free, and how fast it was then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pipe {
    free_ns: u64,
    bytes_per_s: u64,
}

impl Pipe {
    /// When a message of so many bytes has left, or `None` if the queue has no room for it. A rate of 0 is no limit.
    ///
    /// When the rate has changed, what waits still has its bytes, not its time: a backlog of a slow hour is no burden
    /// afterwards. What was told before stays told, so that later messages may then overtake it.
    pub(super) fn send(&mut self, at_ns: u64, bytes: u64, bytes_per_s: u64, queue_bytes: u64) -> Option<u64> {
        let waiting_ns = u128::from(self.free_ns.saturating_sub(at_ns));
        let waiting_bytes = (waiting_ns * u128::from(self.bytes_per_s)).div_ceil(SECOND_NS);
        if bytes_per_s == 0 {
            *self = Self::default();
            return Some(at_ns);
        }
        if waiting_bytes > 0 && waiting_bytes + u128::from(bytes) > u128::from(queue_bytes) {
            return None;
        }
        let start_ns = if self.bytes_per_s == bytes_per_s {
            waiting_ns
        } else {
            (waiting_bytes * SECOND_NS).div_ceil(u128::from(bytes_per_s))
        };
        let sending_ns = (u128::from(bytes) * SECOND_NS).div_ceil(u128::from(bytes_per_s));
        let busy_ns = u64::try_from(start_ns + sending_ns).unwrap_or(u64::MAX);
        *self = Self { free_ns: at_ns.saturating_add(busy_ns), bytes_per_s };
        Some(self.free_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_leave_one_after_the_other() {
        let mut pipe = Pipe::default();
        let sent: Vec<u64> = [0, 0, 500, 9_000].map(|at| pipe.send(at, 1_000, 1_000_000_000, 5_000).unwrap()).into();
        assert_eq!(sent, [1_000, 2_000, 3_000, 10_000]);
    }

    #[test]
    fn a_full_queue_refuses_and_an_idle_pipe_never_does() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.send(0, 9_000, 1_000_000_000, 2_000), Some(9_000));
        assert_eq!(pipe.send(0, 1, 1_000_000_000, 2_000), None);
        assert_eq!(pipe.send(8_000, 1_001, 1_000_000_000, 2_000), None);
        assert_eq!(pipe.send(8_000, 1_000, 1_000_000_000, 2_000), Some(10_000));
        assert_eq!(pipe.send(10_000, 9_000, 1_000_000_000, 2_000), Some(19_000));
    }

    #[test]
    fn a_backlog_is_of_bytes_when_the_rate_changes() {
        let mut pipe = Pipe::default();
        // A thousand bytes at a byte a microsecond.
        assert_eq!(pipe.send(0, 1_000, 1_000_000, 5_000), Some(1_000_000));
        assert_eq!(pipe.send(500_000, 100, 1_000_000_000, 5_000), Some(500_600));
        assert_eq!(pipe.send(500_000, 100, 0, 5_000), Some(500_000));
        assert_eq!(pipe.send(500_000, 100, 1_000_000_000, 5_000), Some(500_100));
    }

    #[test]
    fn the_largest_numbers_are_no_harm() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.send(5, u64::MAX, 1, u64::MAX), Some(u64::MAX));
        assert_eq!(pipe.send(6, 1, u64::MAX, 7), None);
    }
}
