//! FindCoordinator, versions 0 to 6. Source: `FindCoordinatorRequest.json`, `FindCoordinatorResponse.json`.

use crate::{
    Coordinator, CoordinatorAsked, CoordinatorKind, ErrorCode, Observation, Sink,
    body::{
        Context,
        tree::{At, Then},
    },
    reader::{Read, Reader},
};

/// First version with kinds of keys, a throttle time and error messages.
const KINDS: i16 = 1;
/// First version with several keys (KIP-699).
const KEYS: i16 = 4;

pub(super) fn request<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) if at.version < KEYS => {
            let key = reader.string(at.flexible);
            let kind = at.since(KINDS, || reader.i8()).unwrap_or(0);
            reader.commit()?;
            asked(kind, key, context);
            Ok(Then::End)
        }
        (0, 0) => {
            let kind = reader.i8();
            let keys = reader.count(at.flexible);
            reader.commit()?;
            at.kind = kind;
            Ok(Then::Array(keys))
        }
        (1, _) => {
            let key = reader.string(at.flexible);
            reader.commit()?;
            asked(at.kind, key, context);
            Ok(Then::ValueEnd)
        }
        _ => Ok(Then::End),
    }
}

fn asked<S: Sink>(kind: i8, key: &[u8], context: &mut Context<'_, S>) {
    let kind = match kind {
        0 => CoordinatorKind::Group,
        1 => CoordinatorKind::Transaction,
        2 => CoordinatorKind::Share,
        other => CoordinatorKind::Unknown(other),
    };
    context.sink.observe(Observation::CoordinatorAsked(CoordinatorAsked { seq: context.seq(), kind, key }));
}

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    match (at.level, at.part) {
        (0, 0) if at.version < KEYS => {
            let throttle_ms = at.since(KINDS, || reader.i32());
            let error = ErrorCode(reader.i16());
            at.since(KINDS, || reader.nullable_string(at.flexible));
            let (node, host, port) = (reader.i32(), reader.string(at.flexible), reader.i32());
            reader.commit()?;
            context.answered(throttle_ms, error);
            let coordinator = Coordinator { seq: context.seq(), error, key: None, node, host, port };
            context.sink.observe(Observation::Coordinator(coordinator));
            Ok(Then::End)
        }
        (0, 0) => at.head(KINDS, reader, context),
        (1, _) => {
            let key = Some(reader.string(at.flexible));
            let (node, host, port) = (reader.i32(), reader.string(at.flexible), reader.i32());
            let error = ErrorCode(reader.i16());
            reader.nullable_string(at.flexible);
            reader.commit()?;
            context.entry.failed(error);
            let coordinator = Coordinator { seq: context.seq(), error, key, node, host, port };
            context.sink.observe(Observation::Coordinator(coordinator));
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}
