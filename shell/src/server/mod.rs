//! A member of a group as a process: the group that agrees on the ledger over TCP, and small files over HTTP.
//!
//! The peers are a static list that is the same for all members. Nothing is encrypted or authenticated yet, so all of
//! it belongs on one machine or a network of one's own.

mod api;
mod links;
mod member;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use dps_core::config::Config;
use dps_core::disk::halt::HaltReason;
use dps_core::id::NodeId;
use dps_core::raft::membership::Membership;
use dps_core::replica::{Founding, Settings};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use self::links::Links;
use self::member::{Driver, Input};
use crate::disk::{Create, Directory, OpenError};
use crate::entropy;

/// Inputs that wait for the member at most; whoever brings one more waits.
const INPUTS_MAX: usize = 1_024;

/// How a member is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its number in the list of peers.
    pub number: u8,
    /// Where each member is reached by the others, by number.
    pub peers: BTreeMap<u8, SocketAddr>,
    /// Where files are served.
    pub listen: SocketAddr,
    /// Sizes and timeouts.
    pub config: Config,
    /// Whether a data directory that does not exist is made.
    pub create: Create,
}

impl Options {
    /// What the data directory remembers, so that it is never used as that of another member.
    fn mark(&self) -> String {
        let peers: Vec<String> = self.peers.keys().map(u8::to_string).collect();
        format!("dps member {} of {}\n", self.number, peers.join(","))
    }
}

/// Why a member can't run, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The data directory can't be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The data directory is that of another member, or of a store of its own.
    #[error("the data directory is not that of member {number} of this group: {found}")]
    OtherMember {
        /// Who was to run.
        number: u8,
        /// What the directory says.
        found: String,
    },
    /// An address can't be listened at.
    #[error("{address} can't be listened at")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system gives no random bytes.
    #[error("the operating system gives no random bytes")]
    Entropy(#[source] io::Error),
    /// The member found that it can't go on.
    #[error("the member can't go on: {0}")]
    Halted(HaltReason),
    /// A bug ended it.
    #[error("the member has stopped")]
    Stopped,
}

/// Who member `number` is: a list has no keys yet.
#[must_use]
pub const fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 20])
}

/// A member that runs.
#[derive(Debug)]
pub struct Server {
    /// Where it serves files: what was asked for, with the port that was free if that was 0.
    pub address: SocketAddr,
    inputs: mpsc::Sender<Input>,
    ended: oneshot::Receiver<Result<(), HaltReason>>,
}

impl Server {
    /// Opens the data directory and joins the group. Must be called within a tokio runtime with timers and sockets.
    ///
    /// # Errors
    /// When the directory or an address can't be used. Nothing was written then but the mark of an empty directory.
    ///
    /// # Panics
    /// When the member is not in its own list of peers.
    pub async fn start(path: &Path, options: Options) -> Result<Self, ServerError> {
        let own = *options.peers.get(&options.number).expect("a member is one of its peers");
        let bind = async |address| {
            let listener = TcpListener::bind(address).await;
            listener.map_err(|source| ServerError::Listen { address, source })
        };
        // Before anything is written.
        let (peers, files) = (bind(own).await?, bind(options.listen).await?);
        let address = files.local_addr().map_err(|source| ServerError::Listen { address: options.listen, source })?;
        let (path, mark, create, number) = (path.to_owned(), options.mark(), options.create, options.number);
        let opening = tokio::task::spawn_blocking(move || open(&path, create, number, &mark));
        let directory = opening.await.map_err(|_| ServerError::Stopped)??;
        let seed = entropy::seed().map_err(ServerError::Entropy)?;
        let others: BTreeMap<NodeId, SocketAddr> = options
            .peers
            .iter()
            .filter(|(other, _)| **other != number)
            .map(|(other, at)| (node(*other), *at))
            .collect();
        let members = Membership::new(options.peers.keys().map(|number| node(*number)));
        let members = Arc::new(members.expect("there is at least the member itself"));
        let founding = Founding { id: node(number), members, settings: Settings::STANDARD };
        let (inputs, receiver) = mpsc::channel(INPUTS_MAX);
        let (end, ended) = oneshot::channel();
        let links = Links::start(node(number), &others, peers, &inputs);
        let driver = Driver::new(founding, options.config, seed, directory, links, receiver, inputs.downgrade());
        tokio::spawn(async move {
            let result = driver.run().await;
            let _ = end.send(result);
        });
        tokio::spawn(api::serve(files, inputs.clone()));
        Ok(Self { address, inputs, ended })
    }

    /// Waits until the member ends by itself, which is never a good sign.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> ServerError {
        match (&mut self.ended).await {
            Ok(Err(reason)) => ServerError::Halted(reason),
            Ok(Ok(())) | Err(_) => ServerError::Stopped,
        }
    }

    /// Closes the journal in good order and gives the directory's lock back.
    pub async fn close(self) {
        let Self { inputs, ended, .. } = self;
        if inputs.send(Input::Close).await.is_ok() {
            let _ = ended.await;
        }
    }
}

/// Opens the data directory, if it is this member's or empty.
fn open(path: &Path, create: Create, number: u8, mark: &str) -> Result<Directory, ServerError> {
    let directory = Directory::open(path, create)?;
    let io = |source| OpenError::Io { action: "read", path: path.to_owned(), source };
    match directory.mark().map_err(io)? {
        Some(found) if found == mark => {}
        Some(found) => return Err(ServerError::OtherMember { number, found: String::from(found.trim_end()) }),
        None if directory.is_fresh() => directory.set_mark(mark).map_err(io)?,
        None => return Err(ServerError::OtherMember { number, found: String::from("it holds a store of its own") }),
    }
    Ok(directory)
}
