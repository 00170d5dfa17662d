//! Dates for people and programs: RFC 3339 in UTC.

use dps_core::time::WallTime;

const NANOS: u64 = 1_000_000_000;
const DAY_SECONDS: u64 = 86_400;

/// `time` to the second, such as `2026-11-23T14:51:07Z`.
pub(crate) fn seconds(time: WallTime) -> String {
    format!("{}Z", date_and_time(time))
}

/// `time` to the nanosecond, such as `2026-11-23T14:51:07.000000001Z`.
pub(crate) fn nanoseconds(time: WallTime) -> String {
    format!("{}.{:09}Z", date_and_time(time), time.as_nanos() % NANOS)
}

fn date_and_time(time: WallTime) -> String {
    let seconds = time.as_nanos() / NANOS;
    let (year, month, day) = civil(seconds / DAY_SECONDS);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of the proleptic Gregorian calendar, `days` after 1970-01-01. Years begin in March here, so that
/// the leap day is the last one (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_164_800, "2024-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (18_446_744_073, "2554-07-21T23:34:33Z"),
        ] {
            assert_eq!(super::seconds(WallTime::from_nanos(seconds * NANOS)), expected);
        }
        assert_eq!(nanoseconds(WallTime::from_nanos(u64::MAX)), "2554-07-21T23:34:33.709551615Z");
    }
}
