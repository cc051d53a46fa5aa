//! Adding torrents. What touches the disk (where the data is, its directory, its files) is done beside the control thread.
//! Here are the steps between: what is there already, whose paths these are, entering what is new in the resume store,
//! several torrents in one transaction, and only then the start.

use super::super::default_trackers::with_defaults;
use super::super::pieces::Pieces;
use super::super::work::{GivingBack, MakingDirectory, Opened, Opening, Places, Search, Work};
use super::Session;
use ringseed_handle::{AddOutcome, AddTorrent, Busy, EngineError, Reply};
use ringseed_storage::TorrentSettings;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Somebody who added a torrent that is being added already.
pub(super) struct Second {
    peers: Vec<SocketAddr>,
    reply: Reply<AddOutcome>,
}

impl Session {
    /// Begins to add a torrent.
    pub(super) fn add(&mut self, add: AddTorrent, reply: Reply<AddOutcome>) {
        let torrent_id = add.metainfo.id();
        if let Some(seconds) = self.opening.get_mut(&torrent_id) {
            return seconds.push(Second { peers: add.peers, reply });
        }
        if let Some(id) = self.ids.get(&torrent_id).copied() {
            let result = match self.torrents[&id].is_leaving() {
                false => {
                    self.keep_peers(torrent_id, add.peers);
                    Ok(AddOutcome::Duplicate(id))
                }
                true => Err(Busy::BeingRemoved(torrent_id).into()),
            };
            return self.answer(reply, result);
        }
        self.opening.insert(torrent_id, Vec::new());
        let settings = &self.settings;
        let usual = settings.download_dir.clone().unwrap_or(self.parts.settings.download_dir.clone());
        let places = Places {
            usual,
            first: settings.incomplete_dir.clone().filter(|_| settings.incomplete_dir_on),
            limits: self.parts.store_limits.clone(),
        };
        self.work.push(Work::Search(Box::new(Search { add, reply, places })));
    }

    /// The next step of the adds whose files were looked at: those that can be entered are, in one transaction.
    pub fn go_on_adding(&mut self) {
        if self.opened.is_empty() {
            return;
        }
        let mut new = Vec::new();
        for opening in std::mem::take(&mut self.opened) {
            let torrent_id = opening.add.metainfo.id();
            let roots = self.claims.settle(&opening.directories);
            if let Err(error) = self.check_paths(torrent_id, &opening.add.metainfo.info, &roots) {
                self.refused(opening, error);
                continue;
            }
            match opening.opened {
                None => {
                    let limits = self.parts.store_limits.clone();
                    self.work.push(Work::MakeDirectory(Box::new(MakingDirectory { opening, limits })));
                }
                Some(Err(ref error)) => {
                    let error = error.clone().into();
                    self.refused(opening, error);
                }
                Some(Ok(ref opened)) => {
                    let id = self.insert_new(&opening, opened, roots);
                    new.push((id, opening));
                }
            }
        }
        self.enter_new(new);
    }

    /// Puts a torrent into the session that is not in the store yet.
    fn insert_new(&mut self, opening: &Opening, opened: &Opened, roots: Vec<PathBuf>) -> u32 {
        let Opening { add, data_dir, move_when_done, .. } = opening;
        let entry = self.entry(add.metainfo.clone(), opened.store.clone());
        let mut pieces = Pieces::none(entry.content.info.layout.piece_count());
        if opened.found {
            pieces.doubt();
        }
        let mut settings = TorrentSettings {
            queue: self.last_place + 1,
            move_when_done: move_when_done.clone(),
            had_data: opened.lost,
            ..add.settings.clone()
        };
        if !entry.content.info.private {
            let tiers = settings.tiers.as_deref().unwrap_or(&entry.metainfo.tiers);
            let with_more = with_defaults(tiers, self.settings.default_trackers_in_force());
            settings.tiers = with_more.or(settings.tiers);
        }
        if add.earlier.finished_at.is_some() && settings.files.is_empty() {
            settings.was_whole = true;
        }
        self.insert(entry, pieces, data_dir.clone(), Some(roots), |torrent| {
            torrent.settings = Arc::new(settings);
            torrent.apply_settings(add.sequential);
            torrent.uploaded_before = add.earlier.uploaded;
            torrent.downloaded_before = add.earlier.downloaded;
            torrent.added_at = add.earlier.added_at.unwrap_or(torrent.added_at);
            torrent.finished_at = add.earlier.finished_at;
        })
    }

    /// Enters torrents in the store, then lets them begin, then answers.
    fn enter_new(&mut self, new: Vec<(u32, Opening)>) {
        let states: Vec<_> = new.iter().map(|(_, opening)| opening.stored_as()).collect();
        let all = self.save_new(&states);
        let mut answers = Vec::new();
        for ((id, opening), state) in new.into_iter().zip(states) {
            let result = match &all {
                Ok(()) => Ok(()),
                // One that is too large does not keep the others out.
                Err(_) if self.store_failure.is_none() => self.save_new(&[state]),
                Err(error) => Err(error.clone()),
            };
            let result = match result {
                Ok(()) => {
                    self.begin_new(&opening);
                    Ok(id)
                }
                Err(error) => {
                    self.take_out(id);
                    Err(error)
                }
            };
            answers.push((opening, result));
        }
        for (opening, result) in answers {
            match result {
                Ok(id) => self.added(opening, id),
                Err(error) => self.refused(opening, error),
            }
        }
    }

    /// Lets a torrent begin that is stored.
    fn begin_new(&mut self, opening: &Opening) {
        let torrent_id = opening.add.metainfo.id();
        let Some(Ok(opened)) = &opening.opened else { return };
        let Some(entry) = self.torrent(&torrent_id).map(|torrent| torrent.entry.clone()) else { return };
        self.counted.added(entry.content.info.layout.files.len());
        self.parts.registry.insert([entry]);
        let run = !opening.add.paused;
        if opened.found {
            self.begin_check(torrent_id, run);
        } else if run && (!opened.lost || self.look(torrent_id, true).is_some()) {
            self.begin_run(torrent_id);
        }
    }

    /// A torrent was added.
    fn added(&mut self, opening: Opening, id: u32) {
        let Opening { add, reply, .. } = opening;
        let torrent_id = add.metainfo.id();
        self.keep_peers(torrent_id, add.peers);
        for Second { peers, reply } in self.opening.remove(&torrent_id).unwrap_or_default() {
            self.keep_peers(torrent_id, peers);
            self.answer(reply, Ok(AddOutcome::Duplicate(id)));
        }
        self.answer(reply, Ok(AddOutcome::Added(id)));
    }

    /// A torrent was not added.
    fn refused(&mut self, opening: Opening, error: EngineError) {
        let Opening { add, reply, adopted, .. } = opening;
        for Second { reply, .. } in self.opening.remove(&add.metainfo.id()).unwrap_or_default() {
            self.answer(reply, Err(error.clone()));
        }
        if adopted.is_empty() {
            // Nobody may be waiting any more.
            let _ = reply.send(Err(error));
        } else {
            // The other client has the torrent still.
            let answer = Some((reply, error));
            self.work.push(Work::GiveBack(Box::new(GivingBack { adopted, answer })));
        }
    }
}
