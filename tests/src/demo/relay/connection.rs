//! One relayed connection: frames are passed on as they come, but answers with broker addresses are rewritten.

use std::{
    collections::HashMap,
    io,
    sync::{Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::answer::{Rewritten, Shown};

/// Metadata of a large cluster is some megabytes; a length above this is not an answer.
const MAX_ANSWER: usize = 32 << 20;

/// Requests whose answers are rewritten, by correlation id. A handful at a time: everything else is passed on unread,
/// and so needs no place here (acks=0 requests, which are never answered, above all).
type Awaited = Mutex<HashMap<i32, (i16, i16)>>;

/// Relays until both sides have closed. What went wrong beyond a lost connection is returned.
pub(super) async fn relay(client: TcpStream, broker: TcpStream, shown: &Mutex<Shown>) -> Option<String> {
    // Frames are written in pieces; waiting for acknowledgements between them would be measured as the broker's time.
    _ = client.set_nodelay(true);
    _ = broker.set_nodelay(true);
    let (client_read, client_write) = client.into_split();
    let (broker_read, broker_write) = broker.into_split();
    let awaited = Awaited::default();
    let (up, down) = tokio::join!(
        requests(client_read, broker_write, &awaited),
        answers(broker_read, client_write, &awaited, shown)
    );
    let trouble = |result: io::Result<()>| {
        result.err().filter(|error| error.kind() == io::ErrorKind::InvalidData).map(|error| error.to_string())
    };
    trouble(up).or(trouble(down))
}

async fn requests(from: OwnedReadHalf, to: OwnedWriteHalf, awaited: &Awaited) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(from), BufWriter::new(to));
    while let Some(length) = frame_length(&mut from).await? {
        let mut head = [0; 8];
        let held = length.min(head.len());
        let head = head.split_at_mut(held).0;
        from.read_exact(head).await?;
        if let [k0, k1, v0, v1, c0, c1, c2, c3] = *head {
            let (key, version) = (i16::from_be_bytes([k0, k1]), i16::from_be_bytes([v0, v1]));
            if Rewritten::of(key).is_some() {
                let id = i32::from_be_bytes([c0, c1, c2, c3]);
                awaited.lock().unwrap_or_else(PoisonError::into_inner).insert(id, (key, version));
            }
        }
        to.write_u32(length as u32).await?;
        to.write_all(head).await?;
        pass(&mut from, &mut to, length - held).await?;
    }
    to.shutdown().await
}

async fn answers(from: OwnedReadHalf, to: OwnedWriteHalf, awaited: &Awaited, shown: &Mutex<Shown>) -> io::Result<()> {
    let (mut from, mut to) = (BufReader::new(from), BufWriter::new(to));
    while let Some(length) = frame_length(&mut from).await? {
        let mut id = [0; 4];
        let held = length.min(id.len());
        let id = id.split_at_mut(held).0;
        from.read_exact(id).await?;
        let request = <[u8; 4]>::try_from(&*id)
            .ok()
            .and_then(|id| awaited.lock().unwrap_or_else(PoisonError::into_inner).remove(&i32::from_be_bytes(id)));
        let rest = length - held;
        match request {
            Some((key, version)) if rest <= MAX_ANSWER => {
                let mut body = vec![0; rest];
                from.read_exact(&mut body).await?;
                let body = Rewritten::of(key).and_then(|api| {
                    api.rewrite(version, &body, &mut shown.lock().unwrap_or_else(PoisonError::into_inner))
                });
                // Never pass on what could not be read: it holds addresses that lead past the proxy.
                let body = body.ok_or_else(|| unreadable(key, version))?;
                to.write_u32((held + body.len()) as u32).await?;
                to.write_all(id).await?;
                to.write_all(&body).await?;
                pass(&mut from, &mut to, 0).await?;
            }
            Some((key, version)) => return Err(unreadable(key, version)),
            None => {
                to.write_u32(length as u32).await?;
                to.write_all(id).await?;
                pass(&mut from, &mut to, rest).await?;
            }
        }
    }
    to.shutdown().await
}

fn unreadable(key: i16, version: i16) -> io::Error {
    let what = format!("the answer to request {key} version {version} could not be read; its connection was closed");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// The next frame's length; nothing at the end of the stream.
async fn frame_length(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<usize>> {
    if from.fill_buf().await?.is_empty() {
        return Ok(None);
    }
    Ok(Some(from.read_u32().await? as usize))
}

/// Passes on the frame's rest. What is written goes out unless the next frame is already there.
async fn pass(
    from: &mut BufReader<OwnedReadHalf>,
    to: &mut BufWriter<OwnedWriteHalf>,
    length: usize,
) -> io::Result<()> {
    let passed = tokio::io::copy_buf(&mut (&mut *from).take(length as u64), to).await?;
    if passed < length as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if from.buffer().is_empty() { to.flush().await } else { Ok(()) }
}
