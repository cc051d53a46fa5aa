//! Where peers connect to: another port while the engine runs, again the one that was set in an earlier run, and the
//! interface that comes and goes.

use super::Session;
use crate::config::ListenPort;
use crate::shard::message::ToShard;
use ringseed_handle::EngineError;
use ringseed_net::listener::Listeners;
use ringseed_net::route;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How often the interface, and a port that could not be had, are looked at.
const NETWORK_CHECK: Duration = Duration::from_secs(1);

impl Session {
    /// Opens another port beside the one that is listened on; nothing when it is that one.
    pub(super) fn open_port(&self, port: u16) -> Result<Option<Listeners>, EngineError> {
        if port == 0 {
            return Err(EngineError::NotAPort);
        }
        if port == self.parts.listen_port.load(Ordering::Relaxed) {
            return Ok(None);
        }
        self.open_listeners(port).map(Some)
    }

    fn open_listeners(&self, port: u16) -> Result<Listeners, EngineError> {
        let settings = &self.parts.settings;
        let interface = settings.bind_interface.as_deref();
        let shards = self.parts.shards.len();
        Listeners::open(ListenPort::Exact(port), &settings.listen_addresses, interface, shards)
            .map_err(|error| EngineError::Port(Arc::new(error)))
    }

    /// Has all shards listen there, and tells trackers and peers. The old port is closed; connections stay.
    pub(super) fn listen_on(&mut self, listeners: Listeners) {
        let Listeners { port, shards, claim } = listeners;
        for (shard, sockets) in shards.into_iter().enumerate() {
            self.send(shard, ToShard::Listen { port, sockets });
        }
        // The old port is free for others once the shards have closed it.
        self.parts.claim = Some(claim);
        self.port_missing = false;
        self.parts.listen_port.store(port, Ordering::Relaxed);
        self.parts.trackers.port_changed(port);
        tracing::info!(port, "listening on it from now on");
    }

    /// Looks once a second whether the port that was set can be had by now, and whether the interface is still there.
    pub(super) fn watch_network(&mut self) {
        if self.now().duration_since(self.network_looked_at) < NETWORK_CHECK {
            return;
        }
        self.network_looked_at = self.now();
        if self.port_missing {
            self.take_port();
        }
        self.watch_interface();
    }

    /// Looks whether the interface is still the one that is listened on. While it is not there nothing can be sent or
    /// received; one that was made anew is another one to the kernel, under the same name.
    fn watch_interface(&mut self) {
        let Some(name) = self.parts.settings.bind_interface.clone() else { return };
        let number = route::number(&name);
        if number == self.interface {
            return;
        }
        let trouble = if number.is_none() {
            self.interface = None;
            route::missing(&name)
        } else {
            // Our own claim would keep us off the port.
            drop(self.parts.claim.take());
            match self.open_listeners(self.parts.listen_port.load(Ordering::Relaxed)) {
                Ok(listeners) => {
                    self.listen_on(listeners);
                    self.interface = number;
                    tracing::info!(interface = name, "the interface is back");
                    self.set_trouble(None);
                    return;
                }
                Err(error) => error.to_string(),
            }
        };
        self.set_trouble(Some(trouble));
    }

    fn set_trouble(&mut self, trouble: Option<String>) {
        if self.trouble.as_deref() != trouble.as_deref() {
            if let Some(trouble) = &trouble {
                tracing::error!(trouble, "no network");
            }
            self.trouble = trouble.map(Arc::from);
            self.dirty = true;
        }
    }

    /// Listens on the port that was set in an earlier run, unless the configuration says something new. One that is in
    /// use is tried again: a process that was killed may hold it for a moment more.
    pub(super) fn take_port(&mut self) {
        let before = std::mem::take(&mut self.port_missing);
        let Some(set) = self.settings.port else { return };
        if set.configured != self.parts.settings.listen_port.exact() {
            return;
        }
        match self.open_port(set.port) {
            Ok(Some(listeners)) => self.listen_on(listeners),
            Ok(None) => {}
            Err(error) => {
                self.port_missing = true;
                if !before {
                    let port = self.parts.listen_port.load(Ordering::Relaxed);
                    tracing::error!(%error, "the port that was set is tried again; until then it is port {port}");
                }
            }
        }
    }
}
