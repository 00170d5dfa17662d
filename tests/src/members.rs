//! Real members of a group on this machine: processes of the `dps` binary, and files over HTTP.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::command::binary;

/// Where members talk to each other, and where each serves files. Every group has addresses of its own, so the ports
/// can be the same for all.
const PEER_PORT: u16 = 17_301;
const FILES_PORT: u16 = 17_401;

/// Groups of this process so far.
static GROUPS: AtomicU8 = AtomicU8::new(0);

/// A group of processes, killed at the end of its life.
#[derive(Debug)]
pub struct Members {
    temp: tempfile::TempDir,
    /// Addresses from 127.`a`.`b`.1 on.
    net: [u8; 2],
    count: u8,
    running: BTreeMap<u8, Child>,
}

/// An answer over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The head, in lower case.
    pub head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Members {
    /// So many members, all running.
    ///
    /// # Panics
    /// When a process can't be started.
    #[must_use]
    pub fn new(count: u8) -> Self {
        let temp = tempfile::tempdir().expect("there is a place for temporary files");
        // Of the number of this process and of the group: no two that run at a time have the same.
        let group = GROUPS.fetch_add(1, Ordering::Relaxed) % 4;
        let [low, high, ..] = std::process::id().to_le_bytes();
        let mut members = Self { temp, net: [64 + (high & 15) + 16 * group, low], count, running: BTreeMap::new() };
        (1..=count).for_each(|number| members.start(number));
        members
    }

    /// Their numbers.
    pub fn numbers(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.count
    }

    /// Where a member serves files.
    #[must_use]
    pub const fn files(&self, number: u8) -> SocketAddr {
        self.address(number, FILES_PORT)
    }

    /// Where a member is reached by the others.
    #[must_use]
    pub const fn peers(&self, number: u8) -> SocketAddr {
        self.address(number, PEER_PORT)
    }

    const fn address(&self, number: u8, port: u16) -> SocketAddr {
        let [a, b] = self.net;
        SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, a, b, number), port))
    }

    /// The data directory of a member.
    #[must_use]
    pub fn data(&self, number: u8) -> PathBuf {
        self.temp.path().join(number.to_string())
    }

    /// What a member is told in order to run.
    #[must_use]
    pub fn arguments(&self, number: u8, data: &Path) -> Vec<String> {
        let peers: Vec<String> =
            self.numbers().map(|peer| format!("{peer}={}", self.address(peer, PEER_PORT))).collect();
        let (peers, listen) = (peers.join(","), self.files(number).to_string());
        let number = number.to_string();
        let data = data.to_str().expect("a plain path");
        ["server", "--node", &number, "--peers", &peers, "--listen", &listen, "--data", data].map(String::from).to_vec()
    }

    /// Starts a member that does not run.
    ///
    /// # Panics
    /// When it runs, or can't be started.
    pub fn start(&mut self, number: u8) {
        let arguments = self.arguments(number, &self.data(number));
        let mut command = Command::new(binary());
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let before = self.running.insert(number, command.spawn().expect("the binary was built"));
        assert!(before.is_none(), "member {number} runs");
    }

    /// Kills a member at once.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self, number: u8) {
        let mut child = self.running.remove(&number).expect("only one that runs is killed");
        child.kill().expect("a child can be killed");
        child.wait().expect("and waited for");
    }

    /// Who says that it leads, in the newest term.
    #[must_use]
    pub fn leader(&self) -> Option<u8> {
        let status = |number: u8| {
            let answer =
                ask(self.files(number), "GET", "/v1/status", &[], b"").ok().filter(|answer| answer.status == 200)?;
            let status: serde_json::Value = serde_json::from_slice(&answer.body).ok()?;
            status["leads"].as_bool()?.then_some((status["term"].as_u64()?, number))
        };
        self.running.keys().filter_map(|number| status(*number)).max().map(|(_, number)| number)
    }

    /// Waits until somebody leads. Every question is answered or refused at once, so it only asks again.
    #[must_use]
    pub fn wait_for_leader(&self) -> u8 {
        loop {
            if let Some(leader) = self.leader() {
                return leader;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// One request over a connection of its own.
///
/// # Errors
/// When there is no answer, or none of HTTP.
pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut head =
        format!("{method} {path} HTTP/1.1\r\nhost: dps\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    headers.iter().for_each(|header| head += &format!("{header}\r\n"));
    head += "\r\n";
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let bad = || io::Error::other("that is no answer of HTTP");
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(bad)?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(bad)?;
    let body = bytes[end + 4..].to_vec();
    let whole = head.lines().find_map(|line| line.strip_prefix("content-length: ")).and_then(|len| len.parse().ok());
    if whole.is_some_and(|len: usize| len != body.len()) && method != "HEAD" {
        return Err(io::Error::other("the answer was cut short"));
    }
    Ok(Answer { status, head, body })
}
