//! StreamsGroupDescribe responses, version 0 (KIP-1071). Source: `StreamsGroupDescribeResponse.json`.
//!
//! Left out: topologies and tasks.

use crate::{
    ErrorCode, GroupDescribed, GroupKind, MemberDescribed, Observation, Sink,
    body::{
        Context,
        tree::{ALWAYS, At, Then},
    },
    reader::{Read, Reader},
};

/// What the arrays of a group are about.
const TOPOLOGY: i8 = 0;
const MEMBERS: i8 = 1;

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) => at.head(ALWAYS, reader, context),
        (1, part) => group(part, at, reader, context),
        (2, part) if at.kind == TOPOLOGY => subtopology(part, reader),
        (2, part) => member(part, at, reader, context),
        (3, part) if at.kind == TOPOLOGY => topic(part, at.array, reader),
        (3, _) => of_member(at.array, reader),
        (4, _) => pair(reader),
        _ => Ok(Then::End),
    }
}

fn group<S: Sink>(part: u8, at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match part {
        0 => {
            let error = ErrorCode(reader.i16());
            let _message = reader.nullable_string(true);
            let (group, state) = (reader.string(true), reader.string(true));
            let (epoch, assignment_epoch) = (reader.i32(), reader.i32());
            // A struct that may be null begins with -1 or 1.
            let has_topology = reader.i8() >= 0;
            let subtopologies = if has_topology { (reader.i32(), reader.count(true)).1 } else { 0 };
            reader.commit()?;
            at.kind = TOPOLOGY;
            at.present = has_topology;
            context.entry.failed(error);
            let (seq, kind) = (context.seq(), GroupKind::Streams);
            let described = GroupDescribed { seq, kind, error, group, state, epoch, assignment_epoch };
            context.sink.observe(Observation::GroupDescribed(described));
            Ok(Then::Array(subtopologies))
        }
        1 => Ok(if at.present { Then::StructEnd } else { Then::PART }),
        2 => {
            let members = reader.count(true);
            reader.commit()?;
            at.kind = MEMBERS;
            Ok(Then::Array(members))
        }
        _ => {
            let _operations = reader.i32();
            reader.commit()?;
            Ok(Then::End)
        }
    }
}

/// Its name, and four arrays of topics.
fn subtopology(part: u8, reader: &mut Reader<'_, '_>) -> Read<Then> {
    match part {
        0 => {
            let _name = reader.string(true);
            array(reader)
        }
        1..=3 => array(reader),
        _ => Ok(Then::End),
    }
}

/// The first two arrays have names only, the others topics with configurations.
fn topic(part: u8, array_of: u8, reader: &mut Reader<'_, '_>) -> Read<Then> {
    if part > 0 {
        return Ok(Then::End);
    }
    let _name = reader.string(true);
    if array_of < 2 {
        reader.commit()?;
        return Ok(Then::ValueEnd);
    }
    let _partitions_and_factor = (reader.i32(), reader.i16());
    array(reader)
}

/// Who it is, where it can be reached, tags, two arrays of offsets, and two assignments of three arrays each.
fn member<S: Sink>(part: u8, at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match part {
        0 => {
            let (member_id, member_epoch) = (reader.string(true), reader.i32());
            let instance_id = reader.nullable_string(true);
            let _rack = reader.nullable_string(true);
            let (client_id, client_host) = (reader.string(true), reader.string(true));
            let _topology_epoch_and_process = (reader.i32(), reader.string(true));
            let has_endpoint = reader.i8() >= 0;
            if has_endpoint {
                let _host_and_port = (reader.string(true), reader.i16());
            }
            reader.commit()?;
            at.present = has_endpoint;
            let seq = context.seq();
            let member = MemberDescribed { seq, member_id, instance_id, member_epoch, client_id, client_host };
            context.sink.observe(Observation::MemberDescribed(member));
            Ok(Then::PART)
        }
        1 => Ok(if at.present { Then::StructEnd } else { Then::PART }),
        TAGS | OFFSETS | 4 | ASSIGNED..=7 | 9..=11 => array(reader),
        8 | 12 => Ok(Then::StructEnd),
        _ => {
            let _is_classic = reader.i8();
            reader.commit()?;
            Ok(Then::End)
        }
    }
}

/// Which part of a member the client's tags stand behind.
const TAGS: u8 = 2;
/// The first one that an array of offsets stands behind.
const OFFSETS: u8 = 3;
/// The first one that an array of tasks stands behind.
const ASSIGNED: u8 = 5;

fn of_member(array_of: u8, reader: &mut Reader<'_, '_>) -> Read<Then> {
    match array_of {
        TAGS => return pair(reader),
        OFFSETS..ASSIGNED => {
            let _subtopology = reader.string(true);
            let _partition_and_offset = (reader.i32(), reader.i64());
        }
        _ => {
            let _subtopology = reader.string(true);
            reader.ids(true);
        }
    }
    reader.commit()?;
    Ok(Then::End)
}

/// A key and a value.
fn pair(reader: &mut Reader<'_, '_>) -> Read<Then> {
    let _pair = (reader.string(true), reader.string(true));
    reader.commit()?;
    Ok(Then::End)
}

fn array(reader: &mut Reader<'_, '_>) -> Read<Then> {
    let count = reader.count(true);
    reader.commit()?;
    Ok(Then::Array(count))
}
