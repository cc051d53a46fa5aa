//! `seed`: serves data that is there already. It never writes to it.

use super::args::{Output, Seed};
use super::failure::{Failure, io_reason};
use super::quantity::{printable, size};
use super::session::{ForegroundEngine, Watched, find, load_torrents, settings};
use super::signals::Stop;
use super::state_dir::{self, StateDir};
use super::{as_found, directory, screen};
use crate::config::EngineConfig;
use ringseed_handle::{AddTorrent, EngineSnapshot, TorrentState, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::{Info, Metainfo};
use std::path::Path;
use std::sync::Arc;

/// Runs the command.
pub fn run(args: &Seed, output: &Output) -> Result<(), Failure> {
    let stop = Stop::install()?;
    let settings = settings(&args.engine, None)?;
    let torrents = load_torrents(&args.torrents, &settings, &stop)?;
    let data_dir = directory(&args.data)?;
    for metainfo in &torrents {
        check_sizes(&as_found(&metainfo.info, &data_dir), &data_dir)?;
    }
    let hashes: Vec<_> = torrents.iter().map(|torrent| torrent.id()).collect();
    let state = match &settings.state_dir {
        Some(path) => StateDir::open(path)?,
        None => StateDir::open(&state_dir::of_transfer("seed", &data_dir, &hashes)?)?,
    };
    let config = EngineConfig {
        state_dir: Some(state.path().to_owned()),
        download_dir: data_dir.clone(),
        rpc: None,
        ..settings.to_config()
    };
    let mut session = ForegroundEngine::start("seed", config, &stop, output.quiet)?;
    for metainfo in &torrents {
        // Paused, so that nothing is fetched and written before the data is known to be complete.
        session.add(AddTorrent {
            data_dir: Some(data_dir.clone()),
            paused: true,
            ..AddTorrent::new(metainfo.clone())
        })?;
    }
    let mut offers: Vec<_> = torrents.into_iter().map(Offer::new).collect();
    let watched = loop {
        let mut settings = Vec::new();
        let watched = session.watch(|snapshot| {
            settings.extend(offers.iter_mut().filter_map(|offer| offer.look(snapshot)));
            !settings.is_empty() || offers.iter().all(|offer| offer.stage == Stage::Failed)
        });
        if settings.is_empty() {
            break watched;
        }
        for (torrent, wish) in settings {
            session.command(torrent, async |engine| match wish {
                Wish::Verify => engine.verify(torrent).await,
                Wish::Start => engine.resume(torrent).await,
                Wish::Pause => engine.pause(torrent).await,
            });
        }
    };
    // The next run decides again what is started, when it has looked at the data.
    for offer in &offers {
        session.command(offer.metainfo.id(), async |engine| engine.pause(offer.metainfo.id()).await);
    }
    session.finish();
    match watched {
        Watched::EngineGone => Err(Failure::failed("the engine ended")),
        _ if offers.iter().any(|offer| offer.stage == Stage::Failed) => Err(Failure::Reported),
        _ => Ok(()),
    }
}

/// Refuses data that cannot be complete before anything is read or written.
fn check_sizes(info: &Info, data_dir: &Path) -> Result<(), Failure> {
    let name = printable(&info.name);
    for file in info.layout.files.iter().filter(|file| !file.padding) {
        let path = data_dir.join(&file.path);
        let shown = printable(&path.to_string_lossy());
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() && found.len() == file.length => {}
            Ok(found) if found.is_file() => {
                return Err(Failure::failed(format!(
                    "{name}: {shown} has {}, the torrent says {}; this is not the data it was made of",
                    size(found.len()),
                    size(file.length)
                )));
            }
            Ok(_) => return Err(Failure::failed(format!("{name}: {shown} is not a file"))),
            Err(error) => {
                return Err(Failure::failed(format!(
                    "{name}: cannot use {shown}: {}; --data names the directory that holds '{name}'",
                    io_reason(&error)
                )));
            }
        }
    }
    Ok(())
}

/// A torrent that the command offers.
struct Offer {
    metainfo: Arc<Metainfo>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// As the state directory had it, or being hashed because it is new.
    Found,
    /// Hashed at our wish, because not all pieces were known to be right.
    Verified,
    Seeding,
    Failed,
}

/// What has to happen with a torrent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Verify,
    Start,
    Pause,
}

impl Offer {
    fn new(metainfo: Arc<Metainfo>) -> Self {
        Self { metainfo, stage: Stage::Found }
    }

    /// Takes note of the torrent's state, says what is new, and gives what has to happen next.
    fn look(&mut self, snapshot: &EngineSnapshot) -> Option<(TorrentId, Wish)> {
        let status = find(snapshot, self.metainfo.id())?;
        let (stage, wish) = self.next(status);
        if stage != self.stage {
            self.tell(stage, status);
            self.stage = stage;
        }
        wish.map(|wish| (self.metainfo.id(), wish))
    }

    fn next(&self, status: &TorrentStatus) -> (Stage, Option<Wish>) {
        match (&status.state, self.stage) {
            (_, Stage::Failed) => (Stage::Failed, None),
            (TorrentState::Failed(_) | TorrentState::Missing(_), _) => (Stage::Failed, None),
            (TorrentState::Checking(_) | TorrentState::Queued | TorrentState::Moving(_), stage) => {
                (stage, None)
            }
            (TorrentState::Seeding, _) => (Stage::Seeding, None),
            (TorrentState::Paused, stage) if status.left == 0 => (stage, Some(Wish::Start)),
            (TorrentState::Paused, Stage::Found) => (Stage::Verified, Some(Wish::Verify)),
            (TorrentState::Paused, _) => (Stage::Failed, None),
            // Nobody asked for the missing pieces to be written over what is there.
            (TorrentState::Downloading, _) => (Stage::Failed, Some(Wish::Pause)),
        }
    }

    fn tell(&self, stage: Stage, status: &TorrentStatus) {
        let name = printable(&self.metainfo.info.name);
        let all = self.metainfo.info.layout.piece_count();
        match (stage, &status.state) {
            (Stage::Seeding, _) => {
                screen::say(&format!("seeding {name} ({}) {all} pieces", self.metainfo.id()))
            }
            (Stage::Failed, TorrentState::Failed(reason) | TorrentState::Missing(reason)) => {
                screen::complain(&format!("{name}: {}", printable(reason)));
            }
            (Stage::Failed, _) => screen::complain(&format!(
                "{name} is not complete in {}: {} of {all} pieces are right; `ringseed get -o` with that directory \
                 fetches the others",
                status.data_dir.display(),
                status.have.count_ones(),
            )),
            (Stage::Found | Stage::Verified, _) => {}
        }
    }
}
