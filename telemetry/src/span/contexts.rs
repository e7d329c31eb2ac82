//! The W3C trace contexts that records carry in their `traceparent` headers, and how a span comes by them.
//!
//! A span is made on the data path, the records are looked at elsewhere and later. Both hold the same [`Contexts`]: each
//! batch that is kept for the span is an [`Expected`], which notes what it finds; the span waits until none is left, or as
//! long as it may, and then [settles](Contexts::settle): what is found later is too late.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::dictionary::lock;

/// Links of a span; the distinct contexts beyond them are counted.
const LINKS: usize = 32;

/// Contexts beyond the links that a batch remembers, so as to count each once: a MiB or two for as long as it is read.
const REMEMBERED: usize = 32_768;

/// The context of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    pub(crate) trace: [u8; 16],
    pub(crate) span: [u8; 8],
    pub(crate) flags: u8,
}

impl Context {
    /// Of what the first [`Self::ENOUGH`] bytes of a `traceparent` say. Source: W3C Trace Context, section 3.2.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let (fields, more) = text.split_at_checked(Self::LENGTH)?;
        let [version] = hex(fields.get(..2)?)?;
        let may_be_longer = version > 0 && more.first() == Some(&b'-');
        let separators = [2, 35, 52].into_iter().all(|at| fields.get(at) == Some(&b'-'));
        if version == u8::MAX || !separators || !(more.is_empty() || may_be_longer) {
            return None;
        }
        let (trace, span) = (hex(fields.get(3..35)?)?, hex(fields.get(36..52)?)?);
        let [flags] = hex(fields.get(53..)?)?;
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span, flags })
    }

    /// Bytes of version 0.
    const LENGTH: usize = 55;

    /// Bytes that tell whether it is one.
    pub(crate) const ENOUGH: usize = Self::LENGTH + 1;

    const fn is_sampled(&self) -> bool {
        self.flags & 1 != 0
    }

    fn is(&self, other: &Self) -> bool {
        (self.trace, self.span) == (other.trace, other.span)
    }
}

/// Lower-case digits, as the specification wants them.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, _) = digits.as_chunks();
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(bytes)
}

/// A context, and the record that carried it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Link {
    pub(crate) context: Context,
    pub(crate) partition: i32,
    /// Of the record; as long as the span has not settled from the base offset that a broker will give.
    pub(crate) offset: Option<i64>,
}

/// What is found for a span.
#[derive(Debug, Default)]
pub(crate) struct Contexts {
    /// Batches that were not looked at so far.
    pending: AtomicUsize,
    found: Mutex<Found>,
}

#[derive(Debug, Default)]
struct Found {
    links: Vec<Link>,
    /// Distinct contexts without a link.
    more: u64,
    sampled: Sampled,
    /// Of some batches nothing is known.
    incomplete: bool,
    /// The span has settled, with this parent.
    settled: Option<Option<Context>>,
}

/// The distinct sampled contexts.
#[derive(Debug, Default)]
enum Sampled {
    #[default]
    None,
    One(Context),
    Several,
}

/// What a span takes with it.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) links: Vec<Link>,
    pub(crate) more: u64,
    pub(crate) parent: Option<Context>,
    /// Batches that were too late.
    pub(crate) late: u64,
}

impl Contexts {
    /// A batch will be looked at. Its records are those of `partition`, and their offsets are told from `base` on.
    pub(crate) fn expect(self: &Arc<Self>, partition: i32, base: i64, wanted: i64) -> Expected {
        self.pending.fetch_add(1, Ordering::Relaxed);
        Expected { contexts: self.clone(), partition, base, wanted, is_read: false, beyond: HashSet::new() }
    }

    /// A batch will not be looked at.
    pub(crate) fn miss(&self) {
        lock(&self.found).incomplete = true;
    }

    /// Whether all there is has been found.
    pub(crate) fn is_complete(&self) -> bool {
        // What was found before is behind the lock.
        self.pending.load(Ordering::Acquire) == 0
    }

    /// The span goes. With `single` it is a child of the only sampled context, if there is exactly one.
    pub(crate) fn settle(&self, single: bool) -> Settled {
        let found = &mut *lock(&self.found);
        let late = self.pending.load(Ordering::Acquire) as u64;
        let parent = match found.sampled {
            Sampled::One(context) if single && late == 0 && !found.incomplete => Some(context),
            _ => None,
        };
        found.settled = Some(parent);
        Settled { links: std::mem::take(&mut found.links), more: found.more, parent, late }
    }

    /// The parent that the span has got; `None` while it has not settled.
    pub(crate) fn parent(&self) -> Option<Option<Context>> {
        lock(&self.found).settled
    }
}

/// A batch that will be looked at. Dropped before it [has been read](Self::has_been_read), it was missed.
#[derive(Debug)]
pub(crate) struct Expected {
    contexts: Arc<Contexts>,
    partition: i32,
    base: i64,
    /// Records before this offset are none of the span's.
    wanted: i64,
    is_read: bool,
    /// The batch's contexts without a link.
    beyond: HashSet<([u8; 16], [u8; 8])>,
}

impl Expected {
    /// A record with this offset delta has a context.
    pub(crate) fn note(&mut self, delta: i32, context: Context) {
        let offset = self.base.saturating_add(delta.into());
        let found = &mut *lock(&self.contexts.found);
        if offset < self.wanted || found.settled.is_some() {
            return;
        }
        if context.is_sampled() {
            match &found.sampled {
                Sampled::None => found.sampled = Sampled::One(context),
                Sampled::One(one) if !one.is(&context) => found.sampled = Sampled::Several,
                _ => {}
            }
        }
        if found.links.iter().any(|link| link.context.is(&context)) {
            return;
        }
        if found.links.len() < LINKS {
            found.links.push(Link { context, partition: self.partition, offset: Some(offset) });
        } else if self.beyond.len() >= REMEMBERED || self.beyond.insert((context.trace, context.span)) {
            found.more += 1;
        }
    }

    /// All records were looked at.
    pub(crate) fn has_been_read(mut self) {
        self.is_read = true;
    }

    /// Whether somebody waits for what it will find.
    pub(crate) fn is_awaited(&self) -> bool {
        Arc::strong_count(&self.contexts) > 1 && self.contexts.parent().is_none()
    }
}

impl Drop for Expected {
    fn drop(&mut self) {
        if !self.is_read {
            self.contexts.miss();
        }
        self.contexts.pending.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(number: u8, flags: u8) -> Context {
        Context { trace: [number; 16], span: [number; 8], flags }
    }

    #[test]
    fn a_traceparent_is_read_as_w3c_says() {
        let context = Context::parse(TEXT.as_bytes()).unwrap();
        assert_eq!((context.trace[0], context.trace[15], context.flags), (0x4b, 0x36, 1));
        assert_eq!(context.span, [0x00, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]);
        for (bad, why) in [
            (TEXT.replace("00-4b", "ff-4b"), "version ff"),
            (TEXT.to_uppercase(), "upper case"),
            (TEXT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), "no trace"),
            (TEXT.replace("00f067aa0ba902b7", &"0".repeat(16)), "no span"),
            (TEXT.replace('-', "_"), "other separators"),
            (format!("{TEXT}-"), "version 0 is not longer"),
            (format!("{}1", TEXT.replace("00-4b", "01-4b")), "a later one goes on with a separator"),
            (TEXT.replace("-01", "-1"), "too short"),
            (String::new(), "nothing"),
        ] {
            assert_eq!(Context::parse(bad.as_bytes()), None, "{why}: {bad}");
        }
        let later = format!("{}-", TEXT.replace("00-4b", "01-4b"));
        assert_eq!(later.len(), Context::ENOUGH);
        assert!(Context::parse(later.as_bytes()).is_some());
    }

    #[test]
    fn distinct_contexts_become_links_up_to_their_number_and_the_rest_is_counted_once() {
        let contexts = Arc::new(Contexts::default());
        let mut first = contexts.expect(3, 0, i64::MIN);
        let mut second = contexts.expect(4, 10, 15);
        for delta in 0..40 {
            first.note(delta, context(delta as u8 + 1, 0));
            first.note(delta, context(delta as u8 + 1, 0));
        }
        second.note(4, context(99, 0));
        second.note(5, context(100, 0));
        second.note(6, context(1, 0));
        assert!(!contexts.is_complete());
        first.has_been_read();
        second.has_been_read();
        assert!(contexts.is_complete());
        let settled = contexts.settle(true);
        assert_eq!(
            (settled.links.len(), settled.more, settled.late),
            (32, 8 + 1, 0),
            "what is not wanted is not counted"
        );
        assert!(
            settled.links.iter().enumerate().all(|(at, link)| (link.partition, link.offset) == (3, Some(at as i64)))
        );
        assert_eq!(settled.parent, None, "none is sampled");
    }

    #[test]
    fn a_parent_is_the_only_sampled_context_of_all_batches_if_that_is_wanted_and_known() {
        let parent = |single, batches: &[(&[Context], bool)]| {
            let contexts = Arc::new(Contexts::default());
            for (found, whole) in batches {
                let mut batch = contexts.expect(0, 0, 0);
                found.iter().for_each(|&context| batch.note(0, context));
                if *whole {
                    batch.has_been_read();
                }
            }
            contexts.settle(single).parent
        };
        let (one, other, unsampled) = (context(1, 1), context(2, 1), context(3, 0));
        assert_eq!(parent(true, &[(&[one, unsampled, one], true), (&[one], true)]), Some(one));
        assert_eq!(parent(false, &[(&[one], true)]), None, "only who asks for it");
        assert_eq!(parent(true, &[(&[one, other], true)]), None);
        assert_eq!(parent(true, &[(&[one], true), (&[other], true)]), None);
        assert_eq!(parent(true, &[(&[one], true), (&[], false)]), None, "there may be another in what was missed");
    }

    #[test]
    fn what_comes_after_the_span_has_gone_is_too_late() {
        let contexts = Arc::new(Contexts::default());
        let mut batch = contexts.expect(0, 0, 0);
        assert!(batch.is_awaited());
        assert_eq!(contexts.settle(true).late, 1);
        assert!(!batch.is_awaited());
        batch.note(0, context(1, 1));
        batch.has_been_read();
        assert_eq!(contexts.parent(), Some(None));
    }
}
