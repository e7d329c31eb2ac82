//! What the decoder's integration tests and fuzz targets share: frames made by hand and by `kafka-protocol`, ways of
//! feeding them, and a sink that keeps everything.
#![allow(dead_code, reason = "each test binary and fuzz target uses its own part of it")]

pub(crate) mod arena;
pub(crate) mod bodies;
pub(crate) mod body;
pub(crate) mod conversation;
pub(crate) mod expected;
pub(crate) mod feed;
pub(crate) mod log;
pub(crate) mod messages;
pub(crate) mod random;
pub(crate) mod samples;
pub(crate) mod script;
pub(crate) mod vectors;
pub(crate) mod wire;
