//! The one queue of events of an endpoint: two lanes, and borders that neither lane passes.
//!
//! Control events overtake data, so that an acknowledgement does not wait behind a gigabyte of tasks. The rise and the
//! fall of a link are *borders*: everything that was pushed before comes before, everything after comes after, on both
//! lanes, so the consumer never sees a message of a node that it has not met or has buried.
//!
//! It has no limit of its own: data is bounded by the credit of each link, control by a number of places a link, which
//! the pushed value carries with it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

#[derive(Debug)]
enum Entry<T> {
    Value(T),
    Border(T),
}

#[derive(Debug)]
enum Ahead<T> {
    Value(T),
    /// Data must be taken up to its next border before more control.
    Border,
}

#[derive(Debug)]
struct Lanes<T> {
    control: VecDeque<Ahead<T>>,
    data: VecDeque<Entry<T>>,
    closed: bool,
}

impl<T> Lanes<T> {
    fn pop(&mut self) -> Option<T> {
        if matches!(self.control.front(), Some(Ahead::Value(_)))
            && let Some(Ahead::Value(value)) = self.control.pop_front()
        {
            return Some(value);
        }
        match self.data.pop_front()? {
            Entry::Value(value) => Some(value),
            Entry::Border(value) => {
                // Both were pushed in one step, so this is that border's twin.
                self.control.pop_front();
                Some(value)
            }
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Inbox<T> {
    lanes: Mutex<Lanes<T>>,
    filled: Notify,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Self {
        Self {
            lanes: Mutex::new(Lanes { control: VecDeque::new(), data: VecDeque::new(), closed: false }),
            filled: Notify::new(),
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes<T>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, add: impl FnOnce(&mut Lanes<T>)) {
        let mut lanes = self.lanes();
        if !lanes.closed {
            add(&mut lanes);
            self.filled.notify_one();
        }
    }

    pub(crate) fn push_data(&self, value: T) {
        self.push(|lanes| lanes.data.push_back(Entry::Value(value)));
    }

    pub(crate) fn push_control(&self, value: T) {
        self.push(|lanes| lanes.control.push_back(Ahead::Value(value)));
    }

    pub(crate) fn push_border(&self, value: T) {
        self.push(|lanes| {
            lanes.control.push_back(Ahead::Border);
            lanes.data.push_back(Entry::Border(value));
        });
    }

    /// Nothing more will be pushed; what is there can still be taken.
    pub(crate) fn close(&self) {
        self.lanes().closed = true;
        self.filled.notify_waiters();
        self.filled.notify_one();
    }

    /// The next value, or `None` once closed and empty. Cancel safe.
    pub(crate) async fn pop(&self) -> Option<T> {
        loop {
            let filled = self.filled.notified();
            {
                let mut lanes = self.lanes();
                if let Some(value) = lanes.pop() {
                    // A second consumer may be waiting for what is left.
                    if !lanes.data.is_empty() || !lanes.control.is_empty() {
                        self.filled.notify_one();
                    }
                    return Some(value);
                }
                if lanes.closed {
                    self.filled.notify_one();
                    return None;
                }
            }
            filled.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[tokio::test]
    async fn control_overtakes_data_but_no_border() {
        let inbox = Inbox::new();
        inbox.push_border("up");
        inbox.push_data("d1");
        inbox.push_data("d2");
        inbox.push_control("c1");
        inbox.push_border("down");
        inbox.push_control("c2");
        inbox.close();
        let mut seen = Vec::new();
        while let Some(value) = inbox.pop().await {
            seen.push(value);
        }
        assert_eq!(seen, ["up", "c1", "d1", "d2", "down", "c2"]);
    }

    #[tokio::test]
    async fn a_waiting_consumer_is_woken_by_a_push_and_by_the_end() {
        let inbox = std::sync::Arc::new(Inbox::new());
        let mut tasks = tokio::task::JoinSet::new();
        let consumer = std::sync::Arc::clone(&inbox);
        tasks.spawn(async move { (consumer.pop().await, consumer.pop().await) });
        tokio::task::yield_now().await;
        inbox.push_data(1);
        tokio::task::yield_now().await;
        inbox.close();
        assert_eq!(tasks.join_next().await.unwrap().unwrap(), (Some(1), None));
        inbox.push_data(2);
        assert_eq!(inbox.pop().await, None, "nothing is taken after the end");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        /// Each lane stays in order and nothing passes a border, whatever is pushed and taken in turns.
        #[test]
        fn order_holds_against_a_plain_model(script in prop::collection::vec(0u8..5, 0..80)) {
            let inbox = Inbox::new();
            let mut epoch = 0usize;
            let (mut pushed, mut seen) = (Vec::new(), Vec::new());
            for (index, action) in script.iter().enumerate() {
                let take = |seen: &mut Vec<_>| if let Some(value) = inbox.lanes().pop() { seen.push(value) };
                match action {
                    0 => { epoch += 1; inbox.push_border((epoch, 9u8, index)); pushed.push((epoch, 9, index)); epoch += 1; }
                    1 => { inbox.push_data((epoch, 1, index)); pushed.push((epoch, 1, index)); }
                    2 => { inbox.push_control((epoch, 0, index)); pushed.push((epoch, 0, index)); }
                    _ => take(&mut seen),
                }
            }
            while let Some(value) = inbox.lanes().pop() { seen.push(value); }
            let epochs: Vec<usize> = seen.iter().map(|it| it.0).collect();
            prop_assert!(epochs.is_sorted(), "a border was passed: {epochs:?}");
            for lane in [0, 1, 9] {
                let of = |all: &[(usize, u8, usize)]| all.iter().filter(|it| it.1 == lane).copied().collect::<Vec<_>>();
                prop_assert_eq!(of(&pushed), of(&seen));
            }
        }
    }
}
