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
/// Newest version whose bodies are read.
pub(super) const NEWEST: i16 = 4;
/// First version with a throttle time.
const THROTTLE: i16 = 1;

/// The request from [`NAMED`] on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request;

impl Request {
    pub(super) fn walk<S: Sink>(&self, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
        let (name, version) = reader.collect(|body| {
            let names = (body.string(true), body.string(true));
            Tags::new().skip(body)?;
            Ok(names)
        })?;
        context.sink.observe(Observation::Software { name, version });
        Ok(())
    }
}

/// A broker that does not know the client's version answers in version 0, with an error.
pub(super) fn response<S>(version: i16, reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
    let (error, throttle_ms) = reader.collect(|body| {
        let error = ErrorCode(body.i16());
        let version = match version {
            _ if error == ErrorCode::UNSUPPORTED_VERSION => 0,
            0..=NEWEST => version,
            _ => {
                body.rest();
                return Ok((error, None));
            }
        };
        let flexible = version >= NAMED;
        for _ in 0..body.count(flexible) {
            // Key and range of versions.
            body.fixed::<6>();
            body.commit()?;
            if flexible {
                Tags::new().skip(body)?;
            }
        }
        let throttle_ms = if version >= THROTTLE { Some(body.i32()) } else { None };
        if flexible {
            Tags::new().skip(body)?;
        }
        Ok((error, throttle_ms))
    })?;
    context.answered(throttle_ms, error);
    Ok(())
}
