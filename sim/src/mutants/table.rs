//! The table of mutants, `sim/mutants.toml`: what is changed in the sources, and which checker must notice.
//!
//! ```toml
//! required = 20                    # so many rows must be killed by the checker they name
//!
//! [[mutant]]
//! id = "ack-before-sync"
//! title = "a put is acknowledged before the sync of its journal record"
//! file = "core/src/disk/journal.rs"
//! find = "self.durable >= position"
//! replace = "true"
//! as = "expr"
//! checker = "S1"
//! ```
//!
//! Optional keys: `seed` (one that kills the row; kept on the line after `id`, where recording rewrites it), `seeds_max`
//! (how far to search without one, else [`SEEDS_MAX`]), `scenario` (else [`SCENARIO`]), `twin` (whether each run is repeated
//! with the other event queue, which alone checker W4 looks at), `numbers` (which mistakes of the catalogue of Raft's it
//! is), and `[[mutant.also]]` (further places that the same mistake changes: `file`, `find`, `replace`, `as`).
//!
//! A mistake of that catalogue that can't be made here is told so, with what rules it out and, where that is a check,
//! the row that takes the check away:
//!
//! ```toml
//! [[absent]]
//! number = 56
//! title = "a lease begins when the answer comes, not when it was asked"
//! because = "there are no leases"
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::check::is_known;

/// Seeds that are tried for a row that does not say how many.
pub(crate) const SEEDS_MAX: u64 = 200;

/// Mistakes in the catalogue of Raft's.
pub(crate) const CATALOGUE: u32 = 105;

/// So many of them at most may be impossible here.
#[cfg(test)]
const ABSENT_MAX: usize = 20;

/// The scenario of a row that does not name one.
pub(crate) const SCENARIO: &str = "keystore";

/// The whole table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Table {
    /// Rows that must be killed in a full sweep.
    #[serde(default)]
    pub(crate) required: usize,
    /// The rows. The mutant's number in the changed sources is its place here, from 1.
    #[serde(default, rename = "mutant")]
    pub(crate) rows: Vec<Row>,
    /// Mistakes that can't be made.
    #[serde(default)]
    pub(crate) absent: Vec<Absent>,
}

/// A mistake of the catalogue that can't be made here.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Absent {
    /// Its number.
    pub(crate) number: u32,
    /// What it is, for people.
    pub(crate) title: String,
    /// What rules it out.
    pub(crate) because: String,
    /// The row that takes away the check which rules it out.
    pub(crate) guard: Option<String>,
}

/// Another place that a row changes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Edit {
    /// As of a row.
    pub(crate) file: String,
    /// As of a row.
    pub(crate) find: String,
    /// As of a row.
    pub(crate) replace: String,
    /// As of a row.
    #[serde(rename = "as")]
    pub(crate) kind: Kind,
}

/// One mutant.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    /// A short name, unique in the table.
    pub(crate) id: String,
    /// A seed that kills it.
    pub(crate) seed: Option<u64>,
    /// What is wrong with it, for people.
    pub(crate) title: String,
    /// The file that is changed, from the root of the workspace.
    pub(crate) file: String,
    /// The text that is replaced; it occurs exactly once in the file.
    pub(crate) find: String,
    /// What stands there instead. Empty to leave a statement out.
    pub(crate) replace: String,
    /// What kind of text it is, so that it can be put under a condition.
    #[serde(rename = "as")]
    pub(crate) kind: Kind,
    /// The checker that must notice.
    pub(crate) checker: String,
    /// Seeds to try without a recorded one, from 1.
    #[serde(default = "seeds_max")]
    pub(crate) seeds_max: u64,
    /// The scenario to run.
    #[serde(default = "scenario")]
    pub(crate) scenario: String,
    /// Whether runs are repeated with the other event queue and compared.
    #[serde(default)]
    pub(crate) twin: bool,
    /// Which mistakes of the catalogue it is.
    #[serde(default)]
    pub(crate) numbers: Vec<u32>,
    /// Further places that it changes.
    #[serde(default)]
    pub(crate) also: Vec<Edit>,
}

/// What kind of text a row replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// An expression: it goes into parentheses, so that it may stand anywhere in a larger one.
    Expr,
    /// Whole statements, or the last expression of a block. What a `let` names in them is not seen outside.
    Stmt,
}

fn seeds_max() -> u64 {
    SEEDS_MAX
}

fn scenario() -> String {
    SCENARIO.to_owned()
}

/// Why a table can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TableError {
    /// Not TOML, or not a table of mutants.
    #[error("the table of mutants can't be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// Two rows have one name.
    #[error("mutant {0}: there are two rows of this name")]
    Twice(String),
    /// A row lacks what it needs.
    #[error("mutant {id}: {what}")]
    Row {
        /// The row.
        id: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A seed can't be written into the text.
    #[error("mutant {0}: its `id` line was not found, so its seed can't be recorded")]
    NoPlace(String),
}

impl Table {
    /// Reads and checks a table. Space around `find` and `replace` is not part of them.
    ///
    /// # Errors
    /// What is wrong, and with which row.
    pub(crate) fn parse(text: &str) -> Result<Self, TableError> {
        let mut table: Self = toml::from_str(text)?;
        let mut ids = BTreeMap::new();
        for row in &mut table.rows {
            row.find = row.find.trim().to_owned();
            row.replace = row.replace.trim().to_owned();
            for edit in &mut row.also {
                edit.find = edit.find.trim().to_owned();
                edit.replace = edit.replace.trim().to_owned();
            }
            if ids.insert(row.id.clone(), ()).is_some() {
                return Err(TableError::Twice(row.id.clone()));
            }
            if let Some(what) = row.fault() {
                return Err(TableError::Row { id: row.id.clone(), what });
            }
        }
        Ok(table)
    }
}

impl Row {
    /// One row for each place that it changes.
    pub(crate) fn places(&self) -> impl Iterator<Item = Self> + '_ {
        let further = self.also.iter().map(|edit| {
            let Edit { file, find, replace, kind } = edit.clone();
            Self { file, find, replace, kind, also: Vec::new(), ..self.clone() }
        });
        [self.clone()].into_iter().chain(further)
    }

    fn fault(&self) -> Option<&'static str> {
        if self.id.is_empty() {
            Some("a row needs an `id`")
        } else if self.find.is_empty() || self.also.iter().any(|edit| edit.find.is_empty()) {
            Some("`find` is empty")
        } else if self.find == self.replace || self.also.iter().any(|edit| edit.find == edit.replace) {
            Some("`replace` changes nothing")
        } else if self.kind == Kind::Expr && self.replace.is_empty() {
            Some("an expression can't be replaced by nothing")
        } else if !is_known(&self.checker) {
            Some("`checker` is none of the simulator's")
        } else if self.seeds_max == 0 {
            Some("`seeds_max` is 0")
        } else {
            None
        }
    }
}

/// The text of a table with `seed` recorded for the row `id`, everything else left as it is.
///
/// # Errors
/// When the result would not be the same table with that seed, for example because the row is laid out unusually.
pub(crate) fn record(text: &str, id: &str, seed: u64) -> Result<String, TableError> {
    let head = format!("id = \"{id}\"");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let Some(at) = lines.iter().position(|line| line.trim_end() == head) else {
        return Err(TableError::NoPlace(id.to_owned()));
    };
    let line = format!("seed = {seed}");
    match lines.get_mut(at + 1) {
        Some(next) if next.starts_with("seed = ") => *next = line,
        Some(_) | None => lines.insert(at + 1, line),
    }
    let new = lines.join("\n") + "\n";
    let mut expected = Table::parse(text)?.rows;
    for row in expected.iter_mut().filter(|row| row.id == id) {
        row.seed = Some(seed);
    }
    if Table::parse(&new)?.rows == expected { Ok(new) } else { Err(TableError::NoPlace(id.to_owned())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# A toy.
required = 1

[[mutant]]
id = "greedy"
title = "takes one more than there is"
file = "core/src/toy.rs"
find = "n < max"
replace = "n <= max"
as = "expr"
checker = "S1"

[[mutant]]
id = "forgetful"
seed = 3
title = "never writes"
file = "core/src/toy.rs"
find = '''
self.write(n);
self.sync();
'''
replace = ""
as = "stmt"
checker = "S3"
seeds_max = 9
"#;

    #[test]
    fn rows_are_read_with_what_they_leave_out() {
        let table = Table::parse(TEXT).unwrap();
        assert_eq!(table.required, 1);
        let [greedy, forgetful] = &table.rows[..] else { panic!("two rows") };
        assert_eq!((greedy.seed, greedy.seeds_max, &*greedy.scenario), (None, SEEDS_MAX, SCENARIO));
        assert_eq!((forgetful.seed, forgetful.seeds_max, forgetful.kind), (Some(3), 9, Kind::Stmt));
        assert_eq!(forgetful.find, "self.write(n);\nself.sync();");
    }

    #[test]
    fn each_bad_row_is_named() {
        for (from, to, expected) in [
            ("\"forgetful\"", "\"greedy\"", "mutant greedy: there are two rows of this name"),
            ("\"n < max\"", "\" \"", "mutant greedy: `find` is empty"),
            ("\"n <= max\"", "\"n < max \"", "mutant greedy: `replace` changes nothing"),
            ("\"n <= max\"", "\"\"", "mutant greedy: an expression can't be replaced by nothing"),
            ("\"S3\"", "\"S9\"", "mutant forgetful: `checker` is none of the simulator's"),
            ("seeds_max = 9", "seeds_max = 0", "mutant forgetful: `seeds_max` is 0"),
        ] {
            assert!(TEXT.contains(from), "{from}");
            assert_eq!(Table::parse(&TEXT.replacen(from, to, 1)).unwrap_err().to_string(), expected);
        }
        for broken in [TEXT.replace("as = ", "kind = "), TEXT.replace("\"expr\"", "\"type\""), TEXT.replace("[[", "[")]
        {
            assert!(matches!(Table::parse(&broken), Err(TableError::Syntax(_))));
        }
    }

    #[test]
    fn the_real_table_names_every_checker() {
        let table = Table::parse(include_str!("../../mutants.toml")).unwrap();
        for checker in crate::check::CHECKERS {
            assert!(table.rows.iter().any(|row| row.checker == checker), "no mutant is for {checker}");
        }
        assert!(table.required <= table.rows.len());
        assert!(table.rows.iter().all(|row| row.seed.is_some()), "a row is recorded with a seed that kills it");
        assert!(table.rows.iter().all(|row| (row.checker == "W4") == row.twin), "W4 alone needs twins");
    }

    #[test]
    fn every_mistake_of_the_catalogue_has_a_row_or_a_reason() {
        let table = Table::parse(include_str!("../../mutants.toml")).unwrap();
        let absent: Vec<u32> = table.absent.iter().map(|absent| absent.number).collect();
        for number in 1..=CATALOGUE {
            let rows = table.rows.iter().filter(|row| row.numbers.contains(&number)).count();
            let reasons = absent.iter().filter(|absent| **absent == number).count();
            assert!(rows > 0 || reasons == 1, "number {number} has {rows} rows and {reasons} reasons");
            assert!(rows == 0 || reasons == 0, "number {number} has both rows and a reason to be absent");
        }
        assert!(absent.len() <= ABSENT_MAX, "{} mistakes can't be made", absent.len());
        for Absent { number, because, guard, .. } in &table.absent {
            assert!(because.len() > 30, "number {number} needs a reason");
            let known = guard.as_ref().is_none_or(|guard| table.rows.iter().any(|row| row.id == *guard));
            assert!(known, "number {number} has a guard that is no row: {guard:?}");
        }
        let numbered = table.rows.iter().flat_map(|row| &row.numbers);
        assert!(numbered.chain(&absent).all(|number| (1..=CATALOGUE).contains(number)));
    }

    #[test]
    fn a_seed_is_recorded_and_nothing_else_changes() {
        let first = record(TEXT, "greedy", 41).unwrap();
        assert_eq!(first, TEXT.replace("id = \"greedy\"\n", "id = \"greedy\"\nseed = 41\n"));
        let second = record(&first, "forgetful", 5).unwrap();
        assert_eq!(second, first.replace("seed = 3\n", "seed = 5\n"));
        assert_eq!(Table::parse(&second).unwrap().rows[1].seed, Some(5));
    }

    #[test]
    fn a_row_laid_out_otherwise_is_not_recorded() {
        let elsewhere = TEXT.replace("\"S1\"", "\"S1\"\nseed = 1");
        assert!(record(&elsewhere, "greedy", 2).is_err(), "a second seed line would make the table unreadable");
        assert!(matches!(record(TEXT, "unknown", 2), Err(TableError::NoPlace(_))));
    }
}
