//! ApiVersions, versions 0 to 4. Source: `ApiVersionsRequest.json`, `ApiVersionsResponse.json`.
//!
//! Left out: the versions and features that the broker offers.

use crate::{
    ErrorCode, Observation, Sink,
    body::Context,
    reader::{Read, Reader, Tags},
};

/// First version in which the client names its software (KIP-511); also the first flexible one.
pub(super) const NAMED: i16 = 3;
/// First version with a throttle time.
const THROTTLE: i16 = 1;

/// The request from [`NAMED`] on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request;

impl Request {
    pub(super) fn walk<S: Sink>(&self, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
        let mut body = reader.body()?;
        let name = body.string(true)?;
        let version = body.string(true)?;
        Tags::default().skip(&mut body)?;
        reader.finish(&body)?;
        context.sink.observe(Observation::Software { name, version });
        Ok(())
    }
}

/// A broker that does not know the client's version answers in version 0, with an error.
pub(super) fn response<S>(version: i16, reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
    let mut body = reader.body()?;
    let error = ErrorCode(body.i16()?);
    let version = if error == ErrorCode::UNSUPPORTED_VERSION { 0 } else { version };
    let flexible = version >= NAMED;
    for _ in 0..body.count(flexible)? {
        body.fixed::<6>()?;
        if flexible {
            Tags::default().skip(&mut body)?;
        }
    }
    let throttle_ms = if version >= THROTTLE { Some(body.i32()?) } else { None };
    if flexible {
        Tags::default().skip(&mut body)?;
    }
    reader.finish(&body)?;
    context.entry.failed(error);
    context.entry.exchange.throttle_ms = throttle_ms;
    Ok(())
}
