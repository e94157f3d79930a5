//! Promises towards those who do not keep to the rules.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use elastic_flow_receipt::NodeId;
use elastic_flow_wire::frame::{HEADER_BYTES, MAGIC};
use elastic_flow_wire::message::{Message, Pulse};
use elastic_flow_wire::{Channel, Lane, MessageEncoder, Role};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;
use crate::event::Violation;
use crate::pipe::{Wired, greet};
use crate::session::link_nonce;

/// Reads to the end of the stream, which must come.
async fn closed<S: tokio::io::AsyncRead + Unpin>(stream: &mut S) {
    let mut away = [0; 1024];
    while let Ok(1..) = stream.read(&mut away).await {}
}

fn impatient() -> EndpointConfig {
    EndpointConfig { handshake_timeout: Duration::from_millis(100), ..master() }
}

/// Whoever begins a handshake and does not go on is closed.
///
/// # Panics
/// If the promise is broken.
pub async fn half_a_handshake_times_out<N: Net>(net: N, addr: &str) {
    let master = listen(&net, addr, impatient()).await;
    for said in [&b""[..], &MAGIC[..2], &MAGIC[..]] {
        let before = turned(&master, Turned::Late);
        let mut stream = net.connect(master.local_addr()).await.unwrap();
        stream.write_all(said).await.unwrap();
        closed(&mut stream).await;
        until(|| turned(&master, Turned::Late) > before).await;
    }
}

async fn open<N: Net>(net: &N, addr: &str, channel: Channel, link: u8) -> Wired<N::Stream> {
    let stream = net.connect(addr).await.unwrap();
    let loopback = net.peer_is_loopback(&stream);
    let fresh = if channel == Channel::Control { [1; 16] } else { [2; 16] };
    let hello = worker().hello(0, channel, link_nonce([link; 16], fresh));
    greet(stream, hello, Arc::new(keys().into()), loopback, DEADLINE).await.unwrap().1
}

/// A connection whose twin does not come is closed; one of another attempt is not its twin.
///
/// # Panics
/// If the promise is broken.
pub async fn half_a_link_times_out<N: Net>(net: N, addr: &str) {
    let master = listen(&net, addr, impatient()).await;
    let mut control = open(&net, master.local_addr(), Channel::Control, 1).await;
    let mut data = open(&net, master.local_addr(), Channel::Data, 2).await;
    closed(&mut control.stream).await;
    closed(&mut data.stream).await;
    until(|| turned(&master, Turned::Late) == 2).await;
    assert_eq!(master.stats().links_up, 0);
}

/// Other protocols are turned away.
///
/// # Panics
/// If the promise is broken.
pub async fn garbage_is_closed<N: Net>(net: N, addr: &str) {
    let master = listen(&net, addr, master()).await;
    let noise: [&[u8]; 4] = [b"GET / HTTP/1.1\r\nHost: yam1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"EFL2", &[0; 600]];
    for (said, count) in noise.into_iter().zip(1..) {
        let mut stream = net.connect(master.local_addr()).await.unwrap();
        // It may be closed before all of it was said.
        stream.write_all(said).await.ok();
        closed(&mut stream).await;
        until(|| turned(&master, Turned::Garbage) == count).await;
    }
}

/// A frame that announces four gigabytes is turned away by its header alone.
///
/// # Panics
/// If the promise is broken.
pub async fn an_announced_giant_is_closed<N: Net>(net: N, addr: &str) {
    let master = listen(&net, addr, master()).await;
    let mut header = [0xff; HEADER_BYTES];
    header[..8].copy_from_slice(&[MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3], 1, 1, 0, 1]);
    let mut stream = net.connect(master.local_addr()).await.unwrap();
    stream.write_all(&header).await.unwrap();
    closed(&mut stream).await;
    until(|| turned(&master, Turned::Garbage) == 1).await;
}

/// A worker by hand: proved, up, and ready to say anything.
struct Forger<N: Net> {
    master: Endpoint,
    control: Wired<N::Stream>,
    data: Wired<N::Stream>,
}

async fn forger<N: Net>(net: &N, addr: &str, config: EndpointConfig) -> Forger<N> {
    let master = listen(net, addr, config).await;
    let control = open(net, master.local_addr(), Channel::Control, 1).await;
    let data = open(net, master.local_addr(), Channel::Data, 1).await;
    assert_eq!(up(&master).await.0.node, NodeId(2));
    Forger { master, control, data }
}

impl<N: Net> Forger<N> {
    /// The frames of `message` on the data connection, as an honest worker would send them first.
    fn frames(&mut self, messages: &[Message]) -> BytesMut {
        let frames = std::mem::take(&mut self.data.wires.frames_out);
        let mut encoder = MessageEncoder::new(frames, None, self.data.wires.key_out.take()).unwrap();
        let mut out = BytesMut::new();
        for message in messages {
            encoder.push(message, Lane::Data, &mut out).unwrap();
        }
        out
    }

    /// Sends `bytes` as data; gives how the master takes it.
    async fn violation(mut self, bytes: &[u8]) -> Violation {
        self.data.stream.write_all(bytes).await.ok();
        let seen = loop {
            match next(&self.master).await {
                Seen::Message(Message::Result(_), _) => {}
                Seen::Down(_, DownReason::Protocol(violation)) => break violation,
                other => panic!("it was let pass: {other:?}"),
            }
        };
        closed(&mut self.control.stream).await;
        closed(&mut self.data.stream).await;
        seen
    }
}

/// A flipped bit ends the link.
///
/// # Panics
/// If the promise is broken.
pub async fn a_damaged_frame_ends_the_link<N: Net>(net: N, addr: &str) {
    let mut forger = forger(&net, addr, master()).await;
    let mut frames = forger.frames(&[result(1, bytes_of(1_000))]);
    frames[HEADER_BYTES + 500] ^= 1;
    let violation = forger.violation(&frames).await;
    assert!(matches!(violation, Violation::Frame(_)), "{violation:?}");
}

/// A frame that comes twice ends the link.
///
/// # Panics
/// If the promise is broken.
pub async fn a_frame_sent_twice_ends_the_link<N: Net>(net: N, addr: &str) {
    let mut forger = forger(&net, addr, master()).await;
    let once = forger.frames(&[result(1, Bytes::new())]);
    let violation = forger.violation(&[&once[..], &once[..]].concat()).await;
    assert!(matches!(&violation, Violation::Frame(text) if text.contains("is next")), "{violation:?}");
}

/// A worker that assigns is disconnected.
///
/// # Panics
/// If the promise is broken.
pub async fn a_worker_cannot_command<N: Net>(net: N, addr: &str) {
    let mut forger = forger(&net, addr, master()).await;
    let frames = forger.frames(&[assign(1, Bytes::new())]);
    let violation = forger.violation(&frames).await;
    assert_eq!(violation, Violation::Role { role: Role::Worker, kind: crate::MessageKind::Assign });
}

/// Whoever sends beyond the credit given is disconnected.
///
/// # Panics
/// If the promise is broken.
pub async fn credit_cannot_be_overdrawn<N: Net>(net: N, addr: &str) {
    let small = EndpointConfig { credit_bytes: 10_000, ..master() };
    let mut forger = forger(&net, addr, small).await;
    let frames = forger.frames(&[result(1, bytes_of(9_000)), result(2, bytes_of(9_000))]);
    // Nobody takes the first, so its credit cannot have come back.
    forger.data.stream.write_all(&frames).await.unwrap();
    closed(&mut forger.data.stream).await;
    let (Message::Result(_), Some(_held)) = message(&forger.master).await else {
        panic!("the first was within credit")
    };
    let (_, reason) = down(&forger.master).await;
    assert!(matches!(reason, DownReason::Protocol(Violation::NoCredit { .. })), "{reason:?}");
}

/// A frame that begins and does not end is not waited for, although heartbeats go on.
///
/// # Panics
/// If the promise is broken.
pub async fn a_frame_that_stalls_ends_the_link<N: Net>(net: N, addr: &str) {
    let strict = EndpointConfig { dead_after: Duration::from_millis(500), ..master() };
    let mut forger = forger(&net, addr, strict).await;
    let frames = forger.frames(&[result(1, bytes_of(1_000))]);
    forger.data.stream.write_all(&frames[..HEADER_BYTES + 1]).await.unwrap();
    let wires = forger.control.wires;
    let mut encoder = MessageEncoder::new(wires.frames_out, None, wires.key_out).unwrap();
    let stream = &mut forger.control.stream;
    let beating = async {
        let mut beat = tokio::time::interval(Duration::from_millis(50));
        loop {
            beat.tick().await;
            let mut out = BytesMut::new();
            encoder.push(&Message::Heartbeat(Pulse::default()), Lane::Control, &mut out).unwrap();
            // It is closed in the end.
            stream.write_all(&out).await.ok();
        }
    };
    let reason = tokio::select! {
        biased;
        (_, reason) = down(&forger.master) => reason,
        () = beating => unreachable!("it beats for ever"),
    };
    assert_eq!(reason, DownReason::Silent);
    assert!(forger.master.stats().control_received.messages > 3, "the heartbeats were heard");
}

/// What a peer says on leaving is cut, and stripped of what could upset a terminal.
///
/// # Panics
/// If the promise is broken.
pub async fn a_goodbye_is_fit_to_be_shown<N: Net>(net: N, addr: &str) {
    let link = connected(&net, addr, master(), worker()).await;
    let rude = format!("\u{1b}[2J\n{}", "x".repeat(100_000));
    link.to_master.try_send_control(Message::Goodbye(rude)).unwrap();
    let (_, reason) = down(&link.master).await;
    assert_eq!(reason, DownReason::Goodbye(format!("[2J{}", "x".repeat(397))));
}

/// Strangers are limited in number and time, and workers get in all the same.
///
/// # Panics
/// If the promise is broken.
pub async fn a_crowd_of_strangers_does_not_lock_workers_out<N: Net>(net: N, addr: &str) {
    // Long enough for a crowd to gather on a slow machine.
    let patient = EndpointConfig { handshake_timeout: Duration::from_secs(2), ..master() };
    let master = listen(&net, addr, patient).await;
    let mut crowd = Vec::new();
    while turned(&master, Turned::Crowded) == 0 {
        // In memory, a listener that has not yet taken as many refuses more.
        match net.connect(master.local_addr()).await {
            Ok(stream) => crowd.push(stream),
            Err(_) => tokio::task::yield_now().await,
        }
    }
    let _worker = dial(&net, &master, worker()).await;
    assert_eq!(up(&master).await.0.node, NodeId(2));
}
