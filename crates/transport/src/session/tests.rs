//! The handshake's promises, without a network.

use elastic_flow_wire::{Secret, frame};
use proptest::prelude::*;

use super::*;

fn keys(byte: u8) -> Arc<KeySet> {
    Arc::new(KeySet::derive(&Secret::from_bytes([byte; 32]), None, "logs"))
}

fn hello() -> Hello {
    Hello {
        versions: PROTOCOL_VERSIONS,
        cluster: "logs".to_owned(),
        role: Role::Worker,
        incarnation: NodeId(7),
        name: "yam2".to_owned(),
        build: [1; 32],
        plans: 2,
        schema: 3,
        slots: 4,
        epoch: 0,
        data_address: "10.0.0.2:7117".to_owned(),
        channel: Channel::Data,
        nonce: [9; NONCE_BYTES],
    }
}

fn listening() -> Listening {
    Listening {
        cluster: "logs".to_owned(),
        node: NodeId(1),
        name: "yam1".to_owned(),
        build: [1; 32],
        epoch: 5,
        keys: keys(1),
        tags: true,
        takes: Role::Worker,
    }
}

fn nobody_objects(_: &Hello) -> Option<Refusal> {
    None
}

/// Runs a whole handshake in memory: how it ended at the client and at the listener.
fn run(
    hello: Hello,
    client_keys: Arc<KeySet>,
    listening: Listening,
) -> (Result<Option<Challenge>, HandshakeError>, Result<Option<Hello>, HandshakeError>) {
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    let mut client = ClientHandshake::start(hello, client_keys, true, &mut to_server).unwrap();
    let mut server = ServerHandshake::new(listening, [8; NONCE_BYTES]);
    loop {
        let heard = server.receive(&mut to_server, &mut to_client, nobody_objects);
        let told = client.receive(&mut to_client, &mut to_server);
        if !matches!((&heard, &told), (Ok(None), Ok(None))) || to_server.is_empty() {
            return (told, heard);
        }
    }
}

fn refusal(told: Result<Option<Challenge>, HandshakeError>) -> Refusal {
    match told {
        Err(HandshakeError::Refused(refusal)) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn both_sides_learn_of_each_other() {
    let (told, heard) = run(hello(), keys(1), listening());
    assert_eq!(heard.unwrap(), Some(hello()));
    let challenge = told.unwrap().unwrap();
    assert_eq!((challenge.incarnation, challenge.epoch), (NodeId(1), 5));
}

#[test]
fn a_wrong_key_is_refused_with_one_fixed_text() {
    let texts: Vec<String> = [2, 3].map(|key| refusal(run(hello(), keys(key), listening()).0).message).into();
    assert_eq!(texts[0], texts[1]);
    assert!(texts[0].contains("key does not match"), "{}", texts[0]);
}

#[test]
fn a_refusal_says_which_thing_differs() {
    let other_cluster = Hello { cluster: "shop".to_owned(), ..hello() };
    let text = refusal(run(other_cluster, keys(1), listening()).0).message;
    assert!(text.contains("cluster names differ") && text.contains("shop"), "{text}");

    for versions in [(7, 9), (0, 0), (u16::MAX, u16::MAX)] {
        let text = refusal(run(Hello { versions, ..hello() }, keys(1), listening()).0).message;
        let theirs = if versions.0 == versions.1 { format!("{}", versions.0) } else { "7 to 9".to_owned() };
        let both = text.contains(&theirs) && text.contains(&format!("this node {}", PROTOCOL_VERSIONS.0));
        assert!(text.contains("protocol versions differ") && both, "{text}");
    }

    let text = refusal(run(Hello { role: Role::Master, ..hello() }, keys(1), listening()).0).message;
    assert!(text.contains("roles do not fit"), "{text}");
}

#[test]
fn a_master_of_an_older_epoch_is_fenced_by_both_sides() {
    let (told, _) = run(Hello { epoch: 6, ..hello() }, keys(1), listening());
    assert!(matches!(told, Err(HandshakeError::OldMaster { found: 5, seen: 6 })), "{told:?}");
    let server = ServerHandshake::new(listening(), [8; NONCE_BYTES]);
    let objection = server.object(&Hello { epoch: 6, ..hello() }).unwrap();
    assert_eq!(objection.reason, RefusalReason::EpochFenced);
    assert_eq!(server.object(&Hello { epoch: 5, ..hello() }), None);
}

#[test]
fn plain_frames_beyond_loopback_are_not_accepted() {
    let (told, _) = run(hello(), keys(1), Listening { tags: false, ..listening() });
    assert!(matches!(told, Err(HandshakeError::Answer)), "{told:?}");
}

#[test]
fn a_replayed_handshake_is_refused_since_the_listener_draws_anew() {
    let mut recorded = BytesMut::new();
    let mut client = ClientHandshake::start(hello(), keys(1), true, &mut recorded).unwrap();
    let (mut input, mut answer) = (recorded.clone(), BytesMut::new());
    let mut first = ServerHandshake::new(listening(), [8; NONCE_BYTES]);
    first.receive(&mut input, &mut answer, nobody_objects).unwrap();
    client.receive(&mut answer, &mut recorded).unwrap();

    let run_with = |nonce| {
        let mut server = ServerHandshake::new(listening(), nonce);
        server.receive(&mut recorded.clone(), &mut BytesMut::new(), nobody_objects)
    };
    assert_eq!(run_with([8; NONCE_BYTES]).unwrap(), Some(hello()), "the recording itself is good");
    let replayed = run_with([0; NONCE_BYTES]);
    assert!(matches!(replayed, Err(HandshakeError::Refuse(ref it)) if it.reason == RefusalReason::Key), "{replayed:?}");
}

#[test]
fn our_own_proof_sent_back_proves_nothing() {
    let (mut to_server, mut to_client) = (BytesMut::new(), BytesMut::new());
    let mut client = ClientHandshake::start(hello(), keys(1), true, &mut to_server).unwrap();
    // A listener without the key, which answers the client's proof with that very proof.
    let mut frames = FrameEncoder::new();
    let challenge = Challenge {
        version: PROTOCOL_VERSIONS.1,
        incarnation: NodeId(1),
        name: "yam1".to_owned(),
        epoch: 5,
        build: [1; 32],
        tags: true,
        keys: keys(1).ids(),
        nonce: [9; NONCE_BYTES],
    };
    Handshake::Challenge(challenge).put(&mut frames, &mut to_client).unwrap();
    to_server.clear();
    client.receive(&mut to_client, &mut to_server).unwrap();
    let body = to_server.split_off(frame::HEADER_BYTES);
    let Handshake::Proof(proof) = Handshake::from_body(FrameKind::Proof, &body).unwrap() else { panic!("no proof") };
    Handshake::Welcome(proof).put(&mut frames, &mut to_client).unwrap();
    let told = client.receive(&mut to_client, &mut to_server);
    assert!(matches!(told, Err(HandshakeError::Impostor(_))), "{told:?}");
}

#[test]
fn a_link_is_named_by_half_of_a_nonce() {
    let nonce = link_nonce([3; 16], [4; 16]);
    assert_eq!(link_of(&nonce), [3; 16]);
    assert_eq!(nonce[16..], [4; 16]);
}

#[test]
fn only_what_a_person_must_change_ends_dialling() {
    let passes = |reason| HandshakeError::Refused(Refusal { reason, message: String::new() }).may_pass();
    assert!(passes(RefusalReason::Busy) && passes(RefusalReason::DuplicateNode) && passes(RefusalReason::EpochFenced));
    assert!(!passes(RefusalReason::Key) && !passes(RefusalReason::Cluster) && !passes(RefusalReason::Version));
    assert!(!passes(RefusalReason::Role));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Whatever single byte of the client's words is changed, the listener does not take it for the client.
    #[test]
    fn no_changed_byte_is_accepted(position in any::<prop::sample::Index>(), flip in 1u8..) {
        let mut said = BytesMut::new();
        let mut client = ClientHandshake::start(hello(), keys(1), true, &mut said).unwrap();
        let (mut input, mut answer) = (said.clone(), BytesMut::new());
        let mut first = ServerHandshake::new(listening(), [8; NONCE_BYTES]);
        first.receive(&mut input, &mut answer, nobody_objects).unwrap();
        client.receive(&mut answer, &mut said).unwrap();
        let position = position.index(said.len());
        said[position] ^= flip;
        let mut server = ServerHandshake::new(listening(), [8; NONCE_BYTES]);
        let heard = server.receive(&mut said, &mut BytesMut::new(), nobody_objects);
        prop_assert!(!matches!(heard, Ok(Some(_))), "byte {} changed: {:?}", position, heard);
    }

    #[test]
    fn noise_is_refused_without_a_panic(noise in prop::collection::vec(any::<u8>(), 1..200)) {
        let mut server = ServerHandshake::new(listening(), [8; NONCE_BYTES]);
        let heard = server.receive(&mut BytesMut::from(&noise[..]), &mut BytesMut::new(), nobody_objects);
        prop_assert!(!matches!(heard, Ok(Some(_))));
    }
}
