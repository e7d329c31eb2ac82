//! Other protocols, recognised by the first four bytes of a connection, which Kafka would read as a frame's length.

use crate::LostSyncReason;

/// TLS record types (RFC 8446, 5.1).
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;

/// What a client speaks, if it is not Kafka.
pub(crate) fn client(first: [u8; 4]) -> Option<LostSyncReason> {
    match first {
        [HANDSHAKE, 3, 1..=3, _] => Some(LostSyncReason::Tls),
        // The last one is the preface of HTTP/2.
        _ if [b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"PATC", b"CONN", b"TRAC", b"PRI "]
            .contains(&&first) =>
        {
            Some(LostSyncReason::Http)
        }
        _ => None,
    }
}

/// What a broker speaks, if it is not Kafka: it takes the client's frame for a broken TLS record and says so.
pub(crate) fn broker(first: [u8; 4]) -> Option<LostSyncReason> {
    match first {
        // An alert has two bytes, so the high byte of its length is 0.
        [ALERT, 3, 1..=3, 0] => Some(LostSyncReason::TlsAlert),
        _ => None,
    }
}
