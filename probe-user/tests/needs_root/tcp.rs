//! Connections, against what their network namespace counts. Each trial has a namespace of its own, with a loopback
//! device. Loss is made by a filter at the receiving socket, which throws every so many packets away.

use std::collections::HashSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

use anyhow::{Context, Result, bail, ensure};
use kafkascope_probe::kernel::{Event, Kernel, address};
use kafkascope_probe::sock_diag::{CONNECTED, LISTENING, Older, SockDiag};
use kafkascope_probe_ebpf::{ACTIVE, PASSIVE, Peer, PeerKey};

use crate::stage::{self, Plain};

pub(crate) fn trials() -> Vec<Plain> {
    vec![
        ("tcp::retransmits_equal_those_of_the_namespace", || {
            within(|netns| retransmits(netns, Ipv4Addr::LOCALHOST.into()))
        }),
        ("tcp::retransmits_of_version_6_too", || within(|netns| retransmits(netns, Ipv6Addr::LOCALHOST.into()))),
        ("tcp::a_connection_older_than_the_probe_is_left_to_sock_diag", || within(older)),
        ("tcp::connects_that_fail_and_resets_are_counted", || within(failures)),
        ("tcp::other_ports_and_processes_are_not_counted", || within(unwatched)),
        ("tcp::connections_that_find_the_queue_full_are_counted", || within(overflows)),
    ]
}

/// Runs a trial in a network namespace of its own.
fn within(trial: impl FnOnce(u32) -> Result<()> + Send) -> Result<()> {
    let run = || {
        // SAFETY: it concerns this thread only, which ends with the trial.
        ensure!(unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0, "unshare");
        // One segment in each packet, or there would be too few packets to lose.
        let up = ["link", "set", "lo", "up", "mtu", "1500", "gso_max_segs", "1"];
        ensure!(Command::new("ip").args(up).status()?.success(), "ip {}", up.join(" "));
        trial(fs::metadata("/proc/thread-self/ns/net")?.ino() as u32)
    };
    thread::scope(|scope| scope.spawn(run).join()).unwrap_or_else(|_panic| bail!("the trial panicked"))
}

fn retransmits(netns: u32, ip: std::net::IpAddr) -> Result<()> {
    let mut kernel = stage::kernel(&["tcp"])?;
    let listener = TcpListener::bind((ip, 0))?;
    let port = listener.local_addr()?.port();
    kernel.watch_port(netns, port)?;
    let before = retransmitted_segments()?;
    let client = transfer(&listener, 20 << 20)?;
    let counted = retransmitted_segments()? - before;
    let peers = peers(&kernel, netns);
    let ours: u64 = peers.iter().map(|(_, peer)| peer.retransmits).sum();
    println!("retransmits: ours {ours}, the namespace's {counted}; {:?}", kernel.cost().lost);
    ensure!(counted >= 20, "only {counted} were lost");
    ensure!(ours == counted, "ours {ours}, the namespace's {counted}");
    for direction in [ACTIVE, PASSIVE] {
        let (key, peer) = peers.iter().find(|(key, _)| key.direction == direction).context("a side is missing")?;
        ensure!(key.port == port && address(key.version, key.address) == ip, "{key:?}");
        ensure!(key.tgid == if direction == ACTIVE { std::process::id() } else { 0 }, "{key:?}");
        ensure!(peer.connections == 1, "{} connections", peer.connections);
        ensure!(direction == PASSIVE || peer.round_trips.count() > 0, "no round trips");
    }
    let sockets = kernel.read().sockets;
    ensure!(sockets.len() <= 2, "{sockets:?}");
    drop(client);
    let mut events = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        kernel.drain_events(&mut events);
        if in_bursts(&events) >= ours {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    // The end of the connection may have been lost, too, since that was last read.
    let ours: u64 = self::peers(&kernel, netns).iter().map(|(_, peer)| peer.retransmits).sum();
    ensure!(in_bursts(&events) == ours, "{} of {ours} in bursts: {events:?}", in_bursts(&events));
    Ok(())
}

fn in_bursts(events: &[Event]) -> u64 {
    let segments = events.iter().filter_map(|event| match event {
        Event::Retransmits { segments, .. } => Some(segments),
        _ => None,
    });
    segments.sum()
}

fn older(netns: u32) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    let mut kernel = stage::kernel(&["tcp"])?;
    kernel.watch_port(netns, port)?;
    let mut diag = SockDiag::open()?;
    let mut older = Older::default();
    let mut look = |kernel: &Kernel| -> Result<u64> {
        let mut followed: HashSet<u64> = kernel.read().sockets.iter().map(|socket| socket.cookie).collect();
        let sockets = diag.sockets(CONNECTED, None)?;
        followed.extend(kernel.read().sockets.iter().map(|socket| socket.cookie));
        Ok(older.advance(&sockets, &followed).iter().map(|(_, growth)| u64::from(*growth)).sum())
    };
    ensure!(look(&kernel)? == 0, "nothing was sent yet");
    let before = retransmitted_segments()?;
    lose(&receiver, 50)?;
    send(&mut sender, &mut receiver, 5 << 20)?;
    let from_older = look(&kernel)?;
    // And one that is younger.
    let client = transfer(&listener, 5 << 20)?;
    ensure!(look(&kernel)? == 0, "a connection that the programs follow was counted by sock_diag");
    let followed: u64 = peers(&kernel, netns).iter().map(|(_, peer)| peer.retransmits).sum();
    let counted = retransmitted_segments()? - before;
    println!("older {from_older}, followed {followed}, the namespace's {counted}");
    ensure!(from_older > 0 && followed > 0, "nothing lost: {from_older} {followed}");
    ensure!(from_older + followed == counted, "{from_older} + {followed} is not {counted}");
    drop(client);
    Ok(())
}

fn failures(netns: u32) -> Result<()> {
    let mut kernel = stage::kernel(&["tcp"])?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    kernel.watch_port(netns, address.port())?;
    for _ in 0..3 {
        let client = TcpStream::connect(address)?;
        let (accepted, _) = listener.accept()?;
        let linger = libc::linger { l_onoff: 1, l_linger: 0 };
        let size = size_of::<libc::linger>() as u32;
        // SAFETY: pointer and size are those of a value that lives until the call returns.
        let code = unsafe {
            libc::setsockopt(client.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const linger).cast(), size)
        };
        ensure!(code == 0, "setsockopt");
        drop(client);
        drop(accepted);
    }
    drop(listener);
    for _ in 0..5 {
        ensure!(TcpStream::connect(address).is_err(), "nobody listens");
    }
    let peers = peers(&kernel, netns);
    let side = |direction| -> Result<Peer> {
        let found = peers.iter().find(|(key, _)| key.direction == direction);
        Ok(found.context("a side is missing")?.1)
    };
    let (active, passive) = (side(ACTIVE)?, side(PASSIVE)?);
    ensure!(active.connections == 8 && passive.connections == 3, "{} {}", active.connections, passive.connections);
    ensure!(active.connect_failures == 5, "{} failures", active.connect_failures);
    ensure!(
        active.resets_sent == 3 && passive.resets_received == 3,
        "{} {}",
        active.resets_sent,
        passive.resets_received
    );
    ensure!(kernel.read().sockets.is_empty(), "connections that ended are still followed");
    Ok(())
}

fn unwatched(netns: u32) -> Result<()> {
    let mut kernel = stage::kernel(&["tcp"])?;
    kernel.unwatch(std::process::id());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // The same port of another namespace.
    kernel.watch_port(netns + 1, listener.local_addr()?.port())?;
    let client = transfer(&listener, 1 << 20)?;
    ensure!(peers(&kernel, netns).is_empty() && kernel.read().sockets.is_empty(), "counted");
    drop(client);
    Ok(())
}

fn overflows(_netns: u32) -> Result<()> {
    let listener = socket2_listener()?;
    let port = listener.local_addr()?.port();
    let mut clients = Vec::new();
    let mut diag = SockDiag::open()?;
    for _ in 0..4 {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        clients.push(TcpStream::connect_timeout(&address, Duration::from_millis(300)));
    }
    let found = diag.sockets(LISTENING, Some(port))?;
    let drops = found.first().context("no listener")?.drops;
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    let counted = column(&text, "TcpExt:", "ListenDrops")?;
    println!("drops {drops}, the namespace's {counted}");
    ensure!(drops > 0 && u64::from(drops) == counted, "{drops} is not {counted}");
    Ok(())
}

/// A listener with room for one.
fn socket2_listener() -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // SAFETY: the descriptor is open; to listen again only changes the length of the queue.
    ensure!(unsafe { libc::listen(listener.as_raw_fd(), 1) } == 0, "listen");
    Ok(listener)
}

/// Sends bytes to the listener with losses. The connection is left open.
fn transfer(listener: &TcpListener, bytes: usize) -> Result<(TcpStream, TcpStream)> {
    let mut sender = TcpStream::connect(listener.local_addr()?)?;
    let (mut receiver, _) = listener.accept()?;
    lose(&receiver, 50)?;
    send(&mut sender, &mut receiver, bytes)?;
    Ok((sender, receiver))
}

fn send(sender: &mut TcpStream, receiver: &mut TcpStream, bytes: usize) -> Result<()> {
    receiver.set_read_timeout(Some(Duration::from_secs(30)))?;
    thread::scope(|scope| {
        scope.spawn(|| sender.write_all(&vec![1; bytes]));
        let mut left = bytes;
        let mut buffer = vec![0; 1 << 16];
        while left > 0 {
            left -= match receiver.read(&mut buffer)? {
                0 => bail!("closed with {left} bytes to go"),
                some => some,
            };
        }
        Ok(())
    })
}

/// Throws away one packet in `every` that a socket receives.
fn lose(receiver: &TcpStream, every: u32) -> Result<()> {
    let code = |code: u32| code as u16;
    // Load a random number; if it is small drop the packet, else take all of it. include/uapi/linux/filter.h
    let random = (libc::SKF_AD_OFF + libc::SKF_AD_RANDOM) as u32;
    let mut program = [
        libc::sock_filter { code: code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS), jt: 0, jf: 0, k: random },
        libc::sock_filter {
            code: code(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K),
            jt: 1,
            jf: 0,
            k: u32::MAX / every,
        },
        libc::sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k: 0 },
        libc::sock_filter { code: code(libc::BPF_RET | libc::BPF_K), jt: 0, jf: 0, k: u32::MAX },
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let size = size_of::<libc::sock_fprog>() as u32;
    // SAFETY: pointer and size are those of a value that lives until the call returns.
    let code = unsafe {
        let filter = (&raw const filter).cast();
        libc::setsockopt(receiver.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, filter, size)
    };
    ensure!(code == 0, "SO_ATTACH_FILTER: {}", std::io::Error::last_os_error());
    Ok(())
}

fn peers(kernel: &Kernel, netns: u32) -> Vec<(PeerKey, Peer)> {
    kernel.read().peers.into_iter().filter(|(key, _)| key.netns == netns).collect()
}

fn retransmitted_segments() -> Result<u64> {
    column(&fs::read_to_string("/proc/thread-self/net/snmp")?, "Tcp:", "RetransSegs")
}

/// A number from a table of two lines, names above numbers.
fn column(text: &str, table: &str, name: &str) -> Result<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with(table));
    let (names, numbers) = (lines.next().context("no names")?, lines.next().context("no numbers")?);
    let at = names.split_whitespace().position(|word| word == name).context("no such column")?;
    Ok(numbers.split_whitespace().nth(at).context("no number")?.parse()?)
}
