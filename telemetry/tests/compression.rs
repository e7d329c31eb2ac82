//! Compression ratios by client, topic and codec, and what becomes of batches whose framing does not tell their size.
#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

mod scene;

use std::io::Write;

use kafkascope_protocol::{
    BatchHead, BatchPlan, Captured, Direction, Measured, Observation, RequestSeq, Sink, Unmeasured,
};
use kafkascope_telemetry::histogram::Histogram;
use kafkascope_telemetry::metric::Metric;
use kafkascope_telemetry::{Measurer, Settings, Snapshot};
use scene::{Connection, Scene, topic};

const GZIP: i16 = 1;
const LZ4: i16 = 3;
const ZSTD: i16 = 4;

fn head(codec: i16, records: usize) -> BatchHead {
    BatchHead { attributes: codec, ..scene::batch(61 + records as u64, 10) }
}

/// A producer sends a batch; what does the recorder want of it?
fn plan(scene: &mut Scene, connection: &mut Connection, head: BatchHead) -> BatchPlan {
    connection.batch(scene, RequestSeq(0), "t", head);
    connection.recorder.sink(&mut scene.shard).at_batch(Direction::Request, &head)
}

/// The framing of a batch told its size.
fn tell(scene: &mut Scene, connection: &mut Connection, head: BatchHead, uncompressed: Result<u64, Unmeasured>) {
    assert!(matches!(plan(scene, connection, head), BatchPlan::Measure { .. }));
    let measured =
        Measured { seq: RequestSeq(0), direction: Direction::Request, topic: topic("t"), head, uncompressed };
    connection.observe(scene, Observation::Measured(measured));
}

/// A producer sends records whose framing does not tell their size. Whether they were kept.
fn send(scene: &mut Scene, connection: &mut Connection, codec: i16, records: &[u8]) -> bool {
    let head = head(codec, records.len());
    let BatchPlan::Measure { capture } = plan(scene, connection, head) else { panic!("it is compressed") };
    let keep = records.len() <= capture as usize;
    let (seq, direction, topic) = (RequestSeq(0), Direction::Request, topic("t"));
    connection.observe(
        scene,
        match keep {
            true => Observation::Captured(Captured { seq, direction, topic, head, bytes: records }),
            false => {
                let uncompressed = Err(Unmeasured::Untold);
                Observation::Measured(Measured { seq, direction, topic, head, uncompressed })
            }
        },
    );
    keep
}

/// All rounds are over and all that was kept is measured.
fn settled(scene: &mut Scene, measurer: Measurer) -> Snapshot {
    scene.collect();
    measurer.finish();
    scene.collect()
}

fn ratios(snapshot: &Snapshot, labels: &[(&str, &str)]) -> Histogram {
    scene::histogram(snapshot, Metric::CompressionRatio, labels)
}

fn unmeasured(snapshot: &Snapshot, reason: &str) -> i64 {
    scene::sum(snapshot, Metric::SelfUnmeasured, &[("reason", reason)])
}

fn zstd(content: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn lz4(content: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Some kilobytes that compress, but not to nothing: different ones for different seeds.
fn content(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..8_000).map(|at| if at % 4 == 0 { next() } else { b'-' }).collect()
}

#[test]
fn what_the_framing_tells_is_a_sample_for_each_batch_and_none_is_one() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("app");
    tell(&mut scene, &mut connection, head(GZIP, 250), Ok(1_000));
    tell(&mut scene, &mut connection, head(GZIP, 750), Ok(1_000));
    assert_eq!(plan(&mut scene, &mut connection, head(0, 500)), BatchPlan::Skip);
    let old = BatchHead { magic: 1, ..head(GZIP, 500) };
    assert_eq!(plan(&mut scene, &mut connection, old), BatchPlan::Skip);
    let snapshot = scene.collect();
    let labels =
        |codec| [("messaging.client.id", "app"), ("messaging.destination.name", "t"), ("kafkascope.codec", codec)];
    let gzip = ratios(&snapshot, &labels("gzip"));
    assert_eq!((gzip.count(), gzip.sum()), (2, 1_000_000), "0.25 and 0.75: each batch counts alike");
    let none = ratios(&snapshot, &labels("none"));
    assert_eq!((none.count(), none.sum()), (1, 1_000_000));
}

#[test]
fn fetched_batches_are_not_opened() {
    let mut scene = Scene::new(Settings::default());
    let mut connection = scene.connect("app");
    let plan = connection.recorder.sink(&mut scene.shard).at_batch(Direction::Response, &head(GZIP, 500));
    assert_eq!(plan, BatchPlan::Skip);
}

#[test]
fn kept_batches_are_measured_and_none_but_the_last_export_has_to_wait_for_that() {
    let mut scene = Scene::new(Settings::default());
    let measurer = Measurer::start(&scene.registry).unwrap();
    let (mut one, mut other) = (scene.connect("one"), scene.connect("other"));
    let content = content(1);
    let (small, large) = (zstd(&content), lz4(&content));
    for _ in 0..3 {
        assert!(send(&mut scene, &mut one, ZSTD, &small));
    }
    assert!(send(&mut scene, &mut other, LZ4, &large));
    let snapshot = settled(&mut scene, measurer);
    for (client, count, records) in [("one", 3, small), ("other", 1, large)] {
        let found = ratios(&snapshot, &[("messaging.client.id", client)]);
        let expected = records.len() as f64 / content.len() as f64;
        assert_eq!(found.count(), count);
        assert!((found.sum() as f64 / 1e6 / count as f64 - expected).abs() < 2e-6, "{expected}: {found:?}");
    }
    assert_eq!(scene::sum(&snapshot, Metric::SelfDecompressed, &[]), 3 * 8_000, "lz4 is added up, not decompressed");
}

#[test]
fn what_is_not_measured_is_counted_by_reason() {
    let mut scene = Scene::new(Settings::default());
    let measurer = Measurer::start(&scene.registry).unwrap();
    let mut connection = scene.connect("app");
    tell(&mut scene, &mut connection, head(GZIP, 100), Err(Unmeasured::Implausible));
    assert!(!send(&mut scene, &mut connection, ZSTD, &vec![0; (1 << 20) + 1]));
    assert!(send(&mut scene, &mut connection, LZ4, b"no frame"));
    assert!(send(&mut scene, &mut connection, ZSTD, &zstd(&vec![0; 17 << 20])));
    assert!(send(&mut scene, &mut connection, ZSTD, &zstd(b"ten records?")));
    let snapshot = settled(&mut scene, measurer);
    assert_eq!(["malformed", "too_large", "output_cap"].map(|reason| unmeasured(&snapshot, reason)), [3, 1, 1]);
    assert_eq!(ratios(&snapshot, &[]).count(), 0);
    assert_eq!(scene::sum(&snapshot, Metric::SelfDecompressed, &[]), (16 << 20) + 12, "no more than the cap");
}

/// Forty producers that send as much as they can, and one that sends a batch a second, always after them.
#[test]
fn a_quiet_client_does_not_starve_behind_loud_ones() {
    const SECONDS: u64 = 30;
    /// Batches a second.
    const SENT: i64 = 40 * 20 + 1;
    let accounted = |scene: &Scene| {
        let snapshot = scene.registry.snapshot(scene.now);
        ratios(&snapshot, &[]).count() as i64 + unmeasured(&snapshot, "budget")
    };
    let mut scene = Scene::new(Settings::default());
    let measurer = Measurer::start(&scene.registry).unwrap();
    let mut loud: Vec<_> = (0..40).map(|number| scene.connect(&format!("loud-{number}"))).collect();
    let mut quiet = scene.connect("quiet");
    let large: Vec<u8> = (0..16).flat_map(content).collect();
    let (large, small) = (lz4(&large), lz4(&content(99)));
    let mut late = 0;
    for second in 0..SECONDS {
        for _ in 0..20 {
            for connection in &mut loud {
                send(&mut scene, connection, LZ4, &large);
            }
        }
        late += u64::from(send(&mut scene, &mut quiet, LZ4, &small) && second >= SECONDS / 2);
        scene.collect();
        // Here a second takes no time, so the measurer is given some.
        while accounted(&scene) < (second as i64 + 1) * SENT {
            std::thread::yield_now();
        }
    }
    assert_eq!(late, SECONDS / 2, "once the shares are found, each of its batches is kept");
    let snapshot = settled(&mut scene, measurer);
    let measured = ratios(&snapshot, &[("messaging.client.id", "quiet")]).count();
    assert!(measured >= late, "{measured} measured of {late}");
    for number in 0..40 {
        let client = format!("loud-{number}");
        assert!(ratios(&snapshot, &[("messaging.client.id", &client)]).count() > 0, "{client}");
    }
    let all = ratios(&snapshot, &[]).count() as i64;
    assert_eq!(accounted(&scene), SECONDS as i64 * SENT, "what was not measured was counted");
    assert!(all * (large.len() as i64) <= SECONDS as i64 * (4 << 20), "and the budget holds");
}
