//! House rules that no compiler checks.

use dps_tests::source::{code_only, functions, test_modules, without_tests, words};
use dps_tests::tree::{self, TextFile};

/// Lines of a file.
const FILE_LINES_MAX: usize = 600;

/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Complaints about `files`, one a line, must be none.
fn check(files: &[TextFile], rule: impl Fn(&TextFile) -> Vec<String>) {
    let complaints = files.iter().flat_map(|file| rule(file).into_iter().map(|what| format!("{}: {what}", file.path)));
    let complaints: Vec<String> = complaints.collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Every place in `code` where `pattern` begins a word, as a complaint.
fn places(code: &str, pattern: &str) -> Vec<String> {
    let starts = code.match_indices(pattern).filter(|(at, _)| {
        let before = code[..*at].chars().next_back();
        !before.is_some_and(|c| c == '_' || c.is_alphanumeric())
    });
    starts.map(|(at, _)| format!("line {}: {pattern}", code[..at].matches('\n').count() + 1)).collect()
}

/// Leaves out the files of modules that are compiled for tests only, with the modules inside them.
fn drop_test_modules(files: &mut Vec<TextFile>) {
    let stems: Vec<String> = files
        .iter()
        .flat_map(|file| {
            let stem = file.path.trim_end_matches(".rs");
            let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
            let inside = if ["lib", "main", "mod"].contains(&name) { folder } else { stem };
            test_modules(&code_only(&file.text)).into_iter().map(move |module| format!("{inside}/{module}"))
        })
        .collect();
    files.retain(|file| {
        let stem = file.path.trim_end_matches(".rs");
        !stems.iter().any(|test| stem == test || stem.starts_with(&format!("{test}/")))
    });
}

#[test]
fn files_and_functions_are_short() {
    check(&tree::files(&[".rs"]), |file| {
        let lines = file.text.lines().count();
        let mut complaints = Vec::new();
        if lines > FILE_LINES_MAX {
            complaints.push(format!("{lines} lines, at most {FILE_LINES_MAX}"));
        }
        let long = functions(&code_only(&file.text)).into_iter().filter(|f| f.lines > FUNCTION_LINES_MAX);
        complaints.extend(
            long.map(|f| format!("line {}: {} has {} lines, at most {FUNCTION_LINES_MAX}", f.line, f.name, f.lines)),
        );
        complaints
    });
}

#[test]
fn every_module_says_what_it_is() {
    check(&tree::files(&[".rs"]), |file| {
        // A fuzz target begins with what its linker needs.
        let first = file.text.lines().find(|line| !line.starts_with("#![no_main]"));
        if first.is_some_and(|line| line.starts_with("//! ")) { vec![] } else { vec!["no `//!` head".to_owned()] }
    });
}

#[test]
fn nothing_is_left_unfinished() {
    check(&tree::files(&[".rs"]), |file| {
        let code = code_only(&file.text);
        ["todo!", "unimplemented!", "dbg!", "#[ignore", "#![allow(dead_code", "#[allow(dead_code"]
            .into_iter()
            .flat_map(|word| places(&code, word))
            .collect()
    });
}

#[test]
fn the_core_reaches_for_nothing_outside() {
    let mut files = tree::files(&[".rs"]);
    files.retain(|file| file.is_below("core/src/"));
    drop_test_modules(&mut files);
    check(&files, |file| {
        let code = without_tests(&code_only(&file.text));
        let mut complaints: Vec<String> = ["std::", "extern crate std", ".unwrap()", "static mut", "thread_local!"]
            .into_iter()
            .flat_map(|word| places(&code, word))
            .collect();
        let banned = ["f32", "f64", "HashMap", "HashSet", "RefCell", "Mutex", "RwLock", "OnceLock", "unsafe"];
        let found = words(&code).filter(|(_, word)| banned.contains(word));
        complaints.extend(found.map(|(at, word)| format!("line {}: {word}", code[..at].matches('\n').count() + 1)));
        // A cell in a value is the value's business; one in a static would be shared by all machines.
        let statics = code.lines().filter(|line| line.contains("static ") && line.contains("Atomic"));
        complaints.extend(statics.map(str::to_owned));
        complaints
    });
}

#[test]
fn only_the_renderer_prints() {
    let mut files = tree::files(&[".rs"]);
    files.retain(|file| !file.is_below("tests/"));
    drop_test_modules(&mut files);
    check(&files, |file| {
        let name = file.path.rsplit('/').next().expect("a path has a last part");
        if name == "render.rs" || file.path.contains("/render/") {
            return vec![];
        }
        let code = without_tests(&code_only(&file.text));
        ["print!", "println!", "eprint!", "eprintln!"].into_iter().flat_map(|word| places(&code, word)).collect()
    });
}

#[test]
fn names_come_from_the_field() {
    check(&tree::files(&[".rs"]), |file| {
        let vague = ["utils", "util", "common", "helpers", "helper", "manager", "misc"];
        let parts = file.path.trim_end_matches(".rs").split('/');
        parts.filter(|part| vague.contains(part)).map(|part| format!("{part} is no name of the field")).collect()
    });
}

#[test]
fn what_is_written_speaks_of_dps_alone() {
    let mut files = tree::files(&[".md", ".rs", ".toml", ".yml", ".txt", "run"]);
    // This file has to name what it bans.
    files.retain(|file| file.path != "tests/tests/tidy.rs");
    check(&files, |file| {
        let text = file.text.to_lowercase();
        ["/work/", "/root/", "/home/", "issue #", "worktree", "milestone", "this session", "a session of"]
            .into_iter()
            .flat_map(|word| places(&text, word))
            .collect()
    });
}

#[test]
fn the_changelog_has_a_place_for_what_comes_next() {
    let text = read("CHANGELOG.md");
    assert!(text.lines().any(|line| line == "## Unreleased"));
}

#[test]
fn the_readme_is_short_enough_to_be_read() {
    let lines = read("README.md").lines().count();
    assert!((100..=150).contains(&lines), "README.md has {lines} lines");
}

#[test]
fn the_architecture_has_its_diagrams() {
    let text = read("ARCHITECTURE.md");
    let diagrams: Vec<&str> = text.split("```mermaid").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let shows = |words: &[&str]| diagrams.iter().any(|diagram| words.iter().all(|word| diagram.contains(word)));
    assert!(shows(&["file", "chunks", "DHT", "Raft", "chain"]), "from a file to the chain");
    assert!(shows(&["DiskDone", "Node", "Reply"]), "from events to effects");
}

#[test]
fn one_script_is_all_of_ci() {
    assert!(read(".github/workflows/ci.yml").contains("run: bash .ci/run"));
    let script = read(".ci/run");
    for part in ["cargo fmt", "cargo clippy", "cargo test", "cargo build", "cargo doc", "sim swarm", "sim mutants"] {
        assert!(script.contains(part), ".ci/run has no {part}");
    }
    assert!(read("README.md").contains("\ncargo test --workspace\n"), "the script runs what the README says");
}

#[test]
fn links_between_documents_lead_somewhere() {
    check(&tree::files(&[".md"]), |file| {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let targets = file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let local = targets.filter(|target| !target.contains("://"));
        local.filter(|target| !leads_somewhere(folder, &file.path, target)).map(str::to_owned).collect()
    });
}

/// Whether a link from a document `from` in `folder` is a file, and its `#part` a heading there.
fn leads_somewhere(folder: &str, from: &str, target: &str) -> bool {
    let (path, part) = target.split_once('#').unwrap_or((target, ""));
    let path = if path.is_empty() { tree::root().join(from) } else { tree::root().join(folder).join(path) };
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let anchors = headings.map(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || *c == ' ' || *c == '-' || *c == '_');
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    });
    path.exists() && (part.is_empty() || anchors.into_iter().any(|anchor| anchor == part))
}

/// The tests that `plan` names and that do not exist. Its rows name them as `` `path/to/file.rs::name` ``.
fn missing_tests(plan: &str) -> Vec<String> {
    let named = plan.split('`').filter_map(|text| text.split_once(".rs::"));
    let missing = named.filter(|(path, name)| {
        let text = std::fs::read_to_string(tree::root().join(format!("{path}.rs"))).unwrap_or_default();
        !has_test(&text, name)
    });
    missing.map(|(path, name)| format!("{path}.rs::{name}")).collect()
}

#[test]
fn every_test_that_the_plan_names_exists() {
    let missing = missing_tests(&read("docs/plan.md"));
    assert!(missing.is_empty(), "docs/plan.md names tests that do not exist:\n{}", missing.join("\n"));
}

/// Whether a function `name` stands under a `#[test]`, or under a macro that makes tests of functions.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let heads = [format!("fn {name}("), format!("async fn {name}(")];
    let is_attribute = |line: &&&str| line.starts_with("#[") || line.starts_with("//");
    let is_head = |line: &str| heads.iter().any(|head| line.starts_with(head));
    lines.iter().enumerate().filter(|(_, line)| is_head(line)).any(|(at, _)| {
        lines[..at]
            .iter()
            .rev()
            .take_while(is_attribute)
            .any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    })
}

/// How many lines each part of the original plan has, in its order. The first part is its head.
const PLAN_ROWS: [(&str, usize); 30] = [
    ("", 2),
    ("What Stage 1 found", 8),
    ("Phase 1A", 20),
    ("Phase 1B", 13),
    ("Phase 1C", 6),
    ("What Stage 2 found", 8),
    ("Phase 2A", 6),
    ("Phase 2B", 4),
    ("Phase 2C", 3),
    ("Phase 2D", 3),
    ("Phase 2E", 6),
    ("What Stage 3 found", 6),
    ("Phase 3A", 8),
    ("Phase 3B", 5),
    ("Phase 3C", 3),
    ("Phase 3D", 2),
    ("Phase 3E", 8),
    ("What Stage 4 found", 5),
    ("Phase 4A", 3),
    ("Phase 4B", 4),
    ("Phase 4C", 4),
    ("Phase 4D", 3),
    ("Phase 4E", 5),
    ("What Stage 5 found", 6),
    ("Phase 5A", 6),
    ("Phase 5B", 3),
    ("Phase 5C", 4),
    ("Phase 5D", 4),
    ("Stage 6", 8),
    ("Stage 7", 8),
];

/// The rows of `plan`, by the heading under which they stand.
fn plan_rows(plan: &str) -> Vec<(&str, Vec<&str>)> {
    let mut parts = vec![("", Vec::new())];
    for line in plan.lines() {
        if let Some(heading) = line.strip_prefix("## ").or_else(|| line.strip_prefix("### ")) {
            parts.push((heading.split(':').next().expect("there is always a first part"), Vec::new()));
        } else if line.starts_with("| ") && !line.starts_with("| Item") {
            parts.last_mut().expect("it begins with one").1.push(line);
        }
    }
    parts.retain(|(_, rows)| !rows.is_empty());
    parts
}

/// What is wrong with a row of the plan.
fn row_complaint(row: &str) -> Option<String> {
    let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
    let [item, state] = cells[..] else { return Some(format!("a row has two cells: {row}")) };
    let told = state.contains(".rs::") || state.starts_with("later: ") || state.starts_with("departure: ");
    let what = "a row names a test, says \"later\" and for what, or gives the reason of a departure";
    (item.is_empty() || !told).then(|| format!("{what}: {row}"))
}

#[test]
fn every_row_of_the_plan_says_how_it_stands() {
    let plan = read("docs/plan.md");
    let complaints: Vec<String> =
        plan_rows(&plan).into_iter().flat_map(|(_, rows)| rows).filter_map(row_complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn the_plan_has_a_row_for_every_line_of_the_original() {
    let plan = read("docs/plan.md");
    let counts: Vec<(&str, usize)> = plan_rows(&plan).into_iter().map(|(part, rows)| (part, rows.len())).collect();
    assert_eq!(counts, PLAN_ROWS);
}

#[test]
fn rules_can_be_broken() {
    assert!(
        leads_somewhere("docs", "docs/plan.md", "../README.md") && !leads_somewhere("", "README.md", "#no-such-part")
    );
    assert_eq!(places("a std::b\nmy_std::c std::d", "std::"), ["line 1: std::", "line 2: std::"]);
    assert!(has_test("    #[test]\n    // why\n    fn a() {}", "a"));
    assert!(!has_test("#[test]\nfn ab() {}\nfn a() {}", "a"));
    assert!(has_test("#[tokio::test]\nasync fn a() {}", "a") && !has_test("async fn a() {}", "a"));
}

#[test]
fn a_plan_that_is_not_true_is_refused() {
    let this = "`tests/tests/tidy.rs::a_plan_that_is_not_true_is_refused`";
    assert!(missing_tests(this).is_empty());
    for lie in ["`tests/tests/tidy.rs::no_such_test`", "`no/such/file.rs::a_test`", "`tests/tests/tidy.rs::read`"] {
        assert_eq!(missing_tests(&format!("| an item | {this}, {lie} |")), [lie.trim_matches('`')]);
    }
    for row in ["| an item |", "| an item | |", "| an item | done |", "| an item | later |", "| an item | departure |"]
    {
        assert!(row_complaint(row).is_some(), "{row}");
    }
    assert_eq!(row_complaint("| an item | later: with the transport |"), None);
    let plan = "| a | b |\n## Stage 1: KeyStore\n| Item | State |\n|---|---|\n| c | d |\n### Phase 1A: Bugs\n| e | f |";
    let expected = [("", vec!["| a | b |"]), ("Stage 1", vec!["| c | d |"]), ("Phase 1A", vec!["| e | f |"])];
    assert_eq!(plan_rows(plan), expected);
}

fn read(path: &str) -> String {
    std::fs::read_to_string(tree::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
