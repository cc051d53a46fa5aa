//! What happens when: arrivals, churn, events and their ends, without clocks and processes.

use super::config::{Action, Arrival, SwarmConfig};
use crate::blast::SplitMix;

/// A member of the swarm, from 0: seeds first, then peers.
pub(super) type Member = usize;

/// One thing to be done now.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// A peer comes for the first time.
    Arrive(Member),
    /// A peer that is not complete, chosen by chance, is to leave for a while.
    ChurnSomebody,
    /// A member that left or was killed starts again.
    Restart(Member),
    /// An action begins.
    Begin(Action, Vec<Member>),
    /// An action ends.
    End(Action, Vec<Member>),
}

/// What is still to come.
#[derive(Debug)]
pub(super) struct Schedule {
    timed: Vec<(f64, Step)>,
    /// Events that wait for progress: percent, how long, what.
    waiting: Vec<(f64, f64, Action, Vec<Member>)>,
    churn: Option<(f64, f64)>,
}

impl Schedule {
    pub(super) fn new(config: &SwarmConfig) -> Schedule {
        let seeds = config.seeds as usize;
        let gap = match config.arrival {
            Arrival::Crowd => 0.0,
            Arrival::Staggered => config.arrival_s / f64::from(config.peers.saturating_sub(1).max(1)),
        };
        let mut schedule = Schedule {
            timed: (0..config.peers as usize)
                .map(|peer| (peer as f64 * gap, Step::Arrive(seeds + peer)))
                .collect(),
            waiting: Vec::new(),
            churn: (config.churn_every_s > 0.0).then_some((config.churn_every_s, config.churn_every_s)),
        };
        for event in &config.event {
            let mut members: Vec<Member> = event.seeds.iter().map(|number| *number as usize - 1).collect();
            members.extend(event.peers.iter().map(|number| seeds + *number as usize - 1));
            match (event.at_s, event.at_percent) {
                (Some(at), _) => schedule.begin_at(at, event.for_s, event.action, members),
                (None, percent) => {
                    schedule.waiting.push((percent.unwrap_or(0.0), event.for_s, event.action, members));
                }
            }
        }
        schedule
    }

    fn begin_at(&mut self, at: f64, lasts: f64, action: Action, members: Vec<Member>) {
        self.timed.push((at, Step::Begin(action, members.clone())));
        self.timed.push((at + lasts, Step::End(action, members)));
    }

    /// Adds a step.
    pub(super) fn later(&mut self, at: f64, step: Step) {
        self.timed.push((at, step));
    }

    /// What is due `now` (seconds) with so much progress (percent), in the order of its times.
    pub(super) fn due(&mut self, now: f64, percent: f64) -> Vec<Step> {
        let (reached, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|e| e.0 <= percent);
        self.waiting = waiting;
        for (_, lasts, action, members) in reached {
            self.begin_at(now, lasts, action, members);
        }
        if let Some((next, every)) = &mut self.churn
            && *next <= now
        {
            // A time that was missed is not made up for.
            *next = now + *every;
            self.timed.push((now, Step::ChurnSomebody));
        }
        self.timed.sort_by(|a, b| a.0.total_cmp(&b.0));
        let count = self.timed.iter().take_while(|(at, _)| *at <= now).count();
        self.timed.drain(..count).map(|(_, step)| step).collect()
    }

    /// Whether nothing is to come but churn.
    pub(super) fn is_over(&self) -> bool {
        self.timed.is_empty() && self.waiting.is_empty()
    }
}

/// One of `candidates`; `None` when there are none.
pub(super) fn choose(rng: &mut SplitMix, candidates: &[Member]) -> Option<Member> {
    if candidates.is_empty() {
        return None;
    }
    candidates.get(rng.below(candidates.len() as u32) as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::config::Event;

    fn event(at_s: Option<f64>, at_percent: Option<f64>, action: Action) -> Event {
        Event { at_s, at_percent, action, peers: vec![2], seeds: Vec::new(), for_s: 3.0 }
    }

    #[test]
    fn a_crowd_comes_at_once_and_others_evenly() {
        let crowd = SwarmConfig { peers: 3, ..SwarmConfig::default() };
        let all = [1, 2, 3].map(Step::Arrive);
        assert_eq!(Schedule::new(&crowd).due(0.0, 0.0), all);
        let config = SwarmConfig { arrival: Arrival::Staggered, arrival_s: 10.0, ..crowd };
        let mut schedule = Schedule::new(&config);
        assert_eq!(schedule.due(0.0, 0.0), all[..1]);
        assert_eq!(schedule.due(4.9, 0.0), []);
        assert_eq!(schedule.due(5.0, 0.0), all[1..2]);
        assert!(!schedule.is_over());
        assert_eq!(schedule.due(10.0, 0.0), all[2..]);
        assert!(schedule.is_over());
    }

    #[test]
    fn events_begin_at_times_or_progress_and_end() {
        let config = SwarmConfig {
            peers: 2,
            event: vec![event(Some(5.0), None, Action::Kill), event(None, Some(50.0), Action::Stop)],
            ..SwarmConfig::default()
        };
        let mut schedule = Schedule::new(&config);
        assert_eq!(schedule.due(1.0, 49.0).len(), 2);
        assert_eq!(schedule.due(2.0, 50.0), [Step::Begin(Action::Stop, vec![2])]);
        assert_eq!(
            schedule.due(5.0, 60.0),
            [Step::Begin(Action::Kill, vec![2]), Step::End(Action::Stop, vec![2])]
        );
        assert!(!schedule.is_over());
        assert_eq!(schedule.due(9.0, 60.0), [Step::End(Action::Kill, vec![2])]);
        assert!(schedule.is_over());
    }

    #[test]
    fn churn_goes_on_and_misses_are_not_made_up_for() {
        let config = SwarmConfig { peers: 1, churn_every_s: 2.0, ..SwarmConfig::default() };
        let mut schedule = Schedule::new(&config);
        assert_eq!(schedule.due(1.0, 0.0), [Step::Arrive(1)]);
        assert_eq!(schedule.due(9.0, 0.0), [Step::ChurnSomebody]);
        assert_eq!(schedule.due(10.0, 0.0), []);
        assert_eq!(schedule.due(11.0, 0.0), [Step::ChurnSomebody]);
        assert!(schedule.is_over());
    }

    #[test]
    fn chance_is_repeatable() {
        let picks = |seed| {
            let mut rng = SplitMix::new(seed);
            (0..10).map(|_| choose(&mut rng, &[3, 4, 5])).collect::<Vec<_>>()
        };
        assert_eq!(picks(1), picks(1));
        assert!(picks(1).iter().all(|pick| pick.is_some_and(|member| (3..=5).contains(&member))));
        assert_eq!(choose(&mut SplitMix::new(1), &[]), None);
    }
}
