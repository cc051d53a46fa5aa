//! Logins by cookie.

use crate::control::rpc::gate::{new_session_id, same_secret};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Time after which an unused login ends.
const LIFE: Duration = Duration::from_secs(3600);
/// Logins at once; the oldest makes room.
const SESSIONS_MAX: usize = 256;

/// The logins that hold.
#[derive(Default)]
pub(in crate::control::rpc) struct Sessions(VecDeque<(String, Instant)>);

impl Sessions {
    /// Makes a login.
    pub(super) fn open(&mut self, now: Instant) -> io::Result<String> {
        let id = new_session_id()?;
        if self.0.len() >= SESSIONS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((id.clone(), now));
        Ok(id)
    }

    /// Whether a login holds; it is then renewed.
    pub(super) fn knows(&mut self, id: &str, now: Instant) -> bool {
        self.0.retain(|(_, used)| now.duration_since(*used) < LIFE);
        let mut known = false;
        for (other, used) in &mut self.0 {
            if same_secret(other.as_bytes(), id.as_bytes()) {
                (known, *used) = (true, now);
            }
        }
        known
    }

    /// Ends all logins.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_end_when_they_are_not_used() {
        let mut sessions = Sessions::default();
        let start = Instant::now();
        let id = sessions.open(start).unwrap();
        assert!(sessions.knows(&id, start + LIFE / 2) && !sessions.knows("x", start));
        assert!(sessions.knows(&id, start + LIFE), "using it renewed it");
        assert!(!sessions.knows(&id, start + LIFE * 3));
        for _ in 0..SESSIONS_MAX * 2 {
            sessions.open(start).unwrap();
        }
        assert_eq!(sessions.0.len(), SESSIONS_MAX);
    }
}
