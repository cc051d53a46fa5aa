//! Start and stop of an engine: preflight, listeners, shards, control thread.

use crate::config::EngineConfig;
use crate::control::outside::SystemClock;
use crate::control::session::{Session, SessionParts};
use crate::control::watch as watch_folder;
use crate::control::work::Workers;
use crate::control::{Inbox, loader, thread};
use crate::descriptors::Descriptors;
use crate::limits::{CONTROL_QUEUE, SHARD_MAILBOX, SHARD_REPORTS};
use crate::preflight;
use crate::shard::mailbox::{self, mailbox};
use crate::shard::message::FromShard;
use crate::shard::publish::ShardSnapshot;
use crate::shard::rate::RateLimit;
use crate::shard::registry::Registry;
use crate::shard::{Shard, ShardContext};
use crate::start_error::{StartError, ThreadError};
use crate::turns;
use arc_swap::ArcSwap;
use glommio::Placement;
use ringseed_announce::{AnnounceConfig, Announcer, Trust};
use ringseed_handle::{EngineHandle, EngineSnapshot};
use ringseed_net::listener::{Listeners, PortClaim};
use ringseed_net::route::{self, Route};
use ringseed_proto::units::PeerId;
use ringseed_ring::executor::Executor;
use ringseed_rpc as rpc;
use ringseed_storage::limits::LOADED_BYTES_MAX;
use ringseed_storage::{StoreConfig, StoreLimits, memory};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::mpsc as std_mpsc;
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::{mpsc, watch};

/// A running engine. Dropping it stops it as [`Engine::stop`] does.
pub struct Engine {
    handle: EngineHandle,
    control: Option<JoinHandle<()>>,
    shards: Vec<JoinHandle<()>>,
    loader: Option<JoinHandle<()>>,
    rpc_address: Option<SocketAddr>,
    /// Removed with the engine.
    _socket_file: Option<rpc::UnixSocket>,
}

impl Engine {
    /// Starts shards and the control thread; returns when the engine listens.
    ///
    /// # Errors
    /// See [`StartError`]; each is one clear message with what to do.
    pub fn start(config: EngineConfig) -> Result<Self, StartError> {
        let descriptor_limit = preflight::check()?;
        let cpus = allowed_cpus();
        let descriptors = Descriptors::share(descriptor_limit, config.shards.unwrap_or(cpus.len()).max(1));
        let config = within(config, &descriptors, descriptor_limit);
        let shard_count = descriptors.shards;
        let usable = memory::usable();
        let store_config = StoreConfig {
            // What is dirty, and what is read for peers, is memory as well.
            dirty_bytes_max: config.dirty_bytes_max.min(usable / 4),
            loaded_bytes_max: LOADED_BYTES_MAX.min(usable / 8),
            piece_bytes_max: config.piece_memory_max.unwrap_or_else(|| memory::for_pieces(usable)),
            descriptors_max: descriptors.files,
            ..StoreConfig::default()
        };
        let store_limits = StoreLimits::new(&store_config);
        let interface = config.bind_interface.as_deref();
        let listeners =
            Listeners::open_at_start(config.listen_port, &config.listen_addresses, interface, shard_count)?;
        let proxy = config.proxy.as_ref().map(route::resolve).transpose()?;
        let trust = match &config.tracker_ca {
            Some(path) => Trust::with_file(path)?,
            None => Trust::default(),
        };
        let route = Route {
            // With one address to listen on, trackers must see that one.
            bind: match config.listen_addresses[..] {
                [address] if !address.is_unspecified() => Some(address),
                _ => None,
            },
            interface: interface.map(Arc::from),
            proxy: proxy.map(Arc::new),
        };
        let rpc_listener = config.rpc.map(bind_rpc).transpose()?;
        let rpc_socket = config.rpc_socket.as_deref().map(rpc::UnixSocket::bind).transpose()?;
        let (rpc_socket, socket_file) = rpc_socket.unzip();
        let rpc_tls =
            config.rpc_tls.as_ref().map(|(certificate, key)| rpc::Tls::from_files(certificate, key));
        let rpc_tls = rpc_tls.transpose()?;
        let credentials = credentials(&config)?;
        let rpc_address = rpc_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let peer_id = new_peer_id();
        let settings = Arc::new(config);
        let Listeners { port, shards: sockets, claim } = listeners;
        let loading =
            settings.state_dir.clone().map(|dir| LoaderThread::start(dir, &store_limits, shard_count));
        let (loading, torrents) = match loading.transpose()? {
            Some((loading, torrents)) => (Some(loading), Some(torrents)),
            None => (None, None),
        };

        let failed = |what| move |error: io::Error| StartError::Thread { what, reason: error.into() };
        let (reports, report_inbox) = mailbox::<FromShard>(SHARD_REPORTS).map_err(failed("mailboxes"))?;
        let mut senders = Vec::new();
        let mut inboxes = Vec::new();
        for _ in 0..shard_count {
            let (sender, inbox) = mailbox(SHARD_MAILBOX).map_err(failed("mailboxes"))?;
            senders.push(sender);
            inboxes.push(inbox);
        }
        let registry = Arc::new(Registry::default());
        let connections = Arc::new(AtomicUsize::new(0));
        let published: Vec<Arc<ArcSwap<ShardSnapshot>>> = (0..shard_count).map(|_| Arc::default()).collect();
        let upload_limit = Arc::new(RateLimit::new(settings.upload_rate_max));
        let download_limit = Arc::new(RateLimit::new(settings.download_rate_max));
        let epoch = Instant::now();

        let mut engine_shards = Vec::new();
        let (ready_sender, ready) = std_mpsc::channel();
        for (index, (inbox, listeners)) in inboxes.into_iter().zip(sockets).enumerate() {
            let context = ShardContext {
                index,
                settings: settings.clone(),
                descriptors,
                route: route.clone(),
                peer_id,
                listen_port: port,
                listeners,
                inbox,
                shards: senders.clone(),
                control: reports.clone(),
                registry: registry.clone(),
                published: published[index].clone(),
                connections: connections.clone(),
                upload_limit: upload_limit.clone(),
                download_limit: download_limit.clone(),
                epoch,
            };
            let placement = match cpus.get(index) {
                Some(cpu) if settings.pin && shard_count <= cpus.len() => Placement::Fixed(*cpu),
                _ => Placement::Unbound,
            };
            let ready = ready_sender.clone();
            let thread = std::thread::Builder::new()
                .name(format!("ringseed-{index}"))
                .spawn(move || run_shard(context, placement, &ready))
                .map_err(failed("a shard"))?;
            engine_shards.push(thread);
        }
        drop(ready_sender);
        for _ in 0..shard_count {
            let started = ready.recv().unwrap_or(Err(ThreadError::Ended));
            started.map_err(|reason| StartError::Thread { what: "a shard", reason })?;
        }

        let snapshot = Arc::new(ArcSwap::from_pointee(EngineSnapshot::default()));
        let (changed_sender, changed) = watch::channel(0);
        let (commands, command_queue) = mpsc::channel(CONTROL_QUEUE);
        let listen_port = Arc::new(AtomicU16::new(port));
        let handle = EngineHandle::new(commands, snapshot.clone(), changed, listen_port.clone());
        let starting = ControlStart {
            settings: settings.clone(),
            descriptors,
            registry,
            senders,
            published,
            store_limits,
            torrents,
            snapshot,
            changed: changed_sender,
            connections,
            upload_limit,
            download_limit,
            peer_id,
            route,
            trust,
            listen_port,
            claim,
            report_inbox,
            command_queue,
            handle: handle.clone(),
            rpc_listener,
            rpc_socket,
            rpc_tls,
            credentials,
        };
        let (ready_sender, ready) = std_mpsc::channel();
        let control = std::thread::Builder::new()
            .name("ringseed-ctl".into())
            .spawn(move || {
                if let Err(error) = turns::come_soon() {
                    tracing::debug!(%error, "the RPC waits for the shards' turns");
                }
                starting.run(&ready_sender)
            })
            .map_err(failed("the control thread"))?;
        ready
            .recv()
            .unwrap_or(Err(ThreadError::Ended))
            .map_err(|reason| StartError::Thread { what: "the control thread", reason })?;
        let (opened, loader) = loading.map(|loading| (loading.opened, loading.thread)).unzip();
        let engine = Self {
            handle,
            control: Some(control),
            shards: engine_shards,
            loader,
            rpc_address,
            _socket_file: socket_file,
        };
        // The RPC answers already; whether there is a state to serve is known when its file is open.
        if let Some(opened) = opened {
            let ended = |_| StartError::Thread { what: "the loader", reason: ThreadError::Ended };
            opened.recv().map_err(ended)??;
        }
        Ok(engine)
    }

    /// Commands to, and snapshots of, this engine.
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }

    /// Where the RPC listens, when it does.
    pub fn rpc_address(&self) -> Option<SocketAddr> {
        self.rpc_address
    }

    /// Stops the engine: trackers are told, pieces and state are saved. Takes at most
    /// [`crate::limits::SHUTDOWN_MAX`].
    pub fn stop(mut self) {
        self.stop_threads();
    }

    /// Waits until the engine was stopped through a handle.
    pub fn wait(mut self) {
        self.join();
    }

    fn stop_threads(&mut self) {
        if self.control.as_ref().is_some_and(|thread| !thread.is_finished()) {
            self.handle.begin_shutdown();
        }
        self.join();
    }

    fn join(&mut self) {
        let threads = self.control.take().into_iter().chain(self.shards.drain(..)).chain(self.loader.take());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the engine panicked");
            }
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_threads();
    }
}

/// The settings with as many connections as there are descriptors for.
fn within(mut config: EngineConfig, descriptors: &Descriptors, limit: u64) -> EngineConfig {
    let asked = config.shards.unwrap_or(descriptors.shards);
    if descriptors.peers < config.connections_max || descriptors.shards < asked {
        tracing::warn!(
            limit,
            connections = descriptors.peers.min(config.connections_max),
            shards = descriptors.shards,
            "few files may be open at once, which leaves less for peers; raise it with `ulimit -n`, LimitNOFILE= \
             (systemd) or --ulimit nofile= (Docker, Podman)"
        );
    }
    config.connections_max = config.connections_max.min(descriptors.peers);
    config
}

fn run_shard(context: ShardContext, placement: Placement, ready: &std_mpsc::Sender<Result<(), ThreadError>>) {
    let index = context.index;
    let executor = match Executor::new(placement) {
        Ok(executor) => executor,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    executor.run(async move {
        match Shard::new(context) {
            Ok(shard) => {
                let _ = ready.send(Ok(()));
                if let Err(error) = shard.run().await {
                    tracing::error!(shard = index, %error, "the data ring failed");
                }
            }
            Err(error) => {
                let _ = ready.send(Err(error.into()));
            }
        }
    });
}

/// What the control thread is made of; it makes the rest itself, for much of it stays on its thread.
struct ControlStart {
    settings: Arc<EngineConfig>,
    descriptors: Descriptors,
    registry: Arc<Registry>,
    senders: Vec<mailbox::Sender<crate::shard::message::ToShard>>,
    published: Vec<Arc<ArcSwap<ShardSnapshot>>>,
    store_limits: Arc<StoreLimits>,
    torrents: Option<mpsc::Receiver<loader::Loading>>,
    snapshot: Arc<ArcSwap<EngineSnapshot>>,
    changed: watch::Sender<u64>,
    connections: Arc<AtomicUsize>,
    upload_limit: Arc<RateLimit>,
    download_limit: Arc<RateLimit>,
    peer_id: PeerId,
    route: Route,
    trust: Trust,
    listen_port: Arc<AtomicU16>,
    claim: PortClaim,
    report_inbox: mailbox::Receiver<FromShard>,
    command_queue: mpsc::Receiver<ringseed_handle::Command>,
    handle: EngineHandle,
    rpc_listener: Option<std::net::TcpListener>,
    rpc_socket: Option<std::os::unix::net::UnixListener>,
    rpc_tls: Option<rpc::Tls>,
    credentials: rpc::Credentials,
}

impl ControlStart {
    fn run(self, ready: &std_mpsc::Sender<Result<(), ThreadError>>) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                let _ = ready.send(Err(error.into()));
                return;
            }
        };
        let local = tokio::task::LocalSet::new();
        if let Err(error) = local.block_on(&runtime, self.serve(ready)) {
            tracing::error!(%error, "the control thread ended");
            // Nobody listens once it has started.
            let _ = ready.send(Err(error));
        }
    }

    async fn serve(self, ready: &std_mpsc::Sender<Result<(), ThreadError>>) -> Result<(), ThreadError> {
        let (updates, announces) = mpsc::channel(CONTROL_QUEUE);
        let announce_config = AnnounceConfig {
            peer_id: self.peer_id,
            key: u32::from_be_bytes([
                self.peer_id.0[16],
                self.peer_id.0[17],
                self.peer_id.0[18],
                self.peer_id.0[19],
            ]),
            listen_port: self.listen_port.load(Ordering::Relaxed),
            user_agent: concat!("Ringseed/", env!("CARGO_PKG_VERSION")).into(),
            route: self.route.clone(),
            sockets_max: self.descriptors.trackers,
            trust: self.trust.clone(),
        };
        let announcer = Rc::new(Announcer::new(announce_config, updates));
        let session = Session::new(SessionParts {
            settings: self.settings.clone(),
            registry: self.registry,
            shards: self.senders,
            published: self.published,
            store_limits: self.store_limits,
            resume: None,
            loads: self.torrents.is_some(),
            trackers: announcer.clone(),
            clock: Rc::new(SystemClock),
            listen_port: self.listen_port,
            claim: Some(self.claim),
            snapshot: self.snapshot,
            changed: self.changed,
            connections: self.connections,
            upload_limit: self.upload_limit,
            download_limit: self.download_limit,
        });
        let inbox = Inbox::new(self.report_inbox)?;
        let listeners = rpc::RpcListeners {
            tcp: match self.rpc_listener.map(tokio::net::TcpListener::from_std) {
                Some(listener) => Some((listener?, self.rpc_tls)),
                None => None,
            },
            unix: match self.rpc_socket.map(tokio::net::UnixListener::from_std) {
                Some(listener) => Some(listener?),
                None => None,
            },
        };
        if listeners.tcp.is_some() || listeners.unix.is_some() {
            let info = rpc::RpcInfo {
                version: env!("CARGO_PKG_VERSION").into(),
                download_dir: self.settings.download_dir.clone(),
                state_dir: self.settings.state_dir.clone(),
                sockets_max: self.descriptors.rpc,
                connections_max: self.settings.connections_max,
                torrent_connections_max: self.settings.torrent_connections_max,
                allowed_hosts: self.settings.rpc_hosts.clone(),
                credentials: self.credentials,
                fetch_local: self.settings.rpc_fetch_local,
                create_dirs: [&self.settings.download_dir]
                    .into_iter()
                    .chain(&self.settings.rpc_create_dirs)
                    .cloned()
                    .collect(),
                route: self.route,
                trust: self.trust,
                started: std::time::SystemTime::now(),
            };
            tokio::task::spawn_local(rpc::serve(listeners, self.handle.clone(), info));
        }
        if let Some(dir) = self.settings.state_dir.clone() {
            tokio::task::spawn_local(rpc::load_blocklist(dir, self.handle.clone()));
        }
        if let Some(folder) = self.settings.watch_dir.clone() {
            tokio::task::spawn_local(watch_folder::watch(
                folder,
                self.settings.state_dir.clone(),
                self.handle.clone(),
            ));
        }
        drop(self.handle);
        let _ = ready.send(Ok(()));
        let workers = Workers::new(announcer);
        Ok(thread::run(session, workers, self.command_queue, announces, inbox, self.torrents).await?)
    }
}

/// A loader under way.
struct LoaderThread {
    thread: JoinHandle<()>,
    /// Told once whether the store could be opened.
    opened: std_mpsc::Receiver<Result<(), loader::StateError>>,
}

impl LoaderThread {
    fn start(
        state_dir: PathBuf,
        store_limits: &Arc<StoreLimits>,
        shards: usize,
    ) -> Result<(Self, mpsc::Receiver<loader::Loading>), StartError> {
        let (session, torrents) = mpsc::channel(loader::BATCHES_MAX);
        let (open_sender, opened) = std_mpsc::channel();
        let loader = loader::Loader { state_dir, store_limits: store_limits.clone(), shards, session };
        let thread = std::thread::Builder::new()
            .name("ringseed-load".into())
            .spawn(move || loader.run(&open_sender))
            .map_err(|error| StartError::Thread { what: "the loader", reason: error.into() })?;
        Ok((Self { thread, opened }, torrents))
    }
}

fn bind_rpc(address: SocketAddr) -> Result<std::net::TcpListener, StartError> {
    std::net::TcpListener::bind(address)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| StartError::Rpc { address, source })
}

/// What clients of the RPC must show: what is configured, and the token of the state directory.
fn credentials(config: &EngineConfig) -> Result<rpc::Credentials, StartError> {
    let read = |texts: &[String]| texts.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>();
    let (networks, proxies) = (read(&config.rpc_networks)?, read(&config.rpc_proxies)?);
    if config
        .rpc_auth
        .as_ref()
        .is_some_and(|pair| pair.split_once(':').is_none_or(|(_, password)| password.is_empty()))
    {
        return Err(StartError::RpcAuth);
    }
    let token = match (&config.rpc_token_file, &config.state_dir) {
        (Some(path), _) => Some(rpc::shared_token(path)?),
        (None, Some(dir)) if config.rpc.is_some() || config.rpc_socket.is_some() => Some(rpc::token(dir)?),
        _ => None,
    };
    Ok(rpc::Credentials { pair: config.rpc_auth.clone(), token, networks, proxies })
}

/// CPUs this process may run on.
fn allowed_cpus() -> Vec<usize> {
    let set = rustix::thread::sched_getaffinity(None);
    match set {
        Ok(set) => (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect(),
        Err(_) => (0..std::thread::available_parallelism().map_or(1, Into::into)).collect(),
    }
}

/// A peer id in the Azureus style: client, version, 12 random characters.
fn new_peer_id() -> PeerId {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut id = *b"-RS0010-............";
    let mut random = [0u8; 12];
    // The pool of a running system never fails for so few bytes; a peer id need not be secret either way.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    for (place, byte) in id[8..].iter_mut().zip(random) {
        *place = ALPHABET[usize::from(byte) % ALPHABET.len()];
    }
    PeerId(id)
}
