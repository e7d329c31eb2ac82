//! ConsumerGroupDescribe responses (versions 0 and 1, KIP-848). Source: `ConsumerGroupDescribeResponse.json`.
//!
//! Left out: what members subscribe to and have.

use crate::{
    ErrorCode, GroupDescribed, GroupKind, MemberDescribed, Observation, Sink, TopicId,
    body::{
        Context,
        tree::{ALWAYS, At, Then},
    },
    reader::{Read, Reader},
};

/// First version with the kind of a member: classic or not.
const MEMBER_TYPE: i16 = 1;
/// Which part of a member the topics by name only stand behind.
const SUBSCRIBED: u8 = 0;

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    let seq = context.seq();
    match (at.level, at.part) {
        (0, 0) => at.head(ALWAYS, reader, context),
        (1, 0) => {
            let error = ErrorCode(reader.i16());
            let _message = reader.nullable_string(true);
            let (group, state) = (reader.string(true), reader.string(true));
            let (epoch, assignment_epoch) = (reader.i32(), reader.i32());
            let _assignor = reader.string(true);
            let members = reader.count(true);
            reader.commit()?;
            context.entry.failed(error);
            let kind = GroupKind::Consumer;
            let described = GroupDescribed { seq, kind, error, group, state, epoch, assignment_epoch };
            context.sink.observe(Observation::GroupDescribed(described));
            Ok(Then::Array(members))
        }
        (1, _) => {
            let _operations = reader.i32();
            reader.commit()?;
            Ok(Then::End)
        }
        (2, part) => member(part, at, reader, context),
        (3, _) if at.array == SUBSCRIBED => {
            reader.string(true);
            reader.commit()?;
            Ok(Then::ValueEnd)
        }
        (3, _) => {
            let _topic = (TopicId(reader.fixed()), reader.string(true));
            reader.ids(true);
            reader.commit()?;
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}

/// A member, and its two assignments, each a struct with an array.
fn member<S: Sink>(part: u8, at: &At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match part {
        0 => {
            let member_id = reader.string(true);
            let instance_id = reader.nullable_string(true);
            let _rack = reader.nullable_string(true);
            let member_epoch = reader.i32();
            let (client_id, client_host) = (reader.string(true), reader.string(true));
            let subscribed = reader.count(true);
            reader.commit()?;
            let seq = context.seq();
            let member = MemberDescribed { seq, member_id, instance_id, member_epoch, client_id, client_host };
            context.sink.observe(Observation::MemberDescribed(member));
            Ok(Then::Array(subscribed))
        }
        1 => {
            let _regex = reader.nullable_string(true);
            let assigned = reader.count(true);
            reader.commit()?;
            Ok(Then::Array(assigned))
        }
        3 => {
            let target = reader.count(true);
            reader.commit()?;
            Ok(Then::Array(target))
        }
        2 | 4 => Ok(Then::StructEnd),
        _ => {
            at.since(MEMBER_TYPE, || reader.i8());
            reader.commit()?;
            Ok(Then::End)
        }
    }
}
