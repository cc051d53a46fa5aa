//! Logins by cookie.

use crate::gate::{new_session_id, same_secret};
use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

/// Time after which an unused login ends.
const LIFE: Duration = Duration::from_secs(3600);
/// Logins at once; the one that was not used for longest makes room.
const SESSIONS_MAX: usize = 256;

/// The logins that hold.
#[derive(Default)]
pub(crate) struct Sessions(VecDeque<(String, Instant)>);

impl Sessions {
    /// Makes a login.
    pub(super) fn open(&mut self, now: Instant) -> io::Result<String> {
        let id = new_session_id()?;
        if self.0.len() >= SESSIONS_MAX
            && let Some(oldest) = (0..self.0.len()).min_by_key(|at| self.0[*at].1)
        {
            self.0.remove(oldest);
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

    /// Ends a login.
    pub(super) fn close(&mut self, id: &str) {
        self.0.retain(|(other, _)| !same_secret(other.as_bytes(), id.as_bytes()));
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
        let (used, left) = (sessions.open(start).unwrap(), sessions.open(start).unwrap());
        let second = std::time::Duration::from_secs(1);
        for n in 1..SESSIONS_MAX as u32 * 2 {
            assert!(sessions.knows(&used, start + second * n));
            sessions.open(start + second * n).unwrap();
        }
        let now = start + second * SESSIONS_MAX as u32 * 2;
        assert!(sessions.0.len() == SESSIONS_MAX && !sessions.knows(&left, now));
        sessions.close(&used);
        assert!(sessions.0.len() == SESSIONS_MAX - 1 && !sessions.knows(&used, now));
    }
}
