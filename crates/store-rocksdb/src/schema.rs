//! Column families and keys. Numbers are big-endian, so that byte order is their order.
//!
//! ```text
//! journal    generation (8), sequence (8)   a record
//! payloads   step (8), name                 a payload
//! meta       "format"                       this schema's version (4)
//!            "generation"                   the journal's generation (8)
//!            "p", step (8), name            the payload's bytes (8), so that listing reads no payload
//! ```
//!
//! Records of another generation than the one in `meta` are what an unfinished rewrite has left.

use elastic_flow_receipt::StepId;

pub(crate) const JOURNAL: &str = "journal";
pub(crate) const PAYLOADS: &str = "payloads";
pub(crate) const META: &str = "meta";

pub(crate) const FORMAT_KEY: &[u8] = b"format";
pub(crate) const FORMAT: u32 = 1;
pub(crate) const GENERATION_KEY: &[u8] = b"generation";

const INDEX_PREFIX: u8 = b'p';
const INDEX_END: [u8; 1] = [INDEX_PREFIX + 1];
/// Behind every key of `journal` and `payloads`: names are of ASCII, so no key goes on with this byte.
pub(crate) const END: [u8; 17] = [u8::MAX; 17];

pub(crate) fn record_key(generation: u64, sequence: u64) -> [u8; 16] {
    ((u128::from(generation) << 64) | u128::from(sequence)).to_be_bytes()
}

/// The sequence in a record's key.
pub(crate) fn sequence_of(key: &[u8]) -> Option<u64> {
    key.get(8..)?.try_into().ok().map(u64::from_be_bytes)
}

pub(crate) fn payload_key(step: StepId, name: &str) -> Vec<u8> {
    [&step.0.to_be_bytes()[..], name.as_bytes()].concat()
}

/// Where the payloads of a step end.
pub(crate) fn payloads_end(step: StepId) -> Vec<u8> {
    step.0.checked_add(1).map_or_else(|| END.to_vec(), |next| next.to_be_bytes().to_vec())
}

pub(crate) fn index_key(step: StepId, name: &str) -> Vec<u8> {
    [&[INDEX_PREFIX][..], &payload_key(step, name)].concat()
}

/// Where the index of a step ends.
pub(crate) fn index_end(step: StepId) -> Vec<u8> {
    step.0.checked_add(1).map_or_else(|| INDEX_END.to_vec(), |next| index_key(StepId(next), ""))
}

/// Where the whole index ends.
pub(crate) const fn indexes_end() -> [u8; 1] {
    INDEX_END
}

/// The step and the name in a key of the index.
pub(crate) fn parse_index_key(key: &[u8]) -> Option<(StepId, &str)> {
    let (step, name) = key.strip_prefix(&[INDEX_PREFIX])?.split_first_chunk::<8>()?;
    Some((StepId(u64::from_be_bytes(*step)), std::str::from_utf8(name).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [StepId; 5] = [StepId(0), StepId(1), StepId(255), StepId(256), StepId(u64::MAX)];

    #[test]
    fn keys_are_in_the_order_of_what_they_say_and_within_their_ends() {
        let names = ["-", "a", "a.b", "zzz"];
        let keys: Vec<_> = STEPS.iter().flat_map(|step| names.map(|name| (*step, name))).collect();
        assert!(keys.is_sorted_by_key(|(step, name)| payload_key(*step, name)));
        assert!(keys.is_sorted_by_key(|(step, name)| index_key(*step, name)));
        for (step, name) in keys {
            assert!(payload_key(step, name) < payloads_end(step) && payload_key(step, name)[..] < END[..]);
            assert!(index_key(step, name) < index_end(step) && index_key(step, name)[..] < indexes_end()[..]);
            assert_eq!(parse_index_key(&index_key(step, name)), Some((step, name)));
        }
        for pair in STEPS.windows(2) {
            assert!(payloads_end(pair[0]) <= payload_key(pair[1], "") && index_end(pair[0]) <= index_key(pair[1], ""));
        }
        assert!(record_key(1, u64::MAX) < record_key(2, 0));
        assert_eq!(sequence_of(&record_key(7, 9)), Some(9));
    }

    #[test]
    fn keys_that_are_not_of_the_index_are_none() {
        for key in [&b""[..], FORMAT_KEY, GENERATION_KEY, b"p1234567", b"p12345678\xff"] {
            assert_eq!(parse_index_key(key), None);
        }
        assert_eq!(sequence_of(b"short"), None);
    }
}
