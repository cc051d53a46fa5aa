//! An engine as a command runs it: settings gathered, started, watched, stopped in good order.

use super::args::EngineArgs;
use super::failure::Failure;
use super::quantity::printable;
use super::signals::Stop;
use super::transfer_view::TransferView;
use super::{control_runtime, fetch, screen};
use crate::config::EngineConfig;
use crate::config_file::Settings;
use crate::startup::Engine;
use ringseed_announce::Trust;
use ringseed_handle::{AddOutcome, AddTorrent, EngineError, EngineHandle, EngineSnapshot, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;

/// A running engine and what its command needs around it.
pub struct ForegroundEngine {
    engine: Engine,
    runtime: Runtime,
    stop: Stop,
    view: TransferView,
}

/// Why [`ForegroundEngine::watch`] came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Watched {
    /// The caller had seen enough.
    Done,
    /// A signal asked for the stop.
    Interrupted,
    /// The engine ended by itself.
    EngineGone,
}

/// The settings of `args`: flags and variables over the configuration file, which is `fallback` when none
/// is named and that one exists.
pub fn settings(args: &EngineArgs, fallback: Option<&Path>) -> Result<Settings, Failure> {
    let named = args.config.as_deref();
    let Some(path) = named.or_else(|| fallback.filter(|path| path.exists())) else {
        return Ok(args.settings.clone());
    };
    let file = Settings::from_file(path).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(args.settings.clone().over(file))
}

/// Reads all torrents, each once even if named twice. Errors name the first that cannot be read.
pub fn load_torrents(
    sources: &[String],
    settings: &Settings,
    stop: &Stop,
) -> Result<Vec<Arc<Metainfo>>, Failure> {
    if (settings.proxy.is_some() || settings.bind_interface.is_some())
        && let Some(url) = sources.iter().find(|source| fetch::is_url(source))
    {
        let text =
            format!("{url} would be fetched around the proxy or interface; give a torrent file instead");
        return Err(Failure::usage(text));
    }
    let trust = match &settings.tracker_ca {
        Some(path) => {
            Trust::with_file(path).map_err(|why| Failure::usage(format!("{why}; check --tracker-ca")))?
        }
        None => Trust::default(),
    };
    let mut stop = stop.clone();
    control_runtime()?.block_on(async {
        let mut torrents: Vec<Arc<Metainfo>> = Vec::with_capacity(sources.len());
        for source in sources {
            let torrent = tokio::select! {
                torrent = fetch::torrent(source, &trust) => torrent?,
                () = stop.wait() => return Err(Failure::failed("interrupted")),
            };
            if torrents.iter().all(|other| other.id() != torrent.id()) {
                torrents.push(Arc::new(torrent));
            }
        }
        Ok(torrents)
    })
}

impl ForegroundEngine {
    /// Starts an engine and says which port it listens on.
    pub fn start(command: &str, config: EngineConfig, stop: &Stop, quiet: bool) -> Result<Self, Failure> {
        let runtime = control_runtime()?;
        let engine = Engine::start(config).map_err(|error| Failure::failed(error.to_string()))?;
        screen::say(&format!("ringseed {command}: listening on port {}", engine.handle().listen_port()));
        Ok(Self { engine, runtime, stop: stop.clone(), view: TransferView::new(quiet) })
    }

    /// Adds a torrent, or finds it again in the state directory, where it must have the same data directory.
    pub fn add(&self, torrent: AddTorrent) -> Result<AddOutcome, Failure> {
        let handle = self.engine.handle();
        let (hash, data_dir) = (torrent.metainfo.id(), torrent.data_dir.clone());
        let name = printable(&torrent.metainfo.info.name);
        let outcome = self
            .runtime
            .block_on(handle.add(torrent))
            .map_err(|error| Failure::failed(format!("cannot add {name}: {error}")))?;
        self.settle(hash);
        let snapshot = handle.snapshot();
        let known = find(&snapshot, hash).map(|torrent| torrent.download_dir().to_path_buf());
        match (outcome, known, data_dir) {
            (AddOutcome::Duplicate(_), Some(known), Some(wanted)) if known != wanted => {
                Err(Failure::failed(format!(
                    "{name} is already in this state directory, with its data in {}; name that directory, or give \
                     another --state-dir",
                    known.display()
                )))
            }
            _ => Ok(outcome),
        }
    }

    /// Gives the engine a command for a torrent; the snapshot shows its effect when this returns. One that is
    /// not taken because the engine ends is found by [`ForegroundEngine::watch`].
    pub fn command<F>(&self, torrent: TorrentId, ask: impl FnOnce(EngineHandle) -> F)
    where
        F: Future<Output = Result<(), EngineError>>,
    {
        if let Err(error) = self.runtime.block_on(ask(self.engine.handle())) {
            tracing::debug!(%error, %torrent, "a command was not taken");
        }
        self.settle(torrent);
    }

    /// Waits until the snapshot shows the effect of the last command. An answer may come before the snapshot;
    /// the answer to the next command does not, for commands are taken one after the other.
    fn settle(&self, torrent: TorrentId) {
        let handle = self.engine.handle();
        let _ = self.runtime.block_on(handle.add_peers(torrent, Vec::new()));
    }

    /// Shows and hands over every new snapshot until `enough` says so or the engine has to stop.
    pub fn watch(&mut self, mut enough: impl FnMut(&EngineSnapshot) -> bool) -> Watched {
        let mut handle = self.engine.handle();
        let (stop, view) = (&mut self.stop, &mut self.view);
        self.runtime.block_on(async {
            loop {
                let snapshot = handle.snapshot();
                view.update(&snapshot, Instant::now());
                if enough(&snapshot) {
                    return Watched::Done;
                }
                tokio::select! {
                    () = stop.wait() => return Watched::Interrupted,
                    changed = handle.changed() => if changed.is_err() { return Watched::EngineGone },
                    // Plain lines have their own pace.
                    () = tokio::time::sleep(Duration::from_secs(1)) => {}
                }
            }
        })
    }

    /// Where the RPC listens, when it does.
    pub fn rpc_address(&self) -> Option<SocketAddr> {
        self.engine.rpc_address()
    }

    /// Stops the engine in good order: trackers are told, resume data is saved.
    pub fn finish(self) {
        drop(self.view);
        self.engine.stop();
    }
}

/// The torrent with this info-hash.
pub fn find(snapshot: &EngineSnapshot, torrent: TorrentId) -> Option<&Arc<TorrentStatus>> {
    snapshot.torrents.find(&torrent)
}
