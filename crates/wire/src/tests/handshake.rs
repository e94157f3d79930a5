//! The handshake's data, keys and proofs.

use bytes::BytesMut;
use proptest::prelude::*;

use super::samples::{handshakes, hello};
use crate::frame::{FrameDecoder, FrameEncoder, FrameKind, HANDSHAKE_BYTES_MAX};
use crate::hello::{ADDRESS_BYTES_MAX, Handshake, Hello, NAME_BYTES_MAX, REFUSAL_BYTES_MAX, Refusal, RefusalReason};
use crate::message::Message;
use crate::secret::{KeyMismatch, KeyRole, Keys, Proof, Secret, SecretError, Side, Transcript};
use crate::stream::{Lane, MessageDecoder, MessageEncoder};

const KEY_TEXT: &str = "8f2a1c5be07d43961122f0aa9b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e";

const PROOF: &str = "6ccd8d165c27d1a5f04bc97e1193e9858092f2f43b79e1ab7d70a0b95678772a";
const TAG: &str = "c464abb4b7e7fc082a18cfa2fbae4f8b";

fn keys(cluster: &str) -> Keys {
    Keys::derive(&Secret::parse(KEY_TEXT).unwrap(), cluster)
}

#[test]
fn every_kind_survives_the_wire() {
    let mut frames = FrameEncoder::new();
    let mut decoder = FrameDecoder::new();
    let mut out = BytesMut::new();
    for (name, handshake, _) in handshakes() {
        handshake.put(&mut frames, &mut out).unwrap();
        let frame = decoder.next_frame(&mut out).unwrap().unwrap();
        assert_eq!(Handshake::from_frame(&frame).unwrap(), handshake, "{name}");
    }
    decoder.finish(&out).unwrap();
}

#[test]
fn the_longest_texts_fit_a_frame() {
    let longest = Hello {
        cluster: "c".repeat(NAME_BYTES_MAX),
        name: "n".repeat(NAME_BYTES_MAX),
        data_address: "a".repeat(ADDRESS_BYTES_MAX),
        ..hello()
    };
    let body = Handshake::Hello(longest.clone()).to_body().unwrap();
    assert!(body.len() <= HANDSHAKE_BYTES_MAX, "{}", body.len());
    assert_eq!(Handshake::from_body(FrameKind::Hello, &body).unwrap(), Handshake::Hello(longest));
}

#[test]
fn a_text_that_may_not_be_is_refused_by_both_ends() {
    let good = Handshake::Hello(hello()).to_body().unwrap();
    for (hello, said) in [
        (
            Hello { cluster: "x".repeat(NAME_BYTES_MAX + 1), ..hello() },
            "cluster name of 65 bytes is over the limit of 64",
        ),
        (Hello { cluster: String::new(), ..hello() }, "cluster name may have letters"),
        (Hello { name: "../etc".to_owned(), ..hello() }, "node name may have letters"),
        (Hello { name: "a\n".to_owned(), ..hello() }, "node name may have letters"),
        (Hello { data_address: "a b".to_owned(), ..hello() }, "data address may have letters"),
        (Hello { data_address: "x".repeat(ADDRESS_BYTES_MAX + 1), ..hello() }, "data address of 201 bytes"),
        (Hello { versions: (3, 2), ..hello() }, "protocol versions 3 to 2 are no range"),
    ] {
        let error = Handshake::Hello(hello).to_body().unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
    let mut bad_name = good.clone();
    let at = good.windows(4).position(|window| window == b"yam2").unwrap();
    bad_name[at] = b'/';
    let error = Handshake::from_body(FrameKind::Hello, &bad_name).unwrap_err().to_string();
    assert!(error.starts_with("node name may have letters"), "{error}");
    let mut long = good;
    long[4..12].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(Handshake::from_body(FrameKind::Hello, &long).is_err(), "a claimed length is not believed");
}

#[test]
fn a_refusal_is_cut_when_sent_and_cleaned_when_received() {
    let message = format!("\u{1b}[31m{}", "ä".repeat(REFUSAL_BYTES_MAX));
    let sent = Handshake::Refuse(Refusal { reason: RefusalReason::Busy, message });
    let body = sent.to_body().unwrap();
    assert!(body.len() <= HANDSHAKE_BYTES_MAX);
    let Handshake::Refuse(got) = Handshake::from_body(FrameKind::Refuse, &body).unwrap() else {
        panic!("not a refusal")
    };
    assert_eq!(got.reason, RefusalReason::Busy);
    assert!(got.message.starts_with("[31mää"), "{got}");
}

#[test]
fn the_highest_common_version_is_spoken() {
    for (theirs, ours, chosen) in [
        ((1, 1), (1, 1), Ok(1)),
        ((1, 3), (2, 5), Ok(3)),
        ((2, 9), (1, 4), Ok(4)),
        ((0, 0), (1, 1), Err("protocol versions differ: you speak 0, this node 1; run one version")),
        ((65535, 65535), (1, 2), Err("protocol versions differ: you speak 65535, this node 1 to 2; run one version")),
    ] {
        let answer = Hello { versions: theirs, ..hello() }.admit("logs", ours);
        match chosen {
            Ok(version) => assert_eq!(answer.unwrap(), version),
            Err(message) => {
                let refusal = answer.unwrap_err();
                assert_eq!((refusal.reason, refusal.message.as_str()), (RefusalReason::Version, message));
            }
        }
    }
}

#[test]
fn another_cluster_is_refused_without_telling_our_name() {
    let refusal = hello().admit("secret-project", (1, 1)).unwrap_err();
    assert_eq!(refusal.reason, RefusalReason::Cluster);
    assert!(refusal.message.contains("`logs`") && !refusal.message.contains("secret-project"), "{refusal}");
}

#[test]
fn a_proof_holds_for_its_key_side_and_transcript_only() {
    let transcript = Transcript::new(b"hello", b"challenge", b"");
    let keys = keys("logs");
    let key = keys.role(KeyRole::Worker);
    let proof = key.proof(Side::Client, &transcript);
    assert_eq!(key.verify(Side::Client, &transcript, &proof), Ok(()));
    assert_eq!(key.verify(Side::Server, &transcript, &proof), Err(KeyMismatch), "reflected");
    for other in [
        Transcript::new(b"hello", b"challengf", b""),
        Transcript::new(b"helloc", b"hallenge", b""),
        Transcript::new(b"hello", b"challenge", b"tls"),
    ] {
        assert_eq!(key.verify(Side::Client, &other, &proof), Err(KeyMismatch));
    }
    for other in [KeyRole::Submit, KeyRole::Read] {
        assert_eq!(keys.role(other).verify(Side::Client, &transcript, &proof), Err(KeyMismatch));
    }
    let elsewhere = Keys::derive(&Secret::parse(KEY_TEXT).unwrap(), "other");
    assert_eq!(elsewhere.role(KeyRole::Worker).verify(Side::Client, &transcript, &proof), Err(KeyMismatch));
    let mut flipped = proof;
    flipped.0[31] ^= 1;
    assert_eq!(key.verify(Side::Client, &transcript, &flipped), Err(KeyMismatch));
}

/// Computed apart from this crate, with Python's `hmac` and `hashlib`.
#[test]
fn keys_and_proofs_have_known_values() {
    let keys = keys("logs");
    let transcript = Transcript::new(b"hello", b"challenge", b"");
    let Proof(proof) = keys.role(KeyRole::Worker).proof(Side::Client, &transcript);
    let hex: String = proof.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, PROOF);
    let (client, _) = keys.role(KeyRole::Worker).frame_keys(&transcript);
    let hex: String = client.tag(b"frame").iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, TAG);
    assert_eq!(keys.id().to_string(), "d79df78b");
}

#[test]
fn each_direction_has_its_own_key() {
    let transcript = Transcript::new(b"hello", b"challenge", b"");
    let (client, server) = keys("logs").role(KeyRole::Worker).frame_keys(&transcript);
    let mut out = BytesMut::new();
    let mut encoder = MessageEncoder::new(FrameEncoder::new(), None, Some(client.clone())).unwrap();
    encoder.push(&Message::Draining, Lane::Control, &mut out).unwrap();
    let mut reflected = out.clone();
    assert!(MessageDecoder::new(FrameDecoder::new(), Some(server)).next_message(&mut reflected).is_err());
    assert!(MessageDecoder::new(FrameDecoder::new(), Some(client)).next_message(&mut out).unwrap().is_some());
}

#[test]
fn a_secret_reads_its_text_and_never_shows_it() {
    let secret = Secret::parse(&format!("  {KEY_TEXT}\r\n")).unwrap();
    assert_eq!(secret.reveal_hex().as_str(), KEY_TEXT);
    let upper = Secret::parse(&KEY_TEXT.to_uppercase()).unwrap();
    assert_eq!(upper.reveal_hex().as_str(), KEY_TEXT);
    let keys = Keys::derive(&secret, "logs");
    let (frame_key, _) = keys.role(KeyRole::Worker).frame_keys(&Transcript::new(b"", b"", b""));
    assert_eq!(format!("{secret:?} {frame_key:?}"), "*** ***");
    assert_eq!(format!("{keys:?}"), "Keys { id: KeyId(3617453963), worker: ***, submit: ***, read: *** }");
}

#[test]
fn what_is_no_secret_is_refused_without_showing_it() {
    let two_lines = format!("{KEY_TEXT}\n{KEY_TEXT}");
    let digit = format!("{}g{}", &KEY_TEXT[..9], &KEY_TEXT[10..]);
    let wide = format!("{}ä{}", &KEY_TEXT[..9], &KEY_TEXT[10..]);
    let counting: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
    for (text, refused) in [
        ("", SecretError::Length { found_digits: 0 }),
        ("marker", SecretError::Length { found_digits: 6 }),
        (&two_lines, SecretError::Length { found_digits: 129 }),
        (&digit, SecretError::Digit { position: 10 }),
        (&wide, SecretError::Digit { position: 10 }),
        (&"00".repeat(32), SecretError::Weak),
        (&"dead".repeat(16), SecretError::Weak),
        (&counting, SecretError::Weak),
    ] {
        let error = Secret::parse(text).unwrap_err();
        assert_eq!(error, refused);
        assert!(text.is_empty() || !error.to_string().contains(text));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_handshakes_never_panic_nor_grow(which in 0_usize..5, at in any::<prop::sample::Index>(), new: u8) {
        let (_, handshake, _) = handshakes().swap_remove(which);
        let mut body = handshake.to_body().unwrap();
        let at = at.index(body.len());
        prop_assert!(Handshake::from_body(handshake.kind(), &body[..at]).is_err());
        body[at] = new;
        if let Ok(other) = Handshake::from_body(handshake.kind(), &body) {
            prop_assert!(other.to_body().unwrap().len() <= body.len());
        }
    }

    #[test]
    fn any_random_secret_survives_its_text(bytes: [u8; 32]) {
        let text = Secret::from_bytes(bytes).reveal_hex();
        prop_assert_eq!(Secret::parse(&text).unwrap().reveal_hex(), text);
    }
}
