//! `tests/seeds.txt`: every seed that ever made a simulation fail, replayed for ever.

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedSeed {
    /// The seed.
    pub seed: u64,
    /// The scenario that failed.
    pub scenario: String,
    /// When it was found.
    pub date: String,
    /// What it found.
    pub found: String,
}

/// Reads a list: `seed scenario YYYY-MM-DD what it found`, one a line, `#` for comments.
///
/// # Errors
/// The first line that can't be read, with its number.
pub fn parse(text: &str) -> Result<Vec<FailedSeed>, String> {
    let mut seeds: Vec<FailedSeed> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fault = |what: &str| format!("line {}: {what}: {line}", index + 1);
        let mut parts = line.splitn(4, ' ');
        let mut next = |what: &str| parts.next().filter(|part| !part.is_empty()).ok_or_else(|| fault(what));
        let seed = next("no seed")?.parse().map_err(|_| fault("the seed is not a number"))?;
        let (scenario, date, found) = (next("no scenario")?, next("no date")?, next("not told what it found")?);
        if !is_date(date) {
            return Err(fault("the date is not YYYY-MM-DD"));
        }
        let row = FailedSeed { seed, scenario: scenario.into(), date: date.into(), found: found.into() };
        if seeds.iter().any(|other| (other.seed, &other.scenario) == (row.seed, &row.scenario)) {
            return Err(fault("the seed is there twice"));
        }
        seeds.push(row);
    }
    Ok(seeds)
}

fn is_date(text: &str) -> bool {
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_bad_ones_are_named() {
        let text = "# head\n\n7 keystore 2026-11-23 a torn footer was taken for damage\n";
        let found = "a torn footer was taken for damage".to_owned();
        let row = FailedSeed { seed: 7, scenario: "keystore".into(), date: "2026-11-23".into(), found };
        assert_eq!(parse(text), Ok(vec![row]));
        for (line, expected) in [
            ("x keystore 2026-11-23 a", "line 1: the seed is not a number"),
            ("7 keystore 23.11.2026 a", "line 1: the date is not YYYY-MM-DD"),
            ("7 keystore 2026-11-23", "line 1: not told what it found"),
            ("7 k 2026-11-23 a\n7 k 2026-11-24 b", "line 2: the seed is there twice"),
        ] {
            assert!(parse(line).unwrap_err().starts_with(expected), "{line}");
        }
    }
}
