//! How many bytes may be under way on a data connection: the window as a value, and its two ends.
//!
//! ```text
//!   sender: SendCredit ── data ──> receiver: ReceiveCredit ── event with a Grant ──> consumer
//!              ^                          │ mirror of the sender's window               │ drops the Grant
//!              └──── Credit(bytes) ───────┴──────────── once a quarter is back ─────────┘
//! ```
//!
//! The receiver opens the window with its first `Credit`, so it is the receiver's memory that is bounded by the
//! receiver's setting. It keeps a mirror of the window, and a sender that goes beyond it has broken the protocol.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a message costs beside its bytes: its entry in a queue, so that a flood of empty messages is bounded too.
pub const MESSAGE_COST_BYTES: u64 = 256;

/// A peer gave back more credit than was under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{granted_bytes} bytes of credit given back with {in_flight_bytes} under way")]
pub struct OverGranted {
    /// What the peer gave back.
    pub granted_bytes: u64,
    /// What was under way.
    pub in_flight_bytes: u64,
}

/// A window in bytes. Pure; both ends hold one.
///
/// At most the limit is under way, or a quarter of it and one message of any size: so a message larger than the window
/// passes, and the receiver need not report each small one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CreditWindow {
    limit_bytes: Option<u64>,
    in_flight_bytes: u64,
}

impl CreditWindow {
    /// A window that the first [`grant`](Self::grant) opens; until then one message is admitted.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// An open window of `limit_bytes`.
    #[must_use]
    pub fn open(limit_bytes: u64) -> Self {
        Self { limit_bytes: Some(limit_bytes), in_flight_bytes: 0 }
    }

    /// What is under way, in bytes.
    #[must_use]
    pub fn in_flight_bytes(&self) -> u64 {
        self.in_flight_bytes
    }

    /// Takes `bytes` out of the window if they fit; says whether they did.
    pub fn take(&mut self, bytes: u64) -> bool {
        let limit = self.limit_bytes.unwrap_or(0);
        let after = self.in_flight_bytes.saturating_add(bytes);
        let fits = after <= limit || self.in_flight_bytes <= limit / 4;
        if fits {
            self.in_flight_bytes = after;
        }
        fits
    }

    /// Opens the window with `bytes`, if it was closed; gives them back otherwise.
    ///
    /// # Errors
    /// If more is given back than was under way; the window stays as it was.
    pub fn grant(&mut self, bytes: u64) -> Result<(), OverGranted> {
        if self.limit_bytes.is_none() {
            self.limit_bytes = Some(bytes);
            return Ok(());
        }
        let over = OverGranted { granted_bytes: bytes, in_flight_bytes: self.in_flight_bytes };
        self.in_flight_bytes = self.in_flight_bytes.checked_sub(bytes).ok_or(over)?;
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The values are plain numbers, whole after every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The sending end: waits until a message fits.
#[derive(Debug, Default)]
pub(crate) struct SendCredit {
    window: Mutex<CreditWindow>,
    changed: Notify,
}

impl SendCredit {
    /// Waits until `bytes` fit. One task at a time may wait.
    ///
    /// Cancel safe: nothing is taken by a wait that is dropped.
    pub(crate) async fn take(&self, bytes: u64) {
        loop {
            if self.try_take(bytes) {
                return;
            }
            self.changed.notified().await;
        }
    }

    /// Takes `bytes` if they fit now.
    pub(crate) fn try_take(&self, bytes: u64) -> bool {
        lock(&self.window).take(bytes)
    }

    pub(crate) fn grant(&self, bytes: u64) -> Result<(), OverGranted> {
        lock(&self.window).grant(bytes)?;
        self.changed.notify_one();
        Ok(())
    }

    pub(crate) fn in_flight_bytes(&self) -> u64 {
        lock(&self.window).in_flight_bytes()
    }
}

#[derive(Debug)]
struct Received {
    mirror: CreditWindow,
    returned_bytes: u64,
}

/// The receiving end: collects what the consumer gives back, and watches that the peer keeps to the window.
#[derive(Debug)]
pub(crate) struct ReceiveCredit {
    state: Mutex<Received>,
    report_at_bytes: u64,
    due: Notify,
}

impl ReceiveCredit {
    pub(crate) fn new(limit_bytes: u64) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(Received { mirror: CreditWindow::open(limit_bytes), returned_bytes: 0 }),
            report_at_bytes: (limit_bytes / 4).max(1),
            due: Notify::new(),
        })
    }

    /// Books a message that has come; `None` if the peer had no credit for it.
    pub(crate) fn receive(self: &Arc<Self>, bytes: u64) -> Option<Grant> {
        let fits = lock(&self.state).mirror.take(bytes);
        fits.then(|| Grant { bytes, to: Arc::clone(self) })
    }

    /// Waits until enough has come back to be worth a message; gives how much.
    ///
    /// Cancel safe: what is given has been booked as sent only if this returned.
    pub(crate) async fn due(&self) -> u64 {
        loop {
            if let Some(bytes) = self.collect() {
                return bytes;
            }
            self.due.notified().await;
        }
    }

    fn collect(&self) -> Option<u64> {
        let mut state = lock(&self.state);
        let bytes = state.returned_bytes;
        if bytes < self.report_at_bytes {
            return None;
        }
        state.returned_bytes = 0;
        // Grants give back exactly what was received, so this cannot be over.
        state.mirror.grant(bytes).ok()?;
        Some(bytes)
    }

    fn give_back(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.returned_bytes = state.returned_bytes.saturating_add(bytes);
        if state.returned_bytes >= self.report_at_bytes {
            self.due.notify_one();
        }
    }
}

/// The room that a received message takes up; dropping it lets the peer send as much again.
///
/// Hold it as long as the message's bytes are held and have not been counted elsewhere.
#[derive(Debug)]
pub struct Grant {
    bytes: u64,
    to: Arc<ReceiveCredit>,
}

impl Grant {
    /// How many bytes it stands for: those of the message, uncompressed, and a little for its place in the queue.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.to.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_message_larger_than_the_window_passes_when_the_window_is_nearly_empty() {
        let mut window = CreditWindow::open(100);
        assert!(window.take(25));
        assert!(window.take(1_000));
        assert!(!window.take(0), "beyond the limit nothing more passes");
        window.grant(1_000).unwrap();
        assert!(window.take(75));
        assert!(!window.take(1));
    }

    #[test]
    fn a_closed_window_admits_one_message_and_opens_with_the_first_grant() {
        let mut window = CreditWindow::closed();
        assert!(window.take(7));
        assert!(!window.take(1));
        window.grant(100).unwrap();
        assert_eq!(window.in_flight_bytes(), 7);
        assert!(window.take(93));
    }

    #[test]
    fn more_than_is_under_way_cannot_be_given_back() {
        let mut window = CreditWindow::open(100);
        assert!(window.take(60));
        assert_eq!(window.grant(61), Err(OverGranted { granted_bytes: 61, in_flight_bytes: 60 }));
        assert_eq!(window.in_flight_bytes(), 60);
        window.grant(60).unwrap();
        assert_eq!(window.in_flight_bytes(), 0);
    }

    #[tokio::test]
    async fn dropped_grants_come_back_in_quarters() {
        let credit = ReceiveCredit::new(400);
        let held: Vec<Grant> = (0..4).map(|_| credit.receive(60).unwrap()).collect();
        let mut held = held.into_iter();
        drop(held.next());
        assert_eq!(credit.collect(), None, "60 of 400 are not worth a message");
        drop(held.next());
        assert_eq!(credit.due().await, 120);
        assert_eq!(credit.collect(), None);
    }

    #[test]
    fn a_peer_beyond_its_window_is_found_out() {
        let credit = ReceiveCredit::new(100);
        let _held = credit.receive(90).unwrap();
        assert!(credit.receive(20).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// The sender never passes what the receiver's mirror refuses, whatever is delayed, and all gets through.
        #[test]
        fn sender_and_mirror_agree_and_nothing_is_stuck(
            sizes in prop::collection::vec(1u64..300, 1..60),
            consume in prop::collection::vec(any::<bool>(), 0..200),
            limit in 0u64..400,
        ) {
            let mut sender = CreditWindow::open(limit);
            let receiver = ReceiveCredit::new(limit);
            let mut waiting = std::collections::VecDeque::from(sizes.clone());
            let mut held = std::collections::VecDeque::new();
            let mut in_transit = std::collections::VecDeque::new();
            let mut steps = consume.into_iter();
            let largest = sizes.iter().copied().max().unwrap_or(0);
            while !waiting.is_empty() || !held.is_empty() {
                let mut moved = false;
                if let Some(&size) = waiting.front() && sender.take(size) {
                    waiting.pop_front();
                    held.push_back(receiver.receive(size).expect("admitted by the sender, so by the mirror"));
                    moved = true;
                }
                prop_assert!(sender.in_flight_bytes() <= limit.max(limit / 4 + largest));
                if steps.next().unwrap_or(true) {
                    moved |= held.pop_front().is_some();
                    if let Some(bytes) = receiver.collect() { in_transit.push_back(bytes); }
                    // Credit messages may lag behind by one.
                    if (in_transit.len() > 1 || !moved)
                        && let Some(bytes) = in_transit.pop_front()
                    {
                        sender.grant(bytes).expect("never more than was taken");
                        moved = true;
                    }
                    prop_assert!(moved, "stuck with {} waiting", waiting.len());
                }
            }
        }
    }
}
