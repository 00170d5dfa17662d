//! What became of every mistake in the catalogue of Raft's.

use std::io::{self, Write};

use super::sweep::{Outcome, Status};
use super::table::{Absent, CATALOGUE, Row};

/// How one mistake ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Each of its rows was killed; with their seeds to kill.
    Killed(Vec<(String, u64)>),
    /// These rows were not killed.
    Alive(Vec<String>),
    /// It can't be made.
    Absent(String),
    /// Nothing is said of it.
    Open,
}

/// The fate of each mistake, by its number less one, and how many seeds it took to kill rows: the median and the most.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fates {
    pub(crate) of: Vec<Fate>,
    pub(crate) median: u64,
    pub(crate) most: u64,
}

impl Fates {
    pub(crate) fn of(rows: &[(usize, &Row)], outcomes: &[Outcome], absent: &[Absent]) -> Self {
        let is_killed = |outcome: &Outcome| matches!(outcome.status, Status::Killed { .. });
        let fate = |number: u32| {
            if let Some(found) = absent.iter().find(|absent| absent.number == number) {
                return Fate::Absent(found.because.clone());
            }
            let judged = || rows.iter().zip(outcomes).filter(|((_, row), _)| row.numbers.contains(&number));
            let alive: Vec<String> =
                judged().filter(|(_, outcome)| !is_killed(outcome)).map(|((_, row), _)| row.id.clone()).collect();
            let killed: Vec<(String, u64)> = judged()
                .filter_map(|((_, row), outcome)| match outcome.status {
                    Status::Killed { seed } => Some((row.id.clone(), to_kill(row, seed, outcome))),
                    Status::Trivial { .. } | Status::Survived | Status::Unfinished | Status::FailsUnchanged { .. } => {
                        None
                    }
                })
                .collect();
            if !alive.is_empty() {
                Fate::Alive(alive)
            } else if killed.is_empty() {
                Fate::Open
            } else {
                Fate::Killed(killed)
            }
        };
        let of: Vec<Fate> = (1..=CATALOGUE).map(fate).collect();
        let mut seeds: Vec<u64> = rows
            .iter()
            .zip(outcomes)
            .filter(|((_, row), _)| !row.numbers.is_empty())
            .filter_map(|((_, row), outcome)| match outcome.status {
                Status::Killed { seed } => Some(to_kill(row, seed, outcome)),
                Status::Trivial { .. } | Status::Survived | Status::Unfinished | Status::FailsUnchanged { .. } => None,
            })
            .collect();
        seeds.sort_unstable();
        let median = seeds.get(seeds.len() / 2).copied().unwrap_or(0);
        Self { of, median, most: seeds.last().copied().unwrap_or(0) }
    }

    /// Writes a line for each mistake.
    pub(crate) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        for (fate, number) in self.of.iter().zip(1..) {
            match fate {
                Fate::Killed(rows) => {
                    let rows: Vec<String> = rows.iter().map(|(id, seeds)| format!("{id} ({seeds})")).collect();
                    writeln!(out, "{number:3}  killed  {}", rows.join(", "))?;
                }
                Fate::Alive(rows) => writeln!(out, "{number:3}  ALIVE   {}", rows.join(", "))?,
                Fate::Absent(because) => writeln!(out, "{number:3}  absent  {because}")?,
                Fate::Open => writeln!(out, "{number:3}  OPEN")?,
            }
        }
        let (median, most) = (self.median, self.most);
        writeln!(out, "seeds from 1 on until a row of the catalogue is killed: median {median}, most {most}")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        let of: Vec<serde_json::Value> = self
            .of
            .iter()
            .zip(1..)
            .map(|(fate, number): (&Fate, u32)| match fate {
                Fate::Killed(rows) => serde_json::json!({"number": number, "fate": "killed", "rows": rows}),
                Fate::Alive(rows) => serde_json::json!({"number": number, "fate": "alive", "rows": rows}),
                Fate::Absent(because) => serde_json::json!({"number": number, "fate": "absent", "because": because}),
                Fate::Open => serde_json::json!({"number": number, "fate": "open"}),
            })
            .collect();
        serde_json::json!({"of": of, "median_seeds": self.median, "most_seeds": self.most})
    }
}

/// Seeds from 1 on until it is killed: a recorded seed was the first that did.
fn to_kill(row: &Row, seed: u64, outcome: &Outcome) -> u64 {
    if row.seed == Some(seed) { seed } else { outcome.seeds }
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_number_has_its_fate() {
        let row = |id: &str, number: u32| {
            format!(
                "[[mutant]]\nid = \"{id}\"\nseed = 7\ntitle = \"t\"\nfile = \"f\"\nfind = \"a\"\nreplace = \"b\"\nas = \"expr\"\n\
                 checker = \"ES\"\nnumbers = [{number}]\n"
            )
        };
        let absent = "[[absent]]\nnumber = 3\ntitle = \"t\"\nbecause = \"no lease\"\n";
        let table = Table::parse(&format!("{}{}{absent}", row("one", 1), row("two", 2))).unwrap();
        let rows: Vec<_> = (1..).zip(&table.rows).collect();
        let outcome = |status| Outcome { status, seeds: 1, others: BTreeSet::new() };
        let outcomes = [outcome(Status::Killed { seed: 7 }), outcome(Status::Survived)];
        let fates = Fates::of(&rows, &outcomes, &table.absent);
        let expected = [
            Fate::Killed(vec![("one".to_owned(), 7)]),
            Fate::Alive(vec!["two".to_owned()]),
            Fate::Absent("no lease".to_owned()),
            Fate::Open,
        ];
        assert_eq!((&fates.of[..4], fates.median, fates.most), (&expected[..], 7, 7));
        let mut text = Vec::new();
        fates.print(&mut text).unwrap();
        assert!(
            String::from_utf8(text)
                .unwrap()
                .starts_with("  1  killed  one (7)\n  2  ALIVE   two\n  3  absent  no lease\n  4  OPEN\n")
        );
    }
}
