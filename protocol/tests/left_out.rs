//! What is not read: by choice, which is no failure, or because of a limit, which is told.

mod support;

use kafkascope_protocol::{
    ApiKey as Key, ApiVersion, Depth, Direction, ErrorCode, Exchange, Limits, Observation, Outcome, PartitionBatch,
    Undecoded, UndecodedReason,
};
use support::feed::{BUDGET, Feed};
use support::log::{Arena, Log};
use support::wire::{Batch, Fetch, Wire, header_v1, header_v2, response_v0, response_v1};

fn undecoded(feed: &Feed<'_>) -> Vec<Undecoded> {
    feed.log.facts.iter().filter_map(|it| if let Observation::Undecoded(it) = it { Some(*it) } else { None }).collect()
}

fn only(feed: &Feed<'_>) -> Exchange {
    let exchanges = feed.log.exchanges();
    assert_eq!(exchanges.len(), 1);
    exchanges[0]
}

#[test]
fn the_share_apis_of_kafka_3_9_pass_with_their_headers_only() {
    for key in [76, 78, 79] {
        let arena = Arena::default();
        let mut feed = Feed::new(&arena);
        feed.request(&header_v2(key, 0, 1, Some("client")).raw(&[0xff; 40]).frame());
        feed.response(&response_v1(1).raw(&[0xff; 40]).frame());
        assert_eq!(undecoded(&feed), []);
        assert_eq!(feed.log.facts.len(), 3, "client, head and exchange: {:?}", feed.log.facts);
        assert_eq!((only(&feed).outcome, only(&feed).throttle_ms), (Outcome::Answered, None));
    }
}

#[test]
fn telemetry_pushed_by_clients_passes_with_its_headers_only() {
    for key in [71, 72] {
        let arena = Arena::default();
        let mut feed = Feed::new(&arena);
        feed.request(&header_v2(key, 0, 1, Some("client")).raw(&[0xff; 400]).frame());
        feed.response(&response_v1(1).raw(&[0xff; 40]).frame());
        assert_eq!(undecoded(&feed), []);
        assert_eq!(only(&feed).outcome, Outcome::Answered);
    }
}

#[test]
fn with_headers_only_no_group_is_told() {
    let arena = Arena::default();
    let mut feed = Feed::with(Limits::default(), Depth::Headers, BUDGET, Log::new(&arena));
    feed.request(&header_v1(12, 0, 1, Some("client")).string(Some("group")).i32(1).string(Some("me")).frame());
    feed.response(&response_v0(1).i16(27).frame());
    assert_eq!(feed.log.facts.len(), 3, "{:?}", feed.log.facts);
    assert_eq!(only(&feed).error, ErrorCode::NONE, "nobody looked");
}

/// Behind the last field of interest the rest may be anything, and may pass unread.
#[test]
fn what_is_behind_the_last_field_of_interest_is_opaque() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    let head = header_v1(14, 0, 1, Some("client")).string(Some("group")).i32(5).string(Some("leader"));
    let request = head.clone().raw(&[0xff; 5000]).frame();
    let shown = head.0.len() + 4;
    let opaque = feed.show(Direction::Request, &request[..shown]);
    assert_eq!(opaque, 5000);
    feed.request(&request[shown..]);
    feed.response(&response_v0(1).i16(0).bytes(b"").frame());
    assert_eq!(undecoded(&feed), []);
    assert!(feed.log.facts.iter().any(|fact| matches!(fact, Observation::SyncGroup(it) if it.generation == 5)));
}

#[test]
fn an_assignment_too_long_to_be_buffered_is_told_as_undecoded() {
    let arena = Arena::default();
    let mut feed = Feed::new(&arena);
    feed.request(&header_v1(14, 0, 1, Some("client")).string(Some("group")).i32(5).string(Some("me")).i32(0).frame());
    feed.response(&response_v0(1).i16(0).bytes(&vec![0; Limits::default().collected]).frame());
    let too_large = Undecoded {
        direction: Direction::Response,
        api: Key::SYNC_GROUP,
        version: ApiVersion(0),
        reason: UndecodedReason::TooLarge,
    };
    assert_eq!(undecoded(&feed), [too_large]);
    assert_eq!(only(&feed).outcome, Outcome::Answered);
}

/// One more than is kept: those that are kept are told with their batches, and how many are not.
#[test]
fn more_aborted_transactions_than_are_kept_are_counted() {
    let limits = Limits { aborted: 2, ..Limits::default() };
    let arena = Arena::default();
    let mut feed = Feed::with(limits, Depth::Full, BUDGET, Log::new(&arena));
    feed.request(&Fetch { isolation: 1, asked: &[("orders", 0, 0)], ..Fetch::default() }.v11());
    let batch =
        |producer_id, base_offset| Batch { producer_id, base_offset, attributes: 0x10, ..Batch::default() }.encode();
    let records = [batch(1, 10), batch(2, 20), batch(3, 30), batch(4, 40)].concat();
    let aborted = |producer_id: i64| Wire::new().i64(producer_id).i64(0).0;
    let response = response_v0(1)
        .i32(0)
        .i16(0)
        .i32(0)
        .i32(1)
        .string(Some("orders"))
        .i32(1)
        .i32(0)
        .i16(0)
        .raw(&[0; 24])
        .i32(3)
        .raw(&[aborted(2), aborted(1), aborted(3)].concat())
        .i32(-1)
        .bytes(&records)
        .frame();
    feed.response(&response);
    assert_eq!(undecoded(&feed), []);
    let batches: Vec<_> = feed
        .log
        .facts
        .iter()
        .filter_map(|fact| if let Observation::FetchBatch(it) = fact { Some(*it) } else { None })
        .map(|PartitionBatch { head, aborted, .. }| (head.producer_id, aborted))
        .collect();
    assert_eq!(batches, [(1, true), (2, true), (3, false), (4, false)]);
    let forgotten = feed.log.facts.iter().filter(|fact| matches!(fact, Observation::AbortedForgotten { .. }));
    assert_eq!(forgotten.collect::<Vec<_>>(), [&Observation::AbortedForgotten { transactions: 1 }]);
}
