//! `idle`: peers that finish the handshake and then only read and keep their connection alive.
//!
//! A swarm of a popular torrent is mostly that: connections of seeds and of peers that have enough others. They
//! speak the extension protocol with peer exchange, as real clients do, so that they cost the seeder what those do.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    net::SocketAddr,
    rc::Rc,
    time::Duration,
};

use serde::Serialize;
use tokio::sync::Notify;
use tokio_uring::net::TcpStream;

use crate::{
    blast::{Target, connection, peer_id, source_of},
    limits::{CONNECTIONS_MAX, IDLE_CONNECTING_MAX, RING_ENTRIES},
    skim::{FAST_BIT, Item, PROTOCOL, Skimmer},
};

/// Time between two keep-alives: seeders drop peers that are silent for two minutes or more.
const KEEP_ALIVE: Duration = Duration::from_secs(90);
/// Receive buffer of one connection: availability and an extension handshake fit.
const READ_BUFFER: usize = 2048;
/// Bit of the sixth reserved byte that announces the extension protocol (BEP 10).
const EXTENSION_BIT: u8 = 0x10;
/// An extension handshake: peer exchange, a client name and a queue length (BEP 10, BEP 11).
const EXTENSIONS: &[u8] = b"d1:md6:ut_pexi1ee4:reqqi500e1:v17:ringseed-idle/0.1e";

/// Who is idle where.
#[derive(Debug, Clone)]
pub struct IdleConfig {
    /// The seeder.
    pub addr: SocketAddr,
    /// The torrents it seeds, at least one; peers are spread evenly over them.
    pub targets: Vec<Target>,
    /// Number of peers, 1 to [`CONNECTIONS_MAX`].
    pub connections: u32,
    /// Number of the first peer: peers of other scenarios at the same seeder have other names and addresses.
    pub first: u32,
    /// Give every peer a loopback address of its own.
    pub spread_sources: bool,
    /// Longest wait until all peers have the seeder's handshake.
    pub ramp: Duration,
}

/// What became of the peers.
#[derive(Debug, Clone, Serialize)]
pub struct IdleReport {
    /// Connections asked for.
    pub connections: u32,
    /// Connections that have the seeder's handshake and are open.
    pub open: u32,
    /// Keep-alives received.
    pub keep_alives: u64,
    /// Connections that ended, by reason.
    pub ended: BTreeMap<String, u32>,
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
pub enum IdleError {
    /// A value outside its limits.
    #[error("{0}")]
    Config(String),
    /// The ring could not be made.
    #[error("cannot start the load thread's io_uring: {0}")]
    Ring(std::io::Error),
}

#[derive(Default)]
struct Board {
    /// Handshakes received.
    greeted: Cell<u32>,
    open: Cell<u32>,
    ended: RefCell<BTreeMap<String, u32>>,
    keep_alives: Cell<u64>,
    streams: RefCell<Vec<Rc<TcpStream>>>,
    changed: Notify,
}

impl Board {
    fn report(&self, connections: u32) -> IdleReport {
        IdleReport {
            connections,
            open: self.open.get(),
            keep_alives: self.keep_alives.get(),
            ended: self.ended.borrow().clone(),
        }
    }
}

/// Opens the connections, tells `ready` when all are greeted or the ramp is over, and holds them until `leave` is
/// notified.
///
/// # Errors
/// See [`IdleError`]; connections that fail are part of the report.
pub fn run(
    config: &IdleConfig,
    leave: &Notify,
    ready: impl FnOnce(&IdleReport),
) -> Result<IdleReport, IdleError> {
    let refuse = |text: String| Err(IdleError::Config(text));
    if !(1..=CONNECTIONS_MAX).contains(&config.connections) {
        return refuse(format!("connections must be 1 to {CONNECTIONS_MAX}"));
    }
    if config.targets.is_empty() {
        return refuse("at least one torrent is needed".into());
    }
    let mut ring = tokio_uring::uring_builder();
    ring.setup_coop_taskrun().setup_cqsize(RING_ENTRIES * 4);
    let mut builder = tokio_uring::builder();
    builder.entries(RING_ENTRIES).uring_builder(&ring);
    let runtime = tokio_uring::Runtime::new(&builder).map_err(IdleError::Ring)?;
    Ok(runtime.block_on(hold(config, leave, ready)))
}

async fn hold(config: &IdleConfig, leave: &Notify, ready: impl FnOnce(&IdleReport)) -> IdleReport {
    let board = Rc::new(Board::default());
    let targets: Vec<Rc<Target>> = config.targets.iter().cloned().map(Rc::new).collect();
    let connecting = Rc::new(tokio::sync::Semaphore::new(IDLE_CONNECTING_MAX));
    let mut tasks = Vec::new();
    for index in 0..config.connections {
        let target = targets[index as usize % targets.len()].clone();
        let peer =
            Peer { addr: config.addr, number: config.first + index, target, spread: config.spread_sources };
        let (board, connecting) = (board.clone(), connecting.clone());
        tasks.push(tokio_uring::spawn(async move {
            let reason = peer.live(&connecting, &board).await;
            *board.ended.borrow_mut().entry(reason).or_insert(0) += 1;
            board.changed.notify_one();
        }));
    }
    let everybody = async {
        loop {
            let ended: u32 = board.ended.borrow().values().sum();
            if board.greeted.get() + ended >= config.connections {
                return;
            }
            board.changed.notified().await;
        }
    };
    // Who is not there by then is missing in the report.
    let _ = tokio::time::timeout(config.ramp, everybody).await;
    ready(&board.report(config.connections));
    leave.notified().await;
    let report = board.report(config.connections);
    for stream in board.streams.borrow().iter() {
        // The peer may be gone already.
        let _ = stream.shutdown(std::net::Shutdown::Both);
    }
    for task in tasks {
        task.abort();
    }
    report
}

/// One idle peer.
struct Peer {
    addr: SocketAddr,
    number: u32,
    target: Rc<Target>,
    spread: bool,
}

impl Peer {
    /// Lives until the connection ends; says why it did.
    async fn live(&self, connecting: &tokio::sync::Semaphore, board: &Board) -> String {
        let source = self.spread.then(|| source_of(self.number));
        let stream = {
            let _permit = connecting.acquire().await;
            match connection::connect(self.addr, source).await {
                Ok(stream) => Rc::new(stream),
                Err(error) => return format!("connection failed: {error}"),
            }
        };
        board.streams.borrow_mut().push(stream.clone());
        let (outcome, greeted) = self.talk(&stream, board).await;
        if greeted {
            board.open.set(board.open.get() - 1);
        }
        outcome.err().unwrap_or_else(|| "the seeder closed the connection".into())
    }

    fn greeting(&self) -> Vec<u8> {
        let mut out = PROTOCOL.to_vec();
        out.extend_from_slice(&[0, 0, 0, 0, 0, EXTENSION_BIT, 0, FAST_BIT]);
        out.extend_from_slice(&self.target.info_hash());
        out.extend_from_slice(&peer_id(self.number));
        out
    }

    async fn talk(&self, stream: &TcpStream, board: &Board) -> (Result<(), String>, bool) {
        let mut greeted = false;
        let outcome = self.exchange(stream, board, &mut greeted).await;
        (outcome, greeted)
    }

    async fn exchange(&self, stream: &TcpStream, board: &Board, greeted: &mut bool) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("connection failed: {error}");
        stream.write_all(self.greeting()).await.0.map_err(failed)?;
        let mut skimmer = Skimmer::new(self.target.pieces());
        let mut input = Vec::with_capacity(READ_BUFFER);
        let mut reading = Box::pin(stream.read(input));
        let mut silent_until = tokio::time::Instant::now() + KEEP_ALIVE;
        loop {
            let read = tokio::select! {
                read = &mut reading => read,
                () = tokio::time::sleep_until(silent_until) => {
                    stream.write_all(vec![0; 4]).await.0.map_err(failed)?;
                    silent_until += KEEP_ALIVE;
                    continue;
                }
            };
            let received;
            (received, input) = read;
            let n = received.map_err(failed)?;
            if n == 0 {
                return Ok(());
            }
            let (mut output, mut greeting) = (Vec::new(), false);
            let mut rest = &input[..n];
            while let Some(item) = skimmer.next(&mut rest).map_err(|error| error.to_string())? {
                match item {
                    Item::Handshake { reserved, info_hash } if info_hash == self.target.info_hash() => {
                        greeting = true;
                        if reserved[7] & FAST_BIT != 0 {
                            output.extend_from_slice(&[0, 0, 0, 1, 15]);
                        }
                        if reserved[5] & EXTENSION_BIT != 0 {
                            output.extend_from_slice(&(EXTENSIONS.len() as u32 + 2).to_be_bytes());
                            output.extend_from_slice(&[20, 0]);
                            output.extend_from_slice(EXTENSIONS);
                        }
                    }
                    Item::Handshake { .. } => return Err("the seeder answered for another torrent".into()),
                    Item::KeepAlive => board.keep_alives.set(board.keep_alives.get() + 1),
                    _ => {}
                }
            }
            if !output.is_empty() {
                stream.write_all(output).await.0.map_err(failed)?;
            }
            if greeting {
                *greeted = true;
                board.greeted.set(board.greeted.get() + 1);
                board.open.set(board.open.get() + 1);
                board.changed.notify_one();
            }
            reading = Box::pin(stream.read(input));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::wire::extension::ExtensionHandshake;

    /// A wrong length in it made seeders close every connection.
    #[test]
    fn the_extension_handshake_is_one() {
        let handshake = ExtensionHandshake::parse(EXTENSIONS).unwrap();
        assert_eq!((handshake.ut_pex, handshake.request_queue), (Some(1), Some(500)));
        assert_eq!(handshake.version.as_deref(), Some("ringseed-idle/0.1"));
    }
}
