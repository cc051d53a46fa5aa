//! What handles ask of the session.

use super::super::default_trackers::with_defaults;
use super::super::handle::{AddOutcome, AddTorrent, Command, EngineError, Found, Reply};
use super::super::pieces::Pieces;
use super::super::torrent::{FileWork, Torrent};
use super::{Session, has_data, has_files, renamed};
use crate::limits::CONTROL_QUEUE;
use ringseed_net::candidates::Source;
use ringseed_net::limits::CANDIDATES_MAX;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::peer_address::canonical;
use ringseed_proto::units::InfoHash;
use ringseed_storage::{
    AdoptedFiles, Look, RunState, TorrentStore, Wishes, adopt_partial_names, lies_under_plain_names,
};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Session {
    /// Whether there is room for a command.
    pub fn takes_commands(&self) -> bool {
        self.held.len() < CONTROL_QUEUE
    }

    /// A command from a handle. While torrents are loaded it waits: it may be about one of them.
    pub fn on_command(&mut self, command: Command) {
        if self.loading && !matches!(command, Command::Shutdown(_)) {
            return self.held.push(command);
        }
        match command {
            Command::Add(add, reply) => {
                let result = self.add(*add);
                self.answer(reply, result);
            }
            Command::Pause(info_hash, reply) => {
                let result = self.known(info_hash).and_then(|()| self.pause(info_hash));
                self.answer(reply, result);
            }
            Command::Resume(info_hash, now, reply) => {
                let result = self.known(info_hash).and_then(|()| self.resume(info_hash, now));
                self.answer(reply, result);
            }
            Command::Remove(info_hash, delete, reply) => {
                let result = self.known(info_hash).and_then(|()| self.remove(info_hash, delete));
                // It is over in a moment, and whoever asked may add it again.
                match result {
                    Ok(()) if self.ids.contains_key(&info_hash) => {
                        self.leaving.entry(info_hash).or_default().push(reply);
                    }
                    result => self.answer(reply, result),
                }
            }
            Command::Handle(info_hash, work, reply) => {
                let renames = matches!(work, FileWork::Rename(_));
                match self.known(info_hash).and_then(|()| self.handle_files(info_hash, work)) {
                    // It is over in a moment, and whoever asked goes on with the new names.
                    Ok(true) if renames => _ = self.renaming.insert(info_hash, reply),
                    result => self.answer(reply, result.map(|_| ())),
                }
            }
            Command::CancelMove(info_hash, reply) => {
                let result = self.known(info_hash).and_then(|()| self.cancel_move(info_hash));
                self.answer(reply, result);
            }
            Command::MoveInQueue(torrents, to, reply) => {
                let result = self.move_in_queue(&torrents, to);
                self.answer(reply, result);
            }
            Command::Verify(info_hash, reply) => {
                let result = self.known(info_hash).map(|()| self.verify(info_hash));
                self.answer(reply, result);
            }
            Command::Reannounce(info_hash, reply) => {
                let result = self.known(info_hash).map(|()| self.parts.announcer.reannounce(info_hash));
                self.answer(reply, result);
            }
            Command::AddPeers(info_hash, peers, reply) => {
                let result = self.known(info_hash).map(|()| self.keep_peers(info_hash, peers));
                self.answer(reply, result);
            }
            Command::ChangeTorrent(info_hash, change, reply) => {
                let result = self.known(info_hash).and_then(|()| self.change_torrent(info_hash, change));
                self.answer(reply, result);
            }
            Command::ChangeEngine(change, reply) => {
                let result = self.change_engine(change);
                self.answer(reply, result);
            }
            Command::SetBlocklist(list, reply) => {
                self.blocklist = Some(list);
                self.apply_blocklist();
                self.answer(reply, Ok(()));
            }
            Command::Shutdown(reply) => {
                self.shutdown = Some(reply);
                self.stopping = true;
            }
        }
    }

    /// Answers a command once its effect is in the snapshot. Nobody may be waiting any more.
    pub(super) fn answer<T>(&mut self, reply: Reply<T>, result: Result<T, EngineError>) {
        self.refresh(true);
        let _ = reply.send(result);
    }

    /// Peers that the user named: tried now, and again whenever the torrent starts.
    pub(super) fn keep_peers(&mut self, info_hash: InfoHash, peers: Vec<SocketAddr>) {
        if let Some(torrent) = self.torrent(&info_hash) {
            for peer in peers.iter().copied().map(canonical) {
                if torrent.known_peers.len() < CANDIDATES_MAX && !torrent.known_peers.contains(&peer) {
                    torrent.known_peers.push(peer);
                }
            }
        }
        self.send_peers(info_hash, Source::User, peers);
    }

    pub(super) fn known(&self, info_hash: InfoHash) -> Result<(), EngineError> {
        if self.ids.contains_key(&info_hash) { Ok(()) } else { Err(EngineError::UnknownTorrent(info_hash)) }
    }

    pub(super) fn torrent(&mut self, info_hash: &InfoHash) -> Option<&mut Torrent> {
        self.torrents.get_mut(self.ids.get(info_hash)?)
    }

    pub(super) fn add(&mut self, add: AddTorrent) -> Result<AddOutcome, EngineError> {
        let mut adopted = Vec::new();
        let result = self.add_with(add, &mut adopted);
        if result.is_err() {
            // The other client has the torrent still.
            adopted.into_iter().for_each(AdoptedFiles::give_back);
        }
        result
    }

    /// As [`Session::add`]; files that get other names for it come into `adopted`.
    fn add_with(
        &mut self,
        add: AddTorrent,
        adopted: &mut Vec<AdoptedFiles>,
    ) -> Result<AddOutcome, EngineError> {
        let info_hash = add.metainfo.info_hash;
        if let Some(id) = self.ids.get(&info_hash).copied() {
            if !self.torrents[&id].is_leaving() {
                self.keep_peers(info_hash, add.peers);
                return Ok(AddOutcome::Duplicate(id));
            }
            return Err(EngineError::Storage(format!("{info_hash} is being removed: try again in a moment")));
        }
        let mut wishes = add.wishes;
        let mut metainfo = as_named(add.metainfo, &wishes);
        let (data_dir, move_when_done) =
            self.place(add.data_dir, add.found, add.earlier.had_data, &metainfo, adopted);
        if wishes.renames.is_empty() && lies_under_plain_names(&data_dir, &metainfo.info) {
            wishes.plain_names = true;
            metainfo = as_named(metainfo, &wishes);
        }
        let directories = [Some(&data_dir), move_when_done.as_ref()];
        let directories: Vec<&Path> = directories.into_iter().flatten().map(PathBuf::as_path).collect();
        self.check_paths(info_hash, &metainfo.info, &directories)?;
        let store = TorrentStore::open_or_create(&data_dir, metainfo.info.clone(), &self.parts.store_limits)
            .map_err(|error| EngineError::Storage(error.to_string()))?;
        let entry = self.entry(metainfo, store);
        let pieces = Pieces::none(entry.content.info.layout.piece_count());
        let had_data = add.earlier.had_data && matches!(entry.store.look_for_any(), Look::Missing(_));
        let found = !had_data && has_data(&entry);
        wishes = Wishes { queue: self.last_place + 1, move_when_done, had_data, ..wishes };
        if !entry.content.info.private {
            let tiers = wishes.tiers.as_deref().unwrap_or(&entry.metainfo.tiers);
            let with_more = with_defaults(tiers, self.settings.default_trackers_in_force());
            wishes.tiers = with_more.or(wishes.tiers);
        }
        let id = self.insert(entry.clone(), pieces, data_dir, |torrent| {
            torrent.wishes = Arc::new(wishes);
            torrent.apply_wishes(add.sequential);
            torrent.uploaded_before = add.earlier.uploaded;
            torrent.downloaded_before = add.earlier.downloaded;
            torrent.added_at = add.earlier.added_at.unwrap_or(torrent.added_at);
            torrent.finished_at = add.earlier.finished_at;
            if torrent.finished_at.is_some() && torrent.wishes.files.is_empty() {
                Arc::make_mut(&mut torrent.wishes).was_whole = true;
            }
        });
        if found && let Some(torrent) = self.torrent(&info_hash) {
            torrent.pieces.doubt();
        }
        let state = if add.paused { RunState::Paused } else { RunState::Running };
        if let Err(error) = self.save_new(info_hash, state) {
            self.torrents.remove(&id);
            self.ids.remove(&info_hash);
            self.claims.release(&info_hash);
            self.queue_is_old = true;
            return Err(error);
        }
        self.parts.registry.insert([entry.clone()]);
        if found {
            self.begin_check(info_hash, !add.paused);
        } else if !add.paused && (!had_data || self.look(info_hash, true).is_some()) {
            self.begin_run(info_hash);
        }
        self.counted.added(entry.content.info.layout.files.len());
        self.keep_peers(info_hash, add.peers);
        Ok(AddOutcome::Added(id))
    }

    /// Where a new torrent's files go, and where they go once they are complete. `had_data`: another client had some, which
    /// lies where that client says, be it there now or not.
    fn place(
        &self,
        wanted: Option<PathBuf>,
        found: Option<Found>,
        had_data: bool,
        metainfo: &Metainfo,
        adopted: &mut Vec<AdoptedFiles>,
    ) -> (PathBuf, Option<PathBuf>) {
        let usual = || self.settings.download_dir.clone().unwrap_or(self.parts.settings.download_dir.clone());
        let last = wanted.unwrap_or_else(usual);
        let last = std::path::absolute(&last).unwrap_or(last);
        if let Some(Found { dir, partial_suffix }) = found {
            let dir = dir.unwrap_or_else(|| last.clone());
            for place in [&dir, &last] {
                match adopt_partial_names(place, &metainfo.info.layout, &partial_suffix) {
                    Ok(files) => adopted.extend(files),
                    Err(error) => {
                        tracing::warn!(%error, "incomplete files of another client keep their names");
                    }
                }
            }
            let lies_there = self.is_there(&dir, metainfo) || (had_data && !self.is_there(&last, metainfo));
            if dir != last && lies_there {
                return (dir, Some(last));
            }
        }
        match &self.settings.incomplete_dir {
            Some(first)
                if self.settings.incomplete_dir_on
                    && *first != last
                    && !had_data
                    && !self.is_there(&last, metainfo) =>
            {
                (first.clone(), Some(last))
            }
            _ => (last, None),
        }
    }

    /// Whether files of a torrent are in a directory already: then it is left where it is.
    fn is_there(&self, directory: &Path, metainfo: &Metainfo) -> bool {
        let store = TorrentStore::open(directory, metainfo.info.clone(), &self.parts.store_limits);
        store.is_ok_and(|store| has_files(&store)) || lies_under_plain_names(directory, &metainfo.info)
    }
}

/// A torrent with the names that `wishes` say its files have.
fn as_named(metainfo: Arc<Metainfo>, wishes: &Wishes) -> Arc<Metainfo> {
    match wishes.plain_names || !wishes.renames.is_empty() {
        true => Arc::new(renamed(Arc::unwrap_or_clone(metainfo), wishes)),
        false => metainfo,
    }
}
