//! A copy of the workspace's core and simulator with all mutants in it, built once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::apply;
use super::table::Row;

/// The packages that are copied; nothing else of the workspace takes part in a simulation.
const PACKAGES: [&str; 2] = ["core", "sim"];

/// Where the table of mutants is, from the root of the workspace.
pub(crate) const TABLE: &str = "sim/mutants.toml";

/// The root of the workspace: the nearest folder from `start` upwards that has a table of mutants.
///
/// # Errors
/// When there is none.
pub(crate) fn find_root(start: &Path) -> Result<PathBuf> {
    let root = start.ancestors().find(|folder| folder.join(TABLE).is_file());
    root.map(Path::to_path_buf).with_context(|| {
        format!(
            "no {TABLE} in {} or above it; hint: run this in the sources of dps, or name them with --root",
            start.display()
        )
    })
}

/// Writes the changed copy below `target` and builds its simulator. Files that are already as they should be are not
/// touched, so that a second build has little to do.
///
/// Returns the path of the binary.
///
/// # Errors
/// A row that does not fit, a file that can't be read or written, or a build that fails; then with the compiler's words.
pub(crate) fn build(root: &Path, target: &Path, rows: &[Row]) -> Result<PathBuf> {
    let mut sources = gather(root)?;
    apply::apply(&mut sources, rows)?;
    apply::add_switch(&mut sources)?;
    let copy = target.join("copy");
    write(&copy, &sources)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--quiet", "-p", "sim", "--bin", "sim"])
        .current_dir(&copy)
        .env("CARGO_TARGET_DIR", target)
        .stdin(Stdio::null())
        .output()
        .context("cargo can't be started")?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        bail!("the changed copy in {} does not build; each mutant must compile:\n{text}", copy.display());
    }
    Ok(target.join("release").join(format!("sim{}", std::env::consts::EXE_SUFFIX)))
}

/// Every text file that the copy needs, by its path from the root.
fn gather(root: &Path) -> Result<BTreeMap<String, String>> {
    let mut sources = BTreeMap::new();
    let manifest = fs::read_to_string(root.join("Cargo.toml")).context("the workspace's Cargo.toml can't be read")?;
    sources.insert("Cargo.toml".to_owned(), reduce_manifest(&manifest)?);
    for file in ["Cargo.lock", "rust-toolchain.toml"] {
        let text = fs::read_to_string(root.join(file)).with_context(|| format!("{file} can't be read"))?;
        sources.insert(file.to_owned(), text);
    }
    for package in PACKAGES {
        for path in files_below(&root.join(package)).with_context(|| format!("{package}/ can't be read"))? {
            let bytes = fs::read(&path).with_context(|| format!("{} can't be read", path.display()))?;
            let relative = path.strip_prefix(root).context("a file below the root")?;
            if let (Ok(text), Some(name)) = (String::from_utf8(bytes), relative.to_str()) {
                sources.insert(name.replace('\\', "/"), text);
            }
        }
    }
    Ok(sources)
}

/// The workspace's manifest with only the copied packages as members, and without lints: what a mutant leaves unused is
/// no error.
fn reduce_manifest(text: &str) -> Result<String> {
    let mut manifest: toml::Table = toml::from_str(text).context("the workspace's Cargo.toml is not TOML")?;
    let workspace = manifest.get_mut("workspace").and_then(toml::Value::as_table_mut);
    let workspace = workspace.context("the workspace's Cargo.toml has no [workspace]")?;
    workspace.insert("members".to_owned(), PACKAGES.map(toml::Value::from).to_vec().into());
    workspace.remove("exclude");
    let mut allow = toml::Table::new();
    allow.insert("warnings".to_owned(), "allow".into());
    let mut lints = toml::Table::new();
    lints.insert("rust".to_owned(), allow.into());
    workspace.insert("lints".to_owned(), lints.into());
    Ok(toml::to_string(&manifest)?)
}

/// Makes `copy` hold exactly `sources`.
fn write(copy: &Path, sources: &BTreeMap<String, String>) -> Result<()> {
    let wanted: BTreeSet<PathBuf> = sources.keys().map(|name| copy.join(name)).collect();
    for (name, text) in sources {
        let path = copy.join(name);
        if fs::read(&path).is_ok_and(|bytes| bytes == text.as_bytes()) {
            continue;
        }
        let folder = path.parent().context("every file of the copy is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("{} can't be made", folder.display()))?;
        fs::write(&path, text).with_context(|| format!("{} can't be written", path.display()))?;
    }
    for path in files_below(copy)?.into_iter().filter(|path| !wanted.contains(path)) {
        if path.file_name().is_none_or(|name| name != "Cargo.lock") {
            fs::remove_file(&path).with_context(|| format!("{} can't be removed", path.display()))?;
        }
    }
    Ok(())
}

/// Every file below a folder, in order, without what a build made.
fn files_below(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                if entry.file_name() != "target" {
                    folders.push(entry.path());
                }
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reduced_manifest_has_two_members_and_no_lints() {
        let text = "[workspace]\nmembers = [\"core\", \"shell\", \"sim\"]\nexclude = [\"fuzz\"]\n\
                    [workspace.package]\nversion = \"1.0.0\"\n[workspace.lints.rust]\nmissing_docs = \"deny\"\n";
        let manifest: toml::Table = toml::from_str(&reduce_manifest(text).unwrap()).unwrap();
        let workspace = manifest["workspace"].as_table().unwrap();
        assert_eq!(workspace["members"], toml::Value::from(vec!["core", "sim"]));
        assert!(!workspace.contains_key("exclude"));
        assert_eq!(workspace["package"]["version"].as_str(), Some("1.0.0"));
        assert_eq!(workspace["lints"]["rust"].as_table().unwrap().len(), 1);
    }

    /// A module and the folder of its submodules: as texts and as paths they sort differently.
    #[test]
    fn every_file_of_a_copy_has_its_own_text() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["core/src/recover.rs", "core/src/recover/tests.rs", "core/src/recovery.rs"];
        let sources = names.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
        write(folder.path(), &sources).unwrap();
        for name in names {
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), name);
        }
    }

    #[test]
    fn a_second_copy_drops_what_is_gone_and_leaves_the_rest_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let first =
            BTreeMap::from([("a/kept.rs".to_owned(), "1".to_owned()), ("a/gone.rs".to_owned(), "2".to_owned())]);
        write(folder.path(), &first).unwrap();
        let kept = folder.path().join("a/kept.rs");
        let before = fs::metadata(&kept).unwrap().modified().unwrap();
        write(folder.path(), &BTreeMap::from([("a/kept.rs".to_owned(), "1".to_owned())])).unwrap();
        assert_eq!(fs::metadata(&kept).unwrap().modified().unwrap(), before);
        assert_eq!(files_below(folder.path()).unwrap(), [kept]);
    }

    #[test]
    fn the_root_is_found_from_below_it() {
        let folder = tempfile::tempdir().unwrap();
        let below = folder.path().join("sim/src");
        fs::create_dir_all(&below).unwrap();
        fs::write(folder.path().join(TABLE), "").unwrap();
        assert_eq!(find_root(&below).unwrap(), folder.path());
    }
}
