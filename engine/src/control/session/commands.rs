//! What handles ask of the session.

use super::super::torrent::Torrent;
use super::Session;
use crate::limits::CONTROL_QUEUE;
use ringseed_handle::{Command, EngineError, Reply};
use ringseed_net::candidates::Source;
use ringseed_net::limits::CANDIDATES_MAX;
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::peer_address::canonical;
use std::net::SocketAddr;

impl Session {
    /// Whether there is room for a command.
    pub fn takes_commands(&self) -> bool {
        self.held.len() < CONTROL_QUEUE && self.opening.len() < CONTROL_QUEUE
    }

    /// A command from a handle. While torrents are loaded it waits: it may be about one of them.
    pub fn on_command(&mut self, command: Command) {
        if self.loading && !matches!(command, Command::Shutdown(_)) {
            return self.held.push(command);
        }
        match command {
            Command::Add(add, reply) => self.add(*add, reply),
            Command::Torrents(list, command, reply) => self.on_list(list, command, reply),
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
    pub(super) fn keep_peers(&mut self, torrent_id: TorrentId, peers: Vec<SocketAddr>) {
        if let Some(torrent) = self.torrent(&torrent_id) {
            for peer in peers.iter().copied().map(canonical) {
                if torrent.known_peers.len() < CANDIDATES_MAX && !torrent.known_peers.contains(&peer) {
                    torrent.known_peers.push(peer);
                }
            }
        }
        self.send_peers(torrent_id, Source::User, peers);
    }

    pub(super) fn torrent(&mut self, torrent_id: &TorrentId) -> Option<&mut Torrent> {
        self.torrents.get_mut(self.ids.get(torrent_id)?)
    }
}
