//! Frames written field by field, independent of any library, for the cases that a well-behaved encoder cannot make.

/// Appends fields as they stand on the wire.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wire(pub(crate) Vec<u8>);

impl Wire {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn i8(self, value: i8) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i16(self, value: i16) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i32(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn i64(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    pub(crate) fn uvarint(mut self, mut value: u32) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    /// int16 length, then bytes; -1 for null.
    pub(crate) fn string(self, value: Option<&str>) -> Self {
        match value {
            None => self.i16(-1),
            Some(value) => self.i16(value.len() as i16).raw(value.as_bytes()),
        }
    }

    /// Length + 1 as unsigned varint, then bytes; 0 for null.
    pub(crate) fn compact_string(self, value: Option<&str>) -> Self {
        match value {
            None => self.uvarint(0),
            Some(value) => self.uvarint(value.len() as u32 + 1).raw(value.as_bytes()),
        }
    }

    /// int32 length, then bytes.
    pub(crate) fn bytes(self, value: &[u8]) -> Self {
        self.i32(value.len() as i32).raw(value)
    }

    pub(crate) fn compact_bytes(self, value: &[u8]) -> Self {
        self.uvarint(value.len() as u32 + 1).raw(value)
    }

    /// The fields of `self` with their length before them.
    pub(crate) fn frame(self) -> Vec<u8> {
        let mut frame = (self.0.len() as i32).to_be_bytes().to_vec();
        frame.extend(self.0);
        frame
    }
}

/// Key, version, correlation id.
pub(crate) fn header_v0(api: i16, version: i16, correlation_id: i32) -> Wire {
    Wire::new().i16(api).i16(version).i32(correlation_id)
}

/// And a client id.
pub(crate) fn header_v1(api: i16, version: i16, correlation_id: i32, client_id: Option<&str>) -> Wire {
    header_v0(api, version, correlation_id).string(client_id)
}

/// And tagged fields, here none.
pub(crate) fn header_v2(api: i16, version: i16, correlation_id: i32, client_id: Option<&str>) -> Wire {
    header_v1(api, version, correlation_id, client_id).uvarint(0)
}

pub(crate) fn response_v0(correlation_id: i32) -> Wire {
    Wire::new().i32(correlation_id)
}

pub(crate) fn response_v1(correlation_id: i32) -> Wire {
    response_v0(correlation_id).uvarint(0)
}

/// What stands in a record batch of magic 2; the records are not looked at, so any bytes do.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) base_offset: i64,
    pub(crate) attributes: i16,
    pub(crate) last_offset_delta: i32,
    pub(crate) base_timestamp: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) producer_id: i64,
    pub(crate) producer_epoch: i16,
    pub(crate) base_sequence: i32,
    pub(crate) count: i32,
    pub(crate) records: Vec<u8>,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            base_offset: 0,
            attributes: 0,
            last_offset_delta: 0,
            base_timestamp: 1_700_000_000_000,
            max_timestamp: 1_700_000_000_000,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count: 1,
            records: vec![b'r'; 40],
        }
    }
}

impl Batch {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let behind_length = Wire::new()
            .i32(5) // leader epoch
            .i8(2) // magic
            .i32(0x0bad_c0de) // crc: the decoder does not check it
            .i16(self.attributes)
            .i32(self.last_offset_delta)
            .i64(self.base_timestamp)
            .i64(self.max_timestamp)
            .i64(self.producer_id)
            .i16(self.producer_epoch)
            .i32(self.base_sequence)
            .i32(self.count)
            .raw(&self.records)
            .0;
        Wire::new().i64(self.base_offset).bytes(&behind_length).0
    }
}

/// A Produce v3 request with one partition of topic "orders", its records being `records`.
pub(crate) fn produce_v3(correlation_id: i32, acks: i16, records: &[u8]) -> Vec<u8> {
    header_v1(0, 3, correlation_id, Some("client"))
        .string(None)
        .i16(acks)
        .i32(1_500)
        .i32(1)
        .string(Some("orders"))
        .i32(1)
        .i32(0)
        .bytes(records)
        .frame()
}

/// Its response.
pub(crate) fn produced_v3(correlation_id: i32, error: i16) -> Vec<u8> {
    response_v0(correlation_id)
        .i32(1)
        .string(Some("orders"))
        .i32(1)
        .i32(0)
        .i16(error)
        .i64(if error == 0 { 7 } else { -1 })
        .i64(-1)
        .i32(0)
        .frame()
}

/// Asks for one partition in a Fetch v11 request.
#[derive(Debug, Clone)]
pub(crate) struct Fetch<'a> {
    pub(crate) correlation_id: i32,
    pub(crate) replica_id: i32,
    pub(crate) min_bytes: i32,
    pub(crate) isolation: i8,
    pub(crate) session_id: i32,
    pub(crate) session_epoch: i32,
    /// Topic, partition, offset.
    pub(crate) asked: &'a [(&'a str, i32, i64)],
    pub(crate) forgotten: &'a [(&'a str, i32)],
}

impl Default for Fetch<'_> {
    fn default() -> Self {
        Self {
            correlation_id: 1,
            replica_id: -1,
            min_bytes: 1,
            isolation: 0,
            session_id: 0,
            session_epoch: -1,
            asked: &[],
            forgotten: &[],
        }
    }
}

impl Fetch<'_> {
    pub(crate) fn v11(&self) -> Vec<u8> {
        let mut wire = header_v1(1, 11, self.correlation_id, Some("client"))
            .i32(self.replica_id)
            .i32(500)
            .i32(self.min_bytes)
            .i32(1 << 20)
            .i8(self.isolation)
            .i32(self.session_id)
            .i32(self.session_epoch)
            .i32(self.asked.len() as i32);
        for (topic, partition, offset) in self.asked {
            wire = wire
                .string(Some(topic))
                .i32(1)
                .i32(*partition)
                .i32(-1) // leader epoch
                .i64(*offset)
                .i64(-1) // log start offset
                .i32(1 << 20);
        }
        wire = wire.i32(self.forgotten.len() as i32);
        for (topic, partition) in self.forgotten {
            wire = wire.string(Some(topic)).i32(1).i32(*partition);
        }
        wire.string(Some("")).frame()
    }
}

/// A partition of a Fetch v11 response.
#[derive(Debug, Clone)]
pub(crate) struct Fetched<'a> {
    pub(crate) topic: &'a str,
    pub(crate) partition: i32,
    pub(crate) error: i16,
    pub(crate) high_watermark: i64,
    pub(crate) last_stable_offset: i64,
    pub(crate) records: Vec<u8>,
}

pub(crate) fn fetched_v11(correlation_id: i32, error: i16, session_id: i32, partitions: &[Fetched<'_>]) -> Vec<u8> {
    let mut wire = response_v0(correlation_id).i32(0).i16(error).i32(session_id).i32(partitions.len() as i32);
    for fetched in partitions {
        wire = wire
            .string(Some(fetched.topic))
            .i32(1)
            .i32(fetched.partition)
            .i16(fetched.error)
            .i64(fetched.high_watermark)
            .i64(fetched.last_stable_offset)
            .i64(0) // log start offset
            .i32(0) // aborted transactions
            .i32(-1) // preferred read replica
            .bytes(&fetched.records);
    }
    wire.frame()
}
