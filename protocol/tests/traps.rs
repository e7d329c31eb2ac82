//! The traps of the Kafka protocol that observers and proxies are known to fall into, one test each.

mod support;

use kafka_protocol::messages::ApiKey;
use kafkascope_protocol::{
    Acks, ApiKey as Key, BatchHead, BatchPlan, Codec, CorrelationId, Depth, Direction, ErrorCode, Exchange, FetchWait,
    Limits, LostSync, LostSyncReason, Observation, Outcome, RequestSeq, Timestamp, TopicId, TopicLabel, Undecoded,
    UndecodedReason,
};
use support::conversation::{Turn, say};
use support::feed::{BUDGET, Feed, Opaque, Pieces, observed};
use support::log::{Arena, Log};
use support::messages::{self, Size};
use support::random::Random;
use support::vectors;
use support::wire::{
    Batch, Fetch, Fetched, Wire, fetched_v11, header_v0, header_v1, header_v2, produce_v3, produced_v3, response_v0,
    response_v1,
};

fn skip(_: &BatchHead) -> BatchPlan {
    BatchPlan::Skip
}

fn outcomes(feed: &Feed<'_>) -> Vec<(i32, Outcome)> {
    let mut ended: Vec<_> = feed.log.exchanges().iter().map(|it| (it.correlation_id.0, it.outcome)).collect();
    ended.sort_by_key(|(id, _)| *id);
    ended
}

fn undecoded(feed: &Feed<'_>) -> Vec<Undecoded> {
    feed.log.facts.iter().filter_map(|it| if let Observation::Undecoded(it) = it { Some(*it) } else { None }).collect()
}

fn lost(feed: &Feed<'_>) -> Vec<LostSync> {
    feed.log.facts.iter().filter_map(|it| if let Observation::LostSync(it) = it { Some(*it) } else { None }).collect()
}

fn principals<'a>(feed: &Feed<'a>) -> Vec<(&'a [u8], &'a [u8])> {
    let facts = feed.log.facts.iter();
    facts
        .filter_map(
            |it| if let Observation::Principal { mechanism, name } = it { Some((*mechanism, *name)) } else { None },
        )
        .collect()
}

fn only(feed: &Feed<'_>) -> Exchange {
    let exchanges = feed.log.exchanges();
    assert_eq!(exchanges.len(), 1, "{exchanges:?}");
    exchanges[0]
}

fn heartbeat(correlation_id: i32) -> Vec<u8> {
    header_v1(12, 0, correlation_id, Some("client")).string(Some("group")).i32(1).string(Some("member")).frame()
}

fn answer(correlation_id: i32) -> Vec<u8> {
    response_v0(correlation_id).i16(0).frame()
}

// ---- order of responses ------------------------------------------------------------------------------------------------

#[test]
fn a_response_further_back_abandons_those_before_it() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    for id in 1..=4 {
        feed.request(&heartbeat(id));
    }
    feed.response(&answer(3));
    feed.response(&answer(4));
    use Outcome::{Abandoned, Answered};
    assert_eq!(outcomes(&feed), [(1, Abandoned), (2, Abandoned), (3, Answered), (4, Answered)]);
}

#[test]
fn a_response_to_nobody_is_skipped_whole_and_sync_is_kept() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&heartbeat(1));
    let unsolicited = response_v0(99).raw(&[0xff; 500]).frame();
    feed.response(&unsolicited);
    feed.response(&answer(1));
    let told = Observation::Unsolicited { correlation_id: CorrelationId(99), bytes: unsolicited.len() as u64 };
    assert!(feed.log.facts.contains(&told));
    assert_eq!(outcomes(&feed), [(1, Outcome::Answered)]);
    assert_eq!(only(&feed).response_bytes, 10);
}

/// librdkafka's mock broker answers Produce with acks=0, Kafka does not.
#[test]
fn an_answer_to_acks_0_is_unsolicited() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&produce_v3(1, 0, &Batch::default().encode()));
    feed.response(&produced_v3(1, 0));
    feed.request(&heartbeat(2));
    feed.response(&answer(2));
    assert_eq!(outcomes(&feed), [(1, Outcome::Unanswered), (2, Outcome::Answered)]);
    let unsolicited = feed.log.facts.iter().filter(|it| matches!(it, Observation::Unsolicited { .. })).count();
    assert_eq!(unsolicited, 1);
}

#[test]
fn more_in_flight_than_the_limit_gives_up_the_oldest_and_finds_the_others() {
    let arena = Arena::default();
    let limits = Limits { in_flight: 10, ..Limits::default() };
    let mut feed = Feed::with(limits, Depth::Full, BUDGET, Log::new(&arena));
    for id in 0..25 {
        feed.request(&heartbeat(id));
    }
    for id in 0..25 {
        feed.response(&answer(id));
    }
    let expected: Vec<_> =
        (0..25).map(|id| (id, if id < 15 { Outcome::Abandoned } else { Outcome::Answered })).collect();
    assert_eq!(outcomes(&feed), expected);
    let unsolicited = feed.log.facts.iter().filter(|it| matches!(it, Observation::Unsolicited { .. })).count();
    assert_eq!(unsolicited, 15);
}

/// A client may use the same number for two requests at once; the older one is answered first.
#[test]
fn a_correlation_id_used_twice_means_the_oldest() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    for _ in 0..3 {
        feed.request(&heartbeat(7));
    }
    for _ in 0..3 {
        feed.response(&answer(7));
    }
    let seqs: Vec<_> = feed.log.exchanges().iter().map(|it| (it.seq.0, it.outcome)).collect();
    assert_eq!(seqs, [(0, Outcome::Answered), (1, Outcome::Answered), (2, Outcome::Answered)]);
}

// ---- headers -----------------------------------------------------------------------------------------------------------

#[test]
fn an_api_versions_response_has_header_v0_and_falls_back_to_body_v0_on_error_35() {
    for version in [0, 3, 4, 99] {
        let arena = Arena::default();
        let mut feed = Feed::new(&arena);
        let request = header_v2(18, version, 1, Some("client")).compact_string(Some("lib")).compact_string(Some("1.0"));
        feed.request(&if version == 0 { header_v1(18, 0, 1, Some("client")) } else { request.uvarint(0) }.frame());
        // Error 35, one key, nothing else.
        feed.response(&response_v0(1).i16(35).i32(1).i16(18).i16(0).i16(4).frame());
        let exchange = only(&feed);
        assert_eq!(exchange.outcome, Outcome::Answered);
        assert_eq!(exchange.error, ErrorCode(35), "v{version}");
        assert_eq!(undecoded(&feed), [], "v{version}: that is how versions are negotiated");
    }
}

#[test]
fn an_api_versions_response_in_a_version_to_come_is_read_up_to_its_error() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&header_v2(18, 5, 1, Some("client")).uvarint(7).raw(&[9; 20]).frame());
    feed.response(&response_v0(1).i16(0).raw(&[0xff; 30]).frame());
    assert_eq!((only(&feed).outcome, only(&feed).error), (Outcome::Answered, ErrorCode::NONE));
    assert_eq!(undecoded(&feed), []);
    assert!(!feed.log.facts.iter().any(|it| matches!(it, Observation::Software { .. })));
}

#[test]
fn request_header_v2_keeps_the_client_id_as_an_int16_string_behind_which_come_tags() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    // Tags 0, 5 and 300, the last one larger than 127 bytes.
    let tags = Wire::new().uvarint(3).uvarint(0).uvarint(1).raw(b"x").uvarint(5).uvarint(0);
    let tags = tags.uvarint(300).uvarint(200).raw(&[0xee; 200]);
    let name = "n".repeat(200);
    feed.request(
        &header_v1(18, 3, 1, Some(&name))
            .raw(&tags.0)
            .compact_string(Some("lib"))
            .compact_string(Some("1.0"))
            .uvarint(0)
            .frame(),
    );
    assert_eq!(feed.log.facts[0], Observation::Client(Some(name.as_bytes())));
    assert!(feed.log.facts.contains(&Observation::Software { name: b"lib", version: b"1.0" }));
}

#[test]
fn a_null_client_id_and_an_empty_one_are_two_clients() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    for (id, client) in [(1, None), (2, None), (3, Some("")), (4, None)] {
        feed.request(&header_v1(3, 1, id, client).i32(0).frame());
    }
    let clients: Vec<_> = feed
        .log
        .facts
        .iter()
        .filter_map(|it| if let Observation::Client(id) = it { Some(*id) } else { None })
        .collect();
    assert_eq!(clients, [None, Some(&b""[..]), None]);
}

#[test]
fn controlled_shutdown_v0_has_no_client_id() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    // As a client id this broker id would be 0x0000 0004 bytes long and lie beyond the frame.
    feed.request(&header_v0(7, 0, 1).i32(0x7fff_0004).frame());
    feed.response(&response_v0(1).i16(0).i32(0).frame());
    assert_eq!(outcomes(&feed), [(1, Outcome::Answered)]);
    assert_eq!((undecoded(&feed), lost(&feed)), (vec![], vec![]));
}

#[test]
fn sasl_handshake_and_offset_delete_are_never_flexible() {
    for key in [17, 47] {
        let info = Key(key).info().expect("a known key");
        assert_eq!(info.first_flexible, None);
        assert_eq!(info.request_header(kafkascope_protocol::ApiVersion(info.max_version)), 1);
    }
}

// ---- acks --------------------------------------------------------------------------------------------------------------

/// In flexible versions a compact string's length is N + 1 and the header may have tags: whoever gets one of them wrong
/// reads acks from the wrong place.
#[test]
fn acks_is_read_in_every_version_with_and_without_transactional_id_and_header_tags() {
    for version in 3..=13 {
        for acks in [0_i16, 1, -1, 300] {
            for transactional_id in [None, Some(""), Some("t"), Some("a-transactional-id-of-some-length")] {
                for tags in [0, 1, 130] {
                    let flexible = version >= 9;
                    let mut wire = header_v1(0, version, 9, Some("client"));
                    if flexible {
                        wire = wire.uvarint(tags);
                        for tag in 0..tags {
                            wire = wire.uvarint(tag).uvarint(2).raw(&[0, 1]);
                        }
                        wire = wire.compact_string(transactional_id).i16(acks).i32(30_000).uvarint(1).uvarint(0);
                    } else {
                        wire = wire.string(transactional_id).i16(acks).i32(30_000).i32(0);
                    }
                    let arena = Arena::default();
                    let mut feed = Feed::new(&arena);
                    feed.request(&wire.frame());
                    assert_eq!(undecoded(&feed), []);
                    feed.request(&heartbeat(10));
                    feed.response(&answer(10));
                    feed.close();
                    let exchange = feed.log.exchanges()[0];
                    let expected = match acks {
                        0 => (Some(Acks::None), Outcome::Unanswered),
                        1 => (Some(Acks::Leader), Outcome::Abandoned),
                        -1 => (Some(Acks::All), Outcome::Abandoned),
                        other => (Some(Acks::Other(other)), Outcome::Abandoned),
                    };
                    assert_eq!((exchange.acks, exchange.outcome), expected, "v{version} {transactional_id:?} {tags}");
                }
            }
        }
    }
}

#[test]
fn acks_0_does_not_wait_even_when_only_headers_are_decoded() {
    let arena = Arena::default();
    let mut feed = Feed::with(Limits::default(), Depth::Headers, BUDGET, Log::new(&arena));
    for id in 0..100 {
        feed.request(&produce_v3(id, 0, &Batch::default().encode()));
    }
    assert!(outcomes(&feed).iter().all(|(_, outcome)| *outcome == Outcome::Unanswered));
    assert_eq!(feed.log.exchanges().len(), 100);
}

// ---- unknown keys and versions -----------------------------------------------------------------------------------------

#[test]
fn an_unknown_key_or_version_is_reported_and_skipped() {
    for (api, version, reason) in [
        (999, 0, UndecodedReason::UnknownApi),
        (-1, 0, UndecodedReason::UnknownApi),
        (i16::MAX, i16::MIN, UndecodedReason::UnknownApi),
        (0, 99, UndecodedReason::UnknownVersion),
        (1, -1, UndecodedReason::UnknownVersion),
    ] {
        let arena = Arena::default();
        let mut feed = Feed::new(&arena);
        feed.request(&heartbeat(1));
        let request = header_v0(api, version, 2).raw(&[0xff; 333]).frame();
        feed.request(&request);
        feed.request(&heartbeat(3));
        feed.response(&answer(1));
        let response = response_v0(2).raw(&[0xff; 77]).frame();
        feed.response(&response);
        feed.response(&answer(3));
        use Outcome::Answered;
        assert_eq!(outcomes(&feed), [(1, Answered), (2, Answered), (3, Answered)]);
        let exchange = feed.log.exchanges()[1];
        assert_eq!((exchange.request_bytes, exchange.response_bytes), (request.len() as u64, response.len() as u64));
        assert_eq!((exchange.api.0, exchange.version.0), (api, version));
        let [told] = undecoded(&feed)[..] else { panic!("{:?}", feed.log.facts) };
        assert_eq!(
            (told.direction, told.api.0, told.version.0, told.reason),
            (Direction::Request, api, version, reason)
        );
    }
}

#[test]
fn an_unknown_frame_of_eight_bytes_is_a_request() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&header_v0(999, 1, 5).frame());
    feed.response(&response_v0(5).frame());
    assert_eq!(outcomes(&feed), [(5, Outcome::Answered)]);
}

#[test]
fn a_body_that_contradicts_its_schema_costs_that_frame_only() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    // A billion topics in thirty bytes.
    feed.request(&header_v1(0, 3, 1, Some("client")).string(None).i16(1).i32(1).i32(1 << 30).raw(&[9; 12]).frame());
    feed.request(&header_v1(1, 11, 2, Some("client")).raw(&[0xff; 30]).frame());
    feed.request(&heartbeat(3));
    for id in 1..=3 {
        feed.response(&answer(id));
    }
    use Outcome::Answered;
    assert_eq!(outcomes(&feed), [(1, Answered), (2, Answered), (3, Answered)]);
    let reasons: Vec<_> = undecoded(&feed).iter().map(|it| (it.direction, it.api.0, it.reason)).collect();
    assert_eq!(
        reasons[..2],
        [(Direction::Request, 0, UndecodedReason::Malformed), (Direction::Request, 1, UndecodedReason::Malformed)]
    );
    assert_eq!(lost(&feed), []);
}

/// A list of tags that cannot be skipped must not be gone on with in the next frame.
#[test]
fn broken_header_tags_cost_that_frame_only() {
    let mut turns = Vec::new();
    let broken =
        header_v1(18, 3, 1, Some("client")).uvarint(9).uvarint(0).uvarint(1).raw(b"x").uvarint(1).uvarint(1000);
    say(&mut turns, Direction::Request, &broken.frame());
    let sound = header_v2(18, 3, 2, Some("client")).compact_string(Some("lib")).compact_string(Some("1.0")).uvarint(0);
    say(&mut turns, Direction::Request, &sound.frame());
    say(&mut turns, Direction::Request, &header_v2(36, 2, 3, Some("client")).compact_bytes(b"").uvarint(0).frame());
    say(&mut turns, Direction::Request, &header_v2(36, 2, 4, Some("client")).compact_bytes(b"").uvarint(0).frame());
    let broken = response_v0(3).uvarint(9).uvarint(0).uvarint(1).raw(b"x").uvarint(1).uvarint(1000);
    say(&mut turns, Direction::Response, &broken.frame());
    let sound = response_v1(4).i16(58).uvarint(0).compact_bytes(b"").i64(0).uvarint(0);
    say(&mut turns, Direction::Response, &sound.frame());
    for pieces in [Pieces::Whole, Pieces::Single] {
        let arena = Arena::default();
        let feed = observed(&arena, skip, &turns, pieces, Opaque::Shown, 1);
        let reasons: Vec<_> = undecoded(&feed).iter().map(|it| (it.direction, it.reason)).collect();
        let malformed = UndecodedReason::Malformed;
        assert_eq!(reasons, [(Direction::Request, malformed), (Direction::Response, malformed)], "{pieces:?}");
        assert!(feed.log.facts.contains(&Observation::Software { name: b"lib", version: b"1.0" }), "{pieces:?}");
        assert!(feed.log.exchanges().iter().any(|it| it.error == ErrorCode(58)), "{pieces:?}");
    }
}

// ---- SASL --------------------------------------------------------------------------------------------------------------

/// Of the client and of the broker, in turn.
type Tokens<'a> = Vec<(&'a [u8], &'a [u8])>;

/// SaslHandshake v0 is followed by bare tokens; an empty one is legal.
#[test]
fn raw_sasl_tokens_are_no_frames_and_are_counted_by_mechanism() {
    let bearer: &[u8] = b"n,,\x01auth=Bearer e30.eyJzdWIiOiJjYXJvbCJ9.sig\x01\x01";
    let cases: [(&str, Tokens<'_>, Option<&str>); 5] = [
        ("PLAIN", vec![(b"\0alice\0secret", b"")], Some("alice")),
        (
            "SCRAM-SHA-256",
            vec![(b"n,,n=bob,r=x", b"r=xy,s=c2FsdA==,i=4096"), (b"c=biws,r=xy,p=eA==", b"v=eA==")],
            Some("bob"),
        ),
        ("OAUTHBEARER", vec![(bearer, b"")], Some("carol")),
        ("OAUTHBEARER", vec![(bearer, b"{\"status\":\"invalid_token\"}"), (b"\x01", b"")], None),
        (
            "GSSAPI",
            vec![(b"\x60\x82\x02\x01xyz", b"\x60\x80"), (b"", b"\x05\x04\0\xffwrapped"), (b"\x05\x04zzzz", b"")],
            None,
        ),
    ];
    for (mechanism, tokens, user) in cases {
        let mut turns = Vec::new();
        say(&mut turns, Direction::Request, &header_v1(17, 0, 1, Some("client")).string(Some(mechanism)).frame());
        say(&mut turns, Direction::Response, &response_v0(1).i16(0).i32(1).string(Some(mechanism)).frame());
        for (token, reply) in tokens {
            say(&mut turns, Direction::Request, &Wire::new().raw(token).frame());
            say(&mut turns, Direction::Response, &Wire::new().raw(reply).frame());
        }
        say(&mut turns, Direction::Request, &heartbeat(2));
        say(&mut turns, Direction::Response, &answer(2));
        for pieces in [Pieces::Whole, Pieces::Single, Pieces::Random] {
            let arena = Arena::default();
            let feed = observed(&arena, skip, &turns, pieces, Opaque::Mixed, 11);
            assert_eq!(outcomes(&feed), [(1, Outcome::Answered), (2, Outcome::Answered)], "{mechanism} {pieces:?}");
            let expected: Vec<(&[u8], &[u8])> =
                user.iter().map(|user| (mechanism.as_bytes(), user.as_bytes())).collect();
            assert_eq!(principals(&feed), expected, "{mechanism} {pieces:?}");
            assert_eq!((undecoded(&feed), lost(&feed)), (vec![], vec![]), "{mechanism} {pieces:?}");
        }
    }
}

#[test]
fn re_authentication_in_mid_connection_names_the_new_principal() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let mut id = 0;
    for user in ["alice", "alice", "bob"] {
        feed.request(&header_v1(17, 1, id, Some("client")).string(Some("PLAIN")).frame());
        feed.response(&response_v0(id).i16(0).i32(1).string(Some("PLAIN")).frame());
        let token = [b"\0", user.as_bytes(), b"\0secret"].concat();
        feed.request(&header_v2(36, 2, id + 1, Some("client")).compact_bytes(&token).uvarint(0).frame());
        feed.response(&response_v1(id + 1).i16(0).uvarint(0).compact_bytes(b"").i64(3_600_000).uvarint(0).frame());
        feed.request(&heartbeat(id + 2));
        feed.response(&answer(id + 2));
        id += 3;
    }
    let names: Vec<_> = principals(&feed).iter().map(|(_, name)| String::from_utf8_lossy(name).into_owned()).collect();
    assert_eq!((names.first().map(String::as_str), names.last().map(String::as_str)), (Some("alice"), Some("bob")));
    assert!(outcomes(&feed).iter().all(|(_, outcome)| *outcome == Outcome::Answered));
}

#[test]
fn a_refused_principal_is_not_named() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&header_v1(17, 1, 0, Some("client")).string(Some("PLAIN")).frame());
    feed.response(&response_v0(0).i16(0).i32(1).string(Some("PLAIN")).frame());
    feed.request(&header_v1(36, 0, 1, Some("client")).bytes(b"\0alice\0wrong").frame());
    feed.response(&response_v0(1).i16(58).string(Some("no")).bytes(b"").frame());
    assert_eq!(principals(&feed), []);
    assert_eq!(feed.log.exchanges()[1].error, ErrorCode(58));
}

/// Whatever is kept for later must not show up where it may be printed.
#[test]
fn a_secret_is_in_no_observation_and_in_no_debug_output() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&header_v1(17, 1, 0, Some("client")).string(Some("PLAIN")).frame());
    feed.response(&response_v0(0).i16(0).i32(1).string(Some("PLAIN")).frame());
    let token = header_v1(36, 0, 1, Some("client")).bytes(b"\0alice\0hunter2-hunter2").frame();
    let digits = format!("{:?}", b"hunter2").replace(['[', ']'], "");
    for byte in token {
        feed.request(&[byte]);
        let debug = format!("{:?} {:?}", feed.connection, feed.log.facts);
        assert!(!debug.contains("hunter2") && !debug.contains(&digits));
    }
    feed.response(&response_v0(1).i16(0).string(None).bytes(b"").frame());
    assert_eq!(principals(&feed), [(&b"PLAIN"[..], &b"alice"[..])]);
    assert!(!format!("{:?}", feed.log.facts).contains(&digits));
}

// ---- topics and fetch sessions -----------------------------------------------------------------------------------------

#[test]
fn topic_ids_are_reported_as_they_are_and_metadata_tells_their_names() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let id: [u8; 16] = core::array::from_fn(|i| i as u8);
    let request = header_v2(1, 13, 1, Some("client")).i32(-1).i32(500).i32(1).i32(1 << 20).i8(0).i32(0).i32(-1);
    let request =
        request.uvarint(2).raw(&id).uvarint(2).i32(4).i32(-1).i64(77).i32(-1).i64(-1).i32(1).uvarint(0).uvarint(0);
    feed.request(&request.uvarint(1).compact_string(Some("")).uvarint(0).frame());
    let Some(Observation::FetchAsked(asked)) = feed.log.facts.last() else { panic!("{:?}", feed.log.facts) };
    assert_eq!((asked.topic.label(), asked.partition, asked.fetch_offset), (TopicLabel::Id(TopicId(id)), 4, 77));

    feed.request(&header_v2(3, 12, 2, Some("client")).uvarint(0).i8(0).i8(0).uvarint(0).frame());
    let metadata = response_v1(2).i32(0).uvarint(1).compact_string(None).i32(0).uvarint(2);
    let metadata = metadata.i16(0).compact_string(Some("orders")).raw(&id).i8(0).uvarint(1).i32(0).uvarint(0);
    feed.response(&response_v1(1).i32(0).i16(0).i32(0).uvarint(1).uvarint(0).frame());
    feed.response(&metadata.uvarint(0).frame());
    let known = feed.log.facts.iter().any(|fact| {
        matches!(fact, Observation::TopicMetadata(it) if it.id == Some(TopicId(id)) && it.name == Some(b"orders"))
    });
    assert!(known, "{:?}", feed.log.facts);
}

fn served(partition: i32, high_watermark: i64, records: Vec<u8>) -> Fetched<'static> {
    Fetched { topic: "orders", partition, error: 0, high_watermark, last_stable_offset: high_watermark, records }
}

fn batch_at(base_offset: i64) -> Vec<u8> {
    Batch { base_offset, ..Batch::default() }.encode()
}

fn waits(feed: &Feed<'_>) -> Vec<Option<FetchWait>> {
    feed.log.exchanges().iter().map(|it| it.fetch.expect("a fetch").wait).collect()
}

#[test]
fn a_fetch_session_remembers_what_an_empty_request_asks_for() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let open = [("orders", 0, 10), ("orders", 1, 20)];
    feed.request(&Fetch { correlation_id: 1, session_epoch: 0, asked: &open, ..Fetch::default() }.v11());
    feed.response(&fetched_v11(1, 0, 7, &[served(0, 11, batch_at(10)), served(1, 20, vec![])]));
    // What has not changed is not named; partition 0 goes on at 11.
    let moved = [("orders", 0, 11)];
    let next = Fetch { correlation_id: 2, session_id: 7, session_epoch: 1, asked: &moved, ..Fetch::default() };
    feed.request(&next.v11());
    feed.response(&fetched_v11(2, 0, 7, &[served(1, 21, batch_at(20))]));
    let empty = Fetch { correlation_id: 3, session_id: 7, session_epoch: 2, ..Fetch::default() };
    feed.request(&empty.v11());
    feed.response(&fetched_v11(3, 0, 7, &[served(0, 12, batch_at(11))]));
    // Partition 1 is taken out of the session, so nothing is known of it any more.
    let forgotten = [("orders", 1)];
    let out = Fetch { correlation_id: 4, session_id: 7, session_epoch: 3, forgotten: &forgotten, ..Fetch::default() };
    feed.request(&out.v11());
    feed.response(&fetched_v11(4, 0, 7, &[served(0, 13, batch_at(12)), served(1, 22, batch_at(21))]));

    let offsets: Vec<_> = feed
        .log
        .facts
        .iter()
        .filter_map(|it| match it {
            Observation::FetchPartition(it) => Some((it.seq.0, it.partition, it.fetch_offset)),
            _ => None,
        })
        .collect();
    let expected =
        [(0, 0, Some(10)), (0, 1, Some(20)), (1, 1, Some(20)), (2, 0, Some(11)), (3, 0, Some(11)), (3, 1, None)];
    assert_eq!(offsets, expected);
    let sessions: Vec<_> =
        feed.log.exchanges().iter().map(|it| it.fetch.map(|it| (it.session_id, it.session_epoch))).collect();
    assert_eq!(sessions, [Some((7, 0)), Some((7, 1)), Some((7, 2)), Some((7, 3))]);
}

/// Long-poll waiting is not slowness of the broker.
#[test]
fn a_long_poll_is_told_apart_from_a_slow_answer() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let mut id = 0;
    let mut fetch = |feed: &mut Feed<'_>, offset: i64, high_watermark: i64, records: Vec<u8>| {
        id += 1;
        let asked = [("orders", 0, offset)];
        feed.request(&Fetch { correlation_id: id, asked: &asked, ..Fetch::default() }.v11());
        feed.response(&fetched_v11(id, 0, 0, &[served(0, high_watermark, records)]));
    };
    fetch(&mut feed, 5, 10, batch_at(5)); // nothing is known yet: it was there
    fetch(&mut feed, 6, 10, batch_at(6)); // behind the high watermark
    fetch(&mut feed, 10, 10, vec![]); // at the end, nothing came
    fetch(&mut feed, 10, 11, batch_at(10)); // at the end, a record was produced meanwhile
    use FetchWait::{Expired, Served, Waited};
    assert_eq!(waits(&feed), [Some(Served), Some(Served), Some(Expired), Some(Waited)]);
}

#[test]
fn read_committed_waits_at_the_last_stable_offset() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    for (id, isolation) in [(1, 1), (2, 1), (3, 0)] {
        let asked = [("orders", 0, 5)];
        feed.request(&Fetch { correlation_id: id, isolation, asked: &asked, ..Fetch::default() }.v11());
        let open = Fetched { last_stable_offset: 5, ..served(0, 10, batch_at(5)) };
        feed.response(&fetched_v11(id, 0, 0, &[open]));
    }
    // The first time nothing is known. For `read_uncommitted` only the stable offset is known by then, or the watermark.
    assert_eq!(waits(&feed)[..2], [Some(FetchWait::Served), Some(FetchWait::Waited)]);
}

#[test]
fn a_failed_fetch_has_no_wait() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let asked = [("orders", 0, 5)];
    feed.request(&Fetch { asked: &asked, ..Fetch::default() }.v11());
    feed.response(&fetched_v11(1, 71, 0, &[]));
    assert_eq!((waits(&feed), only(&feed).error), (vec![None], ErrorCode(71)));
}

#[test]
fn a_follower_is_told_from_a_consumer_in_old_and_new_versions() {
    for (version, replica) in [(11, 3), (11, -1), (15, 3), (15, -1)] {
        let arena = Arena::default();
        let mut feed = Feed::new(&arena);
        let mut random = Random::new(1);
        let request = kafka_protocol::messages::FetchRequest::default();
        let request = if version < 15 {
            request.with_replica_id(kafka_protocol::messages::BrokerId(replica))
        } else {
            let state = kafka_protocol::messages::fetch_request::ReplicaState::default();
            request.with_replica_state(state.with_replica_id(kafka_protocol::messages::BrokerId(replica)))
        };
        feed.request(&messages::request_frame(&mut random, ApiKey::Fetch, version, 1, None, &request));
        let response = kafka_protocol::messages::FetchResponse::default();
        feed.response(&messages::response_frame(&mut random, ApiKey::Fetch, version, 1, &response));
        assert_eq!(only(&feed).fetch.map(|it| it.follower), Some(replica >= 0), "v{version}");
    }
}

// ---- record batches ----------------------------------------------------------------------------------------------------

fn heads(feed: &Feed<'_>) -> Vec<BatchHead> {
    let facts = feed.log.facts.iter();
    facts
        .filter_map(|it| match it {
            Observation::ProduceBatch(it) | Observation::FetchBatch(it) => Some(it.head),
            _ => None,
        })
        .collect()
}

#[test]
fn a_delete_horizon_is_no_timestamp() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let batch = Batch { attributes: 0x40, base_timestamp: 12_345, ..Batch::default() };
    feed.request(&produce_v3(1, 1, &batch.encode()));
    assert_eq!(heads(&feed)[0].base_timestamp, -1);
    assert!(heads(&feed)[0].has_delete_horizon());
}

#[test]
fn codecs_and_marks_are_read_from_the_attributes_and_not_believed_elsewhere() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let codecs =
        [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd, Codec::Unknown(5), Codec::Unknown(7)];
    let attributes = [0, 1, 2, 3, 4, 5, 7];
    let records: Vec<u8> = attributes
        .iter()
        .flat_map(|codec| Batch { attributes: codec | 0x8 | 0x10, ..Batch::default() }.encode())
        .collect();
    feed.request(&produce_v3(1, 1, &records));
    let seen: Vec<_> = heads(&feed).iter().map(BatchHead::codec).collect();
    assert_eq!(seen, codecs);
    assert!(heads(&feed).iter().all(|head| head.is_transactional() && !head.is_control()));
}

#[test]
fn old_message_sets_are_read_in_all_their_versions() {
    for version in 0..=2 {
        for codec in ["none", "snappy", "lz4"] {
            let arena = Arena::default();
            let mut feed = Feed::new(&arena);
            feed.request(&vectors::named(&format!("produce-request-v{version}-{codec}")));
            feed.response(&vectors::named(&format!("produce-response-v{version}")));
            assert_legacy(&heads(&feed), i8::from(version == 2), codec, 3);
            let exchange = only(&feed);
            assert_eq!((exchange.acks, exchange.error), (Some(Acks::All), ErrorCode(6)), "v{version}");
            assert_eq!(exchange.throttle_ms.unwrap_or(0), if version >= 1 { 11 } else { 0 });
            let results: Vec<_> = feed
                .log
                .facts
                .iter()
                .filter_map(|it| match it {
                    Observation::ProduceResult(it) => {
                        Some((it.topic.label(), it.partition, it.error.0, it.base_offset))
                    }
                    _ => None,
                })
                .collect();
            let (orders, payments) = (TopicLabel::Name(b"orders"), TopicLabel::Name(b"payments"));
            assert_eq!(results, [(orders, 0, 0, 100), (orders, 7, 6, -1), (payments, 3, 0, 5)]);
            assert_eq!(undecoded(&feed), []);
        }
    }
    for version in 0..=3 {
        for codec in ["none", "snappy", "lz4"] {
            let arena = Arena::default();
            let mut feed = Feed::new(&arena);
            feed.request(&vectors::named(&format!("fetch-request-v{version}")));
            feed.response(&vectors::named(&format!("fetch-response-v{version}-{codec}")));
            assert_legacy(&heads(&feed), i8::from(version >= 2), codec, 1);
            let partitions: Vec<_> = feed
                .log
                .facts
                .iter()
                .filter_map(|it| match it {
                    Observation::FetchPartition(it) => {
                        Some((it.partition, it.error.0, it.high_watermark, it.fetch_offset))
                    }
                    _ => None,
                })
                .collect();
            assert_eq!(partitions, [(0, 0, 43, Some(40)), (7, 6, -1, Some(41))], "v{version} {codec}");
            assert_eq!(undecoded(&feed), []);
        }
    }
}

/// Three messages with offsets 40 to 42, in so many partitions: each alone, or one that wraps them.
fn assert_legacy(heads: &[BatchHead], magic: i8, codec: &str, partitions: usize) {
    let (messages, expected) = match codec {
        "none" => (3, Codec::None),
        "snappy" => (1, Codec::Snappy),
        _ => (1, Codec::Lz4),
    };
    assert_eq!(heads.len(), partitions * messages);
    for (index, head) in heads.iter().enumerate() {
        let offset = 40 + (index % messages) as i64;
        assert_eq!((head.magic, head.codec()), (magic, expected));
        assert_eq!(head.records, (messages == 3).then_some(1));
        if codec == "none" {
            assert_eq!(head.base_offset, offset);
        } else if magic == 1 {
            assert_eq!(head.base_offset, 42, "a wrapper has the offset of its last message");
        }
        let timestamp = match (magic, messages) {
            (0, _) => -1,
            (_, 3) => 1_700_000_000_000 + (index % 3) as i64,
            _ => 1_700_000_000_002,
        };
        assert_eq!((head.base_timestamp, head.max_timestamp), (timestamp, timestamp), "{codec}");
        assert_eq!((head.producer_id, head.producer_epoch, head.base_sequence), (-1, -1, -1));
        assert!(!head.is_transactional() && !head.is_control() && !head.has_delete_horizon());
    }
}

/// Bit 3 of old attributes is the timestamp type; higher ones mean nothing there.
#[test]
fn old_attributes_have_no_transactions() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let message = Wire::new().i32(0).i8(1).i8(0x70).i64(9).i32(-1).i32(-1);
    feed.request(
        &header_v1(0, 2, 1, None)
            .i16(1)
            .i32(1)
            .i32(1)
            .string(Some("t"))
            .i32(1)
            .i32(0)
            .bytes(&Wire::new().i64(5).bytes(&message.0).0)
            .frame(),
    );
    let [head] = heads(&feed)[..] else { panic!("{:?}", feed.log.facts) };
    assert!(!head.is_transactional() && !head.is_control() && !head.has_delete_horizon());
}

#[test]
fn a_fetch_response_may_end_in_the_middle_of_a_batch() {
    let whole = batch_at(5);
    let next = batch_at(6);
    for cut in 0..next.len() {
        let arena = Arena::default();
        let mut feed = Feed::new(&arena);
        let asked = [("orders", 0, 5)];
        feed.request(&Fetch { asked: &asked, ..Fetch::default() }.v11());
        let records = [&whole[..], &next[..cut]].concat();
        feed.response(&fetched_v11(1, 0, 0, &[served(0, 10, records.clone()), served(1, 7, vec![])]));
        assert_eq!(undecoded(&feed), [], "cut after {cut}");
        let seen: Vec<_> = heads(&feed).iter().map(|head| (head.base_offset, head.partial)).collect();
        let expected = if cut < 61 { vec![(5, false)] } else { vec![(5, false), (6, true)] };
        assert_eq!(seen, expected, "cut after {cut}");
        assert_eq!(only(&feed).fetch.map(|it| it.record_bytes), Some(records.len() as u64));
        let partitions = feed.log.facts.iter().filter(|it| matches!(it, Observation::FetchPartition(_))).count();
        assert_eq!(partitions, 2, "what follows the partial batch is read");
    }
}

#[test]
fn a_fetched_batch_may_begin_below_the_offset_asked_for() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let asked = [("orders", 0, 57)];
    feed.request(&Fetch { asked: &asked, ..Fetch::default() }.v11());
    let batch = Batch { base_offset: 50, last_offset_delta: 9, count: 10, ..Batch::default() };
    feed.response(&fetched_v11(1, 0, 0, &[served(0, 60, batch.encode())]));
    let Some(Observation::FetchBatch(seen)) = feed.log.facts.iter().find(|it| matches!(it, Observation::FetchBatch(_)))
    else {
        panic!("{:?}", feed.log.facts)
    };
    assert_eq!((seen.fetch_offset, seen.head.base_offset, seen.head.records), (Some(57), 50, Some(10)));
}

// ---- times -------------------------------------------------------------------------------------------------------------

/// The broker serves one request per connection at a time, so a pipelined request begins when the one before has ended.
#[test]
fn times_are_those_of_the_first_and_last_bytes_and_of_the_response_before() {
    let arena = Arena::default();
    let mut log = Log::new(&arena);
    let budget = kafkascope_protocol::CaptureBudget::default();
    let mut connection = kafkascope_protocol::Connection::new(Limits::default(), Depth::Full, budget);
    use Direction::{Request, Response};
    let requests = [heartbeat(1), heartbeat(2)].concat();
    let length = heartbeat(1).len();
    for (index, byte) in requests.iter().enumerate() {
        let now = 1000 + index as u64;
        connection.on_bytes(Request, Timestamp(now), &[*byte], &mut log);
    }
    connection.on_written(Request, Timestamp(2000), length as u64 - 1, &mut log);
    connection.on_written(Request, Timestamp(2001), 1, &mut log);
    connection.on_written(Request, Timestamp(2002), length as u64, &mut log);
    let responses = [answer(1), answer(2)].concat();
    for (index, byte) in responses.iter().enumerate() {
        let now = 3000 + index as u64;
        connection.on_bytes(Response, Timestamp(now), &[*byte], &mut log);
    }
    connection.on_written(Response, Timestamp(4000), 9, &mut log);
    assert_eq!(log.exchanges().len(), 0, "the last byte was not written");
    connection.on_written(Response, Timestamp(4001), 5, &mut log);
    assert_eq!(log.exchanges().len(), 1);
    connection.on_written(Response, Timestamp(4002), 6, &mut log);
    let [first, second] = log.exchanges()[..] else { panic!("{:?}", log.facts) };
    let stamp = |value: usize| Timestamp(value as u64);
    assert_eq!((first.times.request_first, first.times.request_last), (stamp(1000), stamp(999 + length)));
    assert_eq!(
        (second.times.request_first, second.times.request_last),
        (stamp(1000 + length), stamp(999 + 2 * length))
    );
    assert_eq!((first.times.request_written, second.times.request_written), (stamp(2001), stamp(2002)));
    assert_eq!((first.times.response_first, first.times.response_last), (stamp(3000), stamp(3009)));
    assert_eq!((second.times.response_first, second.times.response_last), (stamp(3010), stamp(3019)));
    assert_eq!((first.times.response_written, second.times.response_written), (stamp(4001), stamp(4002)));
    assert_eq!(first.times.previous_response_last, None);
    assert_eq!(second.times.previous_response_last, Some(stamp(3009)));
}

/// Java clients write header and payload separately: a read never equals a frame.
#[test]
fn a_read_may_end_anywhere_and_hold_several_frames() {
    let mut turns = Vec::new();
    for id in 0..30 {
        say(&mut turns, Direction::Request, &produce_v3(id, -1, &Batch::default().encode()));
    }
    for id in 0..30 {
        say(&mut turns, Direction::Response, &produced_v3(id, 0));
    }
    let arena = Arena::default();
    for seed in 0..20 {
        let feed = observed(&arena, skip, &turns, Pieces::Random, Opaque::Mixed, seed);
        assert_eq!(feed.log.exchanges().len(), 30);
        assert!(feed.log.exchanges().iter().all(|it| it.outcome == Outcome::Answered));
    }
}

// ---- streams that are not Kafka ----------------------------------------------------------------------------------------

/// What the connection says of a client that sends `bytes`, in any chunks.
fn reason_of_request(bytes: &[u8]) -> Option<LostSyncReason> {
    reason_of(Direction::Request, bytes)
}

fn reason_of(direction: Direction, bytes: &[u8]) -> Option<LostSyncReason> {
    let turns = [Turn { direction, bytes: [bytes, &[0xaa; 100]].concat() }];
    let reasons = [Pieces::Whole, Pieces::Single, Pieces::Random].map(|pieces| {
        let arena = Arena::default();
        let feed = observed(&arena, skip, &turns, pieces, Opaque::Mixed, 5);
        let lost = lost(&feed);
        assert!(lost.len() <= 1, "{lost:?}");
        lost.first().map(|it| (it.direction, it.reason))
    });
    assert!(reasons.iter().all(|reason| *reason == reasons[0]), "{reasons:?}");
    reasons[0].map(|(told, reason)| {
        assert_eq!(told, direction);
        reason
    })
}

#[test]
fn a_tls_client_is_named() {
    for minor in 1..=3 {
        for length in [0x0000_u16, 0x0200, 0xffff] {
            let hello = [&[0x16, 3, minor][..], &length.to_be_bytes()[..], &[1, 0, 1]].concat();
            assert_eq!(reason_of_request(&hello), Some(LostSyncReason::Tls), "3.{minor} {length:#x}");
        }
    }
}

#[test]
fn a_tls_upstream_is_named_by_its_alert() {
    assert_eq!(reason_of(Direction::Response, &[0x15, 3, 3, 0, 2, 2, 50]), Some(LostSyncReason::TlsAlert));
}

/// Also when the client was no Kafka client either.
#[test]
fn a_tls_alert_after_a_lost_client_is_named_the_same_in_any_chunks() {
    let mut turns = Vec::new();
    say(&mut turns, Direction::Request, b"GET / HTTP/1.1\r\n\r\n");
    say(&mut turns, Direction::Response, &[0x15, 3, 3, 0, 2, 2, 50]);
    let reasons = [Pieces::Whole, Pieces::Single, Pieces::Random].map(|pieces| {
        let arena = Arena::default();
        let feed = observed(&arena, skip, &turns, pieces, Opaque::Mixed, 5);
        lost(&feed).iter().map(|it| (it.direction, it.reason)).collect::<Vec<_>>()
    });
    assert!(reasons.iter().all(|reason| *reason == reasons[0]), "{reasons:?}");
}

#[test]
fn an_http_client_is_named() {
    for request in ["GET / HTTP/1.1\r\n", "POST /topics HTTP/1.1\r\n", "HEAD / HTTP/1.0\r\n", "PUT /x HTTP/1.1\r\n"] {
        assert_eq!(reason_of_request(request.as_bytes()), Some(LostSyncReason::Http), "{request}");
    }
}

#[test]
fn impossible_lengths_lose_sync_with_their_reason() {
    for (length, reason) in [
        (-1, LostSyncReason::NegativeLength),
        (i32::MIN, LostSyncReason::NegativeLength),
        (0, LostSyncReason::ZeroLength),
        (7, LostSyncReason::ShortFrame),
        (i32::MAX, LostSyncReason::HugeLength),
        ((1 << 30) + 1, LostSyncReason::HugeLength),
    ] {
        assert_eq!(reason_of_request(&i32::to_be_bytes(length)), Some(reason), "{length}");
    }
    for (length, reason) in [
        (-1, LostSyncReason::NegativeLength),
        (0, LostSyncReason::ZeroLength),
        (3, LostSyncReason::ShortFrame),
        (i32::MAX, LostSyncReason::HugeLength),
    ] {
        assert_eq!(reason_of(Direction::Response, &i32::to_be_bytes(length)), Some(reason), "{length}");
    }
    // A client id that is longer than its frame.
    let request = header_v0(12, 0, 1).i16(500).raw(b"too short").frame();
    assert_eq!(reason_of_request(&request), Some(LostSyncReason::ShortFrame));
}

#[test]
fn after_lost_sync_bytes_are_opaque_and_what_waits_is_abandoned() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&heartbeat(1));
    feed.request(&heartbeat(2));
    let opaque = feed.show(Direction::Response, &[0xff; 40]);
    assert_eq!(opaque, u64::MAX);
    assert_eq!(feed.announce(Direction::Response, 1 << 40), u64::MAX);
    assert_eq!(outcomes(&feed), [(1, Outcome::Abandoned), (2, Outcome::Abandoned)]);
    // Requests go on being read, and end at once: nobody will know their answers.
    feed.request(&heartbeat(3));
    feed.write_all();
    assert_eq!(outcomes(&feed)[2], (3, Outcome::Abandoned));
    feed.close();
    feed.log.assert_lawful(true);
    assert_eq!(lost(&feed).len(), 1);
}

#[test]
fn on_close_abandons_what_waits_and_what_was_not_written() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&heartbeat(1));
    feed.request(&heartbeat(2));
    feed.show(Direction::Response, &answer(1));
    let third = heartbeat(3);
    feed.show(Direction::Request, &third[..third.len() - 1]);
    feed.close();
    feed.log.assert_lawful(true);
    assert_eq!(outcomes(&feed).len(), 3);
    let last = feed.log.exchanges().iter().copied().find(|it| it.seq == RequestSeq(2)).expect("the third");
    assert_eq!((last.outcome, last.times.request_last), (Outcome::Abandoned, Timestamp(0)), "it never came whole");
    let before = feed.log.facts.len();
    feed.request(&heartbeat(4));
    feed.response(&answer(2));
    feed.close();
    assert_eq!(feed.log.facts.len(), before, "nothing is observed after the end");
}

/// Interposition neutralises NodeEndpoints by changing a tag to 127: the walker must not mind.
#[test]
fn an_unknown_tag_where_node_endpoints_were_is_skipped() {
    let mut random = Random::new(4);
    let response = messages::produce_response(&mut random, 10, Size::SMALL);
    let response = response.with_node_endpoints(vec![]).with_unknown_tagged_fields([(127, vec![1; 300].into())].into());
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let (request, _) = messages::produce_request(&mut random, 10, 1, Size::SMALL);
    feed.request(&messages::request_frame(&mut random, ApiKey::Produce, 10, 1, None, &request));
    feed.response(&messages::response_frame(&mut random, ApiKey::Produce, 10, 1, &response));
    assert_eq!(undecoded(&feed), []);
    assert_eq!(only(&feed).throttle_ms, Some(response.throttle_time_ms));
}
