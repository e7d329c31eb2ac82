//! What the proxy costs: the load, the sink, the accounting and the report of `kafkascope-bench`, and the frames that
//! `kafkascope-bench-decoder` shows to the decoder.
#![forbid(unsafe_code)]

pub mod cases;
pub mod cpu;
pub mod decoder;
pub mod frames;
pub mod http;
pub mod load;
pub mod machine;
pub mod poll;
pub mod receiver;
pub mod report;
pub mod run;
pub mod sink;
pub mod socket;
pub mod targets;
