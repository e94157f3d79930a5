//! What happens to one step.

use std::fmt;
use std::sync::Arc;

use elastic_flow_receipt::StepId;

use super::connection::{Connection, EventSource};
use crate::api::{ApiError, ClusterEventKind};

/// What happens to one step, from the moment of the asking until its end.
pub struct StepEvents {
    connection: Arc<dyn Connection>,
    step: StepId,
    source: Box<dyn EventSource>,
    ended: bool,
    /// Whether events were missed, its end maybe among them.
    missed: bool,
}

impl fmt::Debug for StepEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StepEvents").field("step", &self.step).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl StepEvents {
    /// Subscribes first and looks then, so that no end falls between the two.
    pub(super) async fn of(connection: &Arc<dyn Connection>, step: StepId) -> Result<Self, ApiError> {
        let source = connection.events().await?;
        let ended = connection.step(step).await?.state.is_final();
        Ok(Self { connection: Arc::clone(connection), step, source, ended, missed: false })
    }

    /// The next event of the step, or none behind its last one, which is the change to its final state. Where so many happen that
    /// some are missed, they are left out.
    ///
    /// # Errors
    /// The master is gone: subscribe again once it is back, or wait with [`StepHandle::result`](super::StepHandle::result), which
    /// does.
    ///
    /// # Cancel safety
    /// Safe to drop.
    pub async fn next(&mut self) -> Result<Option<ClusterEventKind>, ApiError> {
        let next = self.look().await;
        // Nothing comes behind an error, so that a loop over events ends with it.
        self.ended |= next.is_err();
        next
    }

    async fn look(&mut self) -> Result<Option<ClusterEventKind>, ApiError> {
        while !self.ended {
            if self.missed {
                self.ended = self.connection.step(self.step).await?.state.is_final();
                self.missed = false;
                continue;
            }
            match self.source.next().await? {
                Some(kind) if kind.step() == Some(self.step) => {
                    self.ended = matches!(&kind, ClusterEventKind::Step { state, .. } if state.is_final());
                    return Ok(Some(kind));
                }
                Some(_) => {}
                None => self.missed = true,
            }
        }
        Ok(None)
    }
}
