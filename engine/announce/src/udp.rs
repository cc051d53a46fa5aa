//! UDP announces (BEP 15, BEP 41): one connected socket per tracker address, shared by all torrents.
//!
//! A connected socket takes datagrams from its tracker only, and learns at once that nobody listens there.

use super::dial;
use super::jitter::Jitter;
use super::limits::{UDP_ATTEMPTS, UDP_CONNECTION_LIFE, UDP_DATAGRAM_MAX, UDP_FIRST_WAIT, UDP_SOCKET_IDLE};
use super::names::Names;
use super::transport::{Failure, Request};
use ringseed_net::route::Route;
use ringseed_proto::tracker::udp::{Request as Packet, Response};
use ringseed_proto::tracker::{AnnounceResponse, Family};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::sync::{Mutex, Notify, oneshot};
use tokio::time::{Instant, timeout};

/// Waiting for answers: BEP 15 wants 15 s, doubled each time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    pub(super) first: Duration,
    pub(super) attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self { first: UDP_FIRST_WAIT, attempts: UDP_ATTEMPTS }
    }
}

/// An address that fails as soon (nobody listens, no way there) is no reason to wait for the next announce.
const NEXT_ADDRESS_WITHIN: Duration = Duration::from_secs(1);
/// Addresses that are remembered as failed.
const FAILED_MAX: usize = 1024;

type Clients = Rc<RefCell<HashMap<SocketAddr, Rc<Client>>>>;

/// Speaks to UDP trackers.
pub(super) struct UdpTrackers {
    route: Route,
    names: Arc<Names>,
    patience: Patience,
    /// From so many sockets on, idle ones are closed for new ones.
    sockets_max: usize,
    clients: Clients,
    /// When addresses last did not answer.
    failed: RefCell<HashMap<SocketAddr, Instant>>,
    numbers: RefCell<Jitter>,
}

/// A socket to one tracker address, and who waits there for which answer.
struct Client {
    socket: UdpSocket,
    family: Family,
    waiting: RefCell<HashMap<u32, oneshot::Sender<Result<Response, io::Error>>>>,
    /// The connection id and when it was given. Whoever holds the lock connects for all.
    connection: Mutex<Option<(u64, Instant)>>,
    used: Cell<Instant>,
    /// It gives its socket up for another one.
    ended: Notify,
}

impl UdpTrackers {
    pub(super) fn new(route: Route, names: Arc<Names>, sockets_max: usize) -> Self {
        Self {
            route,
            names,
            patience: Patience::default(),
            sockets_max,
            clients: Clients::default(),
            failed: RefCell::default(),
            numbers: RefCell::new(Jitter::new(None)),
        }
    }

    #[cfg(test)]
    pub(super) fn with_patience(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Sends one announce over a family.
    pub(super) async fn announce(
        &self,
        request: &Request,
        family: Family,
    ) -> Result<AnnounceResponse, Failure> {
        let addresses = self.names.resolve(&request.url.host).await.map_err(|error| unreachable(&error))?;
        let ours = addresses.iter().filter(|ip| Family::of(**ip) == family);
        let mut ours: Vec<_> = ours.map(|ip| SocketAddr::new(*ip, request.url.port)).collect();
        // One that did not answer comes after the others, at the next announce at the latest.
        ours.sort_by_key(|to| self.failed.borrow().get(to).copied());
        let mut failure = format!("{} has no address of this family", request.url.host);
        for to in ours {
            let began = Instant::now();
            match self.announce_to(to, request).await {
                Err(Failure::Unreachable(text)) if began.elapsed() < NEXT_ADDRESS_WITHIN => failure = text,
                other => return other,
            }
        }
        Err(Failure::Unreachable(failure))
    }

    /// Sends one announce to an address.
    async fn announce_to(&self, to: SocketAddr, request: &Request) -> Result<AnnounceResponse, Failure> {
        // It stands also when nobody waits any longer, as for a second family.
        let mut unanswered = Unanswered { trackers: self, to, answered: false };
        let client = self.client(to).await.map_err(|error| unreachable(&error))?;
        let result = self.announce_over(&client, request).await;
        match result {
            Err(Failure::Unreachable(_)) => self.retire(to, &client),
            _ => unanswered.answered = true,
        }
        result
    }

    /// Gives a socket up whose tracker did not answer: it stays tied to the interface that it was made for, also when that
    /// one was made anew since.
    fn retire(&self, to: SocketAddr, client: &Rc<Client>) {
        let mut clients = self.clients.borrow_mut();
        if clients.get(&to).is_some_and(|known| Rc::ptr_eq(known, client)) {
            clients.remove(&to);
        }
        // The listener holds one, and the last of those that wait for answers another.
        if Rc::strong_count(client) <= 2 {
            client.ended.notify_one();
        }
    }

    fn note_failure(&self, to: SocketAddr) {
        let mut failed = self.failed.borrow_mut();
        if failed.len() >= FAILED_MAX {
            failed.clear();
        }
        failed.insert(to, Instant::now());
    }

    async fn announce_over(&self, client: &Client, request: &Request) -> Result<AnnounceResponse, Failure> {
        for retried in [false, true] {
            let (connection_id, fresh) = self.connect(client).await?;
            let transaction_id = self.number();
            let url_data = match request.url.path_and_query() {
                "/" | "/announce" => Vec::new(),
                other => other.as_bytes().to_vec(),
            };
            let announce = request.announce.clone();
            let packet = Packet::Announce { connection_id, transaction_id, announce, url_data };
            match client.ask(&packet, transaction_id, self.patience).await? {
                Response::Announce { response, .. } => return Ok(response),
                // A tracker that restarted no longer knows an id that should still be good.
                Response::Error { .. } if !fresh && !retried => *client.connection.lock().await = None,
                Response::Error { message, .. } => return Err(Failure::refused(message)),
                Response::Connect { .. } | Response::Scrape { .. } => {
                    return Err(Failure::refused("the tracker answered something else"));
                }
            }
        }
        Err(Failure::refused("the tracker takes none of its connection ids"))
    }

    /// A connection id that is good now, and whether it was fetched just now.
    async fn connect(&self, client: &Client) -> Result<(u64, bool), Failure> {
        let mut connection = client.connection.lock().await;
        if let Some((id, since)) = *connection
            && since.elapsed() < UDP_CONNECTION_LIFE
        {
            return Ok((id, false));
        }
        *connection = None;
        let transaction_id = self.number();
        match client.ask(&Packet::Connect { transaction_id }, transaction_id, self.patience).await? {
            Response::Connect { connection_id, .. } => {
                *connection = Some((connection_id, Instant::now()));
                Ok((connection_id, true))
            }
            Response::Error { message, .. } => Err(Failure::refused(message)),
            Response::Announce { .. } | Response::Scrape { .. } => {
                Err(Failure::refused("the tracker answered something else"))
            }
        }
    }

    async fn client(&self, to: SocketAddr) -> io::Result<Rc<Client>> {
        if let Some(client) = self.clients.borrow().get(&to) {
            client.used.set(Instant::now());
            return Ok(client.clone());
        }
        self.make_room();
        let socket = dial::datagrams(to, &self.route).await?;
        let client = Rc::new(Client {
            socket,
            family: Family::of(to.ip()),
            waiting: RefCell::default(),
            connection: Mutex::new(None),
            used: Cell::new(Instant::now()),
            ended: Notify::new(),
        });
        // Another torrent may have come first while we waited.
        let client = self.clients.borrow_mut().entry(to).or_insert(client).clone();
        if Rc::strong_count(&client) == 2 {
            tokio::task::spawn_local(listen(client.clone(), self.clients.clone(), to));
        }
        Ok(client)
    }

    /// Closes idle sockets, the longest idle first, until there is room for one more. Those in use are as many as there are
    /// announces in flight, which are bounded elsewhere.
    fn make_room(&self) {
        let mut clients = self.clients.borrow_mut();
        while clients.len() >= self.sockets_max {
            // The table and the listener hold one each: whoever else does is about to use it.
            let idle = clients.iter().filter(|(_, client)| Rc::strong_count(client) <= 2);
            let Some(oldest) = idle.min_by_key(|(_, client)| client.used.get()).map(|(to, _)| *to) else {
                return;
            };
            if let Some(client) = clients.remove(&oldest) {
                client.ended.notify_one();
            }
        }
    }

    /// A transaction id that is hard to guess.
    fn number(&self) -> u32 {
        (self.numbers.borrow_mut().next() >> 32) as u32
    }
}

impl Client {
    /// Sends a datagram until its answer comes.
    async fn ask(
        &self,
        packet: &Packet<'_>,
        transaction: u32,
        patience: Patience,
    ) -> Result<Response, Failure> {
        let mut datagram = Vec::with_capacity(128);
        packet.encode(&mut datagram);
        let (sender, mut answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(transaction, sender);
        let _guard = Registration { client: self, transaction };
        for attempt in 0..patience.attempts {
            self.used.set(Instant::now());
            self.socket.send(&datagram).await.map_err(|error| unreachable(&error))?;
            match timeout(patience.first * (1 << attempt), &mut answer).await {
                Ok(Ok(Ok(response))) => return Ok(response),
                Ok(Ok(Err(error))) => return Err(unreachable(&error)),
                Ok(Err(_)) => return Err(Failure::Unreachable("the socket was closed".to_owned())),
                Err(_) => {}
            }
        }
        Err(Failure::Unreachable("no answer".to_owned()))
    }
}

/// Notes that an address did not answer, unless it did.
struct Unanswered<'a> {
    trackers: &'a UdpTrackers,
    to: SocketAddr,
    answered: bool,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.answered {
            self.trackers.failed.borrow_mut().remove(&self.to);
        } else {
            self.trackers.note_failure(self.to);
        }
    }
}

/// Takes its question back when nobody waits for the answer any more.
struct Registration<'a> {
    client: &'a Client,
    transaction: u32,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.client.waiting.borrow_mut().remove(&self.transaction);
    }
}

/// Hands answers to whoever asked, until the socket has been idle for long.
async fn listen(client: Rc<Client>, clients: Clients, to: SocketAddr) {
    let mut datagram = vec![0; UDP_DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            received = timeout(UDP_SOCKET_IDLE, client.socket.recv(&mut datagram)) => received,
            () = client.ended.notified() => return,
        };
        match received {
            Ok(Ok(length)) => {
                // What is not an answer may be forged: whoever waits goes on waiting.
                let Ok(response) = Response::decode(&datagram[..length], client.family) else { continue };
                if let Some(sender) = client.waiting.borrow_mut().remove(&response.transaction_id()) {
                    let _ = sender.send(Ok(response));
                }
            }
            // The tracker's host refused the datagram (ICMP).
            Ok(Err(error)) => {
                for (_, sender) in client.waiting.borrow_mut().drain() {
                    let _ = sender.send(Err(io::Error::new(error.kind(), error.to_string())));
                }
            }
            Err(_) => {
                if client.waiting.borrow().is_empty() && client.used.get().elapsed() >= UDP_SOCKET_IDLE {
                    let mut clients = clients.borrow_mut();
                    if clients.get(&to).is_some_and(|known| Rc::ptr_eq(known, &client)) {
                        clients.remove(&to);
                    }
                    return;
                }
            }
        }
    }
}

fn unreachable(error: &io::Error) -> Failure {
    Failure::Unreachable(error.to_string())
}

#[cfg(test)]
#[path = "udp_tests.rs"]
mod tests;
