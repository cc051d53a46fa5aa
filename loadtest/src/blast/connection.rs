//! The socket of one peer on the ring: read, skim, answer; the write of requests overlaps the next read.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{net::TcpSocket, sync::Notify};
use tokio_uring::net::TcpStream;

use super::encrypted::{self, Streams};
use super::leech::{Leech, LeechError, Tally};
use crate::histogram::Histogram;

/// What all connections of a run share on the load thread.
#[derive(Debug)]
pub(super) struct Board {
    /// Clock origin of the run.
    pub started: Instant,
    /// Payload bytes of all connections.
    pub payload: Cell<u64>,
    /// Wakes the coordinator once `payload` is at least this.
    pub wake_at: Cell<u64>,
    /// Connections that have received a whole block.
    pub serving: Cell<u32>,
    /// Connections that ended.
    pub ended: Cell<u32>,
    /// Latencies are recorded.
    pub measuring: Cell<bool>,
    /// Request latencies, microseconds.
    pub latency: RefCell<Histogram>,
    /// Something the coordinator waits for has happened.
    pub changed: Notify,
}

impl Board {
    pub fn new() -> Board {
        Board {
            started: Instant::now(),
            payload: Cell::new(0),
            wake_at: Cell::new(u64::MAX),
            serving: Cell::new(0),
            ended: Cell::new(0),
            measuring: Cell::new(false),
            latency: RefCell::new(Histogram::default()),
            changed: Notify::new(),
        }
    }

    pub fn now_us(&self) -> u64 {
        self.started.elapsed().as_micros() as u64
    }
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionEnd {
    #[error("connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("the seeder closed the connection")]
    Closed,
    #[error(transparent)]
    Protocol(#[from] LeechError),
}

/// One peer as the coordinator sees it.
#[derive(Default)]
pub(super) struct Slot {
    pub tally: Cell<Tally>,
    /// Open stream, to shut down at the end.
    pub stream: RefCell<Option<Rc<TcpStream>>>,
    pub end: RefCell<Option<ConnectionEnd>>,
}

/// Connects to `addr`, from a loopback address of its own when `source` is given.
pub(crate) async fn connect(addr: SocketAddr, source: Option<Ipv4Addr>) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
    }
    let stream = socket.connect(addr).await?;
    stream.set_nodelay(true)?;
    let stream = stream.into_std()?;
    // The ring waits by itself; on a non-blocking socket it would answer EAGAIN instead.
    stream.set_nonblocking(false)?;
    Ok(TcpStream::from_std(stream))
}

/// How a peer talks to the seeder.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wire {
    /// The seeder.
    pub addr: SocketAddr,
    /// Bytes of the receive buffer.
    pub read_buffer: usize,
    /// Everything is enciphered.
    pub rc4: bool,
}

/// Runs one peer until the stream is shut down or fails.
pub(super) async fn drive(
    wire: Wire,
    source: Option<Ipv4Addr>,
    leech: Leech,
    board: Rc<Board>,
    slot: Rc<Slot>,
) {
    let end = match connect(wire.addr, source).await {
        Ok(stream) => {
            let stream = Rc::new(stream);
            slot.stream.replace(Some(stream.clone()));
            let mut greeting = Vec::new();
            leech.greeting(&mut greeting);
            let begun = match wire.rc4 {
                true => encrypted::begin(&stream, leech.info_hash(), &greeting).await,
                false => Ok((None, greeting)),
            };
            match begun {
                Ok((streams, first)) => {
                    exchange(&stream, leech, (streams, first), wire.read_buffer, &board, &slot).await
                }
                Err(error) => ConnectionEnd::Io(error),
            }
        }
        Err(error) => ConnectionEnd::Io(error),
    };
    slot.stream.replace(None);
    slot.end.replace(Some(end));
    board.ended.set(board.ended.get() + 1);
    board.changed.notify_one();
}

async fn exchange(
    stream: &TcpStream,
    mut leech: Leech,
    (mut streams, mut output): (Option<Box<Streams>>, Vec<u8>),
    read_buffer: usize,
    board: &Board,
    slot: &Slot,
) -> ConnectionEnd {
    let mut input = Vec::with_capacity(read_buffer);
    // What came with the end of the key exchange is looked at first.
    let mut early = streams.as_mut().map(|streams| std::mem::take(&mut streams.early)).unwrap_or_default();
    loop {
        if let Some(streams) = &mut streams {
            streams.ciphers.outgoing.apply(&mut output);
        }
        if !early.is_empty() {
            let begun = leech.received(board.now_us(), &early, &mut output, |_| {});
            if let Err(error) = begun {
                return error.into();
            }
            early.clear();
            leech.fill_requests(board.now_us(), &mut output);
            continue;
        }
        let write =
            async { if output.is_empty() { (Ok(()), output) } else { stream.write_all(output).await } };
        let ((wrote, returned_output), (read, returned_input)) = tokio::join!(write, stream.read(input));
        (output, input) = (returned_output, returned_input);
        let n = match (wrote, read) {
            (Ok(()), Ok(0)) => return ConnectionEnd::Closed,
            (Ok(()), Ok(n)) => n,
            (Err(error), _) | (_, Err(error)) => return error.into(),
        };
        output.clear();
        if let Some(streams) = &mut streams {
            streams.ciphers.incoming.apply(&mut input[..n]);
        }
        let now_us = board.now_us();
        let before = leech.tally();
        let received = leech.received(now_us, &input[..n], &mut output, |us| {
            if board.measuring.get() {
                board.latency.borrow_mut().record(us);
            }
        });
        if let Err(error) = received {
            return error.into();
        }
        leech.fill_requests(now_us, &mut output);
        publish(before, leech.tally(), board, slot);
        while output.is_empty()
            && let Some(pause) = leech.pause_us(board.now_us())
        {
            tokio::time::sleep(Duration::from_micros(pause)).await;
            leech.fill_requests(board.now_us(), &mut output);
        }
    }
}

/// Makes progress visible and wakes the coordinator when it waits for it.
fn publish(before: Tally, after: Tally, board: &Board, slot: &Slot) {
    slot.tally.set(after);
    let total = board.payload.get() + (after.payload - before.payload);
    board.payload.set(total);
    let first_block = before.blocks == 0 && after.blocks > 0;
    if first_block {
        board.serving.set(board.serving.get() + 1);
    }
    if first_block || total >= board.wake_at.get() {
        board.changed.notify_one();
    }
}
