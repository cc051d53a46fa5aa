//! Addresses of a torrent's peers that could be dialled: who named each, what was tried on it, and who gets a place.
//!
//! Anybody may name addresses, so places are shared out. What the user or a tracker names takes the place of what peers
//! told. Peers of one network share a quota, an address has one port when peers told it, and a host of IPv6 a few
//! addresses. Addresses on which a dial failed, or that were of no use, make room for new ones.

use crate::hellos::Hellos;
use crate::limits::{
    CANDIDATES_MAX, CANDIDATES_OF_HOST_MAX, CANDIDATES_OF_TELLER_MAX, CANDIDATES_TOLD_MAX, TRACKER_PORTS_MAX,
};
use crate::opening::Hello;
use ringseed_proto::mse::Mode;
use ringseed_proto::peer_address::{Scope, canonical, host, network, scope};
use ringseed_proto::units::Time;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Wait before the second dial to an address that failed once; doubled for each further failure.
const RETRY_FIRST: Duration = Duration::from_secs(2);
/// Longest wait between two dials to one address.
const RETRY_MAX: Duration = Duration::from_secs(1800);

/// Who named an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The user.
    User,
    /// A tracker.
    Tracker,
    /// A peer with this address, by peer exchange.
    Peer(IpAddr),
}

impl Source {
    /// Orders sources: one of a higher rank takes the places of those below it.
    fn rank(self) -> u8 {
        match self {
            Self::Peer(_) => 0,
            Self::Tracker => 1,
            Self::User => 2,
        }
    }

    fn is_told(self) -> bool {
        matches!(self, Self::Peer(_))
    }

    /// How many ports of one address it may name. On this machine many peers have one address.
    fn ports_max(self, address: IpAddr) -> usize {
        match self {
            _ if scope(address) == Some(Scope::Loopback) => usize::MAX,
            Self::User => usize::MAX,
            Self::Tracker => TRACKER_PORTS_MAX,
            Self::Peer(_) => 1,
        }
    }

    /// How many addresses and ports of one host it may name.
    fn of_host_max(self, address: IpAddr) -> usize {
        match self {
            Self::Tracker | Self::Peer(_) if scope(address) == Some(Scope::Public) => CANDIDATES_OF_HOST_MAX,
            Self::User | Self::Tracker | Self::Peer(_) => usize::MAX,
        }
    }
}

/// What became of a dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialEnd {
    /// A connection that lasted, and moved data.
    Useful,
    /// A connection that lasted, but nothing moved: others are tried first.
    Idle,
    /// None, or one that ended soon.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// May be dialled from then on.
    Waiting(Time),
    /// Being dialled or connected.
    Busy,
    /// Never again: it is this engine, or blocked.
    Excluded,
}

#[derive(Debug)]
struct Candidate {
    address: SocketAddr,
    source: Source,
    state: State,
    /// How it was talked to, and what it answered.
    hellos: Hellos,
    /// Dials that failed or were of no use since the last useful connection.
    failures: u8,
    /// Grows with each candidate: the order in which they were learnt.
    number: u64,
}

impl Candidate {
    /// Whether it may be forgotten for a better one.
    fn has_failed(&self) -> bool {
        match self.state {
            State::Waiting(_) => self.failures > 0,
            State::Busy => false,
            State::Excluded => true,
        }
    }
}

/// What is known of the peers of one network as tellers.
#[derive(Debug, Default)]
struct Teller {
    /// Candidates that they told.
    held: usize,
    /// Failed dials to what they told: who tells junk is believed last.
    failures: u32,
}

/// An address to dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chosen {
    /// The address.
    pub address: SocketAddr,
    /// Whether a peer told it: nobody vouches for it.
    pub told: bool,
}

/// The candidates of one torrent, at most [`CANDIDATES_MAX`].
#[derive(Debug, Default)]
pub struct Candidates {
    /// By host.
    known: HashMap<IpAddr, Vec<Candidate>>,
    count: usize,
    /// Those that peers told.
    told: usize,
    /// By network of the peers.
    tellers: HashMap<IpAddr, Teller>,
    numbers: u64,
    /// None may be dialled before; `None` when all are busy or excluded.
    due: Option<Time>,
}

impl Candidates {
    /// Learns addresses, as far as there is room for what `source` names. Those that no peer can have are ignored.
    pub fn learn(&mut self, source: Source, addresses: impl IntoIterator<Item = SocketAddr>, now: Time) {
        for address in addresses {
            let address = canonical(address);
            if address.port() == 0 || scope(address.ip()).is_none() || self.is_confirmed(source, address, now)
            {
                continue;
            }
            if !self.make_room_at_host(source, address.ip()) {
                continue;
            }
            if !self.make_room(source) {
                break; // nor is there room for the others
            }
            self.insert(source, address, now);
        }
    }

    fn insert(&mut self, source: Source, address: SocketAddr, now: Time) {
        self.numbers += 1;
        self.count += 1;
        if let Source::Peer(teller) = source {
            self.told += 1;
            self.tellers.entry(network(teller)).or_default().held += 1;
        }
        self.known.entry(host(address.ip())).or_default().push(Candidate {
            address,
            source,
            state: State::Waiting(now),
            hellos: Hellos::default(),
            failures: 0,
            number: self.numbers,
        });
        self.due_at(now);
    }

    fn remove(&mut self, address: SocketAddr) {
        let host = host(address.ip());
        let Some(of_host) = self.known.get_mut(&host) else { return };
        let Some(at) = of_host.iter().position(|candidate| candidate.address == address) else { return };
        let candidate = of_host.swap_remove(at);
        if of_host.is_empty() {
            self.known.remove(&host);
        }
        self.count -= 1;
        self.release(candidate.source);
    }

    /// A candidate is no longer one that its source named.
    fn release(&mut self, source: Source) {
        let Source::Peer(teller) = source else { return };
        self.told -= 1;
        let teller = network(teller);
        if let Some(entry) = self.tellers.get_mut(&teller) {
            entry.held -= 1;
            if entry.held == 0 {
                self.tellers.remove(&teller);
            }
        }
    }

    /// Whether the address is known. When somebody names it who is to be believed more than whoever did first, it is
    /// theirs from now on, and what was tried before does not count.
    fn is_confirmed(&mut self, source: Source, address: SocketAddr, now: Time) -> bool {
        let Some(candidate) = self.get_mut(&address) else { return false };
        let before = candidate.source;
        if source.rank() > before.rank() {
            candidate.source = source;
            if before.is_told()
                && let State::Waiting(_) = candidate.state
            {
                candidate.failures = 0;
                candidate.state = State::Waiting(now);
                self.due_at(now);
            }
            self.release(before);
        }
        true
    }

    /// Makes room for one more port of an address, and address of its host; false when there is none.
    fn make_room_at_host(&mut self, source: Source, ip: IpAddr) -> bool {
        let Some(of_host) = self.known.get(&host(ip)) else { return true };
        let ports = of_host.iter().filter(|candidate| candidate.address.ip() == ip).count();
        let of_address = ports >= source.ports_max(ip);
        if !of_address && of_host.len() < source.of_host_max(ip) {
            return true;
        }
        let weaker = |candidate: &&Candidate| match candidate.source.rank().cmp(&source.rank()) {
            std::cmp::Ordering::Less => candidate.state != State::Busy,
            std::cmp::Ordering::Equal => candidate.has_failed(),
            std::cmp::Ordering::Greater => false,
        };
        let mut among = of_host.iter().filter(|candidate| !of_address || candidate.address.ip() == ip);
        match among.find(weaker).map(|candidate| candidate.address) {
            Some(address) => {
                self.remove(address);
                true
            }
            None => false,
        }
    }

    /// Makes room for one more candidate of `source`; false when there is none.
    fn make_room(&mut self, source: Source) -> bool {
        if let Source::Peer(teller) = source {
            let ours = network(teller);
            let held = self.tellers.get(&ours).map_or(0, |teller| teller.held);
            if held >= CANDIDATES_OF_TELLER_MAX {
                // What failed of it makes room for what it tells now.
                let of_ours = |candidate: &Candidate| {
                    candidate.has_failed()
                        && matches!(candidate.source, Source::Peer(teller) if network(teller) == ours)
                };
                return self.forget_one(of_ours);
            }
            if self.told >= CANDIDATES_TOLD_MAX {
                let most = self.tellers.iter().max_by_key(|(_, teller)| teller.held);
                let Some((most, _)) = most.filter(|(_, most)| most.held > held + 1) else { return false };
                let most = *most;
                let of_most = |candidate: &Candidate| {
                    candidate.state != State::Busy
                        && matches!(candidate.source, Source::Peer(teller) if network(teller) == most)
                };
                if !self.forget_one(of_most) {
                    return false;
                }
            }
        }
        self.count < CANDIDATES_MAX
            || self.forget_one(|candidate| {
                let lower = candidate.source.rank() < source.rank() && candidate.state != State::Busy;
                lower || candidate.source.rank() == source.rank() && candidate.has_failed()
            })
    }

    /// Forgets one of the candidates that `may_go`: of the lowest rank, then with the most failures, then the oldest.
    fn forget_one(&mut self, may_go: impl Fn(&Candidate) -> bool) -> bool {
        let worst = self
            .all()
            .filter(|candidate| may_go(candidate))
            .min_by_key(|candidate| (candidate.source.rank(), Reverse(candidate.failures), candidate.number))
            .map(|candidate| candidate.address);
        let Some(address) = worst else { return false };
        self.remove(address);
        true
    }

    fn all(&self) -> impl Iterator<Item = &Candidate> {
        self.known.values().flatten()
    }

    fn get_mut(&mut self, address: &SocketAddr) -> Option<&mut Candidate> {
        let of_host = self.known.get_mut(&host(address.ip()))?;
        of_host.iter_mut().find(|candidate| candidate.address == *address)
    }

    /// When an address may be dialled, at the earliest: to be asked again then.
    pub fn due(&self) -> Option<Time> {
        self.due
    }

    fn due_at(&mut self, time: Time) {
        self.due = Some(self.due.map_or(time, |due| due.min(time)));
    }

    /// The next address to dial now; it counts as busy until [`Candidates::ended`]. Only one that the user or a tracker
    /// named when `told_too` is false.
    ///
    /// First come those that the user or a tracker named and that never failed, then the others by their failures: among
    /// what peers told, those come last whose tellers told junk.
    pub fn next(&mut self, now: Time, told_too: bool) -> Option<Chosen> {
        if self.due.is_none_or(|due| due > now) {
            return None;
        }
        let mut best = None;
        let mut ready = 0;
        let mut later: Option<Time> = None;
        for candidate in self.all() {
            match candidate.state {
                State::Waiting(from) if from <= now => ready += 1,
                State::Waiting(from) => {
                    later = Some(later.map_or(from, |later| later.min(from)));
                    continue;
                }
                State::Busy | State::Excluded => continue,
            }
            if candidate.source.is_told() && !told_too {
                continue;
            }
            let junk = match candidate.source {
                Source::Peer(teller) => {
                    self.tellers.get(&network(teller)).map_or(0, |teller| teller.failures)
                }
                Source::User | Source::Tracker => 0,
            };
            let told = candidate.source.is_told();
            let order = (candidate.failures, told, junk, candidate.number);
            if best.is_none_or(|(before, _)| order < before) {
                best = Some((order, Chosen { address: candidate.address, told }));
            }
        }
        let chosen = best.map(|(_, chosen)| chosen);
        self.due = if ready > usize::from(chosen.is_some()) { Some(now) } else { later };
        if let Some(candidate) = chosen.and_then(|chosen| self.get_mut(&chosen.address)) {
            candidate.state = State::Busy;
        }
        chosen
    }

    /// A dial failed or a dialled connection ended.
    pub fn ended(&mut self, address: &SocketAddr, end: DialEnd, now: Time) {
        let Some(candidate) = self.get_mut(address) else { return };
        if candidate.state == State::Excluded {
            return;
        }
        candidate.failures = if end == DialEnd::Useful { 0 } else { candidate.failures.saturating_add(1) };
        let wait = RETRY_FIRST * (1 << u32::from(candidate.failures.saturating_sub(1)).min(10));
        let from = now + wait.min(RETRY_MAX);
        candidate.state = State::Waiting(from);
        if let Source::Peer(teller) = candidate.source
            && let Some(teller) = self.tellers.get_mut(&network(teller))
        {
            teller.failures = match end {
                DialEnd::Failed => teller.failures.saturating_add(1),
                // There is a peer, as it was told.
                DialEnd::Useful | DialEnd::Idle => teller.failures / 2,
            };
        }
        self.due_at(from);
    }

    /// How an address that is dialled is talked to first.
    pub fn hello(&mut self, address: &SocketAddr, mode: Mode) -> Hello {
        self.get_mut(address).map_or_else(Hellos::default, |candidate| candidate.hellos).next(mode)
    }

    /// A dialled address answered.
    pub fn answered(&mut self, address: &SocketAddr, hello: Hello) {
        if let Some(candidate) = self.get_mut(address) {
            candidate.hellos.answered(hello);
        }
    }

    /// A dialled address took the connection and sent no handshake: it is dialled again at once with the other hello, or
    /// the dial has failed.
    pub fn unanswered(&mut self, address: &SocketAddr, hello: Hello, mode: Mode, now: Time) {
        let Some(candidate) = self.get_mut(address) else { return };
        match candidate.hellos.failed(hello, mode) {
            true => self.put_back(address, now),
            false => self.ended(address, DialEnd::Failed, now),
        }
    }

    /// An address that [`Candidates::next`] gave cannot be dialled now: it is to be dialled first when that changes.
    pub fn put_back(&mut self, address: &SocketAddr, now: Time) {
        if let Some(candidate) = self.get_mut(address)
            && candidate.state != State::Excluded
        {
            candidate.state = State::Waiting(now);
            self.due_at(now);
        }
    }

    /// Never dial this address again.
    pub fn exclude(&mut self, address: &SocketAddr) {
        if let Some(candidate) = self.get_mut(address) {
            candidate.state = State::Excluded;
        }
    }
}

#[cfg(test)]
mod tests;
