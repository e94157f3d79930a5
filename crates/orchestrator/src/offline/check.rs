//! Whether everything in a store can be read.

use std::path::Path;

use bytes::Bytes;
use elastic_flow_dataflow::seam::{Cover, Cut};
use elastic_flow_receipt::StepId;
use elastic_flow_store::{Store, StoreError};
use elastic_flow_wire::with_causes;
use serde::Serialize;

use super::{Journal, Kind, OfflineError};
use crate::master::Account;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// The file, or the payload or record.
    pub place: String,
    /// The byte in it, where the store says.
    pub offset: Option<u64>,
    /// What is wrong.
    pub detail: String,
}

impl Bad {
    /// What a store found while `reading` something; corruption has a place of its own.
    #[must_use]
    pub fn found(error: &StoreError, reading: &str) -> Self {
        if let StoreError::Corrupt { path, offset, detail, .. } = error {
            return Self { place: shown(path), offset: Some(*offset), detail: detail.clone() };
        }
        Self { place: reading.to_owned(), offset: None, detail: with_causes(error) }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What reading a whole store has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Records of the journal that were read.
    pub journal_records: u64,
    /// Bytes of the journal.
    pub journal_bytes: u64,
    /// Payloads that were read.
    pub payloads: u64,
    /// Bytes that they take in the store.
    pub payload_bytes: u64,
    /// All that is wrong. Of a journal, the first.
    pub bad: Vec<Bad>,
}

/// Reads everything: every checksum, every record as a recovery would, and of payloads all but results, which only their programs
/// can read. Blocks.
///
/// # Errors
/// The steps or the names of payloads cannot be listed. Whatever cannot be read is a finding.
pub fn check(store: &dyn Store) -> Result<Findings, StoreError> {
    let mut findings =
        Findings { journal_records: 0, journal_bytes: 0, payloads: 0, payload_bytes: 0, bad: Vec::new() };
    match Journal::read(store) {
        Ok(journal) => findings.journal_records = journal.records(),
        Err(OfflineError::Store(error)) => findings.bad.push(Bad::found(&error, "journal")),
        Err(OfflineError::Record { number, detail }) => {
            findings.journal_records = number.saturating_sub(1);
            findings.bad.push(Bad { place: format!("journal record {number}"), offset: None, detail });
        }
    }
    findings.journal_bytes = store.journal_bytes()?;
    for step in store.steps()? {
        for payload in store.list(step)? {
            findings.payloads += 1;
            findings.payload_bytes += payload.stored_bytes;
            findings.bad.extend(check_payload(store, step, &payload.name));
        }
    }
    Ok(findings)
}

fn check_payload(store: &dyn Store, step: StepId, name: &str) -> Option<Bad> {
    let place = format!("payload {name} of step {step}");
    let bytes = match store.get(step, name) {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Some(Bad { place, offset: None, detail: "it is listed, and not there".to_owned() }),
        Err(error) => return Some(Bad::found(&error, &place)),
    };
    let decoded = match Kind::of(name) {
        Kind::Chunk(_) => elastic_flow_wire::decode::<Cut>(&bytes).map(drop),
        Kind::Account => elastic_flow_wire::decode::<Account>(&bytes).map(drop),
        Kind::Rest => elastic_flow_wire::decode::<(Bytes, Vec<Vec<Cover>>)>(&bytes).map(drop),
        Kind::Result => Ok(()),
        Kind::Unknown => {
            let detail = "no payload of this build has that name; use the program that wrote it".to_owned();
            return Some(Bad { place, offset: None, detail });
        }
    };
    decoded.err().map(|error| Bad { place, offset: None, detail: format!("it does not decode: {error}") })
}
