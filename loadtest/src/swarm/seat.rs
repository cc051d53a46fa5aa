//! One engine of a swarm: how it is and what was seen of it.

use std::{io, path::PathBuf};

use crate::{
    data::TestTorrent,
    fleet::{Engine, Sample},
};

/// Different complaints of one engine that are kept.
const COMPLAINTS_MAX: usize = 20;

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Condition {
    /// Not there yet, or gone.
    Absent,
    /// Started, and not ready yet.
    Starting,
    /// At work.
    Running,
    /// Stopped by a signal.
    Frozen,
}

/// One engine of the swarm with what was seen of it.
#[derive(Debug)]
pub(super) struct Seat {
    pub(super) engine: Engine,
    pub(super) seed: bool,
    pub(super) condition: Condition,
    /// When it came, seconds.
    pub(super) joined: Option<f64>,
    /// When it was first seen to have everything, seconds.
    pub(super) complete: Option<f64>,
    /// What it said last.
    pub(super) last: Sample,
    /// Whether it has been given the torrent.
    pub(super) added: bool,
    pub(super) filler: Option<PathBuf>,
    /// What it said was wrong, once each.
    pub(super) complaints: Vec<String>,
}

impl Seat {
    /// A seat whose engine has not come yet.
    pub(super) fn new(engine: Engine, seed: bool) -> Seat {
        Seat {
            engine,
            seed,
            condition: Condition::Absent,
            joined: None,
            complete: None,
            last: Sample::default(),
            added: false,
            filler: None,
            complaints: Vec::new(),
        }
    }

    /// Keeps what is wrong, once.
    fn complain(&mut self, what: String) {
        if self.complaints.len() < COMPLAINTS_MAX && !self.complaints.contains(&what) {
            self.complaints.push(what);
        }
    }
}

/// The part of the torrent that somebody has, 0 to 1.
pub(super) fn part(seat: &Seat) -> f64 {
    if seat.last.wanted == 0 {
        return 0.0;
    }
    1.0 - seat.last.left as f64 / seat.last.wanted as f64
}

/// Asks an engine how it is and gives it the torrent when it has none yet.
///
/// # Errors
/// It ended by itself, or has forgotten its torrent: it is told once, and the seat is empty then.
pub(super) fn look_at(seat: &mut Seat, torrent: &TestTorrent, now: f64) -> io::Result<()> {
    if matches!(seat.condition, Condition::Absent | Condition::Frozen) {
        return Ok(());
    }
    if let Err(error) = seat.engine.complain_if_ended() {
        seat.condition = Condition::Absent;
        return Err(error);
    }
    // An engine that does not answer now is asked again at the next look.
    let Ok(sample) = seat.engine.sample() else { return Ok(()) };
    let Some(sample) = sample else {
        if seat.condition == Condition::Running {
            seat.condition = Condition::Absent;
            return Err(io::Error::other(format!("{} has forgotten its torrent", seat.engine.spec.name)));
        }
        // It answers before all torrents are loaded: what it had is there when it is ready.
        if !seat.added {
            match seat.engine.add(torrent) {
                Ok(()) => (seat.added, seat.condition) = (true, Condition::Running),
                // It is tried again at the next look.
                Err(error) => seat.complain(error.to_string()),
            }
        }
        return Ok(());
    };
    if seat.condition == Condition::Starting {
        // The engine's own count of payload begins with the first look at its metrics. One that fails costs only that.
        let _ = seat.engine.traffic();
    }
    seat.condition = Condition::Running;
    seat.added = true;
    if let Some(error) = &sample.error {
        // Which run it was is of no interest, and the path is long.
        let error = error.replace(&format!("{}/", seat.engine.spec.data.display()), "");
        seat.complain(error);
    }
    if sample.complete() && seat.complete.is_none() {
        seat.complete = Some(now);
    }
    seat.last = sample;
    Ok(())
}
