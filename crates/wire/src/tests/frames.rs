//! Frames survive any split; whatever is wrong with them is named, and costs nothing.

use bytes::BytesMut;
use proptest::prelude::*;

use super::samples::{handshakes, messages};
use crate::codec::MESSAGE_BYTES_MAX;
use crate::frame::{
    FRAME_RAW_BYTES_MAX, FRAME_WIRE_BYTES_MAX, FrameDecoder, FrameEncoder, FrameError, FrameKind, HANDSHAKE_BYTES_MAX,
};
use crate::message::Message;
use crate::secret::FrameKey;
use crate::stream::{Lane, MessageDecoder, MessageEncoder};

fn decoder(key: Option<&FrameKey>) -> MessageDecoder {
    MessageDecoder::new(FrameDecoder::new(), key.cloned())
}

/// The frames of `sent`, as one stream.
fn stream(sent: &[(Lane, Message)], level: Option<i32>, key: Option<&FrameKey>) -> BytesMut {
    let mut encoder = MessageEncoder::new(FrameEncoder::new(), level, key.cloned()).unwrap();
    let mut out = BytesMut::new();
    for (lane, message) in sent {
        encoder.push(message, *lane, &mut out).unwrap();
    }
    out
}

/// Everything that a decoder gives, until it wants more or fails.
fn drain(decoder: &mut MessageDecoder, received: &mut BytesMut) -> (Vec<(Lane, Message)>, Option<FrameError>) {
    let mut got = Vec::new();
    loop {
        match decoder.next_message(received) {
            Ok(Some(message)) => got.push(message),
            Ok(None) => return (got, decoder.finish(received).err()),
            Err(error) => return (got, Some(error)),
        }
    }
}

fn sent() -> Vec<(Lane, Message)> {
    let lanes = [Lane::Control, Lane::Data].into_iter().cycle();
    let repeated = Message::Goodbye("again and ".repeat(100));
    let samples = messages().into_iter().map(|(_, message, _)| message);
    lanes.zip(samples.chain([repeated])).collect()
}

fn options() -> impl Strategy<Value = (Option<i32>, Option<FrameKey>)> {
    (prop::option::of(Just(1)), prop::option::of(any::<[u8; 32]>().prop_map(|key| FrameKey::new(&key))))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_stream_gives_the_same_messages_however_it_is_split(
        (level, key) in options(),
        pieces in prop::collection::vec(1_usize..300, 1..200),
    ) {
        let sent = sent();
        let mut whole = stream(&sent, level, key.as_ref());
        let mut decoder = decoder(key.as_ref());
        let (mut received, mut got) = (BytesMut::new(), Vec::new());
        for piece in pieces.into_iter().cycle() {
            if whole.is_empty() {
                break;
            }
            received.extend_from_slice(&whole.split_to(piece.min(whole.len())));
            while let Some(message) = decoder.next_message(&mut received).unwrap() {
                got.push(message);
            }
        }
        decoder.finish(&received).unwrap();
        prop_assert_eq!(got, sent);
    }

    #[test]
    fn a_damaged_stream_gives_the_messages_before_the_damage_and_an_error(
        (level, key) in options(),
        at in any::<prop::sample::Index>(),
        mask in 1_u8..=255,
        cut in any::<bool>(),
    ) {
        let sent = sent();
        let mut whole = stream(&sent, level, key.as_ref());
        let at = at.index(whole.len());
        if cut {
            let mut tail = whole.split_off(at);
            whole.unsplit(tail.split_off(1));
        } else {
            whole[at] ^= mask;
        }
        let mut decoder = decoder(key.as_ref());
        let (got, error) = drain(&mut decoder, &mut whole);
        prop_assert!(error.is_some(), "damage at {} went unnoticed", at);
        prop_assert!(got.len() < sent.len());
        prop_assert_eq!(&got[..], &sent[..got.len()], "a wrong message came out");
    }

    #[test]
    fn bytes_replaced_in_a_stream_give_no_wrong_message(
        (level, key) in options(),
        at in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 1..48),
    ) {
        let sent = sent();
        let mut whole = stream(&sent, level, key.as_ref());
        let at = at.index(whole.len());
        let end = whole.len().min(at + noise.len());
        let unchanged = whole[at..end] == noise[..end - at];
        whole[at..end].copy_from_slice(&noise[..end - at]);
        let (got, error) = drain(&mut decoder(key.as_ref()), &mut whole);
        prop_assert_eq!(error.is_none(), unchanged);
        prop_assert_eq!(&got[..], &sent[..got.len()], "a wrong message came out");
    }

    #[test]
    fn noise_is_an_error_or_a_wait(noise in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
        let mut received = BytesMut::new();
        if magic {
            received.extend_from_slice(b"EFL1\x01\x07\x00\x01");
        }
        received.extend_from_slice(&noise);
        let (got, _) = drain(&mut decoder(None), &mut received);
        prop_assert_eq!(got, []);
    }
}

/// A header with a right checksum for an empty body, so that only what it says can be wrong.
fn header(kind: u8, flags: u8, codec: u8, [raw, wire, rest]: [u32; 3], sequence: u64) -> BytesMut {
    let mut bytes = BytesMut::new();
    bytes.extend_from_slice(b"EFL1\x01");
    bytes.extend_from_slice(&[kind, flags, codec]);
    for length in [raw, wire, rest] {
        bytes.extend_from_slice(&length.to_le_bytes());
    }
    bytes.extend_from_slice(&sequence.to_le_bytes());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

fn refused(mut bytes: BytesMut) -> String {
    let capacity = bytes.capacity();
    let error = decoder(None).next_message(&mut bytes).unwrap_err();
    assert_eq!(bytes.capacity(), capacity, "nothing was set aside");
    format!("{error:?}")
}

#[test]
fn length_bombs_are_refused_by_the_header_alone() {
    let bomb = u32::MAX;
    let wire_max = u32::try_from(FRAME_WIRE_BYTES_MAX).unwrap();
    let raw_max = u32::try_from(FRAME_RAW_BYTES_MAX).unwrap();
    for (kind, flags, lengths, what) in [
        (7, 0, [bomb, bomb, 0], "body"),
        (7, 0, [wire_max + 1, wire_max + 1, 0], "body"),
        (7, 1, [bomb, 100, 0], "decompressed body"),
        (7, 1, [raw_max + 1, 100, 0], "decompressed body"),
        (7, 0, [100, 100, bomb], "message"),
        (7, 0, [1, 1, u32::try_from(MESSAGE_BYTES_MAX).unwrap()], "message"),
        (6, 0, [100, 100, 1 << 20], "message"),
    ] {
        let error = refused(header(kind, flags, 1, lengths, 0));
        assert!(error.contains(&format!("TooLarge {{ what: \"{what}\"")), "{lengths:?}: {error}");
    }
    let mut hello = header(1, 0, 1, [513, 513, 0], 0);
    let error = FrameDecoder::new().next_frame(&mut hello).unwrap_err();
    assert!(matches!(error, FrameError::TooLarge { bytes: 513, .. }), "{error}");
}

#[test]
fn contradicting_lengths_are_refused() {
    for (kind, flags, lengths) in [
        (7, 0, [0, 0, 0]),
        (7, 0, [5, 4, 0]),
        (7, 1, [5, 5, 0]),
        (7, 1, [5, 0, 0]),
        (1, 0, [5, 5, 1]),
        (1, 1, [5, 4, 0]),
        (1, 2, [5, 5, 0]),
    ] {
        let error = refused(header(kind, flags, 1, lengths, 0));
        assert!(error.contains("Lengths"), "{lengths:?}: {error}");
    }
}

#[test]
fn unknown_values_are_named() {
    let one = [4, 4, 0];
    assert_eq!(refused(header(0, 0, 1, one, 0)), "Kind { found: 0 }");
    assert_eq!(refused(header(9, 0, 1, one, 0)), "Kind { found: 9 }");
    assert_eq!(refused(header(7, 4, 1, one, 0)), "Flags { found: 4 }");
    assert_eq!(refused(header(7, 0, 2, one, 0)), "Codec { found: 2 }");
    assert_eq!(refused(header(7, 0, 1, one, 1)), "Sequence { expected: 0, found: 1 }");
    let mut version = header(7, 0, 1, one, 0);
    version[4] = 2;
    assert_eq!(refused(version), "Version { found: 2 }");
}

#[test]
fn a_stranger_is_known_by_its_first_bytes() {
    for bytes in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"\x16\x03\x01\x00", b"E\x00", b"EFL0"] {
        let error = FrameDecoder::new().next_frame(&mut BytesMut::from(bytes)).unwrap_err();
        assert!(matches!(error, FrameError::Magic), "{bytes:?}: {error}");
    }
    assert!(FrameDecoder::new().next_frame(&mut BytesMut::from(&b"EF"[..])).unwrap().is_none());
}

#[test]
fn a_decoder_that_failed_gives_nothing_more() {
    let mut received = BytesMut::from(&b"nonsense"[..]);
    let mut decoder = decoder(None);
    assert!(matches!(decoder.next_message(&mut received), Err(FrameError::Magic)));
    let mut good = stream(&sent(), None, None);
    assert!(matches!(decoder.next_message(&mut good), Err(FrameError::Failed)));
    assert!(matches!(decoder.finish(&BytesMut::new()), Err(FrameError::Failed)));
}

#[test]
fn a_frame_decoder_that_failed_gives_nothing_more() {
    let mut decoder = FrameDecoder::new();
    assert!(matches!(decoder.next_frame(&mut BytesMut::from(&b"nonsense"[..])), Err(FrameError::Magic)));
    let (_, handshake, _) = handshakes().swap_remove(0);
    let mut good = BytesMut::new();
    handshake.put(&mut FrameEncoder::new(), &mut good).unwrap();
    assert!(matches!(decoder.next_frame(&mut good), Err(FrameError::Failed)));
    assert!(matches!(decoder.finish(&BytesMut::new()), Err(FrameError::Failed)));
}

#[test]
fn each_phase_takes_its_own_frames_only() {
    let mut data = stream(&sent()[..1], None, None);
    let error = FrameDecoder::new().next_frame(&mut data).unwrap_err();
    assert!(matches!(error, FrameError::Unexpected { found: FrameKind::Control }), "{error}");
    for (_, handshake, _) in handshakes() {
        let mut out = BytesMut::new();
        handshake.put(&mut FrameEncoder::new(), &mut out).unwrap();
        let error = decoder(None).next_message(&mut out).unwrap_err();
        assert!(matches!(error, FrameError::Unexpected { found } if found == handshake.kind()), "{error}");
    }
}

#[test]
fn doubled_and_missing_frames_are_refused() {
    let both = stream(&sent()[..2], None, None);
    let first_bytes = 32 + usize::try_from(u32::from_le_bytes(both[12..16].try_into().unwrap())).unwrap();
    let mut doubled = BytesMut::from(&both[..first_bytes]);
    doubled.extend_from_slice(&both[..first_bytes]);
    let (got, error) = drain(&mut decoder(None), &mut doubled);
    assert_eq!(got.len(), 1);
    assert!(matches!(error, Some(FrameError::Sequence { expected: 1, found: 0 })), "{error:?}");
    let (got, error) = drain(&mut decoder(None), &mut BytesMut::from(&both[first_bytes..]));
    assert_eq!(got, []);
    assert!(matches!(error, Some(FrameError::Sequence { expected: 0, found: 1 })), "{error:?}");
}

#[test]
fn tags_are_due_with_a_key_and_only_then() {
    let (key, other) = (FrameKey::new(&[1; 32]), FrameKey::new(&[2; 32]));
    for (sender, receiver) in [(None, Some(&key)), (Some(&key), None), (Some(&key), Some(&other))] {
        let error = decoder(receiver).next_message(&mut stream(&sent(), None, sender)).unwrap_err();
        assert!(matches!(error, FrameError::Tag), "{error}");
    }
}

#[test]
fn a_forger_who_mends_the_checksum_is_found_by_the_tag() {
    let key = FrameKey::new(&[1; 32]);
    let mut bytes = stream(&[(Lane::Control, Message::Credit(1))], None, Some(&key));
    bytes[32 + 4] = 2;
    let mut crc = crc32fast::Hasher::new();
    crc.update(&bytes[..28]);
    crc.update(&bytes[32..44]);
    let checksum = crc.finalize();
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    assert!(matches!(decoder(Some(&key)).next_message(&mut bytes), Err(FrameError::Tag)));
}

#[test]
fn handshake_bodies_are_bounded_when_they_are_sent() {
    let mut out = BytesMut::new();
    let mut frames = FrameEncoder::new();
    for body in [&[][..], &[0; HANDSHAKE_BYTES_MAX + 1]] {
        assert!(matches!(frames.put_handshake(FrameKind::Hello, body, &mut out), Err(FrameError::TooLarge { .. })));
    }
    assert!(matches!(frames.put_handshake(FrameKind::Data, &[1], &mut out), Err(FrameError::Unexpected { .. })));
    assert_eq!(out.len(), 0);
    frames.put_handshake(FrameKind::Hello, &[0; HANDSHAKE_BYTES_MAX], &mut out).unwrap();
    assert!(FrameDecoder::new().next_frame(&mut out).unwrap().is_some());
}
