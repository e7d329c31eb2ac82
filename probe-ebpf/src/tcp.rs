//! Connections of watched processes.
//!
//! Hooks: `sock_ops` at the root cgroup, which the kernel calls for every connection's beginning, and from then on only
//! for those that asked for it; `tcp_receive_reset`, `tcp_send_reset`, `tcp_retransmit_synack`, `tcp_destroy_sock`.
//!
//! Whoever connects is known by its process; whoever accepts by the port, because then the kernel works on behalf of
//! nobody. A connection that does not fit among the others asks for nothing, so that sock_diag may count it.

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_RETRANS_CB, BPF_SOCK_OPS_RETRANS_CB_FLAG, BPF_SOCK_OPS_RTT_CB,
    BPF_SOCK_OPS_RTT_CB_FLAG, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG, BPF_SOCK_OPS_TCP_CONNECT_CB,
    BPF_TCP_CLOSE, BPF_TCP_SYN_SENT,
};
use aya_ebpf::helpers::bpf_get_socket_cookie;
use aya_ebpf::helpers::generated::bpf_jiffies64;
use aya_ebpf::macros::{raw_tracepoint, sock_ops};
use aya_ebpf::programs::{RawTracePointContext, SockOpsContext};
use kafkascope_probe_ebpf::{ACTIVE, Event, PASSIVE, Peer, PeerKey, Port, Socket, event, lost};

use crate::kernel::{Address, Place, Typed, set, task};
use crate::maps::{PEERS, PORTS, SOCKETS, add, lose, now, peer, record, tell, watched, word};

/// include/uapi/linux/in.h and socket.h
const AF_INET6: u16 = 10;

/// A round-trip time of a connection is counted in one of so many ticks: each 8 to 80 ms.
const ROUND_TRIP_TICKS: u64 = 8;

/// A field of the context: always of four bytes, and never two at once.
macro_rules! field {
    ($context:ident.$($path:tt)*) => {{
        // SAFETY: the context is the kernel's, and the verifier checks each access.
        unsafe { (&raw const (*$context.ops).$($path)*).read_volatile() }
    }};
}

#[sock_ops]
fn tcp_events(context: SockOpsContext) -> u32 {
    match field!(context.op) {
        BPF_SOCK_OPS_TCP_CONNECT_CB => begin(&context, ACTIVE),
        BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB => begin(&context, PASSIVE),
        BPF_SOCK_OPS_RETRANS_CB => retransmit(&context),
        BPF_SOCK_OPS_RTT_CB => round_trip(&context),
        BPF_SOCK_OPS_STATE_CB => state(&context),
        _ => None,
    };
    1
}

/// Follows a connection from now on, if it is of a watched process.
#[inline(always)]
fn begin(context: &SockOpsContext, direction: u8) -> Option<()> {
    // SAFETY: as in field!
    let socket = unsafe { (&raw const (*context.ops).__bindgen_anon_2.sk).read_volatile() };
    let netns = netns(Address(Typed(socket as u64).number()));
    let local_port = field!(context.local_port);
    let mut tgid = 0;
    if direction == ACTIVE {
        tgid = task().read(set!(OFFSETS.task_tgid));
        watched(tgid)?;
    } else {
        PORTS.get_ptr(Port { netns, port: local_port })?;
    }
    let cookie = cookie(context);
    let mut fresh = Socket {
        cookie,
        netns,
        tgid,
        local_port: local_port as u16,
        remote_port: u32::from_be(field!(context.remote_port)) as u16,
        version: 4,
        direction,
        ..Socket::default()
    };
    if field!(context.family) == u32::from(AF_INET6) {
        fresh.version = 6;
        put(&mut fresh.local, 0, field!(context.local_ip6[0]));
        put(&mut fresh.local, 4, field!(context.local_ip6[1]));
        put(&mut fresh.local, 8, field!(context.local_ip6[2]));
        put(&mut fresh.local, 12, field!(context.local_ip6[3]));
        put(&mut fresh.remote, 0, field!(context.remote_ip6[0]));
        put(&mut fresh.remote, 4, field!(context.remote_ip6[1]));
        put(&mut fresh.remote, 8, field!(context.remote_ip6[2]));
        put(&mut fresh.remote, 12, field!(context.remote_ip6[3]));
    } else {
        put(&mut fresh.local, 0, field!(context.local_ip4));
        put(&mut fresh.remote, 0, field!(context.remote_ip4));
    }
    if SOCKETS.insert(cookie, fresh, 0).is_err() {
        lose(lost::TCP);
        return None;
    }
    let wanted = BPF_SOCK_OPS_RETRANS_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG;
    let wanted = wanted | field!(context.bpf_sock_ops_cb_flags);
    if context.set_cb_flags(wanted as i32).is_err() {
        let _was_there = SOCKETS.remove(cookie).is_ok();
        return None;
    }
    add(&mut counters(&fresh)?.connections, 1);
    Some(())
}

/// Writes four bytes as they are in memory.
#[inline(always)]
fn put(address: &mut [u8; 16], at: usize, part: u32) {
    let [a, b, c, d] = part.to_ne_bytes();
    address[at] = a;
    address[at + 1] = b;
    address[at + 2] = c;
    address[at + 3] = d;
}

#[inline(always)]
fn retransmit(context: &SockOpsContext) -> Option<()> {
    let socket = covered(cookie(context))?;
    // SAFETY: as in field!.
    let segments = u64::from(unsafe { (&raw const (*context.ops).__bindgen_anon_1.args[1]).read_volatile() });
    let now = now();
    if socket.burst_end_ns + set!(SETTINGS.burst_gap_ns) < now {
        end_burst(socket);
        socket.burst_start_ns = now;
        socket.burst_segments = 0;
    }
    socket.burst_end_ns = now;
    socket.burst_segments += segments;
    socket.retransmits += segments;
    add(&mut counters(socket)?.retransmits, segments);
    Some(())
}

/// The kernel measures with each acknowledgement, and changes the smoothed time by an eighth of the difference: once in
/// so many ticks of its clock says as much. What is left out costs no look at the connection.
#[inline(always)]
fn round_trip(context: &SockOpsContext) -> Option<()> {
    // SAFETY: the helper has no conditions.
    let tick = unsafe { bpf_jiffies64() };
    // Not all connections in the same tick.
    if !(tick + u64::from(field!(context.remote_port))).is_multiple_of(ROUND_TRIP_TICKS) {
        return None;
    }
    let socket = covered(cookie(context))?;
    if socket.round_trip_tick == tick {
        return None;
    }
    socket.round_trip_tick = tick;
    // The kernel keeps it times eight.
    let smoothed_us = u64::from(field!(context.srtt_us) >> 3);
    record(&mut counters(socket)?.round_trips, smoothed_us * 1000);
    Some(())
}

#[inline(always)]
fn state(context: &SockOpsContext) -> Option<()> {
    // SAFETY: as in field!.
    let (old, new) = unsafe {
        let args = &raw const (*context.ops).__bindgen_anon_1.args;
        (args.cast::<u32>().read_volatile(), args.cast::<u32>().add(1).read_volatile())
    };
    if new != BPF_TCP_CLOSE {
        return None;
    }
    let socket = covered(cookie(context))?;
    if old == BPF_TCP_SYN_SENT
        && let Some(counters) = counters(socket)
    {
        add(&mut counters.connect_failures, 1);
    }
    end_burst(socket);
    socket.burst_segments = 0;
    // It stays there until it is destroyed, because a reset is sent after the state has changed.
    Some(())
}

#[raw_tracepoint]
fn tcp_destroyed(context: RawTracePointContext) -> i32 {
    let cookie: u64 = Address(word(&context, 0)).read(set!(OFFSETS.socket_cookie));
    // A socket that nobody asked for its number has none.
    if cookie != 0 {
        let _was_there = SOCKETS.remove(cookie).is_ok();
    }
    0
}

/// Tells user space of a burst that is over.
#[inline(always)]
fn end_burst(socket: &Socket) {
    if socket.burst_segments != 0 {
        tell(&Event {
            kind: event::RETRANSMITS,
            tgid: socket.tgid,
            start_ns: socket.burst_start_ns,
            duration_ns: socket.burst_end_ns.saturating_sub(socket.burst_start_ns),
            queued_ns: 0,
            dev: 0,
            operation: 0,
            ino: 0,
            amount: socket.burst_segments,
            socket: *socket,
        });
    }
}

#[raw_tracepoint]
fn tcp_reset_received(context: RawTracePointContext) -> i32 {
    if let Some(counters) = of_socket(Address(word(&context, 0))) {
        add(&mut counters.resets_received, 1);
    }
    0
}

#[raw_tracepoint]
fn tcp_reset_sent(context: RawTracePointContext) -> i32 {
    if let Some(counters) = of_socket(Address(word(&context, 0))) {
        add(&mut counters.resets_sent, 1);
    }
    0
}

/// The kernel answers a connection request again; there is no connection yet.
#[raw_tracepoint]
fn tcp_answer_again(context: RawTracePointContext) -> i32 {
    answer_again(Address(word(&context, 0)), Address(word(&context, 1)));
    0
}

#[inline(always)]
fn answer_again(listener: Address, request: Address) -> Option<()> {
    let (netns, port) = (netns(listener), listener.read::<u16>(set!(OFFSETS.socket_port)));
    PORTS.get_ptr(Port { netns, port: u32::from(port) })?;
    let is_v6 = request.read::<u16>(set!(OFFSETS.socket_family)) == AF_INET6;
    let mut address = [0; 16];
    if is_v6 {
        address = request.read(set!(OFFSETS.socket_address6));
    } else {
        put(&mut address, 0, request.read(set!(OFFSETS.socket_address)));
    }
    let version = if is_v6 { 6 } else { 4 };
    let key = PeerKey { netns, tgid: 0, port, version, direction: PASSIVE, address };
    add(&mut counted(&key)?.retransmits, 1);
    Some(())
}

#[inline(always)]
fn of_socket<'a>(socket: Address) -> Option<&'a mut Peer> {
    if socket == Address(0) {
        return None;
    }
    counters(covered(socket.read(set!(OFFSETS.socket_cookie)))?)
}

#[inline(always)]
fn covered<'a>(cookie: u64) -> Option<&'a mut Socket> {
    // SAFETY: what the map returns is its value, which lives until the program ends.
    SOCKETS.get_ptr_mut(cookie).map(|socket| unsafe { &mut *socket })
}

/// The counters of a connection's peer.
#[inline(always)]
fn counters<'a>(socket: &Socket) -> Option<&'a mut Peer> {
    let port = if socket.direction == PASSIVE { socket.local_port } else { socket.remote_port };
    counted(&PeerKey {
        netns: socket.netns,
        tgid: socket.tgid,
        port,
        version: socket.version,
        direction: socket.direction,
        address: socket.remote,
    })
}

#[inline(always)]
fn counted<'a>(key: &PeerKey) -> Option<&'a mut Peer> {
    let peer = peer(&PEERS, key);
    if peer.is_none() {
        lose(lost::TCP);
    }
    peer
}

#[inline(always)]
fn cookie(context: &SockOpsContext) -> u64 {
    // SAFETY: the context is the kernel's.
    unsafe { bpf_get_socket_cookie(context.ops.cast()) }
}

/// Inode of the network namespace of a socket.
#[inline(always)]
fn netns(socket: Address) -> u32 {
    socket.follow(set!(OFFSETS.socket_net)).read(set!(OFFSETS.net_inode))
}
