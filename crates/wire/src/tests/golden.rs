//! Bytes that must stay as they are, because other builds read them. `UPDATE_GOLDEN=1 cargo test -p elastic-flow-wire golden`
//! writes the files anew, for a change that is meant.

use std::fmt::Write as _;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

use super::samples::{Field, handshakes, index_of, messages};
use crate::codec::{decode, encode_to_vec, encoded_bytes};
use crate::frame::{FRAME_BYTES_AIM, FrameDecoder, FrameEncoder, FrameKind, HEADER_BYTES};
use crate::message::{Message, digest};
use crate::secret::FrameKey;
use crate::stream::{Lane, MessageDecoder, MessageEncoder};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// Compares with the file, or writes it when asked to.
fn check_file(name: &str, fields: &[Field]) {
    let mut text = String::new();
    for (field, bytes) in fields {
        writeln!(text, "{field:<14} {}", hex(bytes)).unwrap();
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.hex"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, golden, "{} has changed: other builds could not read it", path.display());
}

fn concat(fields: &[Field]) -> Vec<u8> {
    fields.iter().flat_map(|(_, bytes)| bytes.clone()).collect()
}

/// The header's fields, the body and the tag of the frame that `bytes` begin with.
fn frame_fields(bytes: &[u8], body: Vec<Field>, tagged: bool) -> Vec<Field> {
    let cut = [
        ("magic", 0..4),
        ("version", 4..5),
        ("kind", 5..6),
        ("flags", 6..7),
        ("codec", 7..8),
        ("raw bytes", 8..12),
        ("wire bytes", 12..16),
        ("rest bytes", 16..20),
        ("sequence", 20..28),
        ("checksum", 28..HEADER_BYTES),
    ];
    let mut fields: Vec<Field> = cut.into_iter().map(|(name, range)| (name, bytes[range].to_vec())).collect();
    fields.extend(body);
    if tagged {
        fields.push(("tag", bytes[bytes.len() - 16..].to_vec()));
    }
    assert_eq!(concat(&fields), bytes);
    fields
}

#[test]
fn every_message_keeps_its_bytes() {
    for (name, message, fields) in messages() {
        let bytes = encode_to_vec(&message).unwrap();
        assert_eq!(bytes, concat(&fields), "{name}: fields and message agree");
        assert_eq!(encoded_bytes(&message).unwrap(), bytes.len());
        assert_eq!(decode::<Message>(&bytes).unwrap(), message, "{name}");
        check_file(&format!("message_{name}"), &fields);
    }
}

#[test]
fn every_message_variant_has_a_sample() {
    let mut indices: Vec<u32> = messages().iter().map(|(_, message, _)| index_of(message)).collect();
    indices.sort_unstable();
    indices.dedup();
    assert_eq!(indices, (0..18).collect::<Vec<u32>>());
}

#[test]
fn every_message_has_the_bytes_of_bincode_1() {
    for (name, message, _) in messages() {
        assert_eq!(encode_to_vec(&message).unwrap(), bincode1::serialize(&message).unwrap(), "{name}");
    }
}

#[test]
fn every_handshake_frame_keeps_its_bytes() {
    let mut kinds = Vec::new();
    for (name, handshake, body) in handshakes() {
        let mut out = BytesMut::new();
        let sent = handshake.put(&mut FrameEncoder::new(), &mut out).unwrap();
        assert_eq!(sent, concat(&body), "{name}");
        check_file(&format!("frame_{name}"), &frame_fields(&out, body, false));
        kinds.push(handshake.kind());
    }
    assert!(FrameKind::ALL.iter().filter(|kind| kind.is_handshake()).eq(&kinds));
}

#[test]
fn message_frames_keep_their_bytes() {
    let credit = Message::Credit(8 << 20);
    let body = || vec![("body", encode_to_vec(&credit).unwrap())];
    for (name, lane, key) in [
        ("frame_control", Lane::Control, None),
        ("frame_data", Lane::Data, None),
        ("frame_tagged", Lane::Control, Some(FrameKey::new(&[7; 32]))),
    ] {
        let mut out = BytesMut::new();
        let mut encoder = MessageEncoder::new(FrameEncoder::new(), None, key.clone()).unwrap();
        encoder.push(&credit, lane, &mut out).unwrap();
        check_file(name, &frame_fields(&out, body(), key.is_some()));
    }
}

#[test]
fn a_continuation_frame_keeps_its_bytes() {
    let mut out = BytesMut::new();
    let text = "x".repeat(FRAME_BYTES_AIM - 4 - 8 + 3);
    let mut encoder = MessageEncoder::new(FrameEncoder::new(), None, None).unwrap();
    encoder.push(&Message::Goodbye(text), Lane::Data, &mut out).unwrap();
    let second = out.split_off(HEADER_BYTES + FRAME_BYTES_AIM);
    check_file("frame_continuation", &frame_fields(&second, vec![("body", b"xxx".to_vec())], false));
}

/// zstd may choose other bytes in a later version: what must stay is that today's bytes can be read.
#[test]
fn a_compressed_frame_of_an_earlier_build_is_still_read() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/compressed_goodbye.hex");
    let message = Message::Goodbye("all work and no play ".repeat(20));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        let mut out = BytesMut::new();
        let mut encoder = MessageEncoder::new(FrameEncoder::new(), Some(1), None).unwrap();
        encoder.push(&message, Lane::Data, &mut out).unwrap();
        std::fs::write(&path, format!("{}\n", hex(&out))).unwrap();
    }
    let text = std::fs::read_to_string(&path).unwrap();
    let digits = text.trim().as_bytes();
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    assert_eq!(bytes[6], 1, "the file holds a compressed frame");
    let mut received = BytesMut::from(Bytes::from(bytes));
    let decoded = MessageDecoder::new(FrameDecoder::new(), None).next_message(&mut received).unwrap();
    assert_eq!(decoded, Some((Lane::Data, message)));
}

/// Values of the reference implementation: a body's digest is compared between builds.
#[test]
fn digests_are_those_of_xxh3() {
    assert_eq!(digest(b""), 0x2d06_8005_38d3_94c2);
    assert_eq!(digest(b"abc"), 0x78af_5f94_892f_3950);
}
