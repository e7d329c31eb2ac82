//! The Kafka frames of the load: valid requests and the responses that answer them.
//!
//! Everything is built once, before the measurement; on the way only correlation ids are written into them. A frame is
//! kept as its *head* (through the correlation id, which changes) and its *rest* (which does not).

use std::sync::Arc;

/// Bytes of a request frame through its correlation id: length, API key, version, correlation id.
pub const REQUEST_HEAD: usize = 12;
/// Bytes of a response frame through its correlation id: length, correlation id.
pub const RESPONSE_HEAD: usize = 8;

/// Topic of all requests.
const TOPIC: &str = "orders";
/// Client id of all requests.
const CLIENT_ID: &str = "bench-client";
/// Bytes of a record batch before its records (`org.apache.kafka.common.record.DefaultRecordBatch`).
const BATCH_HEAD: usize = 61;

/// One request and the response that answers it.
#[derive(Debug, Clone)]
pub struct Exchange {
    /// The request frame, with correlation id 0.
    pub request: Arc<[u8]>,
    /// The response frame, with correlation id 0.
    pub response: Arc<[u8]>,
}

impl Exchange {
    /// Bytes that pass in both directions.
    pub fn bytes(&self) -> u64 {
        (self.request.len() + self.response.len()) as u64
    }
}

/// Produce v11, acks=all, one batch for each of `partitions` partitions, such that the whole request frame has about
/// `frame_bytes` bytes (exactly so with one partition).
pub fn produce(frame_bytes: usize, partitions: usize) -> Exchange {
    let empty = produce_request(&vec![record_batch(BATCH_HEAD, 1); partitions]);
    let each = (frame_bytes.saturating_sub(empty.len()) / partitions) + BATCH_HEAD;
    let mut request = produce_request(&vec![record_batch(each, partitions); partitions]);
    // The compact lengths have grown with the batches: take the difference from each batch.
    let over = request.len().saturating_sub(frame_bytes).div_ceil(partitions);
    if over > 0 {
        request = produce_request(&vec![record_batch(each - over, partitions); partitions]);
    }
    let mut response = Frame::response();
    response.tags();
    response.compact_len(1);
    response.compact_string(TOPIC);
    response.compact_len(partitions);
    for partition in 0..partitions {
        response.i32(partition as i32);
        response.i16(0); // no error
        response.i64(42); // base offset
        response.i64(-1); // log append time
        response.i64(0); // log start offset
        response.compact_len(0); // record errors
        response.compact_null(); // error message
        response.tags();
    }
    response.tags();
    response.i32(0); // throttle time
    response.tags();
    Exchange { request: request.into(), response: response.finish() }
}

fn produce_request(batches: &[Vec<u8>]) -> Vec<u8> {
    let mut frame = Frame::request(0, 11);
    frame.compact_null(); // transactional id
    frame.i16(-1); // acks=all
    frame.i32(30_000); // timeout
    frame.compact_len(1);
    frame.compact_string(TOPIC);
    frame.compact_len(batches.len());
    for (partition, batch) in batches.iter().enumerate() {
        frame.i32(partition as i32);
        frame.compact_bytes(batch);
        frame.tags();
    }
    frame.tags();
    frame.tags();
    frame.finish().to_vec()
}

/// Fetch v12 without a session, answered by a response frame of about `frame_bytes` bytes (exactly so with one batch)
/// with `batches` batches of one partition.
pub fn fetch(frame_bytes: usize, batches: usize) -> Exchange {
    let mut request = Frame::request(1, 12);
    request.i32(-1); // a consumer
    request.i32(500); // max wait
    request.i32(1); // min bytes
    request.i32(52_428_800); // max bytes
    request.i8(0); // read uncommitted
    request.i32(0); // no session
    request.i32(-1);
    request.one_partition();
    request.i32(-1); // current leader epoch
    request.i64(0); // fetch offset
    request.i32(-1); // last fetched epoch
    request.i64(-1); // log start offset
    request.i32(1_048_576); // partition max bytes
    request.tags();
    request.tags();
    request.compact_len(0); // forgotten topics
    request.compact_string(""); // rack
    request.tags();
    let each = (frame_bytes.saturating_sub(fetch_response(&[]).len())) / batches;
    let mut response = fetch_response(&record_batch(each, batches).repeat(batches));
    let over = response.len().saturating_sub(frame_bytes).div_ceil(batches);
    if over > 0 {
        response = fetch_response(&record_batch(each - over, batches).repeat(batches));
    }
    Exchange { request: request.finish(), response: response.into() }
}

fn fetch_response(batches: &[u8]) -> Vec<u8> {
    let mut frame = Frame::response();
    frame.tags();
    frame.i32(0); // throttle time
    frame.i16(0); // no error
    frame.i32(0); // no session
    frame.one_partition();
    frame.i16(0); // no error
    frame.i64(1_000_000); // high watermark
    frame.i64(1_000_000); // last stable offset
    frame.i64(0); // log start offset
    frame.compact_len(0); // aborted transactions
    frame.i32(-1); // preferred read replica
    frame.compact_bytes(batches);
    frame.tags();
    frame.tags();
    frame.tags();
    frame.finish().to_vec()
}

/// Where the partition of [`commit`] stands, in bytes from the end of request and response.
pub const COMMIT_PARTITION: [usize; 2] = [20, 9];

/// OffsetCommit v8 of partition 0, by a member of a group.
pub fn commit() -> Exchange {
    let mut request = Frame::request(8, 8);
    request.compact_string("bench-group");
    request.i32(1); // generation
    request.compact_string("bench-client-3b52ab61-6aa7-4b37-a1f0-1a3a0f0e0c55"); // member
    request.compact_null(); // instance
    request.one_partition();
    request.i64(42); // offset
    request.i32(-1); // leader epoch
    request.compact_null(); // metadata
    request.tags();
    request.tags();
    request.tags();
    let mut response = Frame::response();
    response.tags();
    response.i32(0); // throttle time
    response.one_partition();
    response.i16(0); // no error
    response.tags();
    response.tags();
    response.tags();
    Exchange { request: request.finish(), response: response.finish() }
}

/// ApiVersions v3, with what a client says at the start of each connection.
pub fn api_versions() -> Exchange {
    let mut request = Frame::request(18, 3);
    request.compact_string("kafkascope-bench");
    request.compact_string("1.0");
    request.tags();
    let mut response = Frame::response();
    // No tags: this response keeps header v0 for clients that do not know flexible versions.
    response.i16(0); // no error
    let apis = [(0, 0, 11), (1, 0, 12), (18, 0, 3)];
    response.compact_len(apis.len());
    for (key, min, max) in apis {
        response.i16(key);
        response.i16(min);
        response.i16(max);
        response.tags();
    }
    response.i32(0); // throttle time
    response.tags();
    Exchange { request: request.finish(), response: response.finish() }
}

/// A record batch v2 of exactly `bytes` bytes, filled with records of about 1 KiB. A batch of head size only has none.
/// `salt` varies the content.
fn record_batch(bytes: usize, salt: usize) -> Vec<u8> {
    let mut records = Vec::with_capacity(bytes);
    let mut count = 0;
    let mut left = bytes - BATCH_HEAD;
    while left > 0 {
        // What is left goes into the last record, so that no rest remains which is too short to be one.
        let size = if left < 2048 { left } else { 1024 };
        records.extend(record(size, count, salt));
        left -= size;
        count += 1;
    }
    let mut checked = Vec::with_capacity(bytes);
    checked.extend(0_i16.to_be_bytes()); // attributes: no compression
    checked.extend((count - 1).to_be_bytes()); // last offset delta
    checked.extend(1_750_000_000_000_i64.to_be_bytes()); // base timestamp
    checked.extend(1_750_000_000_000_i64.to_be_bytes()); // max timestamp
    checked.extend((-1_i64).to_be_bytes()); // producer id
    checked.extend((-1_i16).to_be_bytes()); // producer epoch
    checked.extend((-1_i32).to_be_bytes()); // base sequence
    checked.extend(count.to_be_bytes());
    checked.extend(records);
    let mut batch = Vec::with_capacity(bytes);
    batch.extend(0_i64.to_be_bytes()); // base offset
    batch.extend(((bytes - 12) as i32).to_be_bytes());
    batch.extend(0_i32.to_be_bytes()); // partition leader epoch
    batch.push(2); // magic
    batch.extend(crc32c(&checked).to_be_bytes());
    batch.extend(checked);
    batch
}

/// A record of exactly `bytes` bytes with its length field.
fn record(bytes: usize, offset_delta: i32, salt: usize) -> Vec<u8> {
    // The lengths are varints, whose own size depends on their value: try a few lengths of the value, and where none
    // gives the size, make it up with a key of a byte.
    for value in (bytes.saturating_sub(24)..bytes).rev() {
        for key in [None, Some(0), Some(1)] {
            let mut body = Vec::with_capacity(bytes);
            body.push(0); // attributes
            varint(&mut body, 0); // timestamp delta
            varint(&mut body, i64::from(offset_delta));
            varint(&mut body, key.unwrap_or(-1));
            body.extend((0..key.unwrap_or(0)).map(|_| b'k'));
            varint(&mut body, value as i64);
            body.resize(body.len() + value, b'a' + (salt % 26) as u8);
            varint(&mut body, 0); // headers
            let mut record = Vec::with_capacity(bytes);
            varint(&mut record, body.len() as i64);
            record.extend(body);
            if record.len() == bytes {
                return record;
            }
        }
    }
    // Shorter than any record (a few bytes): as it is, the receiver never looks into it.
    vec![0; bytes]
}

fn varint(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn crc32c(bytes: &[u8]) -> u32 {
    let table: [u32; 256] = std::array::from_fn(|byte| {
        (0..8).fold(byte as u32, |crc, _| (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg()))
    });
    !bytes.iter().fold(!0_u32, |crc, byte| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)])
}

/// A frame that is being written.
struct Frame(Vec<u8>);

impl Frame {
    /// A flexible request: header v2.
    fn request(api: i16, version: i16) -> Self {
        let mut frame = Self(vec![0; 4]);
        frame.i16(api);
        frame.i16(version);
        frame.i32(0); // correlation id
        frame.i16(CLIENT_ID.len() as i16);
        frame.0.extend(CLIENT_ID.as_bytes());
        frame.tags();
        frame
    }

    fn response() -> Self {
        let mut frame = Self(vec![0; 4]);
        frame.i32(0); // correlation id
        frame
    }

    fn i8(&mut self, value: i8) {
        self.0.extend(value.to_be_bytes());
    }

    fn i16(&mut self, value: i16) {
        self.0.extend(value.to_be_bytes());
    }

    fn i32(&mut self, value: i32) {
        self.0.extend(value.to_be_bytes());
    }

    fn i64(&mut self, value: i64) {
        self.0.extend(value.to_be_bytes());
    }

    fn tags(&mut self) {
        self.0.push(0);
    }

    /// One topic, of it one partition, which is number 0.
    fn one_partition(&mut self) {
        self.compact_len(1);
        self.compact_string(TOPIC);
        self.compact_len(1);
        self.i32(0);
    }

    fn compact_null(&mut self) {
        self.0.push(0);
    }

    fn compact_len(&mut self, length: usize) {
        let mut rest = length + 1;
        while rest >= 0x80 {
            self.0.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.0.push(rest as u8);
    }

    fn compact_string(&mut self, text: &str) {
        self.compact_bytes(text.as_bytes());
    }

    fn compact_bytes(&mut self, bytes: &[u8]) {
        self.compact_len(bytes.len());
        self.0.extend(bytes);
    }

    fn finish(mut self) -> Arc<[u8]> {
        let length = (self.0.len() - 4) as i32;
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_size_that_was_asked_for() {
        for bytes in [200, 1 << 10, 64 << 10, 1 << 20] {
            assert_eq!(produce(bytes, 1).request.len(), bytes);
        }
        assert_eq!(fetch(1 << 20, 1).response.len(), 1 << 20);
        let many = produce(1 << 20, 64).request.len();
        assert!(((1 << 20) - 64..=1 << 20).contains(&many), "{many}");
    }

    #[test]
    fn the_checksum_is_castagnoli() {
        assert_eq!(crc32c(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_frame_length_counts_what_follows_it() {
        for exchange in [produce(1000, 1), fetch(5000, 3), api_versions()] {
            for frame in [exchange.request, exchange.response] {
                let length = i32::from_be_bytes(frame[..4].try_into().unwrap());
                assert_eq!(length as usize, frame.len() - 4);
            }
        }
    }
}
