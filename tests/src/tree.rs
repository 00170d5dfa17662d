//! The files of the repository, for tests that look at the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are made by tools and hold nothing of ours.
const SKIPPED: [&str; 4] = ["target", "artifacts", "coverage", "corpus"];

/// The root of the repository.
///
/// # Panics
/// When this package is not in a folder of the repository.
#[must_use]
pub fn root() -> PathBuf {
    // Asked when it runs: what was built in one checkout may be run in another that shares its build folder.
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").to_owned());
    Path::new(&package).parent().expect("the package is in a folder of the repository").to_path_buf()
}

/// A text file of the repository.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// Its path from the root, with `/` between the parts.
    pub path: String,
    /// What it says.
    pub text: String,
}

impl TextFile {
    /// Whether the path begins like this.
    #[must_use]
    pub fn is_below(&self, folder: &str) -> bool {
        self.path.starts_with(folder)
    }
}

/// Every file of the repository whose name ends with one of `endings`, in the order of the paths. What tools make and
/// hidden folders are left out, `.ci` and `.github` are not.
///
/// # Panics
/// When a file can't be read as text.
#[must_use]
pub fn files(endings: &[&str]) -> Vec<TextFile> {
    let root = root();
    let (mut found, mut folders) = (Vec::new(), vec![root.clone()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the repository can be read") {
            let entry = entry.expect("a folder of the repository can be listed");
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                let hidden = name.starts_with('.') && name != ".ci" && name != ".github";
                if !hidden && !SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if endings.iter().any(|ending| name.ends_with(ending)) {
                let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let relative = path.strip_prefix(&root).expect("the file was found below the root");
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                found.push(TextFile { path: parts.join("/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!found.is_empty(), "the repository has files that end with {endings:?}");
    found
}
