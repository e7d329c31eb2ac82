//! Bytes, ends of stream and resets, on one connection.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread::scope;
use std::time::Instant;

use kafkascope_proxy::forward::{Direction, Ending, Peer, READ_BYTES};

use crate::frames::{self, Frames};
use crate::rig::{DEADLINE, Outcome, Random, Rig, Totals, Turns};

/// Larger than all buffers on the way together.
const LONG: u64 = 32 << 20;

#[test]
fn bytes_arrive_unchanged_and_in_order_both_ways_however_they_are_cut() {
    for seed in [3, 1 << 20, u64::MAX / 5] {
        let tap = Turns::new(seed, 3 << 20);
        let told = tap.told.clone();
        let outcome = exchange(Rig::new(tap), seed);
        assert!(matches!(outcome.ending, Ending::Finished { .. }), "{outcome:?}");
        for direction in [Direction::Up, Direction::Down] {
            let Totals { shown, opaque, written } = told.totals(direction);
            assert_eq!((shown + opaque, written), (LONG, LONG), "the tap heard of every byte");
        }
        assert!(outcome.spliced > LONG / 2, "long runs are spliced: {outcome:?}");
        assert_eq!(outcome.copied + outcome.spliced, 2 * LONG);
    }
}

#[test]
fn bytes_that_all_have_to_be_shown_arrive_unchanged() {
    let outcome = exchange(Rig::new(Turns::new(11, 1)), 11);
    assert_eq!((outcome.copied, outcome.spliced), (2 * LONG, 0));
}

#[test]
fn without_a_pipe_long_runs_are_copied() {
    let outcome = exchange(Rig::with_pipes(Turns::new(12, 3 << 20), 0), 12);
    assert_eq!((outcome.copied, outcome.spliced), (2 * LONG, 0));
    assert!(outcome.without_pipe > 0);
}

#[test]
fn one_pipe_serves_both_directions_in_turn() {
    let outcome = exchange(Rig::with_pipes(Turns::new(13, 3 << 20), 1), 13);
    assert!(outcome.spliced > 0 && outcome.copied + outcome.spliced == 2 * LONG, "{outcome:?}");
}

/// Sends random bytes both ways at once, in random pieces, to readers that take random pieces.
fn exchange(rig: Rig, seed: u64) -> Outcome {
    scope(|scope| {
        for (seed, from, to) in [(seed, &rig.client, &rig.upstream), (!seed, &rig.upstream, &rig.client)] {
            scope.spawn(move || send_random(from, seed));
            scope.spawn(move || receive_random(to, seed));
        }
    });
    rig.end()
}

fn send_random(mut to: &TcpStream, seed: u64) {
    let (mut data, mut pieces) = (Random(seed | 1), Random(seed ^ 0xABCD | 1));
    let mut buffer = vec![0; 1 << 20];
    let mut left = LONG;
    while left > 0 {
        let size = left.min(1 << 20) as usize;
        data.fill(&mut buffer[..size]);
        left -= size as u64;
        let mut rest = &buffer[..size];
        while !rest.is_empty() {
            let largest = [1, 100, 5_000, 200_000, 1 << 20][pieces.below(5) as usize];
            let piece = 1 + pieces.below(largest).min(rest.len() as u64 - 1) as usize;
            to.write_all(&rest[..piece]).unwrap();
            rest = &rest[piece..];
        }
    }
    to.shutdown(Shutdown::Write).unwrap();
}

fn receive_random(mut from: &TcpStream, seed: u64) {
    let (mut data, mut pieces) = (Random(seed | 1), Random(seed ^ 0x1234 | 1));
    let (mut expected, mut buffer) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for megabyte in 0..LONG >> 20 {
        data.fill(&mut expected);
        let mut filled = 0;
        while filled < buffer.len() {
            let most = (1 + pieces.below(300_000) as usize).min(buffer.len() - filled);
            match from.read(&mut buffer[filled..filled + most]).unwrap() {
                0 => panic!("the end came in MiB {megabyte}"),
                count => filled += count,
            }
        }
        assert!(buffer == expected, "MiB {megabyte} differs");
    }
    assert_eq!(from.read(&mut buffer).unwrap(), 0, "nothing comes after the end");
}

#[test]
fn a_client_that_has_ended_still_gets_its_answer() {
    let mut rig = Rig::new(Turns::new(1, 1));
    rig.client.write_all(b"question").unwrap();
    rig.client.shutdown(Shutdown::Write).unwrap();
    let mut question = Vec::new();
    rig.upstream.read_to_end(&mut question).unwrap();
    assert_eq!(question, b"question");
    rig.upstream.write_all(b"answer").unwrap();
    let mut answer = [0; 6];
    rig.client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"answer");
    rig.upstream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.client.read(&mut answer).unwrap(), 0);
    assert_eq!(rig.end().ending, Ending::Finished { first: Peer::Client });
}

#[test]
fn an_upstream_that_has_ended_can_still_be_written_to() {
    let mut rig = Rig::new(Turns::new(1, 1));
    rig.upstream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.client.read(&mut [0; 1]).unwrap(), 0);
    rig.client.write_all(b"still here").unwrap();
    let mut bytes = [0; 10];
    rig.upstream.read_exact(&mut bytes).unwrap();
    rig.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rig.upstream.read(&mut bytes).unwrap(), 0);
    assert_eq!(rig.end().ending, Ending::Finished { first: Peer::Upstream });
}

#[test]
fn a_reset_of_either_side_is_a_reset_for_the_other() {
    for by in [Peer::Client, Peer::Upstream] {
        let rig = Rig::new(Turns::new(1, 1));
        let Rig { client, upstream, .. } = &rig;
        let (broken, mut other) = match by {
            Peer::Client => (client, upstream),
            Peer::Upstream => (upstream, client),
        };
        reset(broken);
        assert_eq!(other.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset, "{by:?}");
        assert_eq!(rig.end().ending, Ending::Reset(by));
    }
}

#[test]
fn what_came_before_a_reset_is_delivered() {
    let rig = Rig::new(Turns::new(1, 1));
    (&rig.upstream).write_all(b"the reason why").unwrap();
    let mut reason = [0; 14];
    // Delivered to the client's kernel before the reset follows.
    while rig.client.peek(&mut reason).unwrap() < 14 {}
    reset(&rig.upstream);
    (&rig.client).read_exact(&mut reason).unwrap();
    assert_eq!(&reason, b"the reason why");
    assert_eq!((&rig.client).read(&mut reason).unwrap_err().kind(), ErrorKind::ConnectionReset);
    rig.end();
}

#[test]
fn a_reset_is_passed_on_while_the_other_side_does_not_read() {
    let rig = Rig::new(Turns::new(1, 1));
    fill(&rig.client);
    reset(&rig.client);
    let (outcome, _client, mut upstream) = rig.ended();
    assert_eq!(outcome.ending, Ending::Reset(Peer::Client));
    let error = loop {
        match upstream.read(&mut [0; 65536]) {
            Ok(0) => panic!("a reset looked like an orderly end"),
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_receiver_that_does_not_read_stops_the_sender() {
    for (body, held) in [(1, READ_BYTES as u64), (64 << 20, 1 << 20)] {
        let tap = Turns::new(1, body);
        let told = tap.told.clone();
        let rig = Rig::new(tap);
        let sent = fill(&rig.client);
        let Totals { shown, opaque, written } = told.totals(Direction::Up);
        let read = shown + opaque;
        assert!(read - written <= held, "at most one read is held, not {}", read - written);
        assert!(read < sent, "the rest waits in the sender's kernel");
        // And goes on when the receiver does.
        let mut received = 0;
        while received < sent {
            received += (&rig.upstream).read(&mut [0; 65536]).unwrap() as u64;
        }
        assert_eq!(received, sent);
        rig.end();
    }
}

#[test]
fn a_drain_ends_a_connection_between_two_messages_and_loses_none() {
    let mut rig = Rig::new(Frames::default());
    // One is answered, one waits for its answer, one has but begun.
    rig.client.write_all(&frames::message(b"first")).unwrap();
    assert_eq!(frames::read(&mut rig.upstream).unwrap(), b"first");
    rig.upstream.write_all(&frames::message(b"answer to first")).unwrap();
    assert_eq!(frames::read(&mut rig.client).unwrap(), b"answer to first");
    rig.client.write_all(&frames::message(b"second")).unwrap();
    assert_eq!(frames::read(&mut rig.upstream).unwrap(), b"second");
    let third = frames::message(b"third");
    rig.client.write_all(&third[..6]).unwrap();
    let mut begun = [0; 6];
    rig.upstream.read_exact(&mut begun).unwrap();

    rig.drain();
    rig.client.write_all(&third[6..]).unwrap();
    let mut rest = [0; 3];
    rig.upstream.read_exact(&mut rest).unwrap();
    assert_eq!([&begun[..], &rest[..]].concat(), third);
    rig.client.write_all(&frames::message(b"fourth")).unwrap();
    for answer in [&b"answer to second"[..], b"answer to third"] {
        rig.upstream.write_all(&frames::message(answer)).unwrap();
        assert_eq!(frames::read(&mut rig.client).unwrap(), answer);
    }
    assert_eq!(frames::read(&mut rig.client), None, "the client is told that nothing more comes");
    rig.client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(frames::read(&mut rig.upstream), None, "the fourth never left");
    assert_eq!(rig.end().ending, Ending::Drained { discarded: 4 + 6 });
}

#[test]
fn a_drain_without_knowledge_of_messages_waits_for_a_pause() {
    let mut rig = Rig::new(Turns::new(1, 1));
    rig.client.write_all(b"question").unwrap();
    rig.drain();
    let mut bytes = [0; 8];
    rig.upstream.read_exact(&mut bytes).unwrap();
    rig.upstream.write_all(b"answer..").unwrap();
    rig.client.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"answer..");
    assert_eq!(rig.client.read(&mut bytes).unwrap(), 0);
    let (outcome, ..) = rig.ended();
    assert_eq!(outcome.ending, Ending::Drained { discarded: 0 });
}

/// Writes until nothing more is taken. Returns how much was.
fn fill(mut stream: &TcpStream) -> u64 {
    stream.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let (mut full_since, begun) = (None::<Instant>, Instant::now());
    loop {
        assert!(begun.elapsed() < DEADLINE, "backpressure comes");
        match stream.write(&[7; 65536]) {
            Ok(count) => (sent, full_since) = (sent + count as u64, None),
            // Full for a while, not only until the forwarder's next turn.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if full_since.get_or_insert_with(Instant::now).elapsed().as_millis() > 300 {
                    break;
                }
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
    stream.set_nonblocking(false).unwrap();
    sent
}

/// Ends a connection with a reset, without closing the descriptor that the test still holds.
fn reset(stream: &TcpStream) {
    // On Linux disconnecting an established TCP socket sends a reset (`tcp_disconnect`).
    rustix::net::connect_unspec(stream).unwrap();
}
