//! The terminal: taken at the start, given back however it ends.
//!
//! The proxy is asked on a thread of its own, so that keys work while it does not answer. A panic gives the terminal back
//! before it is told (ratatui sees to that), and so does a signal.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use crossterm::event::{Event, poll, read};
use ratatui::DefaultTerminal;
use tokio::signal::unix::{SignalKind, signal};

use super::api::{Api, ApiError, Snapshot};
use super::keys::press;
use super::model::Model;
use super::view::draw;

/// The proxy is asked so often: what it shows is at most a second old, too.
const EVERY: Duration = Duration::from_secs(1);

/// Keys are waited for so long before news and signals are looked at.
const TURN: Duration = Duration::from_millis(100);

/// Runs until told to quit. Returns the exit status.
pub(super) fn run(api: &Api) -> io::Result<u8> {
    let signalled = watch_signals()?;
    let (stop, stopped) = channel::<()>();
    // One answer that waits to be seen is enough.
    let (news, answers) = sync_channel(1);
    let asked = api.clone();
    thread::Builder::new().name("ask".to_owned()).spawn(move || ask(&asked, &news, &stopped))?;
    let mut terminal = ratatui::try_init()?;
    let mut model = Model::new(api.address().to_string());
    let shown = show(&mut terminal, &mut model, &answers, &signalled);
    drop(stop);
    let restored = ratatui::try_restore();
    let status = shown?;
    restored?;
    Ok(status)
}

fn show(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    answers: &Receiver<Result<Snapshot, ApiError>>,
    signalled: &AtomicU8,
) -> io::Result<u8> {
    while !model.quit {
        terminal.draw(|frame| draw(frame, model, Instant::now()))?;
        if poll(TURN)? {
            // Whatever else it is, a new size for instance, is seen when it is drawn.
            if let Event::Key(key) = read()? {
                press(model, key);
            }
        }
        match answers.try_recv() {
            Ok(Ok(snapshot)) => model.learn(snapshot),
            Ok(Err(error)) => model.wonder(error.to_string(), Instant::now()),
            Err(_nothing_new) => {}
        }
        match signalled.load(Ordering::Relaxed) {
            0 => {}
            number => return Ok(128 + number),
        }
    }
    Ok(0)
}

fn ask(api: &Api, news: &SyncSender<Result<Snapshot, ApiError>>, stopped: &Receiver<()>) {
    loop {
        let asked = Instant::now();
        if news.send(api.snapshot()).is_err() {
            return;
        }
        if stopped.recv_timeout(EVERY.saturating_sub(asked.elapsed())) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// Holds the number of the signal that came, or 0.
fn watch_signals() -> io::Result<Arc<AtomicU8>> {
    let came = Arc::new(AtomicU8::new(0));
    let noted = Arc::clone(&came);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let context = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    drop(context);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            let number = tokio::select! {
                _ = terminate.recv() => 15,
                _ = interrupt.recv() => 2,
                _ = hangup.recv() => 1,
            };
            noted.store(number, Ordering::Relaxed);
        });
    })?;
    Ok(came)
}
