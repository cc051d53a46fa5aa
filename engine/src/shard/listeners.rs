//! Listeners of a shard: the sockets that it accepts from, and how they give way to others.

use super::{Shard, tokens};
use ringseed_proto::units::Time;
use ringseed_ring::{Completion, Event, OpId};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Pause after an accept that failed: to try at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Least time between two warnings about that.
const TELL_PAUSE: Duration = Duration::from_secs(60);

/// A listening socket. It stays until the kernel is done with its accept.
struct Listener {
    /// Its number in tokens, never used again.
    number: usize,
    socket: OwnedFd,
    accepting: Option<OpId>,
    /// No accept before: the last one failed.
    rests_until: Time,
    /// Others have taken its place.
    leaving: bool,
}

/// The listening sockets of a shard.
#[derive(Default)]
pub(super) struct Listeners {
    open: Vec<Listener>,
    /// When it was last told that connections cannot be accepted.
    told_at: Option<Time>,
    made: usize,
}

impl Listeners {
    /// Listeners on `sockets`, not armed yet.
    pub(super) fn new(sockets: Vec<OwnedFd>) -> Self {
        let mut listeners = Self::default();
        listeners.extend(sockets);
        listeners
    }

    fn extend(&mut self, sockets: Vec<OwnedFd>) {
        for socket in sockets {
            self.open.push(Listener {
                number: self.made,
                socket,
                accepting: None,
                rests_until: Time::ZERO,
                leaving: false,
            });
            self.made += 1;
        }
    }
}

impl Shard {
    /// Listens on these sockets and no longer on the ones before. Connections stay.
    pub(super) fn listen_on(&mut self, port: u16, sockets: Vec<OwnedFd>) {
        self.context.listen_port = port;
        for torrent in self.torrents.values_mut() {
            torrent.swarm.set_listen_port(port);
        }
        for listener in &mut self.listeners.open {
            listener.leaving = true;
            if let Some(accept) = listener.accepting {
                self.ring.cancel(accept);
            }
        }
        self.listeners.open.retain(|listener| listener.accepting.is_some());
        self.listeners.extend(sockets);
        self.arm_listeners();
    }

    /// Arms the accepts of listeners that have none.
    pub(super) fn arm_listeners(&mut self) {
        for listener in &mut self.listeners.open {
            if listener.accepting.is_none() && !listener.leaving && listener.rests_until <= self.now {
                let token = tokens::listener(listener.number);
                let socket = listener.socket.as_raw_fd();
                listener.accepting = Some(match self.context.descriptors.are_few {
                    true => self.ring.accept_once(socket, token),
                    false => self.ring.accept_multishot(socket, token),
                });
            }
        }
    }

    /// A listener's completion: a new connection, or the end of its multishot accept.
    pub(super) fn on_accept(&mut self, number: usize, completion: Completion) {
        let place = self.listeners.open.iter().position(|listener| listener.number == number);
        let mut goes_on = false;
        if let Event::Accepted(socket) = completion.event {
            self.accepted(socket);
            goes_on = true;
        } else if let Event::AcceptError(error) = &completion.event
            && let Some(place) = place.filter(|place| !self.listeners.open[*place].leaving)
        {
            // EMFILE and the like: connections wait in the kernel until there are descriptors again.
            self.listeners.open[place].rests_until = self.now + ACCEPT_PAUSE;
            if self.listeners.told_at.is_none_or(|at| at + TELL_PAUSE <= self.now) {
                self.listeners.told_at = Some(self.now);
                tracing::warn!(%error, "cannot accept a connection; new ones wait");
            }
        }
        if let Some(place) = place.filter(|_| !completion.more) {
            self.listeners.open[place].accepting = None;
            if self.listeners.open[place].leaving {
                self.listeners.open.swap_remove(place);
            } else if goes_on && self.ends_at.is_none() {
                self.arm_listeners();
            }
        }
    }
}
