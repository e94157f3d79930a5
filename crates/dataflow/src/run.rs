//! The running of a chain over one chunk: what is read, where it is, whether it goes on.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::sync::atomic::Ordering;

use elastic_flow_receipt::ReceiptId;
use elastic_flow_wire::message::{FailureKind, ItemKind};
use elastic_flow_wire::with_causes;

use crate::flow_error::{IntoFlowError, Verdict};
use crate::seam::TaskContext;
use crate::skips::Skips;
use crate::source::{Feed, SourceError};

/// One chunk on its way through a stage. Handed down the chain; only the engine makes one.
#[derive(Debug)]
#[expect(unnameable_types, reason = "the engine's own: users see it in hidden methods only")]
pub struct ChunkRun<'a> {
    context: &'a TaskContext,
    skips: &'a Skips,
    receipt: ReceiptId,
    input: u16,
    feed: RefCell<Option<Feed>>,
    /// The item that is at work, from 0; at the end their number.
    position: Cell<u64>,
    bytes: Cell<u64>,
    halted: Cell<bool>,
    /// Whether it is halted, or the item at work was skipped.
    disturbed: Cell<bool>,
    failure: RefCell<Option<ChunkFailure>>,
}

/// Why a chunk did not come to its end.
#[derive(Debug)]
pub(crate) enum ChunkFailure {
    /// The attempt is not wanted any more.
    Stopped,
    /// It failed.
    Failed { kind: FailureKind, item: Option<u64>, message: String },
    /// The task has skipped more items than may be in its whole step.
    TooManySkips,
}

impl<'a> ChunkRun<'a> {
    pub(crate) fn new(
        context: &'a TaskContext,
        skips: &'a Skips,
        (receipt, input): (ReceiptId, u16),
        feed: Feed,
    ) -> Self {
        skips.begin();
        Self {
            context,
            skips,
            receipt,
            input,
            feed: RefCell::new(Some(feed)),
            position: Cell::new(0),
            bytes: Cell::new(0),
            halted: Cell::new(false),
            disturbed: Cell::new(false),
            failure: RefCell::new(None),
        }
    }

    /// The index of the named input that the chunk belongs to.
    pub(crate) const fn input(&self) -> u16 {
        self.input
    }

    /// The place of the chunk in source order.
    pub(crate) const fn sequence(&self) -> u64 {
        self.receipt.sequence
    }

    pub(crate) fn position(&self) -> u64 {
        self.position.get()
    }

    #[inline]
    pub(crate) fn set_position(&self, position: u64) {
        self.position.set(position);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.get()
    }

    pub(crate) fn set_bytes(&self, bytes: u64) {
        self.bytes.set(bytes);
    }

    /// Whether nothing more of this chunk is wanted.
    #[inline]
    pub(crate) fn is_halted(&self) -> bool {
        self.halted.get()
    }

    /// To be called by an input after each item, with what makes the item's bytes: whether nothing more is wanted.
    #[inline]
    pub(crate) fn is_halted_after<'b>(&self, kind: ItemKind, body: impl FnOnce() -> &'b [u8]) -> bool {
        if self.disturbed.get() {
            self.skips.give(kind, body());
            self.disturbed.set(self.halted.get());
        }
        self.halted.get()
    }

    /// Says that `items` more are done, and looks whether to stop.
    pub(crate) fn tick(&self, items: u64) {
        self.context.progress.fetch_add(items, Ordering::Relaxed);
        if self.context.stop.load(Ordering::Relaxed) {
            self.halt(ChunkFailure::Stopped);
        }
    }

    /// Whether the feed has been taken.
    pub(crate) fn has_begun(&self) -> bool {
        self.feed.borrow().is_none()
    }

    /// The feed, once.
    pub(crate) fn take_feed(&self) -> Option<Feed> {
        self.feed.borrow_mut().take()
    }

    /// The first failure, if there was one.
    pub(crate) fn take_failure(&self) -> Option<ChunkFailure> {
        self.failure.borrow_mut().take()
    }

    /// Does what an error of user code asks for.
    #[cold]
    pub(crate) fn take_error(&self, error: impl IntoFlowError) {
        let (verdict, message) = error.into_flow_error().into_parts();
        match verdict {
            Verdict::Retry => self.fail_item(FailureKind::User, message),
            Verdict::Fail => self.fail_item(FailureKind::Fail, message),
            Verdict::Skip => {
                let skipped = self.skips.add(self.receipt, self.position.get(), message);
                self.disturbed.set(true);
                if skipped > self.context.max_skips {
                    self.halt(ChunkFailure::TooManySkips);
                }
            }
        }
    }

    /// Ends the chunk with a failure that belongs to the item at work.
    #[cold]
    pub(crate) fn fail_item(&self, kind: FailureKind, message: String) {
        self.halt(ChunkFailure::Failed { kind, item: Some(self.position.get()), message });
    }

    /// Ends the chunk with a failure that belongs to no item.
    #[cold]
    pub(crate) fn fail(&self, kind: FailureKind, message: String) {
        self.halt(ChunkFailure::Failed { kind, item: None, message });
    }

    #[cold]
    pub(crate) fn fail_source(&self, error: &SourceError) {
        self.fail(error.failure_kind(), with_causes(error));
    }

    #[cold]
    fn halt(&self, failure: ChunkFailure) {
        self.halted.set(true);
        self.disturbed.set(true);
        self.failure.borrow_mut().get_or_insert(failure);
    }
}

/// What a panic said.
pub(crate) fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").to_owned()
}
