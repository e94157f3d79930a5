//! Values survive the codec, batches and compression; what lies is refused.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::batch::{BatchReader, EMPTY_ROWS_MAX, SeqEncoder, decode_each, decode_each_borrowed};
use crate::codec::{CodecError, Tier, decode, encode, encode_to_vec};
use crate::compress::{CompressError, Compression, Compressor, Decompressor};
use crate::{Bincode, Codec};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Shape {
    Empty,
    Pair(i8, char),
    Named { bytes: bytes::Bytes, inner: Option<Inner> },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Inner {
    Word(String),
    Numbers(u128, f64),
}

type Item = ((u8, i64, String), BTreeMap<String, (u32, Option<bool>)>, Option<Vec<u8>>, Vec<Shape>);

fn shape() -> impl Strategy<Value = Shape> {
    let word = "[a-d]{0,40}".prop_map(Inner::Word);
    let numbers = (any::<u128>(), -1e9..1e9).prop_map(|(a, b)| Inner::Numbers(a, b));
    let bytes = prop::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        Just(Shape::Empty),
        (any::<i8>(), any::<char>()).prop_map(|(number, character)| Shape::Pair(number, character)),
        (bytes, prop::option::of(prop_oneof![word, numbers]))
            .prop_map(|(bytes, inner)| Shape::Named { bytes: bytes.into(), inner }),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    (
        (any::<u8>(), any::<i64>(), "\\PC{0,20}"),
        prop::collection::btree_map("[a-z]{0,8}", (any::<u32>(), any::<Option<bool>>()), 0..8),
        prop::option::of(prop::collection::vec(0_u8..4, 0..300)),
        prop::collection::vec(shape(), 0..4),
    )
}

/// Through a compressor as `compression` asks for, and back.
fn through(bytes: &[u8], compression: Compression, loopback: bool) -> Vec<u8> {
    let Some(level) = compression.resolve(loopback) else { return bytes.to_vec() };
    let mut compressor = Compressor::new(level).unwrap();
    let Some(wire) = compressor.compress(bytes).unwrap() else { return bytes.to_vec() };
    let mut raw = Vec::new();
    Decompressor::new().unwrap().decompress(wire, bytes.len(), bytes.len(), &mut raw).unwrap();
    raw
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn all_shapes_are_equal_whatever_the_compression(items in prop::collection::vec(item(), 0..12)) {
        let bytes = encode_to_vec(&items).unwrap();
        for compression in ["true", "false", "auto"] {
            let compression: Compression = serde_json::from_value(compression.into()).unwrap();
            for loopback in [true, false] {
                let back = through(&bytes, compression, loopback);
                prop_assert_eq!(&decode::<Vec<Item>>(&back).unwrap(), &items);
            }
        }
    }

    #[test]
    fn bytes_equal_those_of_bincode_1(items in prop::collection::vec(item(), 0..4)) {
        prop_assert_eq!(encode_to_vec(&items).unwrap(), bincode1::serialize(&items).unwrap());
    }

    #[test]
    fn a_batch_written_item_by_item_has_the_bytes_of_a_vec(items in prop::collection::vec(item(), 0..8)) {
        let mut batch = SeqEncoder::new();
        for item in &items {
            batch.push(item).unwrap();
        }
        let (rows, bytes) = batch.finish();
        prop_assert_eq!(rows, items.len() as u64);
        prop_assert_eq!(&bytes[..], encode_to_vec(&items).unwrap());
        let mut back = Vec::new();
        decode_each(&bytes, rows, |item: Item| back.push(item)).unwrap();
        prop_assert_eq!(back, items);
    }

    #[test]
    fn damaged_values_never_panic(items in prop::collection::vec(item(), 1..4), at in any::<prop::sample::Index>(), new: u8) {
        let mut bytes = encode_to_vec(&items).unwrap();
        let at = at.index(bytes.len());
        prop_assert!(decode::<Vec<Item>>(&bytes[..at]).is_err(), "a cut value is refused");
        bytes[at] = new;
        if let Ok(other) = decode::<Vec<Item>>(&bytes) {
            // NaN-free by construction unless the damage made one; the encoding is canonical but for map order.
            prop_assert!(encode_to_vec(&other).unwrap().len() <= bytes.len());
        }
    }
}

#[test]
fn items_borrow_from_their_batch() {
    let mut batch = SeqEncoder::<str>::new();
    batch.push("to be").unwrap();
    batch.push("or not").unwrap();
    let (rows, bytes) = batch.take();
    let mut seen: Vec<&str> = Vec::new();
    decode_each_borrowed(&bytes, rows, |word: &str| seen.push(word)).unwrap();
    assert_eq!(seen, ["to be", "or not"]);
    assert!(bytes.as_ptr_range().contains(&seen[0].as_ptr()), "no copy was made");
    assert!(batch.is_empty(), "a batch starts anew after it was taken");
    assert_eq!(batch.finish().1[..], 0_u64.to_le_bytes());
}

#[test]
fn an_item_without_encoding_leaves_the_batch_as_it_was() {
    struct HalfWay(bool);
    impl Serialize for HalfWay {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            use serde::ser::{Error, SerializeTuple};
            let mut tuple = serializer.serialize_tuple(2)?;
            tuple.serialize_element(&1_u8)?;
            if self.0 {
                return Err(S::Error::custom("no second half"));
            }
            tuple.serialize_element(&2_u8)?;
            tuple.end()
        }
    }
    let mut batch = SeqEncoder::new();
    batch.push(&HalfWay(false)).unwrap();
    assert!(matches!(batch.push(&HalfWay(true)), Err(CodecError::Unencodable { .. })));
    batch.push(&HalfWay(false)).unwrap();
    let (rows, bytes) = batch.finish();
    assert_eq!((rows, &bytes[8..]), (2, &[1, 2, 1, 2][..]));
}

#[test]
fn trailing_bytes_are_refused() {
    assert_eq!(decode::<u8>(&[1, 2, 3]), Err(CodecError::Trailing { extra_bytes: 2 }));
    let mut bytes = encode_to_vec(&vec![1_u16, 2]).unwrap();
    bytes.push(0);
    assert_eq!(decode_each(&bytes, 2, |_: u16| ()), Err(CodecError::Trailing { extra_bytes: 1 }));
}

#[test]
fn a_tier_bounds_the_input() {
    let bytes = encode_to_vec(&"x".repeat(Tier::Control.bytes_max())).unwrap();
    let refused = CodecError::TooLarge { bytes: bytes.len(), bytes_max: Tier::Control.bytes_max() };
    assert_eq!(Bincode::decode::<String>(&bytes, Tier::Control), Err(refused));
    assert_eq!(Bincode::decode::<String>(&bytes, Tier::Data).unwrap().len() + 8, bytes.len());
}

#[test]
fn values_just_over_each_claim_limit_still_decode() {
    for bytes in [256 * 1024, 256 * 1024 + 1, 1024 * 1024] {
        // Claims are made one by one here, so a limit that is too tight for the size would show.
        let characters: Vec<char> = vec!['x'; bytes - 8];
        let encoded = encode_to_vec(&characters).unwrap();
        assert_eq!(encoded.len(), bytes);
        assert_eq!(decode::<Vec<char>>(&encoded).unwrap().len(), characters.len());
    }
}

#[test]
fn claims_beyond_the_bytes_are_refused() {
    for claim in [1_u64 << 40, u64::MAX, u64::from(u32::MAX), 1 << 20] {
        let mut bytes = claim.to_le_bytes().to_vec();
        bytes.extend([b'x'; 8]);
        assert!(decode::<String>(&bytes).is_err());
        assert!(decode::<Vec<u8>>(&bytes).is_err());
        assert!(decode::<bytes::Bytes>(&bytes).is_err());
        assert!(decode::<&str>(&bytes).is_err());
        assert!(decode::<Vec<(String, u64)>>(&bytes).is_err());
        assert!(decode::<BTreeMap<String, u64>>(&bytes).is_err());
        assert!(decode_each(&bytes, claim, |_: u64| ()).is_err());
    }
}

#[test]
fn items_without_bytes_are_bounded_by_number() {
    let rows = EMPTY_ROWS_MAX + 1;
    let refused = CodecError::EmptyRows { rows, bytes: 0, rows_max: EMPTY_ROWS_MAX };
    assert_eq!(decode_each(&rows.to_le_bytes(), rows, |(): ()| ()), Err(refused));
    let mut count = 0;
    decode_each(&3_u64.to_le_bytes(), 3, |(): ()| count += 1).unwrap();
    assert_eq!(count, 3);
}

#[test]
fn announced_rows_must_be_there() {
    let bytes = encode_to_vec(&[1_u8, 2].as_slice()).unwrap();
    let refused = CodecError::Rows { announced: 3, found: 2 };
    assert_eq!(decode_each(&bytes, 3, |_: u8| ()), Err(refused));
    assert_eq!(BatchReader::new(&bytes[..5], 2).err(), Some(CodecError::Cut { missing_bytes: 3 }));
}

#[test]
fn a_reused_buffer_is_appended_to() {
    let mut out = vec![9];
    encode(&1_u16, &mut out).unwrap();
    assert_eq!(out, [9, 1, 0]);
}

#[test]
fn compression_reads_and_shows_every_form() {
    for (text, value, resolved) in [
        ("true", Compression::Level(1), (Some(1), Some(1))),
        ("false", Compression::Off, (None, None)),
        ("\"auto\"", Compression::Auto, (None, Some(1))),
        ("3", Compression::Level(3), (Some(3), Some(3))),
        ("-2", Compression::Level(-2), (Some(-2), Some(-2))),
    ] {
        let read: Compression = serde_json::from_str(text).unwrap();
        assert_eq!(read, value);
        assert_eq!((read.resolve(true), read.resolve(false)), resolved);
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
        assert_eq!(serde_json::from_value::<Compression>(value.to_string().into()).unwrap(), value);
        let table: BTreeMap<String, Compression> = toml::from_str(&format!("compress = {text}")).unwrap();
        assert_eq!(table["compress"], value);
    }
    for text in ["0", "20", "-8", "4294967297", "18446744073709551615", "\"fast\"", "\"0\"", "1.5", "null"] {
        let error = serde_json::from_str::<Compression>(text).unwrap_err().to_string();
        assert!(error.contains("true, false, \"auto\", or a zstd level from -7 to 19 other than 0"), "{text}: {error}");
    }
}

#[test]
fn what_does_not_shrink_by_a_tenth_is_stored() {
    let mut compressor = Compressor::new(1).unwrap();
    // A xorshift: no pattern for zstd to find.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut noise = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..1000).flat_map(|_| noise()).collect();
    assert_eq!(compressor.compress(&bytes).unwrap(), None);
    bytes[..400].fill(0);
    assert_eq!(compressor.compress(&bytes).unwrap(), None, "five per cent do not pay");
    bytes[..1200].fill(0);
    let wire_bytes = compressor.compress(&bytes).unwrap().unwrap().len();
    assert!(wire_bytes <= 7200, "{wire_bytes}");
    assert_eq!(compressor.compress(&[0; 100]).unwrap(), None, "small bodies are stored");
}

#[test]
fn a_bomb_is_refused_at_its_declared_size() {
    let raw = vec![0; 32 << 20];
    let mut compressor = Compressor::new(1).unwrap();
    let bomb = compressor.compress(&raw).unwrap().unwrap().to_vec();
    assert!(bomb.len() < 16 * 1024);
    let mut decompressor = Decompressor::new().unwrap();
    let mut out = vec![5];
    for (declared, limit) in [(1000, 1000), (raw.len() - 1, raw.len())] {
        let error = decompressor.decompress(&bomb, declared, limit, &mut out).unwrap_err();
        assert!(matches!(error, CompressError::Decompress(_)), "{error}");
    }
    let error = decompressor.decompress(&bomb, raw.len() + 1, 64 << 20, &mut out).unwrap_err();
    assert!(matches!(error, CompressError::Length { found_bytes, .. } if found_bytes == raw.len()), "{error}");
    let error = decompressor.decompress(&bomb, usize::MAX, 64 << 20, &mut out).unwrap_err();
    assert!(matches!(error, CompressError::TooLarge { raw_bytes: usize::MAX, .. }), "{error}");
    assert_eq!(out, [5], "nothing is left of what failed");
    decompressor.decompress(&bomb, raw.len(), raw.len(), &mut out).unwrap();
    assert_eq!(out[1..], raw);
}
