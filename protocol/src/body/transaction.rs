//! InitProducerId (versions 0 to 6), AddPartitionsToTxn (0 to 5), AddOffsetsToTxn (0 to 4) and EndTxn (0 to 5). Source: their
//! schemas.
//!
//! Left out: which partitions a transaction has, and two-phase commit (KIP-939).

use crate::{
    ErrorCode, InitProducer, Observation, ProducerIdentity, Sink, Transaction, TransactionEnd, TransactionGroup,
    body::{
        Context,
        tree::{ALWAYS, At, Then},
    },
    reader::{Halt, Read, Reader},
};

/// First version of AddPartitionsToTxn that is about several transactions (KIP-890).
const TRANSACTIONS: i16 = 4;
/// First version of EndTxn that gives the producer a new epoch (KIP-890).
const NEW_EPOCH: i16 = 5;

pub(super) fn init_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let transactional_id = reader.nullable_string(at.flexible);
    let timeout_ms = reader.i32();
    reader.commit()?;
    let init = InitProducer { seq: context.seq(), transactional_id, timeout_ms };
    context.sink.observe(Observation::InitProducer(init));
    Err(Halt::Enough)
}

pub(super) fn init_response<S: Sink>(
    _at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let (throttle_ms, error) = (reader.i32(), ErrorCode(reader.i16()));
    let (producer_id, producer_epoch) = (reader.i64(), reader.i16());
    reader.commit()?;
    context.answered(Some(throttle_ms), error);
    let identity = ProducerIdentity { seq: context.seq(), error, producer_id, producer_epoch };
    context.sink.observe(Observation::ProducerIdentity(identity));
    Err(Halt::Enough)
}

/// Reads whose transaction it is.
fn transaction<'a>(at: &At, reader: &mut Reader<'a, '_>) -> Transaction<'a> {
    let transactional_id = reader.string(at.flexible);
    Transaction { transactional_id, producer_id: reader.i64(), producer_epoch: reader.i16() }
}

pub(super) fn add_offsets_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let transaction = transaction(at, reader);
    let group = reader.string(at.flexible);
    reader.commit()?;
    let group = TransactionGroup { seq: context.seq(), transaction, group };
    context.sink.observe(Observation::TransactionGroup(group));
    Ok(Then::End)
}

pub(super) fn add_offsets_response<S: Sink>(
    _at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let (throttle_ms, error) = (reader.i32(), ErrorCode(reader.i16()));
    reader.commit()?;
    context.answered(Some(throttle_ms), error);
    Ok(Then::End)
}

pub(super) fn end_request<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let transaction = transaction(at, reader);
    let committed = reader.i8() != 0;
    reader.commit()?;
    let end = TransactionEnd { seq: context.seq(), transaction, committed };
    context.sink.observe(Observation::TransactionEnd(end));
    Ok(Then::End)
}

pub(super) fn end_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    let (throttle_ms, error) = (reader.i32(), ErrorCode(reader.i16()));
    let identity = at.since(NEW_EPOCH, || (reader.i64(), reader.i16()));
    reader.commit()?;
    context.answered(Some(throttle_ms), error);
    if let Some((producer_id, producer_epoch)) = identity {
        let identity = ProducerIdentity { seq: context.seq(), error, producer_id, producer_epoch };
        context.sink.observe(Observation::ProducerIdentity(identity));
    }
    Ok(Then::End)
}

/// The response to AddPartitionsToTxn, for its errors.
pub(super) fn add_partitions_response<S: Sink>(
    at: &mut At,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<Then> {
    // Before there were several transactions, the message itself was one.
    let level = if at.version < TRANSACTIONS { at.level.saturating_add(1) } else { at.level };
    match (level, at.part) {
        (0, 0) => {
            let (throttle_ms, error) = (reader.i32(), ErrorCode(reader.i16()));
            let transactions = reader.count(at.flexible);
            reader.commit()?;
            context.answered(Some(throttle_ms), error);
            Ok(Then::Array(transactions))
        }
        (1, 0) if at.version < TRANSACTIONS => at.head(ALWAYS, reader, context),
        (1 | 2, 0) => {
            let _transaction_or_topic = reader.string(at.flexible);
            let below = reader.count(at.flexible);
            reader.commit()?;
            Ok(Then::Array(below))
        }
        (3, _) => {
            let _partition = reader.i32();
            let error = ErrorCode(reader.i16());
            reader.commit()?;
            context.entry.failed(error);
            Ok(Then::End)
        }
        _ => Ok(Then::End),
    }
}
