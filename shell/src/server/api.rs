//! Files over HTTP: `PUT`, `GET` and `DELETE` of `/v1/files/{name}`, and `GET /v1/status`.
//!
//! A file has at most 512 bytes, which are part of the ledger. Whoever gets an answer of success has it from the
//! group: the file is on a majority of its members, and every later `GET`, at whatever member, sees it or what came
//! after.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use dps_core::crypto::hash::sha256;
use dps_core::id::FileId;
use dps_core::keystore::manifest::{Body as Content, Manifest};
use dps_core::ledger::command::{Command, Outcome};
use dps_core::ledger::file::{Expect, Target};
use dps_core::ledger::name::Name;
use dps_core::limits::INLINE_BYTES_MAX;
use dps_core::replica::gateway::Undone;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::member::Input;
use crate::clock::Clock;

/// Clients at once; one more waits.
const CLIENTS_MAX: usize = 1_024;

/// How long a client may take to send the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a read is tried.
const READ_PATIENCE: Duration = Duration::from_secs(10);

/// How long it waits before a read that was refused is tried again.
const READ_PAUSE: Duration = Duration::from_millis(20);

type Answer = Response<Full<Bytes>>;

/// What went wrong, for people and for programs.
#[derive(Debug)]
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    fn into_answer(self) -> Answer {
        #[derive(Serialize)]
        struct Told<'a> {
            code: &'a str,
            message: &'a str,
        }
        json(self.status, &Told { code: self.code, message: &self.message })
    }

    fn no_leader() -> Self {
        let message = "no member leads the group; nothing was done, try again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "E_NO_LEADER", message)
    }

    fn closing() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "E_CLOSED", "this member has stopped; ask another one")
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut bytes = serde_json::to_vec(value).expect("plain values have a text");
    bytes.push(b'\n');
    let mut answer = Response::new(Full::from(bytes));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    answer
}

/// Serves clients until the member ends.
pub(super) async fn serve(listener: TcpListener, inputs: mpsc::Sender<Input>) {
    let clients = std::sync::Arc::new(tokio::sync::Semaphore::new(CLIENTS_MAX));
    let inputs = inputs.downgrade();
    loop {
        let Ok(place) = std::sync::Arc::clone(&clients).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a client could not be taken");
                tokio::time::sleep(READ_PAUSE).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let inputs = inputs.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let inputs = inputs.clone();
                async move {
                    let answer = match inputs.upgrade() {
                        Some(inputs) => handle(request, inputs).await,
                        None => Err(Problem::closing()),
                    };
                    Ok::<_, Infallible>(answer.unwrap_or_else(Problem::into_answer))
                }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
            if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
                debug!(%error, "a client's connection has ended");
            }
            drop(place);
        });
    }
}

async fn handle(request: Request<Incoming>, inputs: mpsc::Sender<Input>) -> Result<Answer, Problem> {
    let path = request.uri().path();
    if path == "/v1/status" {
        return status(request.method(), inputs).await;
    }
    let Some(name) = path.strip_prefix("/v1/files/") else {
        return Err(Problem::new(StatusCode::NOT_FOUND, "E_PATH", "there are /v1/files/NAME and /v1/status"));
    };
    let name = name_of(name)?;
    match *request.method() {
        Method::GET | Method::HEAD => get(name, inputs).await,
        Method::PUT => put(name, request, inputs).await,
        Method::DELETE => {
            let expect = expectation(&request)?;
            let command = Command::Delete { time: Clock::start().now().wall, name, expect };
            written(decide(command, inputs).await?)
        }
        _ => Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "E_METHOD", "a file takes GET, PUT and DELETE")),
    }
}

/// The name in a path, where bytes may be written as `%` and two hexadecimal digits.
fn name_of(encoded: &str) -> Result<Name, Problem> {
    let bad = |message: String| Problem::new(StatusCode::BAD_REQUEST, "E_NAME", message);
    let (mut bytes, mut rest) = (Vec::with_capacity(encoded.len()), encoded.as_bytes());
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value =
            digits.filter(|digits| !digits.starts_with('+')).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.ok_or_else(|| bad(String::from("a % in a name is followed by two hexadecimal digits")))?);
        rest = &after[2..];
    }
    Name::new(&bytes).map_err(|error| bad(error.to_string()))
}

/// What the name must mean before: `If-None-Match: *` for nothing, `If-Match: "N"` for version N.
fn expectation(request: &Request<Incoming>) -> Result<Expect, Problem> {
    let bad = || {
        let message = "conditions are If-None-Match: * and If-Match: \"VERSION\", one of them";
        Problem::new(StatusCode::BAD_REQUEST, "E_CONDITION", message)
    };
    let header = |name| request.headers().get(name).map(|value| value.to_str().map_err(|_| bad())).transpose();
    match (header(IF_NONE_MATCH)?, header(IF_MATCH)?) {
        (None, None) => Ok(Expect::Any),
        (Some("*"), None) => Ok(Expect::Absent),
        (None, Some(tag)) => {
            let digits = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).ok_or_else(bad)?;
            digits.parse().map(Expect::Version).map_err(|_| bad())
        }
        _ => Err(bad()),
    }
}

async fn put(name: Name, request: Request<Incoming>, inputs: mpsc::Sender<Input>) -> Result<Answer, Problem> {
    let expect = expectation(&request)?;
    let limit = usize::try_from(INLINE_BYTES_MAX).expect("it is small");
    let body = Limited::new(request.into_body(), limit).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            let message = format!("a file has at most {INLINE_BYTES_MAX} bytes here; nothing was stored");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "E_TOO_LARGE", message)
        } else {
            Problem::new(StatusCode::BAD_REQUEST, "E_BODY", format!("the file did not come whole: {error}"))
        }
    })?;
    let content = body.to_bytes();
    let manifest = Manifest::inline(FileId::from_bytes(sha256(&content)), &content);
    let command = Command::Put { time: Clock::start().now().wall, lease: 0, name, expect, manifest };
    written(decide(command, inputs).await?)
}

/// What the group makes of a command.
async fn decide(command: Command, inputs: mpsc::Sender<Input>) -> Result<Outcome, Problem> {
    let (answer, decided) = oneshot::channel();
    let input = Input::Request { command: Box::new(command), answer };
    inputs.send(input).await.map_err(|_| Problem::closing())?;
    match decided.await {
        Ok(Ok(outcome)) => Ok(outcome),
        Ok(Err(Undone::NoLeader)) => Err(Problem::no_leader()),
        Ok(Err(Undone::Busy)) => {
            let message = "too many requests are waiting; nothing was done, try again";
            Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "E_BUSY", message))
        }
        Ok(Err(Undone::TooLarge)) => {
            let message = "the name and the file are too long for one entry; nothing was done";
            Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "E_TOO_LARGE", message))
        }
        Ok(Err(Undone::Unknown)) | Err(_) => {
            let message = "whether it was done is not known; look at the file, or do it again";
            Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "E_OUTCOME_UNKNOWN", message))
        }
    }
}

/// The answer to whoever wanted something changed.
fn written(outcome: Outcome) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    struct Stored {
        version: u64,
    }
    match outcome {
        Outcome::Stored { version } => {
            let mut answer = json(StatusCode::OK, &Stored { version });
            let tag = format!("\"{version}\"").parse().expect("digits are a tag");
            answer.headers_mut().insert(ETAG, tag);
            Ok(answer)
        }
        Outcome::Deleted => {
            let mut answer = Answer::default();
            *answer.status_mut() = StatusCode::NO_CONTENT;
            Ok(answer)
        }
        Outcome::NotFound => Err(Problem::new(StatusCode::NOT_FOUND, "E_NOT_FOUND", "there is no such file")),
        Outcome::Conflict { current } => {
            let message = match current {
                Some(version) => format!("the file has version {version}; nothing was changed"),
                None => String::from("there is no such file; nothing was changed"),
            };
            Err(Problem::new(StatusCode::PRECONDITION_FAILED, "E_CONFLICT", message))
        }
        other => {
            let message = format!("the group answered with something else: {other:?}");
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "E_BUG", message))
        }
    }
}

async fn get(name: Name, inputs: mpsc::Sender<Input>) -> Result<Answer, Problem> {
    let target = Target::Name(name);
    let deadline = tokio::time::Instant::now() + READ_PATIENCE;
    loop {
        let (answer, looked) = oneshot::channel();
        let asked = target.clone();
        let look = Box::new(move |ledger: Result<&dps_core::ledger::state::State, _>| {
            let found = ledger.map(|ledger| ledger.stat(&asked).map(|(stat, manifest)| (stat, manifest.clone())));
            // Whoever asked may have gone.
            let _ = answer.send(found);
        });
        inputs.send(Input::Read(look)).await.map_err(|_| Problem::closing())?;
        // An answer may be lost on its way from the leader.
        let looked = tokio::time::timeout(Duration::from_millis(500), looked).await;
        let found = match looked {
            Ok(Ok(Ok(found))) => found,
            Ok(Err(_)) => return Err(Problem::closing()),
            Ok(Ok(Err(_))) | Err(_) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(READ_PAUSE).await;
                continue;
            }
            Ok(Ok(Err(_))) | Err(_) => return Err(Problem::no_leader()),
        };
        let Some((stat, manifest)) = found else {
            return Err(Problem::new(StatusCode::NOT_FOUND, "E_NOT_FOUND", "there is no such file"));
        };
        let Content::Inline(bytes) = manifest.body else {
            let message = "the file is not part of the ledger";
            return Err(Problem::new(StatusCode::NOT_IMPLEMENTED, "E_NOT_INLINE", message));
        };
        let mut answer = Response::new(Full::from(bytes));
        let tag = format!("\"{}\"", stat.version).parse().expect("digits are a tag");
        answer.headers_mut().insert(ETAG, tag);
        let kind = hyper::header::HeaderValue::from_static("application/octet-stream");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        return Ok(answer);
    }
}

async fn status(method: &Method, inputs: mpsc::Sender<Input>) -> Result<Answer, Problem> {
    #[derive(Serialize)]
    struct Status {
        node: String,
        leader: Option<String>,
        leads: bool,
        term: u64,
        commit: u64,
        last: u64,
    }
    if *method != Method::GET {
        return Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "E_METHOD", "the status takes GET"));
    }
    let (answer, glanced) = oneshot::channel();
    let glance = Box::new(move |raft: Option<&dps_core::raft::Raft>| {
        let status = raft.map(|raft| Status {
            node: raft.id().to_string(),
            leader: raft.leader().map(|leader| leader.to_string()),
            leads: raft.leader() == Some(raft.id()),
            term: raft.term(),
            commit: raft.commit(),
            last: raft.last().index,
        });
        let _ = answer.send(status);
    });
    inputs.send(Input::Glance(glance)).await.map_err(|_| Problem::closing())?;
    match glanced.await {
        Ok(Some(status)) => Ok(json(StatusCode::OK, &status)),
        Ok(None) => Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "E_STARTING", "the member is starting")),
        Err(_) => Err(Problem::closing()),
    }
}
