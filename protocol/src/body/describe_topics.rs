//! DescribeTopicPartitions responses, version 0 (KIP-966). Source: `DescribeTopicPartitionsResponse.json`.
//!
//! Left out: eligible leader replicas, authorized operations, and where the next answer begins.

use crate::{
    ErrorCode, Observation, PartitionMetadata, Sink, TopicId, TopicMetadata,
    body::{
        Context,
        tree::{ALWAYS, At, Then},
    },
    reader::{Halt, Read, Reader},
};

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    let seq = context.seq();
    match (at.level, at.part) {
        (0, 0) => at.head(ALWAYS, reader, context),
        (0, _) => Err(Halt::Enough),
        (1, 0) => {
            let error = ErrorCode(reader.i16());
            let name = reader.nullable_string(true);
            let id = TopicId(reader.fixed());
            let _internal = reader.i8();
            let partitions = reader.count(true);
            reader.commit()?;
            at.present = name.is_some();
            at.id = id;
            context.scratch.topic.clear();
            context.scratch.topic.extend_from_slice(name.unwrap_or_default());
            context.entry.failed(error);
            let topic = TopicMetadata { seq, error, name, id: Some(id) };
            context.sink.observe(Observation::TopicMetadata(topic));
            Ok(Then::Array(partitions))
        }
        (1, _) => {
            let _operations = reader.i32();
            reader.commit()?;
            Ok(Then::End)
        }
        _ => partition(at, reader, context),
    }
}

fn partition<S: Sink>(at: &At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    let error = ErrorCode(reader.i16());
    let (partition, leader, leader_epoch) = (reader.i32(), reader.i32(), reader.i32());
    let (replicas, in_sync) = (reader.ids(true), reader.ids(true));
    let _eligible = (reader.ids(true), reader.ids(true));
    let offline = reader.ids(true);
    reader.commit()?;
    context.entry.failed(error);
    context.sink.observe(Observation::PartitionMetadata(PartitionMetadata {
        seq: context.seq(),
        name: at.present.then_some(&context.scratch.topic),
        id: Some(at.id),
        error,
        partition,
        leader,
        leader_epoch: Some(leader_epoch),
        replicas,
        in_sync,
        offline,
    }));
    Ok(Then::End)
}
