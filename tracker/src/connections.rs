//! The HTTP connections that are open, and which gives way when there are too many.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::sync::Notify;

/// Open connections, each client's in the order of their last sign of life: a request, or being accepted.
///
/// When a new one comes and its client has its share already, the one of this client that was silent longest is told to
/// close. When all places are taken, it is one of the client that has most. Clients that hold connections and say
/// nothing thereby cannot keep others out, nor end theirs.
pub(crate) struct Connections {
    max: usize,
    share: usize,
    open: RefCell<Open>,
}

/// Whose connection it is: an IPv4 address's, the /64's of an IPv6 one, or its own, for those that have no bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Client {
    V4([u8; 4]),
    V6([u8; 8]),
    Alone(u64),
}

#[derive(Default)]
struct Open {
    next: u64,
    count: usize,
    clients: HashMap<Client, BTreeMap<u64, Rc<Notify>>>,
    /// Who is to give way, last: by the number of connections, then by which was silent longest.
    order: BTreeSet<(usize, Reverse<u64>, Client)>,
}

/// A place among the connections; given back on drop.
pub(crate) struct Place {
    connections: Rc<Connections>,
    client: Client,
    last_use: Cell<u64>,
    give_way: Rc<Notify>,
}

impl Connections {
    /// At most `max` connections, at least one, and of one client at most `share`; 0 is no bound of its own.
    pub(crate) fn new(max: usize, share: usize) -> Rc<Connections> {
        let share = if share == 0 { usize::MAX } else { share };
        Rc::new(Connections { max: max.max(1), share, open: RefCell::default() })
    }

    /// A place for a new connection of this client, or of one that has no bound; true beside it if another had to give
    /// way.
    pub(crate) fn enter(self: &Rc<Connections>, client: Option<IpAddr>) -> (Place, bool) {
        let mut open = self.open.borrow_mut();
        let client = match client.map(|ip| ip.to_canonical()) {
            Some(IpAddr::V4(ip)) => Client::V4(ip.octets()),
            Some(IpAddr::V6(ip)) => {
                let [a, b, c, d, e, f, g, h, ..] = ip.octets();
                Client::V6([a, b, c, d, e, f, g, h])
            }
            None => Client::Alone(open.next),
        };
        let mut evicted = false;
        if open.clients.get(&client).is_some_and(|its| its.len() >= self.share) {
            evicted |= open.evict(client);
        }
        while open.count >= self.max
            && let Some(&(.., largest)) = open.order.last()
        {
            evicted |= open.evict(largest);
        }
        let give_way = Rc::new(Notify::new());
        let last_use = open.insert(client, give_way.clone());
        (Place { connections: self.clone(), client, last_use: Cell::new(last_use), give_way }, evicted)
    }
}

impl Open {
    fn insert(&mut self, client: Client, give_way: Rc<Notify>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.change(client, |its| its.insert(number, give_way));
        number
    }

    fn remove(&mut self, client: Client, number: u64) -> Option<Rc<Notify>> {
        self.change(client, |its| its.remove(&number))
    }

    /// Tells the connection of a client that was silent longest to close; true if there was one.
    fn evict(&mut self, client: Client) -> bool {
        let evicted = self.change(client, |its| its.pop_first().map(|(_, give_way)| give_way));
        evicted.inspect(|give_way| give_way.notify_one()).is_some()
    }

    /// Changes the connections of a client, and its place in the order with them.
    fn change<T>(&mut self, client: Client, change: impl FnOnce(&mut BTreeMap<u64, Rc<Notify>>) -> T) -> T {
        let rank = |its: &BTreeMap<u64, Rc<Notify>>| {
            its.first_key_value().map(|(&oldest, _)| (its.len(), Reverse(oldest), client))
        };
        let its = self.clients.entry(client).or_default();
        if let Some(before) = rank(its) {
            self.order.remove(&before);
        }
        self.count -= its.len();
        let changed = change(its);
        self.count += its.len();
        match rank(its) {
            Some(after) => drop(self.order.insert(after)),
            None => drop(self.clients.remove(&client)),
        }
        changed
    }
}

impl Place {
    /// A request came: of its client's connections it is the last to give way now.
    pub(crate) fn used(&self) {
        let mut open = self.connections.open.borrow_mut();
        // Not there any more if it has been told to give way; then it stays so.
        if let Some(give_way) = open.remove(self.client, self.last_use.get()) {
            self.last_use.set(open.insert(self.client, give_way));
        }
    }

    /// Returns when the connection has to close.
    pub(crate) async fn must_give_way(&self) {
        self.give_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().remove(self.client, self.last_use.get());
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    fn gives_way(place: &Place) -> bool {
        pin!(place.must_give_way()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn the_one_silent_longest_gives_way() {
        let connections = Connections::new(2, 0);
        let (first, evicted) = connections.enter(None);
        assert!(!evicted);
        let (second, evicted) = connections.enter(None);
        assert!(!evicted);
        first.used();
        let (third, evicted) = connections.enter(None);
        assert!(evicted);
        assert!(!gives_way(&first) && gives_way(&second) && !gives_way(&third));
    }

    #[test]
    fn a_place_that_was_left_is_free() {
        let connections = Connections::new(2, 0);
        let (first, _) = connections.enter(None);
        let (second, _) = connections.enter(None);
        drop(first);
        let (third, evicted) = connections.enter(None);
        assert!(!evicted && !gives_way(&second) && !gives_way(&third));
        let (_fourth, _) = connections.enter(None);
        // One that was evicted and is used or dropped late takes nobody's place.
        second.used();
        drop(second);
        assert_eq!(connections.open.borrow().count, 2);
    }

    fn at(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn a_client_with_its_share_makes_room_itself() {
        let connections = Connections::new(100, 3);
        let (other, _) = connections.enter(at(9));
        let places: Vec<_> = (0..3).map(|_| connections.enter(at(1)).0).collect();
        places[0].used();
        let (_fourth, evicted) = connections.enter(Some("::ffff:192.0.2.1".parse().unwrap()));
        assert!(evicted && gives_way(&places[1]) && !gives_way(&places[0]) && !gives_way(&other));
        // Each address of a /64 is the same client; those without a bound are none of them.
        let many: Vec<_> =
            (0..9).map(|n| connections.enter(format!("2001:db8::{n:x}").parse().ok()).0).collect();
        assert_eq!(many.iter().filter(|place| gives_way(place)).count(), 6);
        assert!((0..9).all(|_| !connections.enter(None).1));
        drop((many, places, other, _fourth));
        let open = connections.open.borrow();
        assert!(open.count == 0 && open.clients.is_empty() && open.order.is_empty());
    }

    #[test]
    fn when_all_places_are_taken_the_client_with_most_makes_room() {
        let connections = Connections::new(8, 0);
        let others = [connections.enter(at(9)).0, connections.enter(None).0];
        let flood: Vec<_> = (0..50).map(|_| connections.enter(at(1)).0).collect();
        assert_eq!(flood.iter().filter(|place| gives_way(place)).count(), 44);
        assert!(others.iter().all(|place| !gives_way(place)));
        // Of those with as many it is whose connection was silent longest.
        let few = Connections::new(3, 0);
        let places: Vec<_> = (1..=3).map(|n| few.enter(at(n)).0).collect();
        places[0].used();
        let (_fourth, _) = few.enter(at(4));
        assert!(!gives_way(&places[0]) && gives_way(&places[1]) && !gives_way(&places[2]));
    }
}
