//! The HTTP connections that are open, and which gives way when there are too many.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use tokio::sync::Notify;

/// Open connections in the order of their last sign of life: a request, or being accepted.
///
/// When a new one comes and all places are taken, the one that was silent longest is told to close. Clients that
/// hold connections and say nothing thereby cannot keep others out.
pub(crate) struct Connections {
    max: usize,
    open: RefCell<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    by_last_use: BTreeMap<u64, Rc<Notify>>,
}

/// A place among the connections; given back on drop.
pub(crate) struct Place {
    connections: Rc<Connections>,
    last_use: Cell<u64>,
    give_way: Rc<Notify>,
}

impl Connections {
    /// At most `max` connections, at least one.
    pub(crate) fn new(max: usize) -> Rc<Connections> {
        Rc::new(Connections { max: max.max(1), open: RefCell::default() })
    }

    /// A place for a new connection; true beside it if another had to give way.
    pub(crate) fn enter(self: &Rc<Connections>) -> (Place, bool) {
        let mut open = self.open.borrow_mut();
        let mut evicted = false;
        while open.by_last_use.len() >= self.max
            && let Some((_, give_way)) = open.by_last_use.pop_first()
        {
            give_way.notify_one();
            evicted = true;
        }
        let give_way = Rc::new(Notify::new());
        let last_use = open.insert(give_way.clone());
        (Place { connections: self.clone(), last_use: Cell::new(last_use), give_way }, evicted)
    }
}

impl Open {
    fn insert(&mut self, give_way: Rc<Notify>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.by_last_use.insert(number, give_way);
        number
    }
}

impl Place {
    /// A request came: the connection is the last to give way now.
    pub(crate) fn used(&self) {
        let mut open = self.connections.open.borrow_mut();
        // Not there any more if it has been told to give way; then it stays so.
        if let Some(give_way) = open.by_last_use.remove(&self.last_use.get()) {
            self.last_use.set(open.insert(give_way));
        }
    }

    /// Returns when the connection has to close.
    pub(crate) async fn must_give_way(&self) {
        self.give_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open.borrow_mut().by_last_use.remove(&self.last_use.get());
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
        let connections = Connections::new(2);
        let (first, evicted) = connections.enter();
        assert!(!evicted);
        let (second, evicted) = connections.enter();
        assert!(!evicted);
        first.used();
        let (third, evicted) = connections.enter();
        assert!(evicted);
        assert!(!gives_way(&first) && gives_way(&second) && !gives_way(&third));
    }

    #[test]
    fn a_place_that_was_left_is_free() {
        let connections = Connections::new(2);
        let (first, _) = connections.enter();
        let (second, _) = connections.enter();
        drop(first);
        let (third, evicted) = connections.enter();
        assert!(!evicted && !gives_way(&second) && !gives_way(&third));
        let (_fourth, _) = connections.enter();
        // One that was evicted and is used or dropped late takes nobody's place.
        second.used();
        drop(second);
        assert_eq!(connections.open.borrow().by_last_use.len(), 2);
    }
}
