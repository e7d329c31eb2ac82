//! Sans-IO observer of the Kafka wire protocol.
//!
//! [`Connection`] is told which bytes passed, in which direction and when; it tells a [`Sink`] what they mean. It owns no
//! socket, reads no clock, spawns nothing and logs nothing. It never changes a byte and never returns an error: what it
//! cannot decode is itself an observation ([`Undecoded`], [`LostSync`]), after which it falls back from full decoding to
//! headers only, to counting bytes.
//!
//! Memory does not depend on frame size. Bodies are walked field by field as they pass, with at most one field buffered;
//! the few that have to be read as a whole are collected up to a limit. Every bound is in [`Limits`].
#![no_std]
#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![cfg_attr(
    test,
    allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "tests compute on known data")
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod api;
mod body;
mod connection;
mod error_code;
mod foreign;
mod in_flight;
mod limits;
mod observation;
mod positions;
mod reader;
mod requests;
mod responses;
mod sasl;
mod sink;
mod stream;
mod topics;

pub use api::{APIS, ApiInfo};
pub use connection::Connection;
pub use error_code::ErrorCode;
pub use limits::Limits;
pub use observation::*;
pub use sink::{BatchPlan, CaptureBudget, Sink};
