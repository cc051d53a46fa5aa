//! Connections from outside: the sockets that a shard accepts from.

use super::Shard;
use ringseed_ring::Completion;
use std::os::fd::OwnedFd;

impl Shard {
    /// Listens on these sockets and no longer on the ones before. Connections stay.
    pub(super) fn listen_on(&mut self, port: u16, sockets: Vec<OwnedFd>) {
        self.context.listen_port = port;
        for torrent in self.torrents.values_mut() {
            torrent.swarm.set_listen_port(port);
        }
        self.acceptors.replace(&self.ring, sockets);
        self.acceptors.arm(&self.ring, self.now);
    }

    /// A completion of an accept: a new connection, or the end of a multishot accept.
    pub(super) fn on_accept(&mut self, completion: Completion) {
        let is_over = !completion.more;
        if let Some(socket) = self.acceptors.handle(completion, self.now) {
            self.accepted(socket);
            if is_over && self.ends_at.is_none() {
                self.acceptors.arm(&self.ring, self.now);
            }
        }
    }
}
