//! Times at which the host of a virtual machine, and not anything in it, kept a core from running.
//!
//! A thread of real-time priority on each core asks to be woken again and again. Inside the machine nothing goes before
//! it for longer than a system call lasts, so when it comes late, the core was not there. A benchmark of latencies says
//! what it found with these times and without.

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ringseed_loadtest::affinity::pin_to;

/// How often a core is looked at. Each look takes it away from what is measured: where a timer costs 50 us, as in some
/// virtual machines, 5000 looks a second would take a quarter of it.
const EVERY: Duration = Duration::from_millis(1);
/// A core that comes later than this was away.
const LATE: Duration = Duration::from_micros(500);

/// A time for which a core did not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stall {
    /// When it was last seen running: it left some time after that.
    pub from: Instant,
    /// When it ran again.
    pub until: Instant,
    /// How long it was away, as far as that can be known.
    pub lasted: Duration,
}

/// Watches cores until it is asked what it saw.
#[derive(Debug)]
pub struct Witness {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Vec<Stall>>>,
}

impl Witness {
    /// Begins to watch `cores`.
    ///
    /// # Errors
    /// There is no such core, or the process may not have threads of real-time priority (`CAP_SYS_NICE`).
    pub fn start(cores: &[usize]) -> io::Result<Witness> {
        let over = Arc::new(AtomicBool::new(false));
        let mut witness = Witness { over: Arc::clone(&over), threads: Vec::new() };
        for &core in cores {
            let (over, (ready, is_ready)) = (Arc::clone(&over), std::sync::mpsc::sync_channel(1));
            witness.threads.push(std::thread::spawn(move || {
                let prepared = pin_to(core).and_then(|()| become_real_time());
                let failed = prepared.is_err();
                let _ = ready.send(prepared);
                if failed { Vec::new() } else { watch(&over) }
            }));
            is_ready.recv().map_err(io::Error::other)??;
        }
        Ok(witness)
    }

    /// Ends the watch: all stalls of all cores, in order of their beginning.
    pub fn stop(self) -> Vec<Stall> {
        self.over.store(true, Ordering::Relaxed);
        let mut seen: Vec<Stall> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect();
        seen.sort_unstable_by_key(|stall| stall.from);
        seen
    }
}

fn watch(over: &AtomicBool) -> Vec<Stall> {
    let mut seen = Vec::new();
    let mut last = Instant::now();
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(EVERY);
        let now = Instant::now();
        if now - last > EVERY + LATE {
            // It left somewhere in the time that it was let sleep.
            seen.push(Stall { from: last, until: now, lasted: now - last - EVERY / 2 });
        }
        last = now;
    }
    seen
}

fn become_real_time() -> io::Result<()> {
    // SAFETY: the structure is plain integers, for which zero is a value.
    let mut wanted: libc::sched_param = unsafe { mem::zeroed() };
    wanted.sched_priority = 50;
    // SAFETY: the structure lives on this stack frame; 0 is the calling thread.
    match unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &wanted) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Requests that wait behind a stall are served late, too, until the queue that grew is gone: with a load of `load` (of
/// the most that can be served) the last of them is one that was due `load / (1 - load)` times the stall after its end.
/// The stalls together with these times, without overlaps, in order.
pub fn with_what_waited(stalls: &[Stall], load: f64) -> Vec<Stall> {
    let mut widened: Vec<Stall> = Vec::new();
    for stall in stalls {
        let (mut from, mut lasted) = (stall.from, stall.lasted);
        // What waits already waits longer.
        if let Some(before) = widened.last().filter(|before| before.until > from).copied() {
            widened.pop();
            let left = (before.until - from).mul_f64(((1.0 - load) / load).max(0.0));
            lasted += left;
            from = before.from;
        }
        let until = stall.until + lasted.mul_f64(load / (1.0 - load));
        widened.push(Stall { from, until, lasted });
    }
    widened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waited_behind_a_stall_is_counted_to_it() {
        let zero = Instant::now();
        let ms = Duration::from_millis;
        let stall =
            |from, until| Stall { from: zero + ms(from), until: zero + ms(until), lasted: ms(until - from) };
        let wide = with_what_waited(&[stall(10, 12)], 0.8);
        assert_eq!(wide, [Stall { lasted: ms(2), ..stall(10, 20) }]);
        // At 16 ms half of the queue is left: a millisecond of stall, and then the next comes.
        let wide = with_what_waited(&[stall(10, 12), stall(16, 17), stall(40, 41)], 0.8);
        assert_eq!(wide.len(), 2);
        assert_eq!(wide[0].from, zero + ms(10));
        let end = (wide[0].until - zero).as_secs_f64();
        assert!((0.0249..0.0251).contains(&end), "{end}");
        assert_eq!((wide[1].from, wide[1].until), (zero + ms(40), zero + ms(45)));
    }

    #[test]
    fn a_core_that_is_not_there_cannot_be_watched() {
        assert!(Witness::start(&[100_000]).is_err());
    }
}
