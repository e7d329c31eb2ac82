//! Responses to CreateTopics (versions 0 to 7) and DeleteTopics (0 to 6). Source: their schemas.
//!
//! Left out: error messages, and the configurations of new topics.

use crate::{
    ErrorCode, Observation, Sink, TopicCreated, TopicDeleted, TopicId,
    body::{
        Context,
        tree::{At, Then},
    },
    reader::{Read, Reader},
};

/// First version of CreateTopics with error messages.
const CREATE_MESSAGE: i16 = 1;
/// First version of CreateTopics with a throttle time.
const CREATE_THROTTLE: i16 = 2;
/// First version of CreateTopics with partitions and configurations (KIP-525).
const CREATE_CONFIGS: i16 = 5;
/// First version of CreateTopics with topic ids (KIP-516).
const CREATE_IDS: i16 = 7;
/// First version of DeleteTopics with a throttle time.
const DELETE_THROTTLE: i16 = 1;
/// First version of DeleteTopics with error messages.
const DELETE_MESSAGE: i16 = 5;
/// First version of DeleteTopics with topic ids (KIP-516).
const DELETE_IDS: i16 = 6;

pub(super) fn create_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => at.head(CREATE_THROTTLE, reader, context),
        (1, 0) => {
            let name = reader.string(at.flexible);
            let id = at.since(CREATE_IDS, || TopicId(reader.fixed()));
            let error = ErrorCode(reader.i16());
            at.since(CREATE_MESSAGE, || reader.nullable_string(at.flexible));
            let partitions = at.since(CREATE_CONFIGS, || reader.i32());
            let _replication_factor = at.since(CREATE_CONFIGS, || reader.i16());
            let configs = at.since(CREATE_CONFIGS, || reader.count(at.flexible));
            reader.commit()?;
            context.entry.failed(error);
            let created = TopicCreated { seq: context.seq(), error, name, id, partitions };
            context.sink.observe(Observation::TopicCreated(created));
            Ok(Then::Array(configs.unwrap_or(0)))
        }
        (2, _) => {
            reader.string(at.flexible);
            reader.nullable_string(at.flexible);
            // Read-only, source, sensitive.
            reader.fixed::<3>();
            reader.commit()?;
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

pub(super) fn delete_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => at.head(DELETE_THROTTLE, reader, context),
        (1, _) => {
            let name = reader.nullable_string(at.flexible);
            let id = at.since(DELETE_IDS, || TopicId(reader.fixed()));
            let error = ErrorCode(reader.i16());
            at.since(DELETE_MESSAGE, || reader.nullable_string(at.flexible));
            reader.commit()?;
            context.entry.failed(error);
            let deleted = TopicDeleted { seq: context.seq(), error, name, id };
            context.sink.observe(Observation::TopicDeleted(deleted));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}
