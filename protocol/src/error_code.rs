//! Kafka error codes by name.

/// An error code as it stands on the wire. Source of the names: `org.apache.kafka.common.protocol.Errors`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ErrorCode(pub i16);

impl ErrorCode {
    /// No error.
    pub const NONE: Self = Self(0);

    /// Whether the code says that nothing went wrong.
    #[must_use]
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}
