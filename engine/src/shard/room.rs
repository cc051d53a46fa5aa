//! Connections of a shard that make room for others when no more may be open: see [`super::shares`].

use super::Shard;
use super::connections::{ConnKey, Stage};
use super::torrents::TorrentKey;
use ringseed_net::shares::Holder;
use std::net::IpAddr;

impl Shard {
    /// Ends the connection that is of the least use, for one from `newcomer`; false when all are to stay.
    pub(super) fn make_room(&mut self, newcomer: IpAddr) -> bool {
        loop {
            let mut room = std::mem::take(&mut self.room);
            let all = || self.connections.keys().filter_map(|key| self.holder(key));
            let found = room.take(newcomer, self.now, all);
            self.room = room;
            match found {
                None => return false,
                Some(found) if self.makes_room(&found) => return true,
                Some(_) => {}
            }
        }
    }

    /// As [`Shard::make_room`], among the connections of a torrent on this shard.
    pub(super) fn make_room_in(&mut self, torrent: TorrentKey, newcomer: IpAddr) -> bool {
        loop {
            let Some(home) = self.torrents.get_mut(torrent) else { return false };
            let mut room = std::mem::take(&mut home.room);
            let peers = &self.torrents[torrent].peers;
            let all = || peers.values().filter_map(|key| self.holder(*key));
            let found = room.take(newcomer, self.now, all);
            self.torrents[torrent].room = room;
            match found {
                None => return false,
                Some(found) if self.makes_room(&found) => return true,
                Some(_) => {}
            }
        }
    }

    /// Ends a connection that was found to be of little use; false when it has ended, or become useful, since then.
    fn makes_room(&mut self, found: &Holder<ConnKey>) -> bool {
        let same = self.holder(found.key).is_some_and(|now| now.used_at == found.used_at);
        if same {
            self.counters.made_room += 1;
            self.refuse(found.key, "of little use while others wait for its place");
        }
        same
    }

    /// A connection as one that may make room, unless it is on its way out.
    fn holder(&self, key: ConnKey) -> Option<Holder<ConnKey>> {
        let connection = self.connections.get(key)?;
        let (used_at, half_open) = match &connection.stage {
            Stage::Handshaking { since, .. } => (*since, true),
            Stage::Active { torrent, peer, .. } => {
                (self.torrents.get(*torrent)?.swarm.last_used(*peer)?, false)
            }
            Stage::Closing => return None,
        };
        Some(Holder { key, address: connection.link.address().ip(), used_at, half_open })
    }
}
