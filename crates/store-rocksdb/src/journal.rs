//! What the store knows of its journal.

use crate::schema::record_key;

/// Where the next record goes, and how much there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Journal {
    pub(crate) generation: u64,
    pub(crate) next_sequence: u64,
    /// Of keys and records.
    pub(crate) bytes: u64,
}

impl Journal {
    /// A generation without records.
    pub(crate) const fn empty(generation: u64) -> Self {
        Self { generation, next_sequence: 0, bytes: 0 }
    }

    /// The key of a record that is now the last one.
    pub(crate) fn push(&mut self, record: &[u8]) -> [u8; 16] {
        let key = record_key(self.generation, self.next_sequence);
        self.next_sequence += 1;
        self.bytes += (key.len() + record.len()) as u64;
        key
    }
}
