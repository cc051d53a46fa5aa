//! The tracker as a whole: its threads, its stop.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::{Arc, mpsc as orders};
use std::thread::JoinHandle;
use std::time::Duration;

use ringseed_ring::{ProbeError, Ring};
use socket2::SockRef;
use tokio::sync::{mpsc, watch};

use crate::access::{AccessConfig, ListError};
use crate::announce_service::ServiceConfig;
use crate::connections::Connections;
use crate::http;
use crate::limits::{
    ANNOUNCES_PER_MINUTE_DEFAULT, DESCRIPTORS_RESERVED, DESCRIPTORS_RESERVED_PER_WORKER,
    HTTP_CONNECTIONS_MAX_DEFAULT, HTTP_CONNECTIONS_PER_CLIENT_DEFAULT, HTTP_HEAD_TIMEOUT_DEFAULT,
    INTERVAL_DEFAULT, INTERVAL_MAX, NEW_TORRENTS_PER_MINUTE_DEFAULT, STOP_TIMEOUT, WORKERS_MAX,
};
use crate::metrics::TrackerStats;
use crate::privileges::{Account, AccountError};
use crate::proxies::Network;
use crate::shared::Shared;
use crate::sockets::{Listen, Sockets};
use crate::upkeep::Order;
use crate::{state, udp, upkeep};

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
    /// Most HTTP connections, fewer when the process may have few descriptors; above it the client with most loses the
    /// one that was silent longest.
    pub http_connections_max: usize,
    /// Most HTTP connections of one IPv4 address or IPv6 /64; above it its own one that was silent longest is closed. 0
    /// is no bound, and proxies and networks that the service exempts have none.
    pub http_connections_per_client_max: usize,
    /// Who may announce what.
    pub access: AccessConfig,
    /// Proxies that are believed about their clients' addresses.
    pub proxies: Vec<Network>,
    /// Most announces per minute from one IPv4 address or IPv6 /64; 0 is no bound. Networks that the service exempts
    /// have none.
    pub announces_per_minute_max: u32,
    /// Most torrents per minute that one IPv4 address or IPv6 /64 may bring in; 0 is no bound.
    pub new_torrents_per_minute_max: u32,
    /// Where the swarms are kept over restarts.
    pub state: Option<PathBuf>,
    /// Whom to become when the ports are bound.
    pub account: Option<Account>,
    /// Threads for each of HTTP and UDP; 0 takes as many as there are cores for this process.
    pub workers: usize,
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
            http_connections_per_client_max: HTTP_CONNECTIONS_PER_CLIENT_DEFAULT,
            access: AccessConfig::default(),
            proxies: Vec::new(),
            announces_per_minute_max: ANNOUNCES_PER_MINUTE_DEFAULT,
            new_torrents_per_minute_max: NEW_TORRENTS_PER_MINUTE_DEFAULT,
            state: None,
            account: None,
            workers: 0,
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

    fn worker_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        if self.workers == 0 { cores().min(WORKERS_MAX) } else { self.workers.min(WORKERS_MAX) }
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
    /// A list cannot be used.
    #[error(transparent)]
    List(#[from] ListError),
    /// The account cannot be used.
    #[error(transparent)]
    Account(#[from] AccountError),
    /// The metrics could not be registered.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

impl TrackerError {
    pub(crate) fn bind(endpoint: Endpoint, error: io::Error) -> TrackerError {
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

/// A running tracker. Dropping it stops it too.
pub struct Tracker {
    http: Vec<SocketAddr>,
    udp: Vec<SocketAddr>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    orders: Option<orders::Sender<Order>>,
    udp_sockets: Vec<Arc<UdpSocket>>,
    threads: Vec<JoinHandle<()>>,
    /// Whether there is a state that is worth more than the one in the file.
    is_serving: bool,
}

impl Tracker {
    /// Binds the sockets, starts the tracker's threads and returns when it serves.
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
        let workers = config.worker_count();
        let sockets = Sockets::bind(&endpoints, workers)?;
        if let Some(account) = &config.account {
            // Before there are threads, and before a file is opened or made.
            account.become_it()?;
        }
        let (stop, stopping) = watch::channel(false);
        let mut tracker = Tracker {
            http: sockets.http_addrs,
            udp: sockets.udp_addrs,
            shared: Shared::new(config, stopping)?,
            stop,
            orders: None,
            udp_sockets: Vec::new(),
            threads: Vec::new(),
            is_serving: false,
        };
        if let Some(path) = &tracker.shared.config.state {
            state::restore(&tracker.shared, path);
        }
        tracker.start_upkeep()?;
        // If one of them fails, dropping `tracker` stops the others.
        let mut http = sockets.http.into_iter();
        for number in 0..workers {
            let listeners = http.next().unwrap_or_default();
            if !listeners.is_empty() {
                tracker.start_http(number, listeners)?;
            }
        }
        for socket in sockets.udp {
            tracker.start_udp(socket)?;
        }
        tracker.is_serving = true;
        Ok(tracker)
    }

    fn start_http(&mut self, number: usize, listeners: Vec<TcpListener>) -> Result<(), TrackerError> {
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(format!("http-{number}")).spawn(move || {
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => {
                    // The receiver waits for exactly this.
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            runtime.block_on(async move {
                match serve(shared, listeners) {
                    Ok(serving) => {
                        let _ = ready.send(Ok(()));
                        serving.until_stopped().await;
                    }
                    Err(error) => drop(ready.send(Err(error.into()))),
                }
            });
        })?;
        self.threads.push(thread);
        match started.recv() {
            Ok(started) => started,
            Err(_) => Err(TrackerError::System(io::Error::other("a thread of the tracker ended early"))),
        }
    }

    fn start_upkeep(&mut self) -> Result<(), TrackerError> {
        let (sender, orders) = orders::channel();
        self.orders = Some(sender);
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("upkeep".into());
        self.threads.push(thread.spawn(move || upkeep::run(&shared, &orders))?);
        Ok(())
    }

    /// Datagrams wait in the socket until the thread runs, so there is nothing to wait for here.
    fn start_udp(&mut self, socket: UdpSocket) -> Result<(), TrackerError> {
        udp::prepare(&socket)?;
        let socket = Arc::new(socket);
        self.udp_sockets.push(socket.clone());
        let shared = self.shared.clone();
        let name = format!("udp-{}", self.udp_sockets.len() - 1);
        self.threads
            .push(std::thread::Builder::new().name(name).spawn(move || udp::serve(&shared, &socket))?);
        Ok(())
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

    /// What it has counted so far, and holds now.
    pub fn stats(&self) -> TrackerStats {
        self.shared.stats()
    }

    /// Has the lists of info-hashes and keys read again, now and not when a change of the files is seen.
    pub fn reload_lists(&self) {
        if let Some(orders) = &self.orders {
            // The thread is gone only if it panicked, which was reported.
            let _ = orders.send(Order::Reload);
        }
    }

    /// Stops accepting, lets requests under way finish for a second and joins the threads.
    pub fn shutdown(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        self.stop.send_replace(true);
        self.orders = None;
        for socket in &self.udp_sockets {
            udp::wake(socket);
        }
        for thread in self.threads.drain(..) {
            // A panic there has been reported already, and there is nothing left to stop.
            let _ = thread.join();
        }
        if self.is_serving {
            self.is_serving = false;
            upkeep::save(&self.shared);
        }
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracker").field("http", &self.http).field("udp", &self.udp).finish_non_exhaustive()
    }
}

/// The runtime of an HTTP thread: room for a read of every connection in the completion queue.
///
/// Made on the thread that uses it, the probe too: the kernel tears a ring down by interrupting the thread that made
/// it, and a caller with a blocking read under way would see `EINTR`.
fn runtime() -> Result<tokio_uring::Runtime, TrackerError> {
    Ring::probe()?;
    let mut ring = tokio_uring::uring_builder();
    ring.setup_cqsize(8192);
    Ok(tokio_uring::Runtime::new(tokio_uring::builder().entries(1024).uring_builder(&ring))?)
}

/// An HTTP thread that serves, and what its stop needs.
struct Serving {
    shared: Arc<Shared>,
    // Further handles of the listeners: to shut them down while an accept is under way.
    listeners: Vec<TcpListener>,
    ended: mpsc::Receiver<std::convert::Infallible>,
}

/// Starts all tasks of an HTTP thread.
fn serve(shared: Arc<Shared>, sockets: Vec<TcpListener>) -> io::Result<Serving> {
    let (alive, ended) = mpsc::channel(1);
    let (most, share) = http_places(&shared.config, descriptors_max());
    let connections = Connections::new(most, share);
    let mut listeners = Vec::new();
    for listener in sockets {
        listeners.push(listener.try_clone()?);
        let listener = tokio_uring::net::TcpListener::from_std(listener);
        tokio_uring::spawn(http::accept(shared.clone(), listener, connections.clone(), alive.clone()));
    }
    Ok(Serving { shared, listeners, ended })
}

/// How many connections one HTTP thread may have, and how many of one client, when the process may have so many
/// descriptors: what the kernel cannot accept waits for those that are there, however silent they are.
fn http_places(config: &TrackerConfig, descriptors: usize) -> (usize, usize) {
    let workers = config.worker_count();
    let reserved = DESCRIPTORS_RESERVED + DESCRIPTORS_RESERVED_PER_WORKER * workers;
    let room = descriptors.saturating_sub(reserved).max(descriptors / 4);
    let most = config.http_connections_max.min(room).div_ceil(workers);
    // The kernel spreads the connections of a client over the threads.
    (most, config.http_connections_per_client_max.div_ceil(workers))
}

/// Descriptors that this process may have.
fn descriptors_max() -> usize {
    use rustix::process::{Resource, getrlimit};
    let max = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(max).unwrap_or(usize::MAX)
}

impl Serving {
    /// Serves until the stop, then until all tasks are gone or the time for that is over.
    async fn until_stopped(mut self) {
        self.shared.stopping().await;
        for listener in &self.listeners {
            // Ends the accept under way. Dropping it instead could leave a connection open for ever.
            let _ = SockRef::from(listener).shutdown(std::net::Shutdown::Both);
        }
        // `None` when the last task is gone.
        if tokio::time::timeout(STOP_TIMEOUT, self.ended.recv()).await.is_err() {
            tracing::debug!("some connections did not end in time");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_descriptors_for_the_rest() {
        let config = TrackerConfig { workers: 2, ..TrackerConfig::default() };
        assert_eq!(http_places(&config, usize::MAX), (2048, 128));
        assert_eq!(http_places(&config, 1024), ((1024 - 80) / 2, 128));
        for descriptors in [16, 64, 256, 4096] {
            assert!(http_places(&config, descriptors).0 * 2 < descriptors, "{descriptors}");
        }
    }
}
