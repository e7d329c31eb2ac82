//! Observations to series to OTLP and Prometheus.
#![forbid(unsafe_code)]
