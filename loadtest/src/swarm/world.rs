//! The engines of a swarm and the tracker, what is done to them and what is seen of them.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{
    Action, Announce, Place, RunError, SeedsLeave, SwarmConfig, Tools,
    files::{fill_disk, room},
    schedule::{Member, Schedule, Step, choose},
    seat::{Condition, Seat, look_at, part},
};
use crate::{
    blast::SplitMix,
    data::TestTorrent,
    fleet::{Engine, EngineSpec, MemoryDisk, Network, Signal, TrackerProcess, TrackerUse},
    report::Mark,
};

/// Room beside the torrent in a file system that becomes full.
const DISK_SLACK: u64 = 16 << 20;
/// Longest wait until a seed has hashed what it has.
const SEED_MAX: Duration = Duration::from_secs(300);

/// All peers at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Moment {
    pub(super) at: f64,
    pub(super) complete: u32,
    /// Part that each peer has, sorted.
    pub(super) parts: Vec<f64>,
    /// Payload that all peers have received.
    pub(super) received: u64,
}

/// Everything that takes part.
pub(super) struct World<'a> {
    pub(super) config: &'a SwarmConfig,
    pub(super) torrent: TestTorrent,
    pub(super) seats: Vec<Seat>,
    pub(super) moments: Vec<Moment>,
    pub(super) marks: Vec<Mark>,
    /// What went wrong and should not have.
    pub(super) incidents: Vec<String>,
    tracker: TrackerProcess,
    network: Network,
    rng: SplitMix,
    /// Unmounted before their directories are removed.
    disks: Vec<MemoryDisk>,
    /// Removed with everything in it when the run is over.
    home: TempDir,
}

impl<'a> World<'a> {
    /// Makes the torrent, starts the tracker and the seeds, and waits until these have everything.
    pub(super) fn build(config: &'a SwarmConfig, tools: &Tools) -> Result<World<'a>, RunError> {
        let home = tools.run_dir()?;
        let needed = config.size.0.saturating_mul(u64::from(config.peers) + 1).saturating_add(DISK_SLACK);
        let room = room(home.path()).map_err(RunError::doing("look for room"))?;
        if room < needed {
            let dir = tools.dir.clone();
            return Err(RunError::NoRoom { dir, room_mib: room >> 20, needed_mib: needed >> 20 });
        }
        let count = config.seeds + config.peers;
        let network = match config.network {
            Place::Loopback => Network::loopback(count),
            Place::Links => Network::links(count, &config.link),
        };
        let network = network.map_err(RunError::doing("make the network"))?;
        let arguments = ["--interval".to_owned(), config.interval_s.to_string()];
        let tracker = TrackerProcess::start(&tools.tracker, network.address(0), &arguments, home.path());
        let tracker = tracker.map_err(RunError::doing("start the tracker"))?;
        let url = match config.announce {
            Announce::Http => format!("http://{}/announce", tracker.addr()),
            Announce::Udp => format!("udp://{}/announce", tracker.addr()),
        };
        let original = home.path().join("original");
        // Checked to be at most 16 MiB.
        let torrent = TestTorrent::with_tiers(&original, config.size.0, config.piece.0 as u32, &[vec![url]])
            .map_err(RunError::doing("make the torrent"))?;
        let mut world = World {
            config,
            torrent,
            seats: Vec::new(),
            moments: Vec::new(),
            marks: Vec::new(),
            incidents: Vec::new(),
            tracker,
            network,
            rng: SplitMix::new(config.chance),
            disks: Vec::new(),
            home,
        };
        for number in 1..=count {
            world.seat(number, tools)?;
        }
        world.start_seeds()?;
        Ok(world)
    }

    fn seat(&mut self, number: u32, tools: &Tools) -> Result<(), RunError> {
        let config = self.config;
        let seed = number <= config.seeds;
        let name = if seed { format!("seed {number}") } else { format!("peer {}", number - config.seeds) };
        let home = self.home.path().join(format!("e{number}"));
        // Seeds read the one copy that there is.
        let data = if seed { self.torrent.dir.clone() } else { home.join("data") };
        let mut arguments = vec!["--quiet".to_owned(), "--no-pin".into()];
        arguments.extend(["--shards".into(), config.shards.to_string()]);
        let upload = if seed { config.seed_upload } else { config.peer_upload };
        if upload.0 > 0 {
            arguments.extend(["--upload-limit".into(), upload.0.to_string()]);
        }
        arguments.extend(config.engine_args.iter().cloned());
        let spec =
            EngineSpec { name: name.clone(), number, program: tools.ringseed.clone(), home, data, arguments };
        let engine = Engine::new(spec).map_err(RunError::doing(format!("prepare {name}")))?;
        let peer = number.wrapping_sub(config.seeds);
        let fills = |event: &super::Event| event.action == Action::DiskFull && event.peers.contains(&peer);
        if !seed && config.event.iter().any(fills) {
            let disk = MemoryDisk::mount(&engine.spec.data, config.size.0 + DISK_SLACK);
            self.disks.push(disk.map_err(RunError::doing(format!("make a file system for {name}")))?);
        }
        self.seats.push(Seat::new(engine, seed));
        Ok(())
    }

    fn start_seeds(&mut self) -> Result<(), RunError> {
        let began = Instant::now();
        for seat in self.seats.iter_mut().filter(|seat| seat.seed) {
            let name = seat.engine.spec.name.clone();
            seat.engine.spawn(&self.network).map_err(RunError::doing(format!("start {name}")))?;
            seat.engine.wait_ready().map_err(RunError::doing(format!("start {name}")))?;
            seat.engine.add(&self.torrent).map_err(RunError::doing(format!("give {name} the torrent")))?;
            seat.added = true;
            seat.condition = Condition::Running;
            loop {
                let sample = seat.engine.sample().map_err(RunError::doing(format!("ask {name}")))?;
                if sample.is_some_and(|sample| sample.complete()) {
                    break;
                }
                if began.elapsed() > SEED_MAX {
                    let error = io::Error::other("it does not find its data complete");
                    return Err(RunError::Failed { what: format!("have {name} seed"), error });
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            (seat.joined, seat.complete) = (Some(0.0), Some(0.0));
        }
        Ok(())
    }

    /// Percent of what all peers want that they have.
    pub(super) fn percent(&self) -> f64 {
        let peers: Vec<&Seat> = self.peers().collect();
        100.0 * peers.iter().map(|seat| part(seat)).sum::<f64>() / peers.len() as f64
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().filter(|seat| !seat.seed)
    }

    /// Whether every peer runs and has everything now.
    pub(super) fn all_complete(&self) -> bool {
        self.peers().all(|seat| seat.condition == Condition::Running && seat.last.complete())
    }

    /// Whether every peer has said that it received what it has. One that was killed may have forgotten a little.
    pub(super) fn all_counted(&self) -> bool {
        self.peers().all(|seat| seat.last.received >= seat.last.wanted)
    }

    /// For the progress bar.
    pub(super) fn line(&self) -> String {
        let complete = self.peers().filter(|seat| seat.last.complete()).count();
        let running = self.seats.iter().filter(|seat| seat.condition == Condition::Running).count();
        let last = self.marks.last().map(|mark| format!(", last: {}", mark.label)).unwrap_or_default();
        format!("{complete} of {} peers complete, {running} engines run{last}", self.config.peers)
    }

    /// What the tracker had to do.
    pub(super) fn tracker_used(&self) -> io::Result<TrackerUse> {
        self.tracker.used()
    }

    /// Does what is due.
    pub(super) fn step(&mut self, now: f64, step: Step, schedule: &mut Schedule) -> Result<(), RunError> {
        match step {
            Step::Arrive(member) => {
                self.seats[member].joined = Some(now);
                self.spawn(member)
            }
            Step::Restart(member) => self.spawn(member),
            Step::ChurnSomebody => {
                let here = |seat: &Seat| seat.condition == Condition::Running && !seat.seed;
                let candidates: Vec<Member> = (0..self.seats.len())
                    .filter(|member| here(&self.seats[*member]) && self.seats[*member].complete.is_none())
                    .collect();
                if let Some(member) = choose(&mut self.rng, &candidates) {
                    let seat = &mut self.seats[member];
                    seat.condition = Condition::Absent;
                    if let Err(error) = seat.engine.stop() {
                        self.incidents.push(error.to_string());
                    }
                    schedule.later(now + self.config.churn_away_s, Step::Restart(member));
                }
                Ok(())
            }
            Step::Begin(action, members) => {
                self.mark(now, action, &members, false);
                self.begin(action, &members)
            }
            Step::End(action, members) => {
                self.mark(now, action, &members, true);
                self.end(action, &members)
            }
        }
    }

    fn mark(&mut self, at: f64, action: Action, members: &[Member], ends: bool) {
        let word = match action {
            Action::Kill => "kill",
            Action::Stop => "stop",
            Action::DiskFull => "disk full",
            Action::TrackerDown => "tracker down",
            Action::Partition => "partition",
        };
        let who: Vec<&str> =
            members.iter().map(|member| self.seats[*member].engine.spec.name.as_str()).collect();
        let label = format!("{word}{} {}", if ends { " over" } else { "" }, who.join(", "));
        self.marks.push(Mark { at, label: label.trim_end().to_owned(), ends });
    }

    fn spawn(&mut self, member: Member) -> Result<(), RunError> {
        let seat = &mut self.seats[member];
        if seat.engine.is_running() {
            return Ok(());
        }
        seat.engine
            .spawn(&self.network)
            .map_err(RunError::doing(format!("start {}", seat.engine.spec.name)))?;
        seat.condition = Condition::Starting;
        Ok(())
    }

    fn begin(&mut self, action: Action, members: &[Member]) -> Result<(), RunError> {
        match action {
            Action::TrackerDown => self.tracker.down(),
            Action::Partition => {
                self.network.part(&self.numbers(members)).map_err(RunError::doing("part the network"))?;
            }
            Action::Kill => {
                for member in members {
                    self.seats[*member].engine.kill();
                    self.seats[*member].condition = Condition::Absent;
                }
            }
            Action::Stop => {
                for member in members {
                    let seat = &mut self.seats[*member];
                    if seat.engine.is_running() {
                        seat.engine.signal(Signal::Stop);
                        seat.condition = Condition::Frozen;
                    }
                }
            }
            Action::DiskFull => {
                for member in members {
                    let seat = &mut self.seats[*member];
                    let path = seat.engine.spec.data.join("filler");
                    fill_disk(&path).map_err(RunError::doing(format!("fill {}", path.display())))?;
                    seat.filler = Some(path);
                }
            }
        }
        Ok(())
    }

    fn end(&mut self, action: Action, members: &[Member]) -> Result<(), RunError> {
        match action {
            Action::TrackerDown => self.tracker.up().map_err(RunError::doing("start the tracker again"))?,
            Action::Partition => {
                self.network.join(&self.numbers(members)).map_err(RunError::doing("join the network"))?;
            }
            Action::Kill => members.iter().try_for_each(|member| self.spawn(*member))?,
            Action::Stop => {
                for member in members {
                    let seat = &mut self.seats[*member];
                    if seat.condition == Condition::Frozen {
                        seat.engine.signal(Signal::Continue);
                        seat.condition = Condition::Running;
                    }
                }
            }
            Action::DiskFull => {
                for member in members {
                    let seat = &mut self.seats[*member];
                    if let Some(path) = seat.filler.take() {
                        fs::remove_file(&path)
                            .map_err(RunError::doing(format!("remove {}", path.display())))?;
                    }
                    if seat.condition == Condition::Running
                        && let Err(error) = seat.engine.resume()
                    {
                        self.incidents.push(format!("{}: {error}", seat.engine.spec.name));
                    }
                }
            }
        }
        Ok(())
    }

    fn numbers(&self, members: &[Member]) -> Vec<u32> {
        members.iter().map(|member| self.seats[*member].engine.spec.number).collect()
    }

    /// Asks everybody how it is.
    pub(super) fn look(&mut self, now: f64) {
        for seat in &mut self.seats {
            if let Err(error) = look_at(seat, &self.torrent, now) {
                // It is told once: an engine that ended by itself is absent from now on.
                self.incidents.push(error.to_string());
            }
        }
        let mut parts: Vec<f64> = self.peers().map(part).collect();
        parts.sort_by(f64::total_cmp);
        let complete = self.peers().filter(|seat| seat.last.complete()).count() as u32;
        let received = self.peers().map(|seat| seat.last.received).sum();
        self.moments.push(Moment { at: now, complete, parts, received });
        if self.config.seeds_leave == SeedsLeave::AtOneCopy && self.peers_have_a_copy() {
            self.dismiss_seeds(now);
        }
    }

    fn peers_have_a_copy(&mut self) -> bool {
        let everybody_left = !self.seats.iter().any(|seat| seat.seed && seat.condition == Condition::Running);
        let total: f64 = self.peers().map(part).sum();
        // Below one copy in sum there cannot be one; asking for pieces is the dearer question.
        if everybody_left || total < 1.0 {
            return false;
        }
        let pieces = self.torrent.pieces();
        let mut have = vec![0u8; pieces.div_ceil(8) as usize];
        for seat in self.seats.iter_mut().filter(|seat| !seat.seed && seat.condition == Condition::Running) {
            // One that does not answer now is asked again at the next look.
            for (byte, more) in have.iter_mut().zip(seat.engine.pieces().unwrap_or_default()) {
                *byte |= more;
            }
        }
        have.iter().map(|byte| byte.count_ones()).sum::<u32>() >= pieces
    }

    fn dismiss_seeds(&mut self, now: f64) {
        for seat in self.seats.iter_mut().filter(|seat| seat.seed) {
            seat.condition = Condition::Absent;
            if let Err(error) = seat.engine.stop() {
                self.incidents.push(error.to_string());
            }
        }
        self.marks.push(Mark { at: now, label: "seeds leave".into(), ends: false });
    }

    /// Ends all engines as their users would. What does not end well is an incident.
    pub(super) fn stop_all(&mut self) {
        for seat in &mut self.seats {
            if seat.condition == Condition::Frozen {
                seat.engine.signal(Signal::Continue);
            }
            if let Err(error) = seat.engine.stop() {
                self.incidents.push(error.to_string());
            }
            seat.condition = Condition::Absent;
        }
    }
}
