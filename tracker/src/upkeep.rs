//! What happens beside answering: forgetting peers, reading lists again, saving the state.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::limits::{
    EXPIRY_ROUND_EVERY, EXPIRY_ROUND_PEERS, EXPIRY_STEP_EVERY, EXPIRY_STEP_PEERS, EXPIRY_STEP_SHARD_PEERS,
    LISTS_LOOK_EVERY, STATE_SAVE_EVERY,
};
use crate::shared::Shared;
use crate::state;

/// Asks for something out of turn.
#[derive(Debug)]
pub(crate) enum Order {
    /// Reads the lists again.
    Reload,
}

/// Works until nobody can give orders any more.
pub(crate) fn run(shared: &Shared, orders: &Receiver<Order>) {
    let mut part = 0;
    let (mut looked, mut saved) = (Instant::now(), Instant::now());
    loop {
        let few = shared.shards.peers() <= EXPIRY_ROUND_PEERS;
        let pause = if few { EXPIRY_ROUND_EVERY } else { EXPIRY_STEP_EVERY };
        match orders.recv_timeout(pause) {
            Ok(Order::Reload) => reload(shared, true),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let all = shared.shards.len();
        let (parts, budget) = match few {
            true => (all, EXPIRY_ROUND_PEERS),
            false => (EXPIRY_STEP_PEERS / EXPIRY_STEP_SHARD_PEERS, EXPIRY_STEP_SHARD_PEERS),
        };
        for _ in 0..parts {
            let expired = shared.shards.expire(part, shared.now(), budget);
            shared.metrics.peers_expired.inc_by(expired as u64);
            part = (part + 1) % all;
        }
        if due(&mut looked, LISTS_LOOK_EVERY) {
            reload(shared, false);
        }
        if due(&mut saved, STATE_SAVE_EVERY) {
            save(shared);
        }
    }
}

/// Writes the state, if it is wanted.
pub(crate) fn save(shared: &Shared) {
    if let Some(path) = &shared.config.state
        && let Err(error) = state::save(shared, path)
    {
        tracing::warn!(%error, path = %path.display(), "cannot save the swarms");
    }
}

fn reload(shared: &Shared, always: bool) {
    match shared.access.reload(always) {
        Ok(true) => tracing::info!("the lists were read again"),
        Ok(false) => {}
        Err(error) => tracing::warn!("the lists stay as they were: {error}"),
    }
}

fn due(last: &mut Instant, every: Duration) -> bool {
    let due = last.elapsed() >= every;
    if due {
        *last = Instant::now();
    }
    due
}
