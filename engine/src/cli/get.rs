//! `get`: downloads torrents, and seeds them up to a ratio.

use super::args::{Get, Output};
use super::failure::{Failure, io_reason};
use super::quantity::printable;
use super::session::{ForegroundEngine, Watched, find, load_torrents, settings};
use super::signals::Stop;
use super::sources::Sources;
use super::state_dir::{self, StateDir};
use super::{directory, screen};
use crate::config::EngineConfig;
use ringseed_handle::{
    AddOutcome, AddTorrent, EngineSnapshot, ShareLimitMode, TorrentSettings, TorrentState, TorrentStatus,
};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{StoreConfig, StoreLimits, TorrentStore};
use std::path::Path;
use std::time::Instant;

/// What is wanted of a torrent that stops at a ratio.
fn torrent_settings(ratio: Option<f64>) -> TorrentSettings {
    match ratio {
        Some(ratio) => {
            TorrentSettings { ratio_mode: ShareLimitMode::Own, ratio, ..TorrentSettings::default() }
        }
        None => TorrentSettings { ratio_mode: ShareLimitMode::Never, ..TorrentSettings::default() },
    }
}

/// Runs the command.
pub fn run(args: &Get, output: &Output) -> Result<(), Failure> {
    let stop = Stop::install()?;
    let settings = settings(&args.engine, None)?;
    let torrents = load_torrents(&args.torrents, &settings, &stop)?;
    std::fs::create_dir_all(&args.output).map_err(|error| {
        Failure::failed(format!("cannot make the directory {}: {}", args.output.display(), io_reason(&error)))
    })?;
    let data_dir = directory(&args.output)?;
    let hashes: Vec<_> = torrents.iter().map(|torrent| torrent.id()).collect();
    let state = match &settings.state_dir {
        Some(path) => StateDir::open(path)?,
        None => StateDir::open(&state_dir::of_transfer("get", &data_dir, &hashes)?)?,
    };
    let config = EngineConfig {
        state_dir: Some(state.path().to_owned()),
        download_dir: data_dir.clone(),
        rpc: None,
        ..settings.to_config()
    };
    let mut session = ForegroundEngine::start("get", config, &stop, output.quiet)?;
    for metainfo in &torrents {
        let outcome = session.add(AddTorrent {
            data_dir: Some(data_dir.clone()),
            sequential: args.sequential,
            settings: torrent_settings(args.seed_ratio),
            peers: args.peer.clone(),
            ..AddTorrent::new(metainfo.clone())
        })?;
        if let AddOutcome::Duplicate(_) = outcome {
            session.command(metainfo.id(), async |engine| engine.resume(metainfo.id()).await);
        }
    }
    let mut goals: Vec<_> = torrents.iter().map(|torrent| Goal::new(torrent)).collect();
    let watched = session.watch(|snapshot| {
        goals.iter_mut().for_each(|goal| goal.look(snapshot, args));
        goals.iter().all(|goal| matches!(goal.reached, Reached::End | Reached::Failed))
    });
    session.finish();
    let done = torrents.iter().zip(&goals).filter(|(_, goal)| matches!(goal.reached, Reached::End));
    for (metainfo, _) in done {
        cut_tails(metainfo, &data_dir)?;
    }
    let complete =
        goals.iter().filter(|goal| matches!(goal.reached, Reached::Complete | Reached::End)).count();
    match watched {
        Watched::Done if goals.iter().all(|goal| matches!(goal.reached, Reached::End)) => {
            if settings.state_dir.is_none() {
                state.remove();
            }
            Ok(())
        }
        Watched::Done => Err(Failure::Reported),
        Watched::Interrupted if complete == goals.len() => Ok(()),
        Watched::Interrupted => Err(Failure::failed(format!(
            "interrupted with {complete} of {} complete; the same command continues",
            goals.len()
        ))),
        Watched::EngineGone => Err(Failure::failed("the engine ended; the same command continues")),
    }
}

/// Cuts files that were there before and are longer than the torrent says, though all its bytes were right.
fn cut_tails(metainfo: &Metainfo, data_dir: &Path) -> Result<(), Failure> {
    let limits = StoreLimits::new(&StoreConfig::default());
    let all = Bitfield::full(metainfo.info.layout.piece_count());
    TorrentStore::open(data_dir, metainfo.info.clone(), &limits)
        .and_then(|store| store.cut_tails(&all))
        .map_err(|error| Failure::failed(error.to_string()))
}

/// How far a torrent of the command is.
struct Goal {
    torrent: TorrentId,
    name: String,
    reached: Reached,
    sources: Sources,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reached {
    /// Pieces are missing.
    Nothing,
    /// All is here, the ratio is not reached.
    Complete,
    /// All is here, and as much uploaded as wanted.
    End,
    /// It stopped with an error.
    Failed,
}

impl Goal {
    fn new(metainfo: &Metainfo) -> Self {
        Self {
            torrent: metainfo.id(),
            name: printable(&metainfo.info.name),
            reached: Reached::Nothing,
            sources: Sources::default(),
        }
    }

    /// Takes note of the torrent's state and says what is new.
    fn look(&mut self, snapshot: &EngineSnapshot, args: &Get) {
        let Some(status) = find(snapshot, self.torrent) else { return };
        self.sources.look(status, args.peer.len(), Instant::now());
        let before = std::mem::replace(&mut self.reached, reached(status, args.seed_ratio));
        match (&self.reached, &status.state) {
            (Reached::Complete | Reached::End, _) if matches!(before, Reached::Nothing | Reached::Failed) => {
                screen::say(&format!("complete {}", self.name));
            }
            (Reached::Failed, TorrentState::Failed(reason) | TorrentState::Missing(reason))
                if before != Reached::Failed =>
            {
                screen::complain(&format!("{}: {}", self.name, printable(reason)));
            }
            _ => {}
        }
    }
}

fn reached(status: &TorrentStatus, seed_ratio: Option<f64>) -> Reached {
    match status.state {
        TorrentState::Failed(_) | TorrentState::Missing(_) => Reached::Failed,
        TorrentState::Seeding if seed_ratio.is_some_and(|ratio| !status.ratio().reaches(ratio)) => {
            Reached::Complete
        }
        TorrentState::Seeding => Reached::End,
        // The engine pauses what has reached its ratio.
        TorrentState::Paused if status.left == 0 => Reached::End,
        TorrentState::Paused
        | TorrentState::Queued
        | TorrentState::Moving(_)
        | TorrentState::Checking(_)
        | TorrentState::Downloading => Reached::Nothing,
    }
}
