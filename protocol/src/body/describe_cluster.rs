//! DescribeCluster responses, versions 0 to 2. Source: `DescribeClusterResponse.json`.
//!
//! Left out: racks, fencing and authorized operations; and the addresses of controllers, which are no brokers.

use crate::{
    Broker, Controller, ErrorCode, Observation, Sink,
    body::{
        Context,
        tree::{At, Then},
    },
    reader::{Read, Reader},
};

/// First version that controllers answer, too (KIP-919).
const ENDPOINT_TYPE: i16 = 1;
const CONTROLLERS: i8 = 2;
/// First version with fenced brokers.
const FENCED: i16 = 2;

pub(super) fn response<S: Sink>(at: &mut At, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<Then> {
    let seq = context.seq();
    match (at.level, at.part) {
        (0, 0) => {
            let (throttle_ms, error) = (reader.i32(), ErrorCode(reader.i16()));
            let _message = reader.nullable_string(true);
            let from_controller = at.since(ENDPOINT_TYPE, || reader.i8()) == Some(CONTROLLERS);
            let (cluster_id, id) = (reader.string(true), reader.i32());
            let brokers = reader.count(true);
            reader.commit()?;
            at.present = !from_controller;
            context.answered(Some(throttle_ms), error);
            if error.is_none() {
                context.sink.observe(Observation::ClusterId(cluster_id));
                context.sink.observe(Observation::Controller(Controller { seq, id, from_controller }));
            }
            Ok(Then::Array(brokers))
        }
        (0, _) => {
            let _operations = reader.i32();
            reader.commit()?;
            Ok(Then::End)
        }
        _ => {
            let (id, host, port) = (reader.i32(), reader.string(true), reader.i32());
            let _rack = reader.nullable_string(true);
            at.since(FENCED, || reader.i8());
            reader.commit()?;
            if at.present {
                context.sink.observe(Observation::Broker(Broker { seq, id, host, port }));
            }
            Ok(Then::End)
        }
    }
}
