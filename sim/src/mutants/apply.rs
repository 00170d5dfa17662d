//! Puts every mutant into one copy of the sources, each behind a test of its number, so that one build serves all.

use std::collections::BTreeMap;
use std::ops::Range;

use super::table::{Kind, Row};

/// Where the number of the running mutant is set in the copy: an environment variable read by its `sim` binary.
pub(crate) const SWITCH: &str = "DPS_MUTANT";

/// Appended to the copy of the core's `lib.rs`. The real sources have nothing of the kind.
const STATE: &str = r"
static MUTANT: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);

/// Whether mutant `number` runs.
#[must_use]
pub fn mutant(number: u32) -> bool {
    MUTANT.load(core::sync::atomic::Ordering::Relaxed) == number
}

/// Chooses the mutant that runs; 0 for none.
pub fn set_mutant(number: u32) {
    MUTANT.store(number, core::sync::atomic::Ordering::Relaxed);
}
";

/// Why a mutant can't be put into the sources.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ApplyError {
    /// The file is not one of the sources.
    #[error("mutant {id}: there is no source file {file}")]
    NoFile {
        /// The row.
        id: String,
        /// The file.
        file: String,
    },
    /// The text is not there, or not only once.
    #[error("mutant {id}: its text occurs {count} times in {file}, but must occur once")]
    Count {
        /// The row.
        id: String,
        /// The file.
        file: String,
        /// How often the text is there.
        count: usize,
    },
    /// Two rows replace the same text but disagree on what it is.
    #[error("mutant {id}: mutant {other} replaces the same text as something else (`as`)")]
    Kinds {
        /// The row.
        id: String,
        /// The row before it.
        other: String,
    },
    /// Two texts overlap without one holding the other.
    #[error("mutant {id}: its text overlaps that of mutant {other}")]
    Overlap {
        /// The row.
        id: String,
        /// The row that begins earlier.
        other: String,
    },
    /// The binary's entry was not found, so the mutant's number can't be read there.
    #[error("sim/src/main.rs must have one `fn main() ... {{` to read the mutant's number in")]
    NoMain,
}

/// All rows that replace one stretch of a file.
struct Site<'a> {
    range: Range<usize>,
    rows: Vec<(usize, &'a Row)>,
}

/// Changes `sources` (path from the workspace's root, text) so that mutant `n` runs the row `n` of the table, counted
/// from 1, and mutant 0 runs the unchanged text.
///
/// # Errors
/// The first row that does not fit, by name.
pub(crate) fn apply(sources: &mut BTreeMap<String, String>, rows: &[Row]) -> Result<(), ApplyError> {
    let places: Vec<(usize, Row)> =
        rows.iter().zip(1..).flat_map(|(row, number)| row.places().map(move |place| (number, place))).collect();
    let mut files: BTreeMap<&str, Vec<(usize, &Row)>> = BTreeMap::new();
    for (number, place) in &places {
        files.entry(&place.file).or_default().push((*number, place));
    }
    for (file, rows) in files {
        let Some(text) = sources.get_mut(file) else {
            return Err(ApplyError::NoFile { id: rows[0].1.id.clone(), file: file.to_owned() });
        };
        let sites = locate(text, &rows)?;
        *text = render(text, 0..text.len(), &sites);
    }
    Ok(())
}

/// Adds the switch itself: state in the core, and its setting at the start of the binary.
///
/// # Errors
/// When the sources have no place for it.
pub(crate) fn add_switch(sources: &mut BTreeMap<String, String>) -> Result<(), ApplyError> {
    let library = "core/src/lib.rs";
    let no_file = ApplyError::NoFile { id: "0".to_owned(), file: library.to_owned() };
    sources.get_mut(library).ok_or(no_file)?.push_str(STATE);
    let main = sources.get_mut("sim/src/main.rs").ok_or(ApplyError::NoMain)?;
    let entry = "fn main()";
    if main.matches(entry).count() != 1 {
        return Err(ApplyError::NoMain);
    }
    let open = main.find(entry).and_then(|at| main[at..].find('{').map(|brace| at + brace + 1));
    let read = format!(
        "\n    let number = std::env::var(\"{SWITCH}\").ok().and_then(|text| text.parse().ok()).unwrap_or(0);\n    \
         dps_core::set_mutant(number);"
    );
    main.insert_str(open.ok_or(ApplyError::NoMain)?, &read);
    Ok(())
}

/// Finds every row's text; sites come in the order of their beginnings, a site before those inside it.
fn locate<'a>(text: &str, rows: &[(usize, &'a Row)]) -> Result<Vec<Site<'a>>, ApplyError> {
    let mut sites: Vec<Site<'a>> = Vec::new();
    for (number, row) in rows {
        let count = text.matches(&row.find).count();
        let Some(start) = text.find(&row.find).filter(|_| count == 1) else {
            return Err(ApplyError::Count { id: row.id.clone(), file: row.file.clone(), count });
        };
        let range = start..start + row.find.len();
        match sites.iter_mut().find(|site| site.range == range) {
            Some(site) if site.rows[0].1.kind != row.kind => {
                return Err(ApplyError::Kinds { id: row.id.clone(), other: site.rows[0].1.id.clone() });
            }
            Some(site) => site.rows.push((*number, row)),
            None => sites.push(Site { range, rows: vec![(*number, row)] }),
        }
    }
    sites.sort_by(|a, b| a.range.start.cmp(&b.range.start).then(b.range.end.cmp(&a.range.end)));
    let mut open: Vec<&Site<'_>> = Vec::new();
    for site in &sites {
        open.retain(|outer| outer.range.end > site.range.start);
        if let Some(outer) = open.iter().find(|outer| outer.range.end < site.range.end) {
            let (id, other) = (site.rows[0].1.id.clone(), outer.rows[0].1.id.clone());
            return Err(ApplyError::Overlap { id, other });
        }
        open.push(site);
    }
    Ok(sites)
}

/// The stretch `range` of `text` with `sites` (all inside it) put under their conditions. A site inside another one lives
/// on in the unchanged branch.
fn render(text: &str, range: Range<usize>, sites: &[Site<'_>]) -> String {
    let mut out = String::new();
    let mut position = range.start;
    let mut rest = sites;
    while let Some((site, after)) = rest.split_first() {
        let inside = after.iter().take_while(|inner| inner.range.start < site.range.end).count();
        let old = render(text, site.range.clone(), &after[..inside]);
        out.push_str(&text[position..site.range.start]);
        out.push_str(&wrap(&site.rows, &old));
        position = site.range.end;
        rest = &after[inside..];
    }
    out.push_str(&text[position..range.end]);
    out
}

/// `old`, unless one of `rows` runs. Line breaks keep a trailing comment in a text from swallowing the brace.
fn wrap(rows: &[(usize, &Row)], old: &str) -> String {
    let mut chain = String::new();
    let switch = if rows[0].1.file.starts_with("core/") { "crate" } else { "dps_core" };
    for (number, row) in rows {
        chain.push_str(&format!("if {switch}::mutant({number}) {{\n{}\n}} else ", row.replace));
    }
    chain.push_str(&format!("{{\n{old}\n}}"));
    match rows[0].1.kind {
        Kind::Expr => format!("({chain})"),
        Kind::Stmt => chain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "core/src/toy.rs";
    const TOY: &str = "fn f(n: u32, max: u32) -> bool {\n    log(n);\n    n < max && max > 0\n}\n";

    fn row(id: &str, find: &str, replace: &str, kind: Kind) -> Row {
        Row {
            id: id.to_owned(),
            seed: None,
            title: String::new(),
            file: FILE.to_owned(),
            find: find.to_owned(),
            replace: replace.to_owned(),
            kind,
            checker: "S1".to_owned(),
            seeds_max: 1,
            scenario: "keystore".to_owned(),
            twin: false,
            numbers: Vec::new(),
            also: Vec::new(),
        }
    }

    fn applied(rows: &[Row]) -> Result<String, ApplyError> {
        let mut sources = BTreeMap::from([(FILE.to_owned(), TOY.to_owned())]);
        apply(&mut sources, rows)?;
        Ok(sources.remove(FILE).unwrap())
    }

    /// Without the line breaks that `wrap` adds.
    fn flat(text: &str) -> String {
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_expression_keeps_its_place_in_a_larger_one() {
        let text = applied(&[row("a", "n < max", "n <= max", Kind::Expr)]).unwrap();
        let expected = "(if crate::mutant(1) { n <= max } else { n < max }) && max > 0";
        assert_eq!(flat(&text), flat(&TOY.replace("n < max && max > 0", expected)));
    }

    #[test]
    fn a_statement_can_be_left_out() {
        let text = applied(&[row("a", "log(n);", "", Kind::Stmt)]).unwrap();
        assert_eq!(flat(&text), flat(&TOY.replace("log(n);", "if crate::mutant(1) { } else { log(n); }")));
    }

    #[test]
    fn rows_with_the_same_text_form_a_chain() {
        let rows = [
            row("a", "log(n);", "", Kind::Stmt),
            row("b", "max > 0", "true", Kind::Expr),
            row("c", "log(n);", "log(0);", Kind::Stmt),
        ];
        let chain = "if crate::mutant(1) { } else if crate::mutant(3) { log(0); } else { log(n); }";
        let other = "(if crate::mutant(2) { true } else { max > 0 })";
        let expected = TOY.replace("log(n);", chain).replace("max > 0", other);
        assert_eq!(flat(&applied(&rows).unwrap()), flat(&expected));
    }

    #[test]
    fn a_row_may_change_several_places() {
        let mut both = row("a", "log(n);", "", Kind::Stmt);
        let (file, find, replace) = (FILE.to_owned(), "max > 0".to_owned(), "true".to_owned());
        both.also.push(super::super::table::Edit { file, find, replace, kind: Kind::Expr });
        let first = "if crate::mutant(1) { } else { log(n); }";
        let second = "(if crate::mutant(1) { true } else { max > 0 })";
        let expected = TOY.replace("log(n);", first).replace("max > 0", second);
        assert_eq!(flat(&applied(&[both]).unwrap()), flat(&expected));
    }

    #[test]
    fn a_text_inside_another_lives_on_in_the_unchanged_branch() {
        let rows = [row("in", "max > 0", "true", Kind::Expr), row("out", "n < max && max > 0", "false", Kind::Expr)];
        let inner = "(if crate::mutant(1) { true } else { max > 0 })";
        let outer = format!("(if crate::mutant(2) {{ false }} else {{ n < max && {inner} }})");
        assert_eq!(flat(&applied(&rows).unwrap()), flat(&TOY.replace("n < max && max > 0", &outer)));
    }

    #[test]
    fn a_row_that_does_not_fit_is_named() {
        let count = |id: &str, count| ApplyError::Count { id: id.to_owned(), file: FILE.to_owned(), count };
        assert_eq!(applied(&[row("none", "n > max", "true", Kind::Expr)]), Err(count("none", 0)));
        assert_eq!(applied(&[row("many", "max", "n", Kind::Expr)]), Err(count("many", 3)));
        let two = [row("a", "log(n);", "", Kind::Stmt), row("b", "log(n);", "0", Kind::Expr)];
        assert_eq!(applied(&two), Err(ApplyError::Kinds { id: "b".to_owned(), other: "a".to_owned() }));
        let two = [row("late", "max && max", "n", Kind::Expr), row("early", "n < max", "true", Kind::Expr)];
        assert_eq!(applied(&two), Err(ApplyError::Overlap { id: "late".to_owned(), other: "early".to_owned() }));
        let mut gone = row("gone", "n", "m", Kind::Expr);
        gone.file = "core/src/gone.rs".to_owned();
        assert!(matches!(applied(&[gone]), Err(ApplyError::NoFile { id, .. }) if id == "gone"));
    }

    #[test]
    fn the_switch_is_read_before_anything_else() {
        let main = "//! Head.\nfn main() -> ExitCode {\n    run()\n}\n".to_owned();
        let library = "#![no_std]\n".to_owned();
        let mut sources =
            BTreeMap::from([("core/src/lib.rs".to_owned(), library), ("sim/src/main.rs".to_owned(), main)]);
        add_switch(&mut sources).unwrap();
        let main = &sources["sim/src/main.rs"];
        assert!(main.find("set_mutant").unwrap() < main.find("run()").unwrap());
        assert!(sources["core/src/lib.rs"].contains("pub fn mutant(number: u32) -> bool"));
        sources.insert("sim/src/main.rs".to_owned(), "mod cli;\n".to_owned());
        assert_eq!(add_switch(&mut sources), Err(ApplyError::NoMain));
    }
}
