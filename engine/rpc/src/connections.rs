//! The open connections of the RPC: a bounded number, of which every client has a share.
//!
//! When there is no room for a new connection, the client with the most connections loses the one that has been idle
//! longest. What is being answered is never cut off, and so few of them are for clients that showed no credentials that
//! there is room as good as always.

use super::limits::{CLIENT_CONNECTIONS_MAX, CONNECTIONS_HERE, PROBE_CONNECTIONS};
use super::origin::Client;
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::time::Instant;
use tokio::task::AbortHandle;

/// What a connection does, in the order in which connections make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    /// A request is answered.
    Working,
    /// It waits for a body, or for its turn to guess a password.
    Waiting,
    /// There is no request, or a stream of events.
    Nothing,
}

/// Who is connected, and what the connection does.
#[derive(Clone)]
pub(super) struct Activity(Rc<State>);

struct State {
    /// Who is at the other end.
    peer: Client,
    /// For whom it asks now.
    client: Cell<Client>,
    /// Whether the other end is a proxy, which has no share of its own: it asks for many.
    is_proxy: bool,
    doing: Cell<Doing>,
    since: Cell<Instant>,
}

impl Activity {
    /// A new connection, on which nothing happens yet.
    pub(super) fn new(peer: Client, is_proxy: bool) -> Self {
        let (doing, since) = (Cell::new(Doing::Nothing), Cell::new(Instant::now()));
        Self(Rc::new(State { peer, client: Cell::new(peer), is_proxy, doing, since }))
    }

    /// Marks the connection as answering a request until the mark is dropped.
    pub(super) fn work(&self) -> Mark {
        self.mark(Doing::Working)
    }

    /// Marks the connection as waiting for its client until the mark is dropped.
    pub(super) fn wait(&self) -> Mark {
        self.mark(Doing::Waiting)
    }

    /// Names the client that the request under way is for.
    pub(super) fn serves(&self, client: Client) {
        self.0.client.set(client);
    }

    fn mark(&self, doing: Doing) -> Mark {
        let before = self.0.doing.replace(doing);
        self.0.since.set(Instant::now());
        Mark { activity: self.clone(), before }
    }
}

/// See [`Activity::work`].
pub(super) struct Mark {
    activity: Activity,
    before: Doing,
}

impl Drop for Mark {
    fn drop(&mut self) {
        let state = &self.activity.0;
        state.doing.set(self.before);
        state.since.set(Instant::now());
        if self.before == Doing::Nothing {
            state.client.set(state.peer);
        }
    }
}

/// What a new connection is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// All requests.
    Usual,
    /// Probes of health: all others are answering requests.
    Probe,
}

/// The open connections, oldest first.
pub(super) struct Connections {
    bounds: Bounds,
    open: BTreeMap<u64, Open>,
    next: u64,
}

/// How many connections there may be, with few descriptors in proportion.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// Of the usual ones.
    all: usize,
    /// Of these for clients elsewhere.
    elsewhere: usize,
    /// Of these for one client.
    client: usize,
    /// Beyond the usual ones, for probes.
    probes: usize,
}

impl Bounds {
    fn new(most: usize) -> Self {
        let probes = PROBE_CONNECTIONS.min(most / 8);
        let all = most - probes;
        let elsewhere = all - CONNECTIONS_HERE.min(all / 4);
        Self { all, elsewhere, client: CLIENT_CONNECTIONS_MAX.min(elsewhere.div_ceil(2)), probes }
    }
}

struct Open {
    task: AbortHandle,
    activity: Activity,
    place: Place,
}

impl Connections {
    /// Room for so many.
    pub(super) fn new(most: usize) -> Self {
        Self { bounds: Bounds::new(most), open: BTreeMap::new(), next: 0 }
    }

    /// Takes in a connection.
    pub(super) fn insert(&mut self, task: AbortHandle, activity: Activity, place: Place) {
        self.open.insert(self.next, Open { task, activity, place });
        self.next += 1;
    }

    /// Makes room for one more connection, and says what it is good for; none when even probes have no room.
    pub(super) fn make_room(&mut self, newcomer: &Activity) -> Option<Place> {
        self.open.retain(|_, open| !open.task.is_finished());
        let (client, bounds) = (newcomer.0.peer, self.bounds);
        let usual = |open: &Open| open.place == Place::Usual;
        let elsewhere = |open: &Open| usual(open) && open.activity.0.peer != Client::Here;
        let own = |open: &Open| usual(open) && open.activity.0.client.get() == client;
        let fits = match client {
            Client::Here => true,
            Client::At(_) => {
                (newcomer.0.is_proxy || self.has_room(bounds.client, own))
                    && self.has_room(bounds.elsewhere, elsewhere)
            }
        };
        if fits && self.has_room(bounds.all, usual) {
            return Some(Place::Usual);
        }
        self.has_room(bounds.probes, |open| open.place == Place::Probe).then_some(Place::Probe)
    }

    /// Whether there are fewer than `max` of a kind, after one of them made room if need be.
    fn has_room(&mut self, max: usize, kind: impl Fn(&Open) -> bool) -> bool {
        if self.open.values().filter(|open| kind(open)).count() < max {
            return true;
        }
        let mut counts: HashMap<Client, usize> = HashMap::new();
        for open in self.open.values() {
            *counts.entry(open.activity.0.client.get()).or_default() += 1;
        }
        let ended =
            self.open.iter().filter(|(_, open)| kind(open) && open.activity.0.doing.get() > Doing::Working);
        let ended = ended.max_by_key(|(number, open)| {
            let state = &open.activity.0;
            (
                counts.get(&state.client.get()),
                state.doing.get(),
                Reverse(state.since.get()),
                Reverse(**number),
            )
        });
        let Some(open) = ended.map(|(number, _)| *number).and_then(|number| self.open.remove(&number)) else {
            return false;
        };
        open.task.abort();
        true
    }
}

impl Drop for Connections {
    fn drop(&mut self) {
        self.open.values().for_each(|open| open.task.abort());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::CONNECTIONS_MAX;

    /// Without those for probes.
    const USUAL: usize = CONNECTIONS_MAX - PROBE_CONNECTIONS;

    fn at(last: u8) -> Client {
        Client::of(Some([192, 0, 2, last].into()))
    }

    /// A connection that is open until it makes room.
    fn open(connections: &mut Connections, client: Client) -> (Option<Place>, Activity) {
        let activity = Activity::new(client, false);
        let place = connections.make_room(&activity);
        if let Some(place) = place {
            let task = tokio::task::spawn_local(std::future::pending::<()>());
            connections.insert(task.abort_handle(), activity.clone(), place);
        }
        (place, activity)
    }

    fn count(connections: &Connections, client: Client) -> usize {
        connections.open.values().filter(|open| open.activity.0.client.get() == client).count()
    }

    fn run(test: impl FnOnce(&mut Connections)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new()
            .block_on(&runtime, async { test(&mut Connections::new(CONNECTIONS_MAX)) });
    }

    #[test]
    fn a_client_has_its_share_and_this_machine_a_reserve() {
        run(|connections| {
            for client in 1..=10 {
                for _ in 0..100 {
                    assert_eq!(open(connections, at(client)).0, Some(Place::Usual));
                }
                assert!(count(connections, at(client)) <= CLIENT_CONNECTIONS_MAX);
            }
            assert_eq!(connections.open.len(), USUAL - CONNECTIONS_HERE);
            for _ in 0..CONNECTIONS_HERE {
                assert_eq!(open(connections, Client::Here).0, Some(Place::Usual));
            }
            assert_eq!(connections.open.len(), USUAL);
            // Whoever has most makes room, and not those with few.
            let few = count(connections, Client::Here);
            for client in 100..120 {
                assert_eq!(open(connections, at(client)).0, Some(Place::Usual));
            }
            assert_eq!((count(connections, Client::Here), connections.open.len()), (few, USUAL));
            assert_eq!((100..120).map(|client| count(connections, at(client))).sum::<usize>(), 20);
        });
    }

    #[test]
    fn the_one_idle_longest_makes_room_and_none_that_is_being_answered() {
        run(|connections| {
            let all: Vec<_> = (0..USUAL).map(|_| open(connections, Client::Here).1).collect();
            let working: Vec<_> = all.iter().skip(3).map(Activity::work).collect();
            // Of the three that are left: one waits for a body, one was used last.
            let waiting = all[0].wait();
            drop(all[1].work());
            open(connections, Client::Here).1.0.doing.set(Doing::Working);
            assert!(!connections.open.contains_key(&2));
            open(connections, Client::Here).1.0.doing.set(Doing::Working);
            assert!(!connections.open.contains_key(&1));
            open(connections, Client::Here).1.0.doing.set(Doing::Working);
            assert!(!connections.open.contains_key(&0));
            // All are being answered now: a probe is, nevertheless.
            for _ in 0..PROBE_CONNECTIONS * 3 {
                assert_eq!(open(connections, at(1)).0, Some(Place::Probe));
            }
            assert_eq!(connections.open.len(), CONNECTIONS_MAX);
            drop((working, waiting));
            assert_eq!(open(connections, Client::Here).0, Some(Place::Usual));
        });
    }

    #[test]
    fn a_proxy_asks_for_many_clients() {
        run(|connections| {
            let mut ask = |client: u8| {
                let activity = Activity::new(at(1), true);
                let place = connections.make_room(&activity).unwrap();
                let task = tokio::task::spawn_local(std::future::pending::<()>());
                connections.insert(task.abort_handle(), activity.clone(), place);
                let work = activity.work();
                activity.serves(at(client));
                (activity, work)
            };
            let all: Vec<_> = (0..CLIENT_CONNECTIONS_MAX + 50).map(|n| ask(10 + n as u8)).collect();
            assert_eq!((count(connections, at(1)), count(connections, at(60))), (0, 1));
            drop(all);
            assert_eq!(count(connections, at(1)), CLIENT_CONNECTIONS_MAX + 50);
        });
    }

    /// With few descriptors everybody has less, and nobody nothing.
    #[test]
    fn few_connections_are_shared_as_well() {
        for most in 4..64 {
            let bounds = Bounds::new(most);
            assert!(bounds.all + bounds.probes == most && bounds.elsewhere <= bounds.all, "{bounds:?}");
            assert!(bounds.client >= 1 && bounds.client < bounds.all, "{bounds:?}");
        }
    }
}
