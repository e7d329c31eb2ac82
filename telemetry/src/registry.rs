//! The totals of the process: what workers hand over is added up, expires, and is shown as snapshots.
//!
//! Rules:
//!
//! * A series begins where the interval began in which it first changed, so its first total is what happened since then.
//! * One that did not change for the expiry time is forgotten (an up-down counter only at 0) and shown once more as gone.
//!   When it comes back it begins anew, after its end. So is, at once, one whose client, topic or partition has lost its
//!   place to another with more traffic.
//! * While an exporter works, a series is kept until its last total has been delivered, but at most for
//!   [`LONGEST_WAIT`] times the expiry.
//! * Series of a topic id without a name are not shown; see [`Topic`](crate::Topic).

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use kafkascope_protocol::Timestamp;

use crate::attribute::{Attribute, Value as AttributeValue};
use crate::cap::Dimension;
use crate::compression::{Found, Missed, SampleQueue, Samples};
use crate::dictionary::{Broker, Dictionary, lock};
use crate::exemplar::Exemplar;
use crate::health::coverage::{Route, Usage};
use crate::health::purgatory;
use crate::histogram::Histogram;
use crate::inventory;
use crate::knowledge::{GroupRow, Knowledge};
use crate::labels::Labels;
use crate::learned::Learned;
use crate::metric::{Kind, Metric};
use crate::rates::Rates;
use crate::readings::{Reading, Readings};
use crate::resource::{Resource, instance_id};
use crate::series::Series;
use crate::shard::{Change, Delta};
use crate::snapshot::{Gone, Point, Snapshot, Value};
use crate::span::{Dropped, ExchangeSpan, Span};

/// Ends of series that are remembered until they have been exported.
const GONE: usize = 65_536;

/// Spans that wait for export: some 2.5 MB, and 12 MB more if all have all the links that they may have.
const SPANS: usize = 8_192;

/// A state that was not read for so long is not known any more: 15 s, in which whoever reads comes at least twice.
const STALE: u64 = 15_000_000_000;

/// A series whose client, topic or partition has lost its place ends when it did not change for so long: 5 s, in which each
/// worker has handed over what it had counted before.
const OVER: u64 = 5_000_000_000;

/// Which versions clients use is found out so often: a state has to be read again before it is [`STALE`].
const INVENTORY: u64 = 5_000_000_000;

/// How many expiry times a series is kept for a collector that is away.
const LONGEST_WAIT: u64 = 6;

/// Why a new connection was not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalReason {
    /// There are as many as allowed.
    MaxConnections,
    /// The proxy is about to end.
    Draining,
    /// The process has no file descriptor left.
    OutOfDescriptors,
}

impl RefusalReason {
    /// Its name in OTLP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::MaxConnections => "max_connections",
            Self::Draining => "draining",
            Self::OutOfDescriptors => "out_of_descriptors",
        }
    }
}

/// What is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Totals.
    Metrics,
    /// Spans.
    Traces,
}

impl Signal {
    /// Its name in OTLP.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Traces => "traces",
        }
    }
}

/// All totals. One a process.
#[derive(Debug)]
pub struct Registry {
    dictionary: Arc<Dictionary>,
    resource: Arc<Resource>,
    knowledge: Knowledge,
    routes: OnceLock<Arc<[Route]>>,
    state: Mutex<State>,
    samples: SampleQueue,
    /// Until when totals have been exported; `u64::MAX` while nobody exports.
    exported: AtomicU64,
}

#[derive(Debug)]
struct State {
    series: HashMap<u64, Entry>,
    /// Numbers of the series that wait for a topic's name.
    held: Vec<u64>,
    gone: VecDeque<Gone>,
    gone_count: u64,
    /// When a series last ended.
    last_end: Timestamp,
    /// Spans that may go.
    spans: VecDeque<Span>,
    /// Spans that wait for their links.
    linking: Vec<ExchangeSpan>,
    rates: Rates,
    /// When it was found out last which versions clients use.
    inventory: Timestamp,
    latest: Timestamp,
    learned: Arc<Learned>,
}

#[derive(Debug)]
struct Entry {
    series: Arc<Series>,
    start: Timestamp,
    changed: Timestamp,
    value: Value,
    exemplar: Option<Arc<Exemplar>>,
    /// The process's own: never expires.
    own: bool,
    /// Where a counter stood that somebody else keeps.
    outside: u64,
    /// True only as long as it is read.
    read: bool,
    /// Some snapshot has it, under the name that it has now.
    shown: bool,
}

impl Entry {
    fn new(series: Arc<Series>, start: Timestamp, changed: Timestamp) -> Self {
        let value = Value::zero(series.metric());
        Self { series, start, changed, value, exemplar: None, own: false, outside: 0, read: false, shown: false }
    }
}

impl Registry {
    /// No totals yet. `now` is when the process began to count.
    #[must_use]
    pub fn new(dictionary: Arc<Dictionary>, resource: Resource, now: Timestamp) -> Arc<Self> {
        let state = State {
            series: HashMap::new(),
            held: Vec::new(),
            gone: VecDeque::new(),
            gone_count: 0,
            last_end: now,
            spans: VecDeque::new(),
            linking: Vec::new(),
            rates: Rates::new(now),
            inventory: Timestamp(0),
            latest: now,
            learned: Arc::default(),
        };
        let knowledge = Knowledge::new(dictionary.clone(), &instance_id(), now);
        Arc::new(Self {
            knowledge,
            routes: OnceLock::new(),
            dictionary,
            resource: Arc::new(resource),
            state: Mutex::new(state),
            samples: SampleQueue::default(),
            exported: AtomicU64::new(u64::MAX),
        })
    }

    /// The dictionary of its series.
    #[must_use]
    pub fn dictionary(&self) -> &Arc<Dictionary> {
        &self.dictionary
    }

    /// What is known of partitions, consumers and groups.
    #[must_use]
    pub fn knowledge(&self) -> &Knowledge {
        &self.knowledge
    }

    /// Where the proxy leads, to be told once at its start: what is not told is taken for somebody else's.
    pub fn leads(&self, routes: impl IntoIterator<Item = Route>) {
        self.routes.get_or_init(|| routes.into_iter().collect());
        self.identify(Some(Timestamp(0)));
    }

    /// Rows for `/api/groups`: all that is known of groups, by cluster and name.
    #[must_use]
    pub fn groups(&self, now: Timestamp) -> Vec<GroupRow> {
        let learned = lock(&self.state).learned.clone();
        self.knowledge.groups(&learned, now)
    }

    /// Who reports.
    #[must_use]
    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// Adds what a worker counted.
    pub fn absorb(&self, delta: Delta) {
        let Delta { since, until, changes, samples, spans, spans_dropped, told, told_lost, noted } = delta;
        self.knowledge.learn_own(told, told_lost, until);
        self.dictionary.note(noted);
        let refused = self.samples.push(Samples { since, until, samples });
        let state = &mut *lock(&self.state);
        let (ratios, links): (Vec<_>, Vec<_>) =
            refused.iter().map(|sample| (sample.series.is_some(), sample.expected.is_some())).unzip();
        let count = |refused: Vec<bool>| refused.into_iter().filter(|&is_refused| is_refused).count() as u64;
        self.unmeasured(state, Missed::QueueFull, count(ratios), since);
        self.links_missed(state, Missed::QueueFull.name(), count(links), since);
        state.latest = state.latest.max(until);
        for (series, change) in changes {
            state.add(&series, change, since, until, &self.dictionary);
        }
        let Dropped { queue_full, tail_budget } = spans_dropped;
        for (reason, count) in [("worker_queue_full", queue_full), ("tail_budget", tail_budget)] {
            self.own(state, Metric::SelfSpansDropped, Some((Attribute::Reason, reason)), count, since);
        }
        self.queue(state, spans, since);
    }

    fn queue(&self, state: &mut State, spans: Vec<Span>, since: Timestamp) {
        self.own(state, Metric::SelfSpansSampled, None, spans.len() as u64, since);
        let room = SPANS.saturating_sub(state.spans.len() + state.linking.len());
        let overflow = spans.len().saturating_sub(room) as u64;
        for span in spans.into_iter().take(room) {
            match span {
                Span::Exchange(span) if span.contexts.is_some() => state.linking.push(span),
                span => state.spans.push_back(span),
            }
        }
        self.own(state, Metric::SelfSpansDropped, Some((Attribute::Reason, "queue_full")), overflow, since);
    }

    /// Where samples wait for the measurer.
    pub(crate) fn samples(&self) -> &SampleQueue {
        &self.samples
    }

    /// Adds what samples of an interval came to.
    pub(crate) fn measured(&self, found: Found, since: Timestamp, until: Timestamp) {
        let state = &mut *lock(&self.state);
        for (series, ratios) in found.ratios {
            state.add(&series, Change::Values(ratios), since, until, &self.dictionary);
        }
        for ((missed, ratios), links) in Missed::ALL.into_iter().zip(found.missed).zip(found.links_missed) {
            self.unmeasured(state, missed, ratios, since);
            self.links_missed(state, missed.name(), links, since);
        }
        self.own(state, Metric::SelfDecompressed, None, found.output, since);
    }

    fn unmeasured(&self, state: &mut State, missed: Missed, count: u64, since: Timestamp) {
        self.own(state, Metric::SelfUnmeasured, Some((Attribute::Reason, missed.name())), count, since);
    }

    fn links_missed(&self, state: &mut State, reason: &'static str, count: u64, since: Timestamp) {
        self.own(state, Metric::SelfLinksMissed, Some((Attribute::Reason, reason)), count, since);
    }

    /// Takes over what was read on a host.
    pub fn read(&self, readings: Readings) {
        let state = &mut *lock(&self.state);
        let Readings { since, at, read, spans, spans_dropped, .. } = readings;
        state.latest = state.latest.max(at);
        for (series, reading) in read {
            state.take(&series, reading, since, at);
        }
        self.own(state, Metric::SelfSpansDropped, Some((Attribute::Reason, "rate_limit")), spans_dropped, since);
        self.queue(state, spans, since);
    }

    /// All workers have been heard: takes a sample for rates and forgets what expired. To be called about once a second.
    pub fn settle(&self, now: Timestamp) {
        self.read(self.knowledge.settle(now));
        let used = self.settle_series(now);
        self.read(self.knowledge.coverage(&used, now));
        self.identify(Some(now));
    }

    /// Nothing more will be learned: what still waits for that is shown.
    pub(crate) fn settle_at_last(&self) {
        self.identify(None);
    }

    /// Finds out who the brokers are by `now`.
    fn identify(&self, now: Option<Timestamp>) {
        let Some(routes) = self.routes.get() else { return };
        self.knowledge.identify(routes);
        let learned = Learned::of(routes, now, self.knowledge.has_peers());
        let state = &mut *lock(&self.state);
        if *state.learned != learned {
            state.rename(learned);
        }
    }

    /// Returns what is used, by the series that live.
    fn settle_series(&self, now: Timestamp) -> Usage {
        let state = &mut *lock(&self.state);
        state.latest = state.latest.max(now);
        for dimension in Dimension::ALL {
            let folded = self.dictionary.account(dimension).take_folded();
            self.own(state, Metric::SeriesFolded, Some((Attribute::Dimension, dimension.name())), folded, now);
        }
        self.dictionary.judge(now);
        state.release(now, &self.dictionary);
        state.expire(now, self.dictionary.settings().expiry.nanos(), self.exported.load(Ordering::Relaxed));
        if now.since(state.inventory) >= INVENTORY {
            state.inventory = now;
            for (metric, attributes, reading) in inventory::readings(state.series.values().map(|entry| &entry.series)) {
                let series = self.dictionary.series(metric, attributes);
                state.take(&series, reading, now, now);
            }
        }
        let totals = state.series.values().filter(|entry| !entry.series.is_held());
        let totals = totals.filter_map(|entry| Some((&entry.series, entry.value.as_count()?)));
        state.rates.sample(now, totals);
        let mut used = Usage::new(self.routes.get().cloned().unwrap_or_default());
        let mut in_flight = Vec::new();
        for Entry { series, value, start, changed, .. } in state.series.values() {
            used.add(series, value, *start, *changed);
            if series.metric() == Metric::RequestsInFlight {
                in_flight.push((series, value));
            }
        }
        for (metric, attributes, reading) in purgatory::readings(in_flight.into_iter()) {
            let series = self.dictionary.series(metric, attributes);
            state.take(&series, reading, now, now);
        }
        used
    }

    /// All that is known at `now`.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> Snapshot {
        let state = &mut *lock(&self.state);
        state.release(now, &self.dictionary);
        let live = state.series.len() as i64;
        let is_shown = |series: &Series| !series.is_held() && state.learned.shows(series);
        let shown = state.series.values_mut().filter(|entry| is_shown(&entry.series));
        let point = |entry: &mut Entry| {
            entry.shown = true;
            let Entry { series, start, value, exemplar, .. } = entry;
            Point { series: series.clone(), start: *start, value: value.clone(), exemplar: exemplar.clone() }
        };
        let mut points: Vec<Point> = shown.map(point).collect();
        let series = self.dictionary.own_series(Metric::SelfSeries, Box::default());
        points.push(Point { series, start: now, value: Value::Gauge(live), exemplar: None });
        points.sort_unstable_by_key(|point| (point.series.metric(), point.series.number()));
        Snapshot {
            at: now.max(state.latest),
            resource: self.resource.clone(),
            learned: state.learned.clone(),
            points,
            gone: state.gone.iter().cloned().collect(),
        }
    }

    /// Rows for `/api/clients`, with rates of the last ten seconds.
    pub(crate) fn with_rates<T>(&self, read: impl FnOnce(&Rates) -> T) -> T {
        read(&lock(&self.state).rates)
    }

    /// A connection was refused before a worker had it.
    pub fn refused(&self, broker: &Arc<Broker>, reason: RefusalReason) {
        let labels = Labels { broker: Some(broker.clone()), reason: Some(reason.name()), ..Labels::default() };
        let metric = Metric::ConnectionsRefused;
        let series = self.dictionary.series(metric, labels.attributes(metric, None, &self.dictionary));
        let state = &mut *lock(&self.state);
        let now = state.latest;
        broker.opens(now);
        state.add(&series, Change::Count(1), now, now, &self.dictionary);
    }

    /// Spans that wait for export, at most `count`, the oldest first. Those that wait for their links stay, unless these are
    /// the `last`.
    pub fn take_spans(&self, count: usize, last: bool) -> Vec<Span> {
        let state = &mut *lock(&self.state);
        let (now, mut late) = (state.latest, 0);
        let ready = state.linking.extract_if(.., |span| last || span.is_ready(now));
        state.spans.extend(ready.map(|mut span| {
            late += span.settle(self.dictionary.settings().trace_parent);
            Span::Exchange(span)
        }));
        self.links_missed(state, "late", late, now);
        let count = count.min(state.spans.len());
        state.spans.drain(..count).collect()
    }

    /// An exporter works: series wait for it.
    pub(crate) fn exporting(&self) {
        self.exported.store(0, Ordering::Relaxed);
    }

    /// The exporter has ended.
    pub(crate) fn exporting_no_more(&self) {
        self.exported.store(u64::MAX, Ordering::Relaxed);
    }

    /// The snapshot of `at` has been delivered.
    pub(crate) fn exported(&self, at: Timestamp, gone: u64) {
        self.exported.store(at.0, Ordering::Relaxed);
        let state = &mut *lock(&self.state);
        while state.gone.front().is_some_and(|first| first.number <= gone) {
            state.gone.pop_front();
        }
    }

    /// An export failed.
    pub(crate) fn export_failed(&self, signal: Signal) {
        let state = &mut *lock(&self.state);
        let now = state.latest;
        self.own(state, Metric::SelfExportFailures, Some((Attribute::Signal, signal.name())), 1, now);
    }

    /// Spans were taken for export and lost.
    pub(crate) fn spans_lost(&self, count: u64) {
        let state = &mut *lock(&self.state);
        let now = state.latest;
        self.own(state, Metric::SelfSpansDropped, Some((Attribute::Reason, "export_failed")), count, now);
    }

    /// Counts something of the process itself.
    fn own(
        &self,
        state: &mut State,
        metric: Metric,
        own: Option<(Attribute, &'static str)>,
        count: u64,
        since: Timestamp,
    ) {
        if count == 0 {
            return;
        }
        let attributes = own.into_iter().map(|(key, text)| (key, AttributeValue::Static(text))).collect();
        let series = self.dictionary.own_series(metric, attributes);
        let latest = state.latest;
        state.add(&series, Change::Count(count), since, latest, &self.dictionary);
        if let Some(entry) = state.series.get_mut(&series.number()) {
            entry.own = true;
        }
    }
}

impl State {
    fn add(
        &mut self,
        series: &Arc<Series>,
        change: Change,
        since: Timestamp,
        until: Timestamp,
        dictionary: &Dictionary,
    ) {
        let series = series.settled(dictionary).unwrap_or(series);
        let ended = self.last_end;
        let entry = self.series.entry(series.number()).or_insert_with(|| {
            if series.is_held() {
                self.held.push(series.number());
            }
            // After the end of a former life.
            Entry::new(series.clone(), since.max(ended), until)
        });
        match change {
            Change::Exemplar(exemplar) => entry.exemplar = Some(exemplar.or(entry.exemplar.take())),
            change => entry.value.add(change),
        }
        entry.changed = entry.changed.max(until);
    }

    /// A number that was read replaces the one before; a total goes on from where it stood.
    fn take(&mut self, series: &Arc<Series>, reading: Reading, since: Timestamp, at: Timestamp) {
        let start = match reading {
            Reading::Total { since, .. } => since,
            _ => since.max(self.last_end),
        };
        let new = || Entry::new(series.clone(), start, at);
        let entry = self.series.entry(series.number()).or_insert_with(new);
        entry.changed = entry.changed.max(at);
        match (&mut entry.value, reading) {
            (Value::Counter(counted), Reading::Total { total, .. }) => {
                *counted += total.checked_sub(entry.outside).unwrap_or(total);
                entry.outside = total;
            }
            (Value::UpDown(now) | Value::Gauge(now), Reading::State(state)) => {
                (*now, entry.read) = (state, true);
            }
            (value, Reading::More(more)) => value.add(Change::Count(more)),
            (value, Reading::Values(more)) => value.add(Change::Values(more)),
            _ => debug_assert!(false, "a reading of another kind than its metric"),
        }
    }

    /// Series whose topic has a label by now go where they belong.
    fn release(&mut self, now: Timestamp, dictionary: &Dictionary) {
        let held = std::mem::take(&mut self.held);
        for number in held {
            let Some(entry) = self.series.get(&number) else { continue };
            if entry.series.awaited_topic().is_none_or(|topic| topic.settle(now).is_none()) {
                self.held.push(number);
                continue;
            }
            let Some(entry) = self.series.remove(&number) else { continue };
            let Some(series) = entry.series.settled(dictionary) else { continue };
            let new = || Entry::new(series.clone(), entry.start, entry.changed);
            let target = self.series.entry(series.number()).or_insert_with(new);
            target.value.merge(&entry.value);
            // Shown for the first time now, however long it waited.
            target.changed = now;
        }
    }

    /// Series whose brokers turn out to be others than was shown end and begin anew. What they counted since they were shown
    /// last is not shown any more: late words are rare.
    fn rename(&mut self, learned: Learned) {
        let (learned, before, now) = (Arc::new(learned), self.learned.clone(), self.latest);
        let mut renamed = Vec::new();
        for entry in self.series.values_mut().filter(|entry| entry.shown) {
            if !learned.renames(&before, &entry.series) {
                continue;
            }
            renamed.push(entry.series.clone());
            entry.shown = false;
            entry.start = now;
            // What an up-down counter or a gauge says is true under any name.
            if matches!(entry.value, Value::Counter(_) | Value::Histogram(_)) {
                entry.value = Value::zero(entry.series.metric());
            }
        }
        renamed.into_iter().for_each(|series| self.ends(series, now));
        self.learned = learned;
    }

    fn ends(&mut self, series: Arc<Series>, at: Timestamp) {
        self.gone_count += 1;
        self.last_end = at;
        self.gone.push_back(Gone { number: self.gone_count, series, learned: self.learned.clone(), at });
    }

    fn expire(&mut self, now: Timestamp, expiry: u64, exported: u64) {
        let longest = expiry.saturating_mul(LONGEST_WAIT);
        let expired = |entry: &Entry| {
            let idle = now.since(entry.changed);
            let delivered = entry.changed.0 < exported;
            let (expiry, may_expire) = match entry.read {
                true => (STALE, true),
                false if entry.series.is_over() && !entry.series.is_held() => (OVER, entry.value.may_expire()),
                false => (expiry, entry.value.may_expire()),
            };
            idle > expiry && (delivered || idle > longest) && !entry.own && may_expire
        };
        let numbers: Vec<u64> =
            self.series.iter().filter(|(_, entry)| expired(entry)).map(|(number, _)| *number).collect();
        for number in numbers {
            let Some(entry) = self.series.remove(&number) else { continue };
            if entry.series.is_held() {
                continue;
            }
            self.ends(entry.series, now);
        }
        // They keep the names of their clients and topics alive, under the caps. Without an exporter nobody waits for
        // them; with one that never gets through, the oldest are given up.
        let keep = if exported == u64::MAX { 0 } else { longest };
        while self.gone.len() > GONE || self.gone.front().is_some_and(|first| now.since(first.at) > keep) {
            self.gone.pop_front();
        }
    }
}

impl Value {
    fn zero(metric: Metric) -> Self {
        match metric.descriptor().kind {
            Kind::Counter => Self::Counter(0),
            Kind::UpDown => Self::UpDown(0),
            Kind::Gauge => Self::Gauge(0),
            Kind::Histogram(_) => Self::Histogram(Histogram::default()),
        }
    }

    fn add(&mut self, change: Change) {
        match (self, change) {
            (Self::Counter(total), Change::Count(more)) => *total += more,
            (Self::UpDown(total), Change::Move(more)) => *total += more,
            (Self::Histogram(total), Change::Values(more)) => total.merge(&more),
            // The kinds of rows and of the metric table agree; a test goes over all of them.
            _ => debug_assert!(false, "a change of another kind"),
        }
    }

    fn merge(&mut self, other: &Self) {
        match other {
            Self::Counter(more) => self.add(Change::Count(*more)),
            Self::UpDown(more) => self.add(Change::Move(*more)),
            Self::Histogram(more) => self.add(Change::Values(more.clone())),
            Self::Gauge(_) => {}
        }
    }

    /// An up-down counter that is not at 0 says something that is still true.
    fn may_expire(&self) -> bool {
        !matches!(self, Self::UpDown(total) if *total != 0)
    }
}
