//! ShareFetch and ShareAcknowledge, versions 1 and 2 (KIP-932). Source: their schemas. Version 0 was an early access of
//! Kafka 3.9, and is not read.
//!
//! Left out: what requests ask for and acknowledge, the records, and the addresses of new leaders.

use crate::{
    CurrentLeader, Direction, ErrorCode, Observation, ShareAcknowledged, ShareAcquired, ShareHead, SharePartition,
    Sink,
    body::{
        Context,
        tree::{At, Then},
    },
    reader::{Halt, Read, Reader},
};

/// First version that is read.
pub(super) const OLDEST: i16 = 1;
/// First version of ShareFetch with the time that records are locked for.
const FETCH_LOCK: i16 = 1;
/// First version of ShareAcknowledge with it.
const ACKNOWLEDGE_LOCK: i16 = 2;
/// All versions name topics by id.
const TOPIC_IDS: i16 = 0;

pub(super) fn fetch_request<S: Sink>(
    _at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let head = head(reader, context)?;
    context.sink.observe(Observation::ShareFetchHead(head));
    Err(Halt::Enough)
}

pub(super) fn acknowledge_request<S: Sink>(
    _at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let head = head(reader, context)?;
    context.sink.observe(Observation::ShareAcknowledgeHead(head));
    Err(Halt::Enough)
}

fn head<'a, S>(reader: &mut Reader<'a, '_>, context: &Context<'_, S>) -> Read<ShareHead<'a>> {
    let (group, member_id) = (reader.nullable_string(true), reader.nullable_string(true));
    let session_epoch = reader.i32();
    reader.commit()?;
    Ok(ShareHead { seq: context.seq(), group, member_id, session_epoch })
}

pub(super) fn fetch_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => response_head(FETCH_LOCK, at, reader, context),
        // The addresses of new leaders are behind.
        (0, _) => Err(Halt::Enough),
        (1, 0) => at.topic(Direction::Response, TOPIC_IDS, reader, context),
        (2, part) => fetch_partition(part, at, reader, context),
        (3, _) => {
            let (first, last) = (reader.i64(), reader.i64());
            let deliveries = reader.i16();
            reader.commit()?;
            let records = last.checked_sub(first).and_then(|more| u64::try_from(more).ok());
            let records = records.map_or(0, |more| more.saturating_add(1));
            let [all, again] = at.sums;
            let redelivered = if deliveries > 1 { records } else { 0 };
            at.sums = [all.saturating_add(records), again.saturating_add(redelivered)];
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

fn fetch_partition<S: Sink>(
    part: u8,
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let (seq, partition) = (context.seq(), at.partition);
    match part {
        0 => {
            let partition = reader.i32();
            let error = ErrorCode(reader.i16());
            let _message = reader.nullable_string(true);
            let acknowledge_error = ErrorCode(reader.i16());
            let _message = reader.nullable_string(true);
            let leader = (reader.i32(), reader.i32());
            reader.commit()?;
            at.partition = partition;
            at.errors = [error, acknowledge_error];
            at.sums = [0; 2];
            context.entry.failed(error);
            context.entry.failed(acknowledge_error);
            current_leader(leader, at, context);
            Ok(Then::StructEnd)
        }
        1 => {
            let bytes = reader.count(true);
            reader.commit()?;
            let [error, acknowledge_error] = at.errors;
            let (topic, record_bytes) = (context.memory.topics.describe(at.topic), u64::from(bytes));
            let answer = SharePartition { seq, topic, partition, error, acknowledge_error, record_bytes };
            context.sink.observe(Observation::SharePartition(answer));
            reader.skip(record_bytes)?;
            Ok(Then::PART)
        }
        2 => {
            let ranges = reader.count(true);
            reader.commit()?;
            Ok(Then::Array(ranges))
        }
        _ => {
            let topic = context.memory.topics.describe(at.topic);
            let [records, redelivered] = at.sums;
            let acquired = ShareAcquired { seq, topic, partition, records, redelivered };
            context.sink.observe(Observation::ShareAcquired(acquired));
            Ok(Then::End)
        }
    }
}

pub(super) fn acknowledge_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => response_head(ACKNOWLEDGE_LOCK, at, reader, context),
        // The addresses of new leaders are behind.
        (0, _) => Err(Halt::Enough),
        (1, 0) => at.topic(Direction::Response, TOPIC_IDS, reader, context),
        (2, 0) => {
            let partition = reader.i32();
            let error = ErrorCode(reader.i16());
            let _message = reader.nullable_string(true);
            let leader = (reader.i32(), reader.i32());
            reader.commit()?;
            at.partition = partition;
            at.errors = [error, ErrorCode::NONE];
            context.entry.failed(error);
            let (seq, topic) = (context.seq(), context.memory.topics.describe(at.topic));
            let acknowledged = ShareAcknowledged { seq, topic, partition, error };
            context.sink.observe(Observation::ShareAcknowledged(acknowledged));
            current_leader(leader, at, context);
            Ok(Then::StructEnd)
        }
        _ => Ok(Then::End),
    }
}

fn response_head<S: Sink>(lock: i16, at: &At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    let (throttle_ms, error) = (reader.i32(), ErrorCode(reader.i16()));
    let _message = reader.nullable_string(true);
    at.since(lock, || reader.i32());
    let topics = reader.count(true);
    reader.commit()?;
    context.answered(Some(throttle_ms), error);
    Ok(Then::Array(topics))
}

/// The leader, which is there in any case: unless the client went to the wrong broker it is node 0, by default.
fn current_leader<S: Sink>((leader, leader_epoch): (i32, i32), at: &At, context: &mut Context<'_, S>) {
    let is_elsewhere =
        |&error: &ErrorCode| error == ErrorCode::NOT_LEADER_OR_FOLLOWER || error == ErrorCode::FENCED_LEADER_EPOCH;
    if leader >= 0 && at.errors.iter().any(is_elsewhere) {
        let (seq, topic) = (context.seq(), context.memory.topics.describe(at.topic));
        let leader = CurrentLeader { seq, topic, partition: at.partition, leader, leader_epoch };
        context.sink.observe(Observation::CurrentLeader(leader));
    }
}
