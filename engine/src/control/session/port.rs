//! The port that peers connect to: another one while the engine runs, and again what was set in an earlier run.

use super::super::handle::EngineError;
use super::Session;
use crate::config::ListenPort;
use crate::net::listener::Listeners;
use crate::shard::message::ToShard;
use std::sync::atomic::Ordering;

impl Session {
    /// Opens another port beside the one that is listened on; nothing when it is that one.
    pub(super) fn open_port(&self, port: u16) -> Result<Option<Listeners>, EngineError> {
        if port == 0 {
            return Err(EngineError::Port("a port is a number from 1 to 65535".to_owned()));
        }
        if port == self.parts.listen_port.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let addresses = &self.parts.settings.listen_addresses;
        let opened = Listeners::open(ListenPort::Exact(port), addresses, self.parts.shards.len());
        opened.map(Some).map_err(|error| EngineError::Port(error.to_string()))
    }

    /// Has all shards listen there, and tells trackers and peers. The old port is closed; connections stay.
    pub(super) fn listen_on(&mut self, listeners: Listeners) {
        let Listeners { port, shards, claim } = listeners;
        for (shard, sockets) in shards.into_iter().enumerate() {
            self.send(shard, ToShard::Listen { port, sockets });
        }
        // The old port is free for others once the shards have closed it.
        self.parts.claim = claim;
        self.parts.listen_port.store(port, Ordering::Relaxed);
        self.parts.announcer.port_changed(port);
        tracing::info!(port, "listening on another port");
    }

    /// Listens on the port that was set in an earlier run, unless the configuration says something new.
    pub(super) fn take_port(&mut self) {
        let Some(set) = self.settings.port else { return };
        if set.configured != self.parts.settings.listen_port.exact() {
            return;
        }
        match self.open_port(set.port) {
            Ok(Some(listeners)) => self.listen_on(listeners),
            Ok(None) => {}
            Err(error) => {
                let port = self.parts.listen_port.load(Ordering::Relaxed);
                tracing::error!(%error, "the port that was set cannot be listened on: port {port} stays");
            }
        }
    }
}
