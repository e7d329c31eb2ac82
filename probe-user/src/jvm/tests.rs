//! A file that we write in a JVM's stead.

use std::fs;

use proptest::prelude::*;

use super::perf_data::sample::{self, Value};
use super::*;

const NOW: Now = Now { monotonic: 100_000_000_000, boot: 100_000_000_000, unix: 1_700_000_000_000_000_000 };

fn content(invocations: i64, time: i64, entry: i64, exit: i64) -> Vec<u8> {
    let values = [
        ("sun.os.hrt.frequency", Value::Long(1_000_000_000)),
        ("sun.os.hrt.ticks", Value::Long(90_000_000_000)),
        ("sun.gc.policy.name", Value::Text("GarbageFirst")),
        ("sun.gc.collector.0.name", Value::Text("G1 young collection pauses")),
        ("sun.gc.collector.0.invocations", Value::Long(invocations)),
        ("sun.gc.collector.0.time", Value::Long(time)),
        ("sun.gc.collector.0.lastEntryTime", Value::Long(entry)),
        ("sun.gc.collector.0.lastExitTime", Value::Long(exit)),
        ("sun.gc.generation.1.space.0.used", Value::Long(1000)),
        ("sun.gc.generation.1.space.0.capacity", Value::Long(2008)),
    ];
    let values: Vec<_> = values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    sample::file(&values, false)
}

fn jvm(file: &Path) -> Result<Jvm, Unavailable> {
    Jvm::of_file(File::open(file).unwrap(), StartTime(5_000_000_000), NOW)
}

#[test]
fn pauses_are_given_out_with_exact_sum_and_the_time_of_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("7");
    fs::write(&path, content(1, 100, 1000, 1100)).unwrap();
    let mut jvm = jvm(&path).unwrap();
    assert_eq!(jvm.poll(NOW).unwrap(), Polled::default());
    fs::write(&path, content(5, 1205, 5000, 5200)).unwrap();
    let polled = jvm.poll(NOW).unwrap();
    let begin = NOW.unix - 90_000_000_000;
    let pause = |duration, times, span| Pause { collector: 0, duration, times, span };
    let span = Some((begin + 5000, begin + 5200));
    assert_eq!(polled.pauses, [pause(301, 1, None), pause(302, 2, None), pause(200, 1, span)]);
    assert_eq!(polled.split, 3);
    let totals = Collector {
        name: "G1 young collection pauses".to_owned(),
        bean: Some("G1 Young Generation"),
        count: 5,
        time: 1205,
    };
    assert_eq!(jvm.collectors(), [totals]);
    let old = Pool { name: "G1 Old Gen", area: Area::Heap, used: 1000, committed: 2000, max: None };
    assert_eq!(jvm.memory(), [old]);
}

#[test]
fn a_file_that_is_cut_off_or_replaced_by_garbage_is_an_error_until_it_is_whole_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("7");
    let good = content(1, 100, 1000, 1100);
    fs::write(&path, &good).unwrap();
    let mut jvm = jvm(&path).unwrap();
    for broken in [&good[..20], &good[..100], b"", b"garbage garbage garbage garbage garbage"] {
        fs::write(&path, broken).unwrap();
        assert!(matches!(jvm.poll(NOW), Err(Unavailable::Broken(_))));
    }
    fs::write(&path, content(2, 150, 2000, 2050)).unwrap();
    assert_eq!(jvm.poll(NOW).unwrap().pauses.len(), 1);
    assert_eq!(jvm.rejected(), 0);
}

#[test]
fn a_file_that_was_removed_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("7");
    fs::write(&path, content(1, 100, 1000, 1100)).unwrap();
    let mut jvm = jvm(&path).unwrap();
    fs::write(&path, content(2, 150, 2000, 2050)).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(jvm.poll(NOW).unwrap().pauses.len(), 1);
    assert!(matches!(jvm.poll(NOW), Err(Unavailable::Removed)));
}

#[test]
fn the_file_must_be_the_jvms_own() {
    let folder = tempfile::tempdir().unwrap();
    let roots = Roots { proc: folder.path().to_owned(), ..Roots::default() };
    let uid = rustix::process::geteuid().as_raw();
    let find = |uid| find(&roots, Pid(7), 1, uid);
    assert!(matches!(find(uid), Err(Unavailable::Missing(1))), "not even a root");
    let tmp = folder.path().join("7/root/tmp");
    fs::create_dir_all(tmp.join("hsperfdata_a")).unwrap();
    fs::create_dir_all(tmp.join("hsperfdata_b")).unwrap();
    fs::write(folder.path().join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(folder.path().join("secret"), tmp.join("hsperfdata_a/1")).unwrap();
    assert!(matches!(find(uid), Err(Unavailable::Missing(1))), "a link is not followed");
    fs::write(tmp.join("hsperfdata_b/1"), "x").unwrap();
    assert!(matches!(find(uid + 1), Err(Unavailable::Missing(1))), "another user's");
    assert!(find(uid).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens to the file, totals never go back and never jump beyond the age of the JVM.
    #[test]
    fn damage_is_no_panic_and_no_jump(
        rounds in proptest::collection::vec(
            proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12), 1..8),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("7");
        fs::write(&path, content(1, 100, 1000, 1100)).unwrap();
        let mut jvm = jvm(&path).unwrap();
        let mut sum = 100;
        for changes in rounds {
            let mut file = content(1, 100, 1000, 1100);
            for (place, byte) in changes {
                let place = place.index(file.len());
                file[place] = byte;
            }
            fs::write(&path, file).unwrap();
            if let Ok(polled) = jvm.poll(NOW) {
                sum += polled.pauses.iter().map(|pause| pause.duration * pause.times).sum::<u64>();
                let _memory = jvm.memory();
            }
            prop_assert!(sum <= 96_000_000_000, "{sum}");
        }
    }
}
