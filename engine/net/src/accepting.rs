//! Accepting: the listening sockets of one shard, and how they are replaced by others.

use ringseed_proto::units::Time;
use ringseed_ring::{Completion, Event, OpId, Ring};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

/// Pause after an accept that failed: to try at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// Least time between two warnings about that.
const TELL_PAUSE: Duration = Duration::from_secs(60);

/// A listening socket. It stays until the kernel is done with its accept.
struct Acceptor {
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
pub struct Acceptors {
    open: Vec<Acceptor>,
    /// Whether connections are accepted one by one: many at once would take descriptors before they can be counted.
    one_by_one: bool,
    /// When it was last told that connections cannot be accepted.
    told_at: Option<Time>,
    made: usize,
}

impl Acceptors {
    /// Acceptors on `sockets`, not armed yet; `one_by_one` when descriptors are few.
    #[must_use]
    pub fn new(sockets: Vec<OwnedFd>, one_by_one: bool) -> Self {
        let mut acceptors = Self { one_by_one, ..Self::default() };
        acceptors.extend(sockets);
        acceptors
    }

    fn extend(&mut self, sockets: Vec<OwnedFd>) {
        for socket in sockets {
            let number = self.made;
            let new = Acceptor { number, socket, accepting: None, rests_until: Time::ZERO, leaving: false };
            self.open.push(new);
            self.made += 1;
        }
    }

    /// Accepts from these sockets and no longer from the ones before. To be armed afterwards.
    pub fn replace(&mut self, ring: &Ring, sockets: Vec<OwnedFd>) {
        for acceptor in &mut self.open {
            acceptor.leaving = true;
            if let Some(accept) = acceptor.accepting {
                ring.cancel(accept);
            }
        }
        self.open.retain(|acceptor| acceptor.accepting.is_some());
        self.extend(sockets);
    }

    /// Arms the accepts of sockets that have none. Their number is the token of their completions.
    pub fn arm(&mut self, ring: &Ring, now: Time) {
        for acceptor in &mut self.open {
            if acceptor.accepting.is_none() && !acceptor.leaving && acceptor.rests_until <= now {
                let (socket, token) = (acceptor.socket.as_raw_fd(), acceptor.number as u64);
                acceptor.accepting = Some(match self.one_by_one {
                    true => ring.accept_once(socket, token),
                    false => ring.accept_multishot(socket, token),
                });
            }
        }
    }

    /// Takes a completion of an accept: a new connection, if there is one. When the accept is over it has to be armed again.
    pub fn handle(&mut self, completion: Completion, now: Time) -> Option<OwnedFd> {
        let number = completion.token as usize;
        let place = self.open.iter().position(|acceptor| acceptor.number == number);
        if let (Event::AcceptError(error), Some(place)) = (&completion.event, place)
            && !self.open[place].leaving
        {
            // EMFILE and the like: connections wait in the kernel until there are descriptors again.
            self.open[place].rests_until = now + ACCEPT_PAUSE;
            if self.told_at.is_none_or(|at| at + TELL_PAUSE <= now) {
                self.told_at = Some(now);
                tracing::warn!(%error, "cannot accept a connection; new ones wait");
            }
        }
        if let Some(place) = place.filter(|_| !completion.more) {
            self.open[place].accepting = None;
            if self.open[place].leaving {
                self.open.swap_remove(place);
            }
        }
        match completion.event {
            Event::Accepted(socket) => Some(socket),
            _ => None,
        }
    }
}
