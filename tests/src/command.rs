//! The real `dps` binary, run in a directory of its own.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use dps_core::id::ChunkId;

/// The binary, built once per test program with the profile of the tests.
///
/// # Panics
/// When it can't be built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        // <target>/<profile>/deps/<this program>
        let program = std::env::current_exe().expect("a test program has a path");
        let folder = program.ancestors().nth(2).expect("a test program is in <target>/<profile>/deps");
        let profile = folder.file_name().and_then(OsStr::to_str).expect("profiles have names");
        let target = folder.parent().expect("a profile is in the target directory");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "dps", "--bin", "dps", "--target-dir"])
            .arg(target)
            .args(["--profile", if profile == "debug" { "dev" } else { profile }])
            .current_dir(crate::tree::root())
            .status();
        assert!(status.expect("cargo can be run").success(), "the dps binary can't be built");
        folder.join("dps")
    })
}

/// A working directory with a place for a store, both gone at the end of the test.
#[derive(Debug)]
pub struct Bench {
    temp: tempfile::TempDir,
}

/// How a run of the binary ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: String,
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// An empty working directory. The store, not made yet, is `store` in it.
    ///
    /// # Panics
    /// When there is no room for temporary files.
    #[must_use]
    pub fn new() -> Self {
        Self { temp: tempfile::tempdir().expect("tests can write temporary files") }
    }

    /// The working directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.temp.path()
    }

    /// The data directory.
    #[must_use]
    pub fn store(&self) -> PathBuf {
        self.temp.path().join("store")
    }

    /// Writes a file into the working directory and returns its path.
    ///
    /// # Panics
    /// When it can't be written.
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.temp.path().join(name);
        fs::write(&path, content).expect("tests can write temporary files");
        path
    }

    /// The binary with these arguments, in the working directory, with an environment that holds nothing but what a
    /// test puts there.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(binary());
        command.args(args).current_dir(self.path()).env_clear().env("DPS_DATA", self.store());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary to its end.
    ///
    /// # Panics
    /// When it can't be run.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        self.command(args).output().expect("the binary can be run").into()
    }

    /// Runs the binary to its end with `input` on its standard input.
    ///
    /// # Panics
    /// When it can't be run, or panics itself.
    pub fn run_with_input<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>, input: &[u8]) -> Ended {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().expect("the binary can be run");
        let mut stdin = child.stdin.take().expect("standard input is a pipe");
        std::thread::scope(|scope| {
            // A binary that fails early does not read everything.
            scope.spawn(move || drop(stdin.write_all(input)));
            wait(child)
        })
    }

    /// Runs the binary and returns its standard output.
    ///
    /// # Panics
    /// When it does not succeed.
    pub fn succeed<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Vec<u8> {
        let ended = self.run(args);
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stdout
    }

    /// Runs the binary with `--json` and returns the lines of its output.
    ///
    /// # Panics
    /// When its output is not JSON.
    pub fn json<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> (i32, Vec<serde_json::Value>) {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        let ended = self.run(args.chain(["--json".into()]));
        let text = String::from_utf8(ended.stdout).expect("JSON is UTF-8");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("each line is an object"));
        (ended.code, lines.collect())
    }

    /// The names in a directory below the working directory, sorted; none if it does not exist.
    #[must_use]
    pub fn entries(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path().join(folder)).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// Waits for a run of the binary to end.
///
/// # Panics
/// When it can't be waited for.
pub fn wait(child: Child) -> Ended {
    child.wait_with_output().expect("a child can be waited for").into()
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        let signal = output.status.signal().map(|signal| 128 + signal);
        let code = output.status.code().or(signal).expect("a process ends with a code or by a signal");
        Self { code, stdout: output.stdout, stderr: String::from_utf8_lossy(&output.stderr).into_owned() }
    }
}

impl Ended {
    /// Asserts that the run failed with this exit code and this error code, said nothing on standard output, and did
    /// not panic.
    ///
    /// # Panics
    /// When it did not.
    pub fn assert_failed(&self, exit: i32, code: &str) {
        assert_eq!(self.code, exit, "{self:?}");
        assert!(self.stderr.contains(&format!("error[{code}]: ")), "expected {code}: {self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// Every file below `folder` with the hash of its bytes, by its path from there; folders have none.
///
/// # Panics
/// When something can't be read.
#[must_use]
pub fn snapshot(folder: &Path) -> BTreeMap<PathBuf, Option<ChunkId>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![folder.to_path_buf()]);
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(&inner).expect("a folder can be read") {
            let path = entry.expect("a folder can be listed").path();
            let hash = path.is_file().then(|| ChunkId::of(&fs::read(&path).expect("a file can be read")));
            if hash.is_none() {
                folders.push(path.clone());
            }
            found.insert(path.strip_prefix(folder).expect("it was found below").to_path_buf(), hash);
        }
    }
    found
}

/// Whether the tests run as root, whom permissions don't stop.
#[must_use]
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Makes `command` run as someone whom permissions stop, if that is not so already.
pub fn unprivileged(command: &mut Command) -> &mut Command {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    if is_root() { command.uid(NOBODY).gid(NOBODY) } else { command }
}
