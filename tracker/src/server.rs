//! The tracker as a whole: sockets, its thread, its stop.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use ringseed_ring::{ProbeError, Ring};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::sync::{mpsc, watch};

use crate::announce_service::{AnnounceService, ServiceConfig};
use crate::connections::Connections;
use crate::http;
use crate::limits::{
    HTTP_CONNECTIONS_MAX_DEFAULT, HTTP_HEAD_TIMEOUT_DEFAULT, INTERVAL_DEFAULT, INTERVAL_MAX, STOP_TIMEOUT,
    UDP_REQUESTS_IN_FLIGHT,
};
use crate::metrics::{Metrics, TrackerStats};
use crate::shared::Shared;
use crate::udp;

/// What a tracker listens on and how it answers.
///
/// Port 0 takes a free port. `[::]` takes IPv4 too, unless `0.0.0.0` is listened on at the same port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackerConfig {
    /// Where HTTP is served.
    pub http: Option<SocketAddr>,
    /// Where UDP is served.
    pub udp: Option<SocketAddr>,
    /// Further addresses.
    pub more: Vec<Endpoint>,
    /// Time between a peer's announces that replies ask for, one second to a week.
    pub interval: Duration,
    /// Bounds of the swarms. [`TrackerConfig::with_interval`] fits the lifetime of peers to the interval.
    pub service: ServiceConfig,
    /// Most HTTP connections; above it the one that was silent longest is closed.
    pub http_connections_max: usize,
    /// How long an HTTP client may take for a request's headers, and be silent between requests.
    pub http_head_timeout: Duration,
}

/// One more address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// HTTP over TCP.
    Http(SocketAddr),
    /// UDP.
    Udp(SocketAddr),
}

impl Default for TrackerConfig {
    /// Listens nowhere.
    fn default() -> TrackerConfig {
        TrackerConfig {
            http: None,
            udp: None,
            more: Vec::new(),
            interval: INTERVAL_DEFAULT,
            service: ServiceConfig::default(),
            http_connections_max: HTTP_CONNECTIONS_MAX_DEFAULT,
            http_head_timeout: HTTP_HEAD_TIMEOUT_DEFAULT,
        }
    }
}

impl TrackerConfig {
    /// Sets the interval, and the lifetime of peers to match.
    pub fn with_interval(mut self, interval: Duration) -> TrackerConfig {
        self.interval = interval;
        self.service.peer_lifetime = ServiceConfig::for_interval(interval).peer_lifetime;
        self
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        let http = self.http.map(Endpoint::Http);
        let udp = self.udp.map(Endpoint::Udp);
        http.into_iter().chain(udp).chain(self.more.iter().copied()).collect()
    }
}

/// Why a tracker does not start. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum TrackerError {
    /// Another program listens there.
    #[error("cannot listen on {0}: the port is taken by another program; stop it or choose another port")]
    PortTaken(Listen),
    /// The port or address is not ours to take.
    #[error("cannot listen on {0}: permission denied; ports below 1024 need CAP_NET_BIND_SERVICE")]
    Permission(Listen),
    /// This machine does not have the address or its family.
    #[error("cannot listen on {0}: this machine has no such address ({1})")]
    NoSuchAddress(Listen, #[source] io::Error),
    /// Any other failure to listen.
    #[error("cannot listen on {0}: {1}")]
    Bind(Listen, #[source] io::Error),
    /// The configuration names no address.
    #[error("neither HTTP nor UDP is to be served: there is nothing to do")]
    NothingToServe,
    /// The interval is out of range.
    #[error("an interval is one second to seven days")]
    Interval,
    /// io_uring is missing or forbidden.
    #[error(transparent)]
    IoUring(#[from] ProbeError),
    /// The system refused a thread, a ring or the like.
    #[error("cannot start the tracker: {0}")]
    System(#[from] io::Error),
    /// The metrics could not be registered.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// An address in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(Endpoint);

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Endpoint::Http(address) => write!(f, "{address} (HTTP)"),
            Endpoint::Udp(address) => write!(f, "{address} (UDP)"),
        }
    }
}

impl TrackerError {
    fn bind(endpoint: Endpoint, error: io::Error) -> TrackerError {
        let listen = Listen(endpoint);
        match error.kind() {
            io::ErrorKind::AddrInUse => TrackerError::PortTaken(listen),
            io::ErrorKind::PermissionDenied => TrackerError::Permission(listen),
            io::ErrorKind::AddrNotAvailable => TrackerError::NoSuchAddress(listen, error),
            _ if error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) => {
                TrackerError::NoSuchAddress(listen, error)
            }
            _ => TrackerError::Bind(listen, error),
        }
    }
}

/// The sockets, bound, and the addresses they got.
#[derive(Default)]
struct Sockets {
    http: Vec<(TcpListener, SocketAddr)>,
    udp: Vec<(UdpSocket, SocketAddr)>,
}

impl Sockets {
    fn bind(endpoints: &[Endpoint]) -> Result<Sockets, TrackerError> {
        let mut sockets = Sockets::default();
        for &endpoint in endpoints {
            let refuse = |error| TrackerError::bind(endpoint, error);
            match endpoint {
                Endpoint::Http(address) => {
                    let socket = bind(address, Type::STREAM, only_v6(endpoint, endpoints)).map_err(refuse)?;
                    socket.listen(1024).map_err(refuse)?;
                    let listener = TcpListener::from(socket);
                    let address = listener.local_addr().map_err(refuse)?;
                    sockets.http.push((listener, address));
                }
                Endpoint::Udp(address) => {
                    let socket = bind(address, Type::DGRAM, only_v6(endpoint, endpoints)).map_err(refuse)?;
                    let socket = UdpSocket::from(socket);
                    let address = socket.local_addr().map_err(refuse)?;
                    sockets.udp.push((socket, address));
                }
            }
        }
        Ok(sockets)
    }
}

/// `[::]` takes IPv4 as well, unless IPv4 has its own socket.
fn only_v6(endpoint: Endpoint, all: &[Endpoint]) -> bool {
    let any_v4 = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    match endpoint {
        Endpoint::Http(address) => {
            address.ip() != IpAddr::from(Ipv6Addr::UNSPECIFIED)
                || all.contains(&Endpoint::Http(any_v4(address.port())))
        }
        Endpoint::Udp(address) => {
            address.ip() != IpAddr::from(Ipv6Addr::UNSPECIFIED)
                || all.contains(&Endpoint::Udp(any_v4(address.port())))
        }
    }
}

/// A bound socket. It stays in blocking mode: the ring waits by itself and would get `EAGAIN` otherwise.
fn bind(address: SocketAddr, kind: Type, only_v6: bool) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM { Protocol::TCP } else { Protocol::UDP };
    let socket = Socket::new(Domain::for_address(address), kind, Some(protocol))?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    if kind == Type::STREAM {
        // A restart must not wait for old connections to time out. On UDP it would let two trackers share a port.
        socket.set_reuse_address(true)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// A running tracker. Dropping it stops it too.
#[derive(Debug)]
pub struct Tracker {
    http: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    metrics: Arc<Metrics>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    /// Binds the sockets, starts the tracker's thread and returns when it serves.
    ///
    /// # Errors
    /// When an address cannot be listened on or io_uring is not available.
    pub fn start(config: TrackerConfig) -> Result<Tracker, TrackerError> {
        if config.interval < Duration::from_secs(1) || config.interval > INTERVAL_MAX {
            return Err(TrackerError::Interval);
        }
        let endpoints = config.endpoints();
        if endpoints.is_empty() {
            return Err(TrackerError::NothingToServe);
        }
        let sockets = Sockets::bind(&endpoints)?;
        let metrics = Arc::new(Metrics::new()?);
        let (stop, stopping) = watch::channel(false);
        let http = sockets.http.iter().map(|(_, address)| *address).collect();
        let udp = sockets.udp.iter().map(|(_, address)| *address).collect();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = {
            let metrics = metrics.clone();
            std::thread::Builder::new().name("tracker".into()).spawn(move || {
                let runtime = match runtime() {
                    Ok(runtime) => runtime,
                    Err(error) => {
                        // The receiver waits for exactly this.
                        let _ = ready.send(Err(error));
                        return;
                    }
                };
                // Which peers are chosen should not be guessed.
                let service = AnnounceService::new(
                    config.service.clone(),
                    RandomState::new().hash_one(config.interval),
                );
                let shared = Rc::new(Shared::new(service, metrics, config, stopping));
                runtime.block_on(async move {
                    match serve(shared, sockets) {
                        Ok(serving) => {
                            let _ = ready.send(Ok(()));
                            serving.until_stopped().await;
                        }
                        Err(error) => drop(ready.send(Err(error.into()))),
                    }
                });
            })?
        };
        let tracker = Tracker { http, udp, metrics, stop, thread: Some(thread) };
        match started.recv() {
            Ok(Ok(())) => Ok(tracker),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(TrackerError::System(io::Error::other("the tracker's thread ended early"))),
        }
    }

    /// The first address where HTTP is served.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.first().copied()
    }

    /// The first address where UDP is served.
    pub fn udp_addr(&self) -> Option<SocketAddr> {
        self.udp.first().copied()
    }

    /// All addresses where HTTP is served.
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.http
    }

    /// All addresses where UDP is served.
    pub fn udp_addrs(&self) -> &[SocketAddr] {
        &self.udp
    }

    /// What it has counted so far.
    pub fn stats(&self) -> TrackerStats {
        self.metrics.stats()
    }

    /// Stops accepting, lets requests under way finish for a second and joins the thread.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported already, and there is nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The runtime: room for a read of every HTTP connection in the completion queue.
///
/// Made on the tracker's thread, the probe too: the kernel tears a ring down by interrupting the thread that made
/// it, and a caller with a blocking read under way would see `EINTR`.
fn runtime() -> Result<tokio_uring::Runtime, TrackerError> {
    Ring::probe()?;
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(8192);
    Ok(tokio_uring::Runtime::new(tokio_uring::builder().entries(1024).uring_builder(&ring))?)
}

/// A tracker that serves, and what its stop needs.
struct Serving {
    shared: Rc<Shared>,
    // Further handles of the listeners: to shut them down while an accept is under way.
    listeners: Vec<TcpListener>,
    udp: Vec<SocketAddr>,
    ended: mpsc::Receiver<std::convert::Infallible>,
}

/// Starts all tasks.
fn serve(shared: Rc<Shared>, sockets: Sockets) -> io::Result<Serving> {
    let (alive, ended) = mpsc::channel(1);
    let connections = Connections::new(shared.config.http_connections_max);
    let mut listeners = Vec::new();
    for (listener, _) in sockets.http {
        listeners.push(listener.try_clone()?);
        let listener = tokio_uring::net::TcpListener::from_std(listener);
        tokio_uring::spawn(http::accept(shared.clone(), listener, connections.clone(), alive.clone()));
    }
    let mut udp = Vec::new();
    for (socket, address) in sockets.udp {
        udp.push(address);
        let socket = Rc::new(tokio_uring::net::UdpSocket::from_std(socket));
        for _ in 0..UDP_REQUESTS_IN_FLIGHT {
            let (shared, socket, alive) = (shared.clone(), socket.clone(), alive.clone());
            tokio_uring::spawn(async move {
                udp::serve(shared, socket).await;
                drop(alive);
            });
        }
    }
    let expiry = shared.clone();
    tokio_uring::spawn(async move {
        expiry.expire().await;
        drop(alive);
    });
    Ok(Serving { shared, listeners, udp, ended })
}

impl Serving {
    /// Serves until the stop, then until all tasks are gone or the time for that is over.
    async fn until_stopped(mut self) {
        self.shared.stopping().await;
        for listener in &self.listeners {
            // Ends the accept under way. Dropping it instead could leave a connection open for ever.
            let _ = SockRef::from(listener).shutdown(std::net::Shutdown::Both);
        }
        for &address in &self.udp {
            if let Err(error) = udp::wake(address, UDP_REQUESTS_IN_FLIGHT) {
                tracing::debug!(%error, %address, "cannot wake the UDP socket");
            }
        }
        // `None` when the last task is gone.
        if tokio::time::timeout(STOP_TIMEOUT, self.ended.recv()).await.is_err() {
            tracing::debug!("some connections did not end in time");
        }
    }
}
