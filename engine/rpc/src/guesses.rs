//! How fast names and passwords may be guessed: a few at once, and then slowly, but never so that the right ones are
//! refused for what others guessed.
//!
//! A client that was wrong too often is not locked out, for it may share its address with others. Each further guess
//! waits before it is looked at, right or wrong alike, so that it tells nothing to give up waiting; and few of one client
//! wait at once. Whoever showed the right credentials before is known by its address and does not wait. The token is no
//! password that people choose: it cannot be guessed, and is not looked for here.

use super::limits::{
    FAILURE_LIFE, FAILURES_ALL_MAX, FAILURES_MAX, FAILURES_REMEMBERED_MAX, GUESSES_WAITING_ALL_MAX,
    GUESSES_WAITING_MAX, PROVEN_LIFE,
};
use super::origin::Client;
use std::collections::HashMap;
use std::time::Instant;

/// When a guess is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GuessTurn {
    /// At once.
    Now,
    /// After it has waited.
    Later,
    /// Not at all: too many wait already.
    Never,
}

/// The guesses of all clients.
#[derive(Default)]
pub(super) struct Guesses {
    clients: HashMap<Client, Record>,
    wrong: Wrong,
    waiting: u32,
}

#[derive(Default)]
struct Record {
    wrong: Wrong,
    waiting: u32,
    /// When it showed the right credentials last.
    proven: Option<Instant>,
}

/// Wrong guesses, which count for a while from the first on.
#[derive(Default)]
struct Wrong {
    count: u32,
    since: Option<Instant>,
}

impl Wrong {
    fn count(&self, now: Instant) -> u32 {
        if self.since.is_some_and(|since| now.duration_since(since) < FAILURE_LIFE) { self.count } else { 0 }
    }

    fn add(&mut self, now: Instant) {
        self.count = self.count(now).saturating_add(1);
        if self.count == 1 {
            self.since = Some(now);
        }
    }
}

impl Record {
    fn is_proven(&self, now: Instant) -> bool {
        self.proven.is_some_and(|at| now.duration_since(at) < PROVEN_LIFE)
    }
}

impl Guesses {
    /// When a guess of this client is looked at.
    pub(super) fn turn(&self, client: Client, now: Instant) -> GuessTurn {
        let record = self.clients.get(&client);
        let slow = record.is_some_and(|record| record.wrong.count(now) >= FAILURES_MAX)
            || self.wrong.count(now) >= FAILURES_ALL_MAX;
        if !slow || record.is_some_and(|record| record.is_proven(now)) {
            return GuessTurn::Now;
        }
        let waiting = record.map_or(0, |record| record.waiting);
        if waiting < GUESSES_WAITING_MAX && self.waiting < GUESSES_WAITING_ALL_MAX {
            GuessTurn::Later
        } else {
            GuessTurn::Never
        }
    }

    /// A guess begins to wait.
    pub(super) fn begin_wait(&mut self, client: Client, now: Instant) {
        self.record(client, now).waiting += 1;
        self.waiting += 1;
    }

    /// A guess has waited.
    pub(super) fn end_wait(&mut self, client: Client) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(record) = self.clients.get_mut(&client) {
            record.waiting = record.waiting.saturating_sub(1);
        }
    }

    /// A guess was right.
    pub(super) fn right(&mut self, client: Client, now: Instant) {
        self.record(client, now).proven = Some(now);
    }

    /// A guess was wrong.
    pub(super) fn wrong(&mut self, client: Client, now: Instant) {
        self.wrong.add(now);
        let record = self.record(client, now);
        record.wrong.add(now);
        // More of them would fill the log.
        if record.wrong.count <= FAILURES_MAX {
            tracing::warn!(?client, "wrong credentials for the RPC");
        }
    }

    fn record(&mut self, client: Client, now: Instant) -> &mut Record {
        if self.clients.len() >= FAILURES_REMEMBERED_MAX && !self.clients.contains_key(&client) {
            let counts = |record: &Record| record.waiting > 0 || record.is_proven(now);
            self.clients.retain(|_, record| counts(record) || record.wrong.count(now) > 0);
            // Still full: so many guess that all together are slow, and forgetting who they are costs little.
            if self.clients.len() >= FAILURES_REMEMBERED_MAX {
                self.clients.retain(|_, record| counts(record));
            }
            if self.clients.len() >= FAILURES_REMEMBERED_MAX {
                self.clients.retain(|_, record| record.waiting > 0);
            }
        }
        self.clients.entry(client).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use std::time::Duration;

    fn at(n: u32) -> Client {
        Client::of(Some(IpAddr::from(n.to_be_bytes())))
    }

    #[test]
    fn guessing_becomes_slow_and_is_forgiven_later() {
        let start = Instant::now();
        let mut guesses = Guesses::default();
        for _ in 0..FAILURES_MAX {
            assert_eq!(guesses.turn(at(1), start), GuessTurn::Now);
            guesses.wrong(at(1), start);
        }
        assert_eq!(
            (guesses.turn(at(1), start), guesses.turn(at(2), start)),
            (GuessTurn::Later, GuessTurn::Now)
        );
        for _ in 0..GUESSES_WAITING_MAX {
            assert_eq!(guesses.turn(at(1), start), GuessTurn::Later);
            guesses.begin_wait(at(1), start);
        }
        assert_eq!(guesses.turn(at(1), start), GuessTurn::Never);
        guesses.end_wait(at(1));
        assert_eq!(guesses.turn(at(1), start), GuessTurn::Later);
        assert_eq!(guesses.turn(at(1), start + FAILURE_LIFE), GuessTurn::Now);
    }

    #[test]
    fn a_client_that_was_right_does_not_wait_for_what_others_guess_at_its_address() {
        let start = Instant::now();
        let mut guesses = Guesses::default();
        guesses.right(at(1), start);
        for _ in 0..1000 {
            guesses.wrong(at(1), start);
        }
        assert_eq!(guesses.turn(at(1), start), GuessTurn::Now);
        guesses.right(at(1), start + PROVEN_LIFE / 2);
        guesses.wrong(at(1), start + PROVEN_LIFE);
        assert_eq!(guesses.turn(at(1), start + PROVEN_LIFE), GuessTurn::Now);
    }

    #[test]
    fn many_addresses_guess_no_faster_than_a_few_and_take_bounded_memory() {
        let start = Instant::now();
        let mut guesses = Guesses::default();
        guesses.right(at(1), start);
        for n in 2..40_000 {
            guesses.wrong(at(n), start);
        }
        assert_eq!(
            (guesses.turn(at(50_000), start), guesses.turn(at(1), start)),
            (GuessTurn::Later, GuessTurn::Now)
        );
        for n in 0..GUESSES_WAITING_ALL_MAX {
            guesses.begin_wait(at(100_000 + n), start);
        }
        assert_eq!(guesses.turn(at(50_000), start), GuessTurn::Never);
        assert!(guesses.clients.len() <= FAILURES_REMEMBERED_MAX);
        assert_eq!(guesses.turn(at(50_000), start + FAILURE_LIFE + Duration::from_secs(1)), GuessTurn::Now);
    }
}
