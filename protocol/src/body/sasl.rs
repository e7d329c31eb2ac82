//! SaslHandshake (versions 0 and 1) and SaslAuthenticate (0 to 2). Source: their schemas.
//!
//! Of a token only the user's name is taken, see [`crate::sasl`].

use crate::{
    ErrorCode, Sink,
    body::Context,
    reader::{Read, Reader, Tags},
};

/// First version of SaslAuthenticate with a session lifetime.
const LIFETIME: i16 = 1;
/// First flexible version of SaslAuthenticate.
const FLEXIBLE: i16 = 2;

pub(super) fn handshake_request<S>(reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
    let mut body = reader.body()?;
    let mechanism = body.string(false)?;
    reader.finish(&body)?;
    let raw = context.entry.exchange.version.0 == 0;
    context.memory.sasl.begin(mechanism, raw);
    Ok(())
}

pub(super) fn handshake_response<S>(reader: &mut Reader<'_>, context: &mut Context<'_, S>) -> Read<()> {
    let mut body = reader.body()?;
    let error = ErrorCode(body.i16()?);
    for _ in 0..body.count(false)? {
        body.string(false)?;
    }
    reader.finish(&body)?;
    context.entry.failed(error);
    context.memory.sasl.agreed(context.entry.exchange.version.0 == 0, error.is_none());
    Ok(())
}

pub(super) fn authenticate_request<S>(
    flexible: bool,
    reader: &mut Reader<'_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let mut body = reader.body()?;
    let token = body.blob(flexible)?;
    if flexible {
        Tags::default().skip(&mut body)?;
    }
    reader.finish(&body)?;
    context.memory.sasl.client_token(token);
    Ok(())
}

pub(super) fn authenticate_response<S: Sink>(
    version: i16,
    reader: &mut Reader<'_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let flexible = version >= FLEXIBLE;
    let mut body = reader.body()?;
    let error = ErrorCode(body.i16()?);
    body.nullable_string(flexible)?;
    let token = body.blob(flexible)?;
    if version >= LIFETIME {
        body.i64()?;
    }
    if flexible {
        Tags::default().skip(&mut body)?;
    }
    reader.finish(&body)?;
    context.entry.failed(error);
    if error.is_none() {
        context.memory.sasl.server_token(token, context.sink);
    }
    Ok(())
}
