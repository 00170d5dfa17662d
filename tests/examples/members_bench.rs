//! Three members on loopback beside three of etcd: files of 256 bytes over HTTP, one connection a client, in a closed loop.
//!
//! `cargo run --release -p dps-tests --example members_bench [SECONDS]`, with `etcd` (Debian's etcd-server) on the path. Every
//! figure is of one run after the other on the same disk; clients talk to all members in turn, as a load balancer would have it.
//! Of etcd that is its gateway, which speaks JSON to its own gRPC: whoever speaks gRPC gets more out of it.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dps_tests::members::{Members, ask};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A line of the table.
macro_rules! say {
    ($($words:tt)*) => { writeln!(io::stdout(), $($words)*)? };
}

/// Clients of each pass.
const CLIENTS: [usize; 3] = [1, 64, 256];

/// Keys of each client.
const KEYS: usize = 32;

/// What is stored, in bytes.
const VALUE_BYTES: usize = 256;

/// A service that stores values under keys.
trait Service {
    fn name(&self) -> &'static str;
    fn addresses(&self) -> Vec<SocketAddr>;
    /// The bytes of a request that stores a value under this key.
    fn put(&self, key: &str) -> Vec<u8>;
    /// The bytes of a linearizable read.
    fn get(&self, key: &str) -> Vec<u8>;
}

struct Dps(Members);

impl Service for Dps {
    fn name(&self) -> &'static str {
        "dps"
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        self.0.numbers().map(|number| self.0.files(number)).collect()
    }

    fn put(&self, key: &str) -> Vec<u8> {
        request("PUT", &format!("/v1/files/{key}"), &[b'v'; VALUE_BYTES])
    }

    fn get(&self, key: &str) -> Vec<u8> {
        request("GET", &format!("/v1/files/{key}"), b"")
    }
}

/// Three members of etcd, over the gateway that speaks HTTP and JSON to its gRPC service.
struct Etcd {
    children: Vec<Child>,
    _temp: tempfile::TempDir,
}

impl Etcd {
    const CLIENT_PORT: u16 = 17_501;

    fn start() -> io::Result<Self> {
        let temp = tempfile::tempdir()?;
        let client = |number: u16| format!("http://127.0.0.1:{}", Self::CLIENT_PORT + number);
        let peer = |number: u16| format!("http://127.0.0.1:{}", Self::CLIENT_PORT + 100 + number);
        let cluster: Vec<String> = (0..3).map(|number| format!("m{number}={}", peer(number))).collect();
        let mut children = Vec::new();
        for number in 0..3 {
            let data = temp.path().join(number.to_string());
            let child = Command::new("etcd")
                .args(["--name", &format!("m{number}"), "--data-dir"])
                .arg(data)
                .args(["--listen-client-urls", &client(number), "--advertise-client-urls", &client(number)])
                .args(["--listen-peer-urls", &peer(number), "--initial-advertise-peer-urls", &peer(number)])
                .args(["--initial-cluster", &cluster.join(","), "--initial-cluster-state", "new"])
                .args(["--logger", "zap", "--log-outputs", "/dev/null"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            children.push(child);
        }
        let etcd = Self { children, _temp: temp };
        let healthy = |address| {
            ask(address, "GET", "/health", &[], b"")
                .is_ok_and(|answer| answer.body.windows(4).any(|word| word == b"true"))
        };
        let began = Instant::now();
        while !etcd.addresses().into_iter().all(healthy) {
            if began.elapsed() > Duration::from_secs(30) {
                return Err(io::Error::other("etcd does not become healthy"));
            }
            std::thread::yield_now();
        }
        Ok(etcd)
    }

    fn body(fields: &[(&str, &[u8])]) -> Vec<u8> {
        let fields: BTreeMap<&str, String> =
            fields.iter().map(|(name, bytes)| (*name, data_encoding::BASE64.encode(bytes))).collect();
        serde_json::to_vec(&fields).expect("a map of text")
    }
}

impl Service for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn addresses(&self) -> Vec<SocketAddr> {
        (0..3).map(|number| SocketAddr::from(([127, 0, 0, 1], Self::CLIENT_PORT + number))).collect()
    }

    fn put(&self, key: &str) -> Vec<u8> {
        let body = Self::body(&[("key", key.as_bytes()), ("value", &[b'v'; VALUE_BYTES])]);
        request("POST", "/v3/kv/put", &body)
    }

    fn get(&self, key: &str) -> Vec<u8> {
        request("POST", "/v3/kv/range", &Self::body(&[("key", key.as_bytes())]))
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn request(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nhost: bench\r\ncontent-length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// Sends a request over a connection that stays, and takes the whole answer. Returns whether it says success.
async fn exchange(stream: &mut TcpStream, request: &[u8], buffer: &mut Vec<u8>) -> io::Result<bool> {
    stream.write_all(request).await?;
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&buffer[..end]).to_lowercase();
        let len = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let len = len.ok_or_else(|| io::Error::other("an answer without a length"))?;
        if buffer.len() >= end + 4 + len {
            return Ok(head.split(' ').nth(1) == Some("200"));
        }
    }
}

/// What a pass came to.
#[derive(Debug)]
struct Pass {
    per_second: f64,
    p50: Duration,
    p99: Duration,
    failed: usize,
}

async fn pass(service: &dyn Service, clients: usize, seconds: u64, reads: bool) -> io::Result<Pass> {
    let addresses = service.addresses();
    let began = Instant::now();
    let end = began + Duration::from_secs(seconds);
    let mut tasks = tokio::task::JoinSet::new();
    for client in 0..clients {
        let address = addresses[client % addresses.len()];
        // Keys of eight digits, each client's own, and so few that all are stored before they are read.
        let requests: Vec<Vec<u8>> = (0..KEYS)
            .map(|turn| format!("{:08}", client * KEYS + turn))
            .map(|key| if reads { service.get(&key) } else { service.put(&key) })
            .collect();
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (mut times, mut failed, mut buffer) = (Vec::new(), 0, Vec::new());
            for request in requests.iter().cycle() {
                let asked = Instant::now();
                if asked >= end {
                    break;
                }
                if exchange(&mut stream, request, &mut buffer).await? {
                    times.push(asked.elapsed());
                } else {
                    failed += 1;
                }
            }
            Ok::<_, io::Error>((times, failed))
        });
    }
    let (mut times, mut failed) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (client_times, client_failed) = done.map_err(io::Error::other)??;
        times.extend(client_times);
        failed += client_failed;
    }
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
    let per_second = times.len() as f64 / began.elapsed().as_secs_f64();
    Ok(Pass { per_second, p50: at(50), p99: at(99), failed })
}

fn main() -> io::Result<()> {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(4);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut rows = Vec::new();
    say!(
        "{:>6} {:>6} {:>7} {:>10} {:>10} {:>10} {:>7}",
        "what",
        "of",
        "clients",
        "per second",
        "p50 ms",
        "p99 ms",
        "failed"
    );
    let mut measure = |service: &dyn Service| -> io::Result<()> {
        for reads in [false, true] {
            for clients in CLIENTS {
                let Pass { per_second, p50, p99, failed } = runtime.block_on(pass(service, clients, seconds, reads))?;
                let what = if reads { "get" } else { "put" };
                let [p50, p99] = [p50, p99].map(|time| time.as_secs_f64() * 1e3);
                say!(
                    "{what:>6} {:>6} {clients:>7} {per_second:>10.0} {p50:>10.2} {p99:>10.2} {failed:>7}",
                    service.name()
                );
                rows.push((what, clients, per_second));
            }
        }
        Ok(())
    };
    let members = Members::new(3);
    let _ = members.wait_for_leader();
    measure(&Dps(members))?;
    match Etcd::start() {
        Ok(etcd) => measure(&etcd)?,
        Err(error) => say!("etcd is left out: {error}"),
    }
    let (ours, theirs) = rows.split_at(2 * CLIENTS.len());
    for ((what, clients, ours), (_, _, theirs)) in ours.iter().zip(theirs) {
        say!("{what} at {clients}: {:.2} times as many", ours / theirs);
    }
    Ok(())
}
