//! The client's end of a conversation with the node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dps_core::id::RequestId;
use dps_core::node::{Reply, Request};
use tokio::sync::mpsc;

use crate::driver::{ANSWERS_MAX, Answer, Fate, Input};
use crate::error::StoreError;

/// The way to a driver. The driver ends when it is told so, or when the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    inputs: mpsc::Sender<Input>,
    last_id: Arc<AtomicU64>,
    fate: Fate,
}

impl Link {
    /// A link to the driver that reads from the other end of `inputs`.
    pub(crate) fn new(inputs: mpsc::Sender<Input>, fate: Fate) -> Self {
        Self { inputs, last_id: Arc::default(), fate }
    }

    /// Starts a conversation.
    pub(crate) async fn open(&self, request: Request) -> Result<Conversation, StoreError> {
        let id = RequestId(self.last_id.fetch_add(1, Ordering::Relaxed) + 1);
        let (answers, inbox) = mpsc::channel(ANSWERS_MAX);
        let sent = self.inputs.send(Input::Open { id, request, answers }).await;
        sent.map_err(|_| self.gone())?;
        Ok(Conversation { id, inbox, link: self.clone(), over: false })
    }

    /// Asks a question that has one answer.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, StoreError> {
        self.open(request).await?.next().await
    }

    /// Ends the driver, whoever still has a conversation.
    pub(crate) async fn end(&self) {
        // An error means that it has ended.
        let _ = self.inputs.send(Input::End).await;
    }

    /// Why nobody answers.
    pub(crate) fn gone(&self) -> StoreError {
        self.fate.halted().map_or(StoreError::Closed, StoreError::Halted)
    }
}

/// A conversation. Dropping it before its end cancels it.
#[derive(Debug)]
pub(crate) struct Conversation {
    id: RequestId,
    inbox: mpsc::Receiver<Answer>,
    link: Link,
    over: bool,
}

impl Conversation {
    /// Goes on with the conversation.
    pub(crate) async fn send(&self, request: Request) -> Result<(), StoreError> {
        let sent = self.link.inputs.send(Input::Continue { id: self.id, request }).await;
        sent.map_err(|_| self.link.gone())
    }

    /// The next answer. An error is always the last one.
    pub(crate) async fn next(&mut self) -> Result<Reply, StoreError> {
        let Some((reply, last)) = self.inbox.recv().await else {
            self.over = true;
            return Err(self.link.gone());
        };
        self.over = last;
        Ok(reply?)
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let cancel = Input::Continue { id: self.id, request: Request::Cancel };
        if let Err(mpsc::error::TrySendError::Full(cancel)) = self.link.inputs.try_send(cancel)
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let inputs = self.link.inputs.clone();
            drop(runtime.spawn(async move { inputs.send(cancel).await }));
        }
    }
}
