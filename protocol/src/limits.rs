//! Every bound of the decoder, in one place, each with its reason.

/// Bounds on what one [`Connection`](crate::Connection) may remember. None of them limits what passes: over a bound the
/// decoder sees less, says so, and the bytes go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Longest frame that is believed, in bytes. Kafka's own default for requests is 100 MiB (`socket.request.max.bytes`);
    /// the bytes `GET ` read as 1.1 GiB. A larger length means that the stream is not Kafka.
    pub frame: u32,
    /// Longest single element (a topic head, a partition head, a member, a broker) of a body that is buffered, in bytes. A
    /// string has up to 32 KiB, the partitions of one topic in an assignment 4 bytes each.
    pub field: usize,
    /// Largest body that is buffered as a whole, in bytes: of ApiVersions, of SASL, and of SyncGroup responses, in which an
    /// assignment takes 4 bytes a partition. Larger ones are told as [`Undecoded`](crate::Undecoded).
    pub collected: usize,
    /// Requests that wait for their response. Kafka brokers mute a connection while they serve a request, so what waits
    /// here is what a client has pipelined; more than this and the oldest are given up.
    pub in_flight: usize,
    /// Topics (names and ids) remembered per connection. Partitions of further topics are reported under
    /// [`TopicIndex::OVERFLOW`](crate::TopicIndex::OVERFLOW).
    pub topics: usize,
    /// Partitions remembered over all fetch sessions of a connection (KIP-227). The broker keeps 1,000 sessions; a
    /// mirroring consumer may have tens of thousands of partitions in one.
    pub session_partitions: usize,
    /// Fetch sessions remembered per connection. A client keeps one session per broker, hence one per connection.
    pub sessions: usize,
    /// Aborted transactions remembered of one partition in a Fetch response, 24 bytes each, until the response ends. A
    /// partition's answer is 1 MiB by default (`max.partition.fetch.bytes`), in which a transaction takes a batch and a
    /// marker, some 140 bytes.
    pub aborted: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: 1 << 30,
            field: 40 * 1024,
            collected: 64 * 1024,
            in_flight: 4096,
            topics: 16_384,
            session_partitions: 65_536,
            sessions: 4,
            aborted: 8_192,
        }
    }
}
