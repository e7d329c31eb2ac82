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

pub(super) fn handshake_request<S>(reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
    let mechanism = reader.collect(|body| Ok(body.string(false)))?;
    context.memory.sasl.begin(mechanism, is_bare(context));
    Ok(())
}

pub(super) fn handshake_response<S>(reader: &mut Reader<'_, '_>, context: &mut Context<'_, S>) -> Read<()> {
    let error = reader.collect(|body| {
        let error = ErrorCode(body.i16());
        for _ in 0..body.count(false) {
            body.string(false);
            body.commit()?;
        }
        Ok(error)
    })?;
    context.entry.failed(error);
    context.memory.sasl.agreed(is_bare(context), error.is_none());
    Ok(())
}

/// Version 0 is followed by tokens that are no messages.
const fn is_bare<S>(context: &Context<'_, S>) -> bool {
    context.entry.exchange.version.0 == 0
}

pub(super) fn authenticate_request<S>(
    flexible: bool,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let token = reader.collect(|body| {
        let token = body.blob(flexible);
        if flexible {
            Tags::new().skip(body)?;
        }
        Ok(token)
    })?;
    context.memory.sasl.client_token(token);
    Ok(())
}

pub(super) fn authenticate_response<S: Sink>(
    version: i16,
    reader: &mut Reader<'_, '_>,
    context: &mut Context<'_, S>,
) -> Read<()> {
    let flexible = version >= FLEXIBLE;
    let (error, token) = reader.collect(|body| {
        let error = ErrorCode(body.i16());
        let _message = body.nullable_string(flexible);
        let token = body.blob(flexible);
        if version >= LIFETIME {
            body.i64();
        }
        if flexible {
            Tags::new().skip(body)?;
        }
        Ok((error, token))
    })?;
    context.entry.failed(error);
    if error.is_none() {
        context.memory.sasl.server_token(token, context.sink);
    }
    Ok(())
}
