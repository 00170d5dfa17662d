//! Checking a store: findings one by one, and what was covered.

use dps_core::node::{Finding, Reply, Request, VerifyScope, VerifySummary};

use crate::conversation::{Conversation, Link};
use crate::error::StoreError;

/// Findings that may be on their way.
const FINDINGS_WINDOW: u32 = 256;

/// A verification that is running. Dropping it ends it.
#[derive(Debug)]
pub struct Verification {
    conversation: Conversation,
    /// Findings that the node may still send.
    outstanding: u32,
    summary: Option<VerifySummary>,
}

impl Verification {
    pub(crate) async fn open(link: &Link, scope: VerifyScope) -> Result<Self, StoreError> {
        let conversation = link.open(Request::VerifyOpen(scope)).await?;
        conversation.send(Request::VerifyMore { findings: FINDINGS_WINDOW }).await?;
        Ok(Self { conversation, outstanding: FINDINGS_WINDOW, summary: None })
    }

    /// The next finding; `None` when everything was checked.
    ///
    /// # Errors
    /// When there is no such file, or the node is gone.
    pub async fn next(&mut self) -> Result<Option<Finding>, StoreError> {
        if self.summary.is_some() {
            return Ok(None);
        }
        match self.conversation.next().await? {
            Reply::Finding(finding) => {
                self.outstanding = self.outstanding.saturating_sub(1);
                if self.outstanding <= FINDINGS_WINDOW / 2 {
                    let findings = FINDINGS_WINDOW - self.outstanding;
                    self.outstanding = FINDINGS_WINDOW;
                    self.conversation.send(Request::VerifyMore { findings }).await?;
                }
                Ok(Some(*finding))
            }
            Reply::Verified(summary) => {
                self.summary = Some(summary);
                Ok(None)
            }
            _ => Err(StoreError::Unexpected("a verification")),
        }
    }

    /// What was covered, once [`Verification::next`] has given `None`.
    #[must_use]
    pub fn summary(&self) -> Option<VerifySummary> {
        self.summary
    }
}
