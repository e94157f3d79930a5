//! The text form of ids: see [`ReceiptId`] for what it promises.

use crate::id::{ReceiptId, StageId, StepId};

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGIT_BITS: u32 = 5;
const SEPARATOR: char = '-';
/// What a separator counts in the check characters.
const SEPARATOR_VALUE: u32 = 32;
/// A prime below 1024 = 32 × 32 of which 32 is a primitive root: its powers repeat after 1018 places only, so that exchanging
/// any two characters of a text changes the remainder.
const MODULUS: u32 = 1019;
const CHECK_DIGITS: usize = 7;
const CHECK_CHARS: usize = 2;
/// `0-000-0-` and the check.
const CHARS_MIN: usize = 8 + CHECK_DIGITS + CHECK_CHARS;
/// Step, stage, round, partition and sequence at their largest, three separators, and the check.
pub(crate) const CHARS_MAX: usize = 14 + 5 + 8 + 8 + 14 + 3 + CHECK_DIGITS + CHECK_CHARS;
/// Characters of a wrong text that an error quotes.
const QUOTED_CHARS_MAX: usize = 40;

/// Why a text is not a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseReceiptError {
    /// Characters are missing.
    #[error("receipt is too short: {chars} characters, at least {CHARS_MIN} are needed; copy it whole")]
    TooShort {
        /// Characters that there are.
        chars: usize,
    },
    /// There are too many characters.
    #[error("receipt is too long: {chars} characters, at most {CHARS_MAX} are possible; copy it alone")]
    TooLong {
        /// Characters that there are.
        chars: usize,
    },
    /// A character that no receipt has.
    #[error("receipt has a bad character {found:?} at {at}: only - and the digits 0-9 a-z but i, l, o and u occur")]
    BadCharacter {
        /// Its place, in characters from 1.
        at: usize,
        /// The character.
        found: char,
    },
    /// The check characters do not fit the rest.
    #[error("receipt's check characters do not match: a character of it is mistyped, missing or out of place")]
    CheckMismatch,
    /// The characters are in no order that a receipt has.
    #[error("receipt has a wrong form at {at}: a {expected} is expected there")]
    BadForm {
        /// The place, in characters from 1.
        at: usize,
        /// What should stand there.
        expected: &'static str,
    },
}

/// Why a text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
}

impl ParseIdError {
    pub(crate) fn step(text: &str) -> Self {
        Self::new(text, "a step: give its number, such as 7")
    }

    pub(crate) fn stage(text: &str) -> Self {
        Self::new(text, "a stage: give its number, from 0 to 65535")
    }

    pub(crate) fn node(text: &str) -> Self {
        Self::new(text, "a node: give its 32 hexadecimal digits, in lower case")
    }

    pub(crate) fn attempt(text: &str) -> Self {
        Self::new(text, "an attempt: give epoch and number, such as 3.17")
    }

    fn new(text: &str, what: &'static str) -> Self {
        Self { text: text.chars().take(QUOTED_CHARS_MAX).collect(), what }
    }
}

/// A plain decimal number: digits alone, without the sign that the standard parser takes.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()))
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
pub(crate) const fn low_32_bits(bits: u64) -> u32 {
    bits as u32
}

pub(crate) fn encode(id: &ReceiptId) -> String {
    let mut text = String::with_capacity(CHARS_MAX);
    push_number(&mut text, id.step.0);
    text.push(SEPARATOR);
    push_number(&mut text, u64::from(id.stage.0));
    push_number(&mut text, u64::from(id.round));
    push_number(&mut text, u64::from(id.partition));
    text.push(SEPARATOR);
    push_number(&mut text, id.sequence);
    text.push(SEPARATOR);
    push_digits(&mut text, u64::from(id.check), CHECK_DIGITS);
    let check = check_number(&text);
    push_digits(&mut text, u64::from(check), CHECK_CHARS);
    text
}

pub(crate) fn decode(text: &str) -> Result<ReceiptId, ParseReceiptError> {
    let chars = text.chars().count();
    let bad = text.chars().enumerate().find(|&(_, found)| value_of(found).is_none());
    if let Some((place, found)) = bad {
        return Err(ParseReceiptError::BadCharacter { at: place + 1, found });
    }
    if chars < CHARS_MIN {
        return Err(ParseReceiptError::TooShort { chars });
    }
    if chars > CHARS_MAX {
        return Err(ParseReceiptError::TooLong { chars });
    }
    // All characters are ASCII from here on, so bytes are characters.
    let (body, check) = text.split_at(chars - CHECK_CHARS);
    let mut expected = String::with_capacity(CHECK_CHARS);
    push_digits(&mut expected, u64::from(check_number(body)), CHECK_CHARS);
    if check != expected {
        return Err(ParseReceiptError::CheckMismatch);
    }
    decode_body(body)
}

/// Reads what the check characters vouch for. They can match by chance, so nothing is taken for granted here.
fn decode_body(body: &str) -> Result<ReceiptId, ParseReceiptError> {
    let mut reader = Reader { text: body, at: 0 };
    let step = StepId(reader.number("step's number")?);
    reader.separator()?;
    let stage = StageId(reader.small("stage's number")?);
    let round = reader.small("round's number")?;
    let partition = reader.small("partition's number")?;
    reader.separator()?;
    let sequence = reader.number("sequence number")?;
    reader.separator()?;
    let place = reader.at;
    let check = reader.digits(CHECK_DIGITS, "check")?;
    let check = u32::try_from(check).map_err(|_| ParseReceiptError::BadForm { at: place + 1, expected: "check" })?;
    if reader.at < body.len() {
        return Err(ParseReceiptError::BadForm { at: reader.at + 1, expected: "check character" });
    }
    Ok(ReceiptId { step, stage, round, partition, sequence, check })
}

/// A digit for the number of digits, and the digits, so that the order of bytes is the order of numbers.
fn push_number(text: &mut String, number: u64) {
    let digits = (u64::BITS - number.leading_zeros()).div_ceil(DIGIT_BITS);
    push_digits(text, u64::from(digits), 1);
    push_digits(text, number, usize::try_from(digits).unwrap_or(0));
}

fn push_digits(text: &mut String, number: u64, digits: usize) {
    for place in (0..digits).rev() {
        let shifted = number.checked_shr(DIGIT_BITS * u32::try_from(place).unwrap_or(u32::MAX)).unwrap_or(0);
        let digit = usize::try_from(shifted % 32).ok().and_then(|digit| DIGITS.get(digit));
        text.extend(digit.copied().map(char::from));
    }
}

/// The number of the two check characters that bring `body` and themselves to 1 modulo [`MODULUS`].
fn check_number(body: &str) -> u32 {
    let body = body.chars().chain(['0'; CHECK_CHARS]);
    let rest = body.fold(0, |rest, char| (rest * 32 + value_of(char).unwrap_or(0)) % MODULUS);
    (MODULUS + 1 - rest) % MODULUS
}

fn value_of(char: char) -> Option<u32> {
    if char == SEPARATOR {
        return Some(SEPARATOR_VALUE);
    }
    let byte = u8::try_from(char).ok()?;
    DIGITS.binary_search(&byte).ok().and_then(|value| u32::try_from(value).ok())
}

/// Reads a text whose characters are all in the alphabet.
struct Reader<'a> {
    text: &'a str,
    /// Bytes read so far.
    at: usize,
}

impl Reader<'_> {
    fn next(&mut self, expected: &'static str) -> Result<u32, ParseReceiptError> {
        let byte = self.text.as_bytes().get(self.at).copied();
        let value = byte.and_then(|byte| value_of(char::from(byte)));
        let value = value.ok_or(ParseReceiptError::BadForm { at: self.at + 1, expected })?;
        self.at += 1;
        Ok(value)
    }

    fn separator(&mut self) -> Result<(), ParseReceiptError> {
        let at = self.at + 1;
        match self.next("separator -")? {
            SEPARATOR_VALUE => Ok(()),
            _ => Err(ParseReceiptError::BadForm { at, expected: "separator -" }),
        }
    }

    fn digits(&mut self, count: usize, expected: &'static str) -> Result<u64, ParseReceiptError> {
        let mut number = 0_u64;
        for _ in 0..count {
            let wrong = ParseReceiptError::BadForm { at: self.at + 1, expected };
            let digit = self.next(expected)?;
            let shifted = number.checked_mul(32).filter(|_| digit < SEPARATOR_VALUE).ok_or(wrong)?;
            number = shifted + u64::from(digit);
        }
        Ok(number)
    }

    /// A number as [`push_number`] writes it, and no other way.
    fn number(&mut self, expected: &'static str) -> Result<u64, ParseReceiptError> {
        let wrong = ParseReceiptError::BadForm { at: self.at + 1, expected };
        let count = self.digits(1, expected)?;
        let number = self.digits(usize::try_from(count).unwrap_or(0), expected)?;
        let digits = (u64::BITS - number.leading_zeros()).div_ceil(DIGIT_BITS);
        if count == u64::from(digits) { Ok(number) } else { Err(wrong) }
    }

    fn small<N: TryFrom<u64>>(&mut self, expected: &'static str) -> Result<N, ParseReceiptError> {
        let wrong = ParseReceiptError::BadForm { at: self.at + 1, expected };
        N::try_from(self.number(expected)?).map_err(|_| wrong)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Numbers of all lengths, small ones and the largest more often than chance would have them.
    fn number() -> impl Strategy<Value = u64> {
        prop_oneof![0..40_u64, any::<u64>(), (0..64_u32).prop_map(|bits| u64::MAX >> bits)]
    }

    fn small() -> impl Strategy<Value = u32> {
        number().prop_map(low_32_bits)
    }

    fn id() -> impl Strategy<Value = ReceiptId> {
        (number(), any::<u16>(), small(), small(), number(), any::<u32>()).prop_map(
            |(step, stage, round, partition, sequence, check)| ReceiptId {
                step: StepId(step),
                stage: StageId(stage >> (stage % 16)),
                round,
                partition,
                sequence,
                check,
            },
        )
    }

    fn with(text: &str, place: usize, byte: u8) -> String {
        let mut bytes = text.as_bytes().to_vec();
        bytes[place] = byte;
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn texts_are_pinned() {
        let id = |step, stage, sequence, check| ReceiptId {
            step: StepId(step),
            stage: StageId(stage),
            round: 0,
            partition: 0,
            sequence,
            check,
        };
        let largest = ReceiptId { round: u32::MAX, partition: u32::MAX, ..id(u64::MAX, u16::MAX, u64::MAX, u32::MAX) };
        let texts = [id(0, 0, 0, 0), id(7, 0, 42, 0xfeed_f00d), largest].map(|id| id.to_string());
        assert_eq!(
            texts,
            [
                "0-000-0-000000088",
                "17-000-21a-3zevw0d9j",
                "dfzzzzzzzzzzzz-41zzz73zzzzzz73zzzzzz-dfzzzzzzzzzzzz-3zzzzzz9j"
            ]
        );
        assert_eq!((texts[0].len(), texts[2].len()), (CHARS_MIN, CHARS_MAX));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let parse = |text: &str| text.parse::<ReceiptId>().unwrap_err();
        let good = ReceiptId::conceive(StepId(7), StageId(0), 0, 0, 42, 1, 2).to_string();
        assert_eq!(parse(""), ParseReceiptError::TooShort { chars: 0 });
        assert_eq!(parse(&good[..10]), ParseReceiptError::TooShort { chars: 10 });
        assert_eq!(parse(&good.repeat(4)), ParseReceiptError::TooLong { chars: good.len() * 4 });
        assert_eq!(parse(&with(&good, 4, b'o')), ParseReceiptError::BadCharacter { at: 5, found: 'o' });
        assert_eq!(
            parse(&good.to_uppercase().replace('0', "é")).to_string().split(':').next(),
            Some("receipt has a bad character 'é' at 4")
        );
        assert_eq!(parse(&with(&good, 1, b'8')), ParseReceiptError::CheckMismatch);
        for (body, at) in
            [("17x000-0-0000000", 3), ("27-000-0-0000000", 3), ("17-000-0-zzzzzzz", 10), ("17-000-0-00000000", 17)]
        {
            let mut text = body.to_owned();
            push_digits(&mut text, u64::from(check_number(body)), CHECK_CHARS);
            assert!(
                matches!(parse(&text), ParseReceiptError::BadForm { at: place, .. } if place == at),
                "{text}: {}",
                parse(&text)
            );
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn a_text_gives_its_id_back_and_is_fit_for_a_file_name(id in id()) {
            let text = id.to_string();
            prop_assert!(text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-')), "{}", text);
            prop_assert!((CHARS_MIN..=CHARS_MAX).contains(&text.len()) && !text.starts_with('-'));
            prop_assert_eq!(text.parse(), Ok(id));
        }

        #[test]
        fn texts_sort_as_their_ids(one in id(), other in id(), near in 0..3_u64) {
            prop_assert_eq!(one.to_string().cmp(&other.to_string()), one.cmp(&other));
            let next = ReceiptId { sequence: one.sequence.saturating_add(near), check: other.check, ..one };
            prop_assert_eq!(one.to_string().cmp(&next.to_string()), one.cmp(&next));
        }

        #[test]
        fn every_single_wrong_character_is_found(id in id(), place in any::<prop::sample::Index>()) {
            let text = id.to_string();
            let place = place.index(text.len());
            for byte in (b' '..=b'~').filter(|&byte| byte != text.as_bytes()[place]) {
                prop_assert!(with(&text, place, byte).parse::<ReceiptId>().is_err(), "{} at {}", char::from(byte), place);
            }
        }

        #[test]
        fn every_exchange_of_two_characters_is_found(id in id()) {
            let text = id.to_string();
            let bytes = text.as_bytes();
            for one in 0..bytes.len() {
                for other in (one + 1..bytes.len()).filter(|&other| bytes[one] != bytes[other]) {
                    let swapped = with(&with(&text, one, bytes[other]), other, bytes[one]);
                    prop_assert!(swapped.parse::<ReceiptId>().is_err(), "{} and {}: {}", one, other, swapped);
                }
            }
        }

        #[test]
        fn whatever_parses_is_the_text_of_its_id(text in "[0-9a-hj-np-tv-z]{2,6}-[01][0-9a-z]{2,9}-[0-9a-z]{1,9}-[0-9a-z]{7}") {
            let mut text = text;
            let check = check_number(&text);
            push_digits(&mut text, u64::from(check), CHECK_CHARS);
            if let Ok(id) = text.parse::<ReceiptId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,70}") {
            prop_assert!(text.parse::<ReceiptId>().is_err());
        }
    }
}
