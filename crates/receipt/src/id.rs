//! The newtype ids that every other crate speaks in.
//!
//! Their binary form is the derived one: the bare numbers, in order. Where a serialiser writes for people, [`NodeId`] and
//! [`ReceiptId`] are their text, since no JSON number holds 128 bits, and [`StepId`] and [`StageId`] are numbers.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use xxhash_rust::xxh3::xxh3_64;

use crate::text::{self, ParseIdError, ParseReceiptError};

/// A step's number in its queue: assigned at submission, rising, never reused within a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StepId(pub u64);

/// A stage's index in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StageId(pub u16);

/// A node's incarnation: 128 random bits, drawn anew at each start of its process. Never an address.
///
/// Its text is 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u128);

/// One execution of a task. `epoch` is the master's life in which it was assigned; `number` rises within that life. Never reused.
///
/// Its text is `EPOCH.NUMBER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Attempt {
    /// The master's epoch, durably raised at each of its starts.
    pub epoch: u64,
    /// The attempt's number within that epoch, from 1.
    pub number: u64,
}

/// The identity of a chunk or parcel.
///
/// # Text form
///
/// `17-000-21a-3zevw0d9j`: step, then stage, round and partition, then sequence, then check and check characters. Each number but
/// the check is a digit that says how many digits follow, and those, in base 32 (`0123456789abcdefghjkmnpqrstvwxyz`: no
/// `i`, `l`, `o`, `u`); 0 is the single digit `0`. So the byte order of texts is the order of ids: within a step by stage,
/// round and partition, then by sequence. The check is seven digits. The last two characters bring the whole text, read as
/// a number in base 32 (`-` counts as 32), to 1 modulo the prime 1019, which finds every single wrong character, every
/// exchange of two, and all but one in a thousand of the rest, without a ledger. There is one text for an id, of 17 to 61
/// characters, all of `[a-z0-9-]`: fit for a file name and a URL.
///
/// ```
/// use elastic_flow_receipt::{ReceiptId, StageId, StepId};
/// let id = ReceiptId::conceive(StepId(7), StageId(0), 0, 0, 42, 1_700_000_000_000_000_000, 3_000);
/// let text = id.to_string();
/// assert_eq!(text.parse(), Ok(id));
/// assert!(text.replace('7', "8").parse::<ReceiptId>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiptId {
    /// The step it belongs to.
    pub step: StepId,
    /// The stage that it is the input of.
    pub stage: StageId,
    /// The round of an iteration; 0 outside of one.
    pub round: u32,
    /// The target partition of an exchange; 0 for a chunk of the source.
    pub partition: u32,
    /// The place in source order within (step, stage, round, partition), from 0.
    pub sequence: u64,
    /// A short hash over time of conception, size and stage.
    pub check: u32,
}

impl ReceiptId {
    /// Characters of the longest text form.
    pub const TEXT_CHARS_MAX: usize = text::CHARS_MAX;

    /// The receipt of a chunk that is conceived at `conceived_at` (Unix nanoseconds), of `size`: its entries where they are
    /// known before it is read, else its bytes.
    #[must_use]
    pub fn conceive(
        step: StepId,
        stage: StageId,
        round: u32,
        partition: u32,
        sequence: u64,
        conceived_at: u64,
        size: u64,
    ) -> Self {
        Self { step, stage, round, partition, sequence, check: check_of(stage, conceived_at, size) }
    }

    /// Whether the check is that of a chunk conceived at `conceived_at` with `size`: tells a foreign receipt from one's own.
    #[must_use]
    pub fn is_of(&self, conceived_at: u64, size: u64) -> bool {
        self.check == check_of(self.stage, conceived_at, size)
    }
}

/// The low 32 bits of the XXH3-64 (seed 0) of `conceived_at` and `size` (8 bytes each) and `stage` (2 bytes), little-endian.
fn check_of(stage: StageId, conceived_at: u64, size: u64) -> u32 {
    let mut input = [0; 18];
    let parts = conceived_at.to_le_bytes().into_iter().chain(size.to_le_bytes()).chain(stage.0.to_le_bytes());
    for (byte, part) in input.iter_mut().zip(parts) {
        *byte = part;
    }
    text::low_32_bits(xxh3_64(&input))
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StepId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text::parse_number(text).map(Self).ok_or_else(|| ParseIdError::step(text))
    }
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StageId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let number = text::parse_number(text).and_then(|number| u16::try_from(number).ok());
        number.map(Self).ok_or_else(|| ParseIdError::stage(text))
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let bits = u128::from_str_radix(text, 16).ok().filter(|_| digits);
        bits.map(Self).ok_or_else(|| ParseIdError::node(text))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

impl FromStr for Attempt {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let numbers = text.split_once('.');
        numbers
            .and_then(|(epoch, number)| {
                Some(Self { epoch: text::parse_number(epoch)?, number: text::parse_number(number)? })
            })
            .ok_or_else(|| ParseIdError::attempt(text))
    }
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&text::encode(self))
    }
}

impl FromStr for ReceiptId {
    type Err = ParseReceiptError;

    fn from_str(text: &str) -> Result<Self, ParseReceiptError> {
        text::decode(text)
    }
}

/// The derived binary layout of [`NodeId`].
#[derive(Serialize, Deserialize)]
#[serde(rename = "NodeId")]
struct NodeBits(u128);

/// The derived binary layout of [`ReceiptId`].
#[derive(Serialize, Deserialize)]
#[serde(rename = "ReceiptId")]
struct ReceiptFields {
    step: StepId,
    stage: StageId,
    round: u32,
    partition: u32,
    sequence: u64,
    check: u32,
}

impl Serialize for NodeId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            NodeBits(self.0).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for NodeId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
        } else {
            NodeBits::deserialize(deserializer).map(|NodeBits(bits)| Self(bits))
        }
    }
}

impl Serialize for ReceiptId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        let Self { step, stage, round, partition, sequence, check } = *self;
        ReceiptFields { step, stage, round, partition, sequence, check }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ReceiptId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return String::deserialize(deserializer)?.parse().map_err(de::Error::custom);
        }
        let fields = ReceiptFields::deserialize(deserializer)?;
        let ReceiptFields { step, stage, round, partition, sequence, check } = fields;
        Ok(Self { step, stage, round, partition, sequence, check })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: ReceiptId =
        ReceiptId { step: StepId(7), stage: StageId(1), round: 2, partition: 3, sequence: 300, check: 0xfeed_f00d };

    #[test]
    fn the_check_is_pinned() {
        let check = |stage, at, size| ReceiptId::conceive(StepId(1), StageId(stage), 0, 0, 0, at, size).check;
        assert_eq!(
            [check(0, 0, 0), check(0, 1_700_000_000_000_000_000, 3_000), check(9, 1_700_000_000_000_000_000, 3_000)],
            [4_164_341_792, 457_903_765, 2_034_872_819]
        );
    }

    #[test]
    fn the_check_tells_time_size_and_stage_apart() {
        let id = ReceiptId::conceive(StepId(1), StageId(2), 0, 0, 5, 1_000, 64);
        assert!(id.is_of(1_000, 64));
        assert!(!id.is_of(1_001, 64) && !id.is_of(1_000, 65));
        assert!(!ReceiptId { stage: StageId(3), ..id }.is_of(1_000, 64));
    }

    #[test]
    fn binary_layout_is_the_bare_numbers_in_order() {
        let fixed = bincode::config::standard().with_fixed_int_encoding();
        let bytes = bincode::serde::encode_to_vec(ID, fixed).unwrap();
        let mut expected = Vec::new();
        expected.extend(7_u64.to_le_bytes());
        expected.extend(1_u16.to_le_bytes());
        expected.extend(2_u32.to_le_bytes());
        expected.extend(3_u32.to_le_bytes());
        expected.extend(300_u64.to_le_bytes());
        expected.extend(0xfeed_f00d_u32.to_le_bytes());
        assert_eq!(bytes, expected);
        assert_eq!(bincode::serde::decode_from_slice(&bytes, fixed).unwrap(), (ID, 30));

        let node = NodeId(u128::MAX - 1);
        let bytes = bincode::serde::encode_to_vec(node, fixed).unwrap();
        assert_eq!(bytes, (u128::MAX - 1).to_le_bytes());
        assert_eq!(bincode::serde::decode_from_slice(&bytes, fixed).unwrap(), (node, 16));
    }

    #[test]
    fn json_shows_text_and_numbers() {
        let node = NodeId(0xab);
        let json = serde_json::to_string(&(StepId(7), node, ID)).unwrap();
        assert_eq!(json, format!(r#"[7,"000000000000000000000000000000ab","{ID}"]"#));
        assert_eq!(serde_json::from_str::<(StepId, NodeId, ReceiptId)>(&json).unwrap(), (StepId(7), node, ID));
        let wrong = serde_json::from_str::<ReceiptId>(r#""hello-it-is-not-a-receipt""#).unwrap_err();
        assert!(wrong.to_string().contains("bad character 'l' at 3"), "{wrong}");
    }

    #[test]
    fn small_ids_go_through_their_text_and_only_theirs() {
        assert_eq!("7".parse(), Ok(StepId(7)));
        assert_eq!(StepId(u64::MAX).to_string().parse(), Ok(StepId(u64::MAX)));
        assert_eq!("65535".parse(), Ok(StageId(65_535)));
        let attempt = Attempt { epoch: 3, number: 17 };
        assert_eq!(attempt.to_string(), "3.17");
        assert_eq!("3.17".parse(), Ok(attempt));
        assert_eq!(format!("{:>4}|", StepId(7)), "   7|");
        for text in ["", "+7", "-7", " 7", "7 ", "seven", "18446744073709551616"] {
            assert!(text.parse::<StepId>().is_err(), "{text:?}");
            assert!(text.parse::<Attempt>().is_err(), "{text:?}");
        }
        assert!("65536".parse::<StageId>().is_err());
        assert!("+0000000000000000000000000000000".parse::<NodeId>().is_err());
        assert!("0000000000000000000000000000000AB".parse::<NodeId>().is_err());
        let error = "seven".parse::<StepId>().unwrap_err();
        assert_eq!(error.to_string(), "\"seven\" is not a step: give its number, such as 7");
    }
}
