//! Messages to other members and from them: frames over TCP, one connection for each direction.
//!
//! A message may be lost: one that finds its queue full or its connection broken is dropped, and whoever sent it
//! sends again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dps_core::id::NodeId;
use dps_core::replica::Message;
use dps_core::wire::control;
use dps_core::wire::frame::{self, Frames};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tracing::{debug, warn};

use super::member::Input;

/// Frames that wait for one peer at most.
const FRAMES_WAITING_MAX: usize = 1_024;

/// Connections from peers at once; one more waits.
const CONNECTIONS_MAX: usize = 64;

/// How long it takes until a peer that could not be reached is tried again.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);

/// How long a connection may take to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// The ways to the other members.
#[derive(Debug)]
pub(super) struct Links {
    queues: BTreeMap<NodeId, mpsc::Sender<Bytes>>,
}

impl Links {
    /// Connects to the others, and takes their messages from `listener`.
    pub(super) fn start(
        id: NodeId,
        others: &BTreeMap<NodeId, SocketAddr>,
        listener: TcpListener,
        inputs: &mpsc::Sender<Input>,
    ) -> Self {
        let mut queues = BTreeMap::new();
        for (node, address) in others {
            let (queue, frames) = mpsc::channel(FRAMES_WAITING_MAX);
            queues.insert(*node, queue);
            tokio::spawn(write(*address, frames));
        }
        let known: Arc<[NodeId]> = others.keys().copied().collect();
        tokio::spawn(accept(id, known, listener, inputs.clone().downgrade()));
        Self { queues }
    }

    /// Sends a message, or drops it.
    pub(super) fn send(&self, message: &Message) {
        let Some(queue) = self.queues.get(&message.to()) else { return };
        let mut bytes = Vec::new();
        if let Err(error) = frame::encode(&control::encode(message), &mut bytes) {
            return warn!(%error, "a message is too long for a frame");
        }
        if queue.try_send(bytes.into()).is_err() {
            debug!(to = %message.to(), "a message was dropped: its queue is full");
        }
    }
}

/// Brings frames to one peer, for as long as there is somebody to send any.
async fn write(address: SocketAddr, mut frames: mpsc::Receiver<Bytes>) {
    loop {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        let Ok(Ok(stream)) = connected else {
            tokio::time::sleep(RECONNECT_AFTER).await;
            // What was said meanwhile is old.
            while frames.try_recv().is_ok() {}
            if frames.is_closed() {
                return;
            }
            continue;
        };
        let _ = stream.set_nodelay(true);
        let mut stream = BufWriter::new(stream);
        loop {
            let Some(frame) = frames.recv().await else { return };
            let mut result = stream.write_all(&frame).await;
            while result.is_ok()
                && let Ok(frame) = frames.try_recv()
            {
                result = stream.write_all(&frame).await;
            }
            if result.is_err() || stream.flush().await.is_err() {
                debug!(%address, "a connection has ended");
                break;
            }
        }
    }
}

/// Takes connections of peers.
async fn accept(id: NodeId, known: Arc<[NodeId]>, listener: TcpListener, inputs: mpsc::WeakSender<Input>) {
    let places = Arc::new(tokio::sync::Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                warn!(%error, "a connection of a peer could not be taken");
                tokio::time::sleep(RECONNECT_AFTER).await;
                continue;
            }
        };
        let Some(inputs) = inputs.upgrade() else { return };
        let known = Arc::clone(&known);
        tokio::spawn(async move {
            read(id, &known, stream, inputs).await;
            drop(place);
        });
    }
}

/// Reads the messages of one connection until it ends or says something that can't be.
async fn read(id: NodeId, known: &[NodeId], mut stream: TcpStream, inputs: mpsc::Sender<Input>) {
    let (mut frames, mut buffer) = (Frames::new(), vec![0; READ_BYTES]);
    // A connection must not keep a member that has ended.
    let inputs = inputs.downgrade();
    loop {
        let count = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        let mut rest = &buffer[..count];
        while !rest.is_empty() {
            rest = &rest[frames.feed(rest)..];
            let message = match frames.next() {
                Ok(None) => continue,
                Ok(Some(bytes)) => control::decode(&bytes),
                Err(error) => return warn!(%error, "a peer's connection is closed"),
            };
            match message {
                Ok(message) if message.to() == id && known.contains(&message.from()) => {
                    let Some(inputs) = inputs.upgrade() else { return };
                    if inputs.send(Input::Received(Box::new(message))).await.is_err() {
                        return;
                    }
                }
                Ok(message) => {
                    debug!(from = %message.from(), to = %message.to(), "a message of nobody's, or for somebody else");
                }
                Err(error) => debug!(%error, "a message makes no sense"),
            }
        }
    }
}
