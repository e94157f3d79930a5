//! Large messages: cut into frames, joined without copies where that is possible, believed only as far as they came.

use bytes::{Bytes, BytesMut};
use elastic_flow_receipt::{Attempt, StageId, StepId};

use super::samples::receipt;
use crate::body::SHARED_BYTES_MIN;
use crate::codec::{CONTROL_BYTES_MAX, encode_to_vec};
use crate::frame::{FRAME_BYTES_AIM, FrameDecoder, FrameEncoder, FrameError, HEADER_BYTES};
use crate::message::{Assignment, Message, Payload, PayloadKind, TaskChunk};
use crate::secret::FrameKey;
use crate::stream::{Lane, MessageDecoder, MessageEncoder, MessageParts};

fn assign(bodies: Vec<Bytes>) -> Message {
    let chunk = |(sequence, body)| TaskChunk {
        receipt: receipt(sequence),
        input: 0,
        payload: Payload { kind: PayloadKind::Bytes, body },
    };
    let chunks = (0..).zip(bodies).map(chunk).collect();
    let attempt = Attempt { epoch: 1, number: 1 };
    Message::Assign(Assignment { attempt, step: StepId(1), stage: StageId(0), generation: 0, chunks })
}

fn bodies_of(message: &Message) -> Vec<&Bytes> {
    let Message::Assign(assignment) = message else { panic!("not an assignment") };
    assignment.chunks.iter().map(|chunk| &chunk.payload.body).collect()
}

fn pattern(bytes: usize) -> Bytes {
    (0..bytes).map(|index| u8::try_from(index / 3 % 251).unwrap()).collect()
}

fn encoder(level: Option<i32>, key: Option<&FrameKey>) -> MessageEncoder {
    MessageEncoder::new(FrameEncoder::new(), level, key.cloned()).unwrap()
}

#[test]
fn large_messages_arrive_whole_with_every_option() {
    let key = FrameKey::new(&[3; 32]);
    let sizes = [1, FRAME_BYTES_AIM - 1, FRAME_BYTES_AIM, FRAME_BYTES_AIM + 1, 3 * FRAME_BYTES_AIM, 5_000_000];
    for (level, key) in [(None, None), (Some(1), None), (None, Some(&key)), (Some(3), Some(&key))] {
        let mut encoder = encoder(level, key);
        let mut decoder = MessageDecoder::new(FrameDecoder::new(), key.cloned());
        for size in sizes {
            let message = assign(vec![pattern(size), Bytes::from_static(b"small"), pattern(size / 2)]);
            let mut out = BytesMut::new();
            encoder.push(&message, Lane::Data, &mut out).unwrap();
            assert_eq!(decoder.next_message(&mut out).unwrap(), Some((Lane::Data, message)));
            assert_eq!(out.len(), 0);
        }
        assert_eq!(encoder.traffic(), decoder.traffic());
        assert_eq!(encoder.traffic().messages, sizes.len() as u64);
        assert_eq!(encoder.traffic().wire_bytes < encoder.traffic().raw_bytes, level.is_some());
    }
}

#[test]
fn frames_that_are_made_one_at_a_time_are_those_that_are_made_at_once() {
    let key = FrameKey::new(&[3; 32]);
    let sizes = [1, SHARED_BYTES_MIN, FRAME_BYTES_AIM - 1, FRAME_BYTES_AIM, 3 * FRAME_BYTES_AIM, 5_000_000];
    for (level, key) in [(None, None), (Some(1), None), (None, Some(&key)), (Some(3), Some(&key))] {
        let (mut whole, mut by_frames) = (encoder(level, key), encoder(level, key));
        for size in sizes {
            let message = assign(vec![pattern(size), Bytes::from_static(b"small"), pattern(size), pattern(size / 2)]);
            let (mut wanted, mut out) = (BytesMut::new(), BytesMut::from(&b"before"[..]));
            whole.push(&message, Lane::Data, &mut wanted).unwrap();
            let mut parts = MessageParts::new(&message, Lane::Data).unwrap();
            drop(message);
            let mut before_bytes = out.len();
            while by_frames.push_frame(&mut parts, &mut out).unwrap() {
                assert!(out.len() - before_bytes <= FRAME_BYTES_AIM + 2 * HEADER_BYTES);
                before_bytes = out.len();
            }
            assert!(out[6..] == wanted, "{size} bytes, level {level:?}");
            assert_eq!(by_frames.traffic(), whole.traffic());
        }
    }
}

#[test]
fn a_message_is_taken_apart_without_a_copy_of_its_large_bodies() {
    let large = [pattern(SHARED_BYTES_MIN), pattern(5_000_000)];
    let message = assign(vec![large[0].clone(), pattern(SHARED_BYTES_MIN - 1), large[1].clone()]);
    let parts = MessageParts::new(&message, Lane::Data).unwrap();
    let has = |body: &Bytes| parts.parts.iter().any(|it| it.as_ptr() == body.as_ptr() && it.len() == body.len());
    assert!(large.iter().all(has));
    assert_eq!(parts.parts.len(), 4, "what is small is together: {:?}", parts.parts.iter().map(Bytes::len));
}

#[test]
fn a_message_over_its_lane_is_not_taken_apart() {
    let message = Message::Goodbye("x".repeat(CONTROL_BYTES_MAX));
    let error = MessageParts::new(&message, Lane::Control).unwrap_err();
    assert!(matches!(error, FrameError::TooLarge { what: "message", .. }), "{error}");
}

#[test]
fn frames_have_the_size_aimed_at_and_count_down_what_is_to_come() {
    let message = assign(vec![pattern(2 * FRAME_BYTES_AIM)]);
    let total_bytes = encode_to_vec(&message).unwrap().len();
    let mut out = BytesMut::new();
    encoder(None, None).push(&message, Lane::Data, &mut out).unwrap();
    let word = |at: usize| u32::from_le_bytes(out[at..at + 4].try_into().unwrap()) as usize;
    let mut at = 0;
    let mut seen = Vec::new();
    while at < out.len() {
        seen.push((out[at + 5], word(at + 12), word(at + 16)));
        at += HEADER_BYTES + word(at + 12);
    }
    let aim = FRAME_BYTES_AIM;
    let last = total_bytes - 2 * aim;
    assert_eq!(seen, [(7, aim, aim + last), (8, aim, last), (8, last, 0)]);
}

#[test]
fn a_message_that_fills_its_frames_has_no_empty_one() {
    let overhead_bytes = encode_to_vec(&assign(vec![Bytes::new()])).unwrap().len();
    let message = assign(vec![pattern(2 * FRAME_BYTES_AIM - overhead_bytes)]);
    let mut encoder = encoder(None, None);
    let mut out = BytesMut::new();
    encoder.push(&message, Lane::Data, &mut out).unwrap();
    assert_eq!(encoder.traffic().frames, 2);
    let got = MessageDecoder::new(FrameDecoder::new(), None).next_message(&mut out).unwrap();
    assert_eq!(got, Some((Lane::Data, message)));
}

#[test]
fn large_bodies_are_slices_of_what_was_received_and_small_ones_are_not() {
    let message = assign(vec![pattern(SHARED_BYTES_MIN), pattern(SHARED_BYTES_MIN - 1)]);
    let mut out = BytesMut::new();
    encoder(None, None).push(&message, Lane::Data, &mut out).unwrap();
    let range = out.as_ptr_range();
    let (_, got) = MessageDecoder::new(FrameDecoder::new(), None).next_message(&mut out).unwrap().unwrap();
    let shared: Vec<bool> = bodies_of(&got).iter().map(|body| range.contains(&body.as_ptr())).collect();
    assert_eq!(shared, [true, false]);
    assert_eq!(got, message);
}

#[test]
fn an_announced_size_is_believed_only_as_far_as_bytes_came() {
    let message = assign(vec![pattern(40 * FRAME_BYTES_AIM)]);
    let mut out = BytesMut::new();
    encoder(None, None).push(&message, Lane::Data, &mut out).unwrap();
    let mut decoder = MessageDecoder::new(FrameDecoder::new(), None);
    let mut received = BytesMut::new();
    for frames in 1..=39 {
        received.extend_from_slice(&out.split_to(HEADER_BYTES + FRAME_BYTES_AIM));
        assert_eq!(decoder.next_message(&mut received).unwrap(), None);
        let held_bytes = decoder.held_bytes();
        assert!(held_bytes <= 2 * (frames + 1) * FRAME_BYTES_AIM, "{held_bytes} after {frames} frames");
    }
    assert!(matches!(decoder.finish(&received), Err(FrameError::Cut)));
    received.unsplit(out);
    assert_eq!(decoder.next_message(&mut received).unwrap(), Some((Lane::Data, message)));
    assert_eq!(decoder.held_bytes(), 0);
}

#[test]
fn a_message_over_its_lane_leaves_no_trace() {
    let mut encoder = encoder(Some(1), None);
    let mut out = BytesMut::from(&b"before"[..]);
    let message = Message::Goodbye("x".repeat(CONTROL_BYTES_MAX));
    let error = encoder.push(&message, Lane::Control, &mut out).unwrap_err();
    assert!(matches!(error, FrameError::TooLarge { what: "message", .. }), "{error}");
    assert_eq!(&out[..], b"before");
    out.clear();
    encoder.push(&message, Lane::Data, &mut out).unwrap();
    let got = MessageDecoder::new(FrameDecoder::new(), None).next_message(&mut out).unwrap();
    assert_eq!(got, Some((Lane::Data, message)), "the sequence goes on as if nothing had been");
}

#[test]
fn a_new_message_inside_another_is_refused() {
    let mut encoder = encoder(None, None);
    let (mut large, mut small) = (BytesMut::new(), BytesMut::new());
    encoder.push(&assign(vec![pattern(FRAME_BYTES_AIM)]), Lane::Data, &mut large).unwrap();
    let mut second = FrameEncoder::new();
    second.sequence = 1;
    let mut other = MessageEncoder::new(second, None, None).unwrap();
    other.push(&Message::Draining, Lane::Data, &mut small).unwrap();
    large.truncate(HEADER_BYTES + FRAME_BYTES_AIM);
    large.unsplit(small);
    let error = MessageDecoder::new(FrameDecoder::new(), None).next_message(&mut large).unwrap_err();
    assert!(matches!(error, FrameError::Unexpected { .. }), "{error}");
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let mut out = BytesMut::new();
    let mut frames = FrameEncoder::new();
    let start = FrameEncoder::begin(&mut out);
    out.extend_from_slice(&[0xff; 4]);
    let sealed = crate::frame::Sealed {
        kind: crate::FrameKind::Control,
        codec: 1,
        compressed: false,
        raw_bytes: 4,
        rest_bytes: 0,
    };
    frames.seal(&mut out, start, sealed).unwrap();
    let error = MessageDecoder::new(FrameDecoder::new(), None).next_message(&mut out).unwrap_err();
    assert!(matches!(error, FrameError::Encoding(_)), "{error}");
}
