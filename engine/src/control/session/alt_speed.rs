//! Limits of the whole engine: the usual ones, and alternative ones by hand or by the clock.

use super::Session;
use ringseed_storage::{AltSpeed, SessionSettings, Switched};
use std::sync::Arc;

const DAY_MINUTES: u32 = 24 * 60;

impl Session {
    /// Lets the limits hold that are in force now.
    pub(super) fn apply_limits(&self) {
        let alt = self.settings.alt_speed;
        let (upload, download) = match alt.on {
            true => (alt.upload_on.then_some(alt.upload), alt.download_on.then_some(alt.download)),
            false => (self.limits.upload.effective(), self.limits.download.effective()),
        };
        self.parts.upload_limit.set(upload);
        self.parts.download_limit.set(download);
    }

    /// Turns the alternative limits on or off when the clock passes an end of their time.
    pub(super) fn follow_clock(&mut self) {
        let alt = self.settings.alt_speed;
        let Some(now) = alt.by_clock.then(|| Moment::at(self.parts.clock.unix())).flatten() else { return };
        if let Some(followed) = follow(&alt, now) {
            self.change_settings(|settings| settings.alt_speed = followed);
        }
    }

    fn change_settings(&mut self, change: impl FnOnce(&mut SessionSettings)) {
        change(Arc::make_mut(&mut self.settings));
        self.apply_limits();
        self.dirty = true;
        if let Some(resume) = &self.parts.resume
            && let Err(error) = resume.put_session(&self.settings)
        {
            tracing::error!(%error, "cannot save the session's settings");
        }
    }
}

/// A time, to the minute where this process is.
#[derive(Debug, Clone, Copy)]
struct Moment {
    /// Seconds since 1970.
    unix: u64,
    /// Day of the week; 0 is Sunday.
    day: u32,
    /// Minute of that day.
    minute: u32,
}

/// The alternative limits after the clock was looked at; `None` when it has nothing to do. Between two ends of their time
/// they are the user's, over restarts as well: what was switched by hand stays until the next end.
fn follow(alt: &AltSpeed, now: Moment) -> Option<AltSpeed> {
    let due = is_due(alt, now.day, now.minute);
    let stays =
        |switched: Switched| switched.on == due && switched.until.is_none_or(|until| now.unix < until);
    if alt.switched.is_some_and(stays) {
        return None;
    }
    let later = |minutes: &u32| {
        let minute = now.minute + minutes;
        is_due(alt, now.day + minute / DAY_MINUTES, minute % DAY_MINUTES) != due
    };
    let begun = now.unix - now.unix % 60;
    let until = (1..=7 * DAY_MINUTES).find(later).map(|minutes| begun + u64::from(minutes) * 60);
    Some(AltSpeed { on: due, switched: Some(Switched { on: due, until }), ..*alt })
}

/// Whether the schedule has the limits on at this minute of this day (0 is Sunday). As Transmission's, it goes from its
/// begin to its end, which is on the next day when it is not behind the begin: with both alike a whole day.
fn is_due(alt: &AltSpeed, day: u32, minute: u32) -> bool {
    let on = |day: u32| alt.days & (1 << (day % 7)) != 0;
    if alt.begin < alt.end {
        on(day) && (alt.begin..alt.end).contains(&minute)
    } else {
        // Over midnight: it belongs to the day on which it began.
        (minute >= alt.begin && on(day)) || (minute < alt.end && on(day + 6))
    }
}

impl Moment {
    fn at(unix: u64) -> Option<Moment> {
        let (day, minute) = local(unix)?;
        Some(Moment { unix, day, minute })
    }
}

/// Day of the week (0 is Sunday) and minute of the day where this process is.
fn local(unix: u64) -> Option<(u32, u32)> {
    let seconds = libc::time_t::try_from(unix).ok()?;
    // SAFETY: all-zero bytes are a valid `tm`: it holds integers and a pointer that may be null.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of this function; `localtime_r` keeps neither. It reads the
    // environment's TZ, which this process never changes.
    let converted = unsafe { libc::localtime_r(&raw const seconds, &raw mut parts) };
    if converted.is_null() {
        return None;
    }
    let minute = parts.tm_hour * 60 + parts.tm_min;
    Some((u32::try_from(parts.tm_wday).ok()?, u32::try_from(minute).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_knows_days_and_midnight() {
        let monday = 1 << 1;
        let day = AltSpeed { begin: 540, end: 1020, days: monday, ..AltSpeed::default() };
        assert!(is_due(&day, 1, 540) && !is_due(&day, 1, 1020) && !is_due(&day, 2, 600));
        let night = AltSpeed { begin: 1380, end: 360, days: monday, ..AltSpeed::default() };
        assert!(is_due(&night, 1, 1380) && is_due(&night, 2, 0) && is_due(&night, 2, 359));
        assert!(!is_due(&night, 1, 100) && !is_due(&night, 2, 360) && !is_due(&night, 2, 1400));
        let sunday_night = AltSpeed { begin: 1380, end: 360, days: 1 << 6, ..AltSpeed::default() };
        assert!(is_due(&sunday_night, 0, 10), "Saturday's night reaches into Sunday");
    }

    #[test]
    fn a_time_that_ends_where_it_begins_is_a_whole_day() {
        let tuesday = AltSpeed { begin: 600, end: 600, days: 1 << 2, ..AltSpeed::default() };
        assert!(is_due(&tuesday, 2, 600) && is_due(&tuesday, 2, 1439) && is_due(&tuesday, 3, 599));
        assert!(!is_due(&tuesday, 2, 599) && !is_due(&tuesday, 3, 600));
        let always = AltSpeed { begin: 0, end: 0, days: 127, ..AltSpeed::default() };
        assert!((0..7).all(|day| [0, 700, 1439].iter().all(|minute| is_due(&always, day, *minute))));
        let never = AltSpeed { days: 0, ..always };
        assert!((0..7).all(|day| !is_due(&never, day, 0)));
    }

    /// The minutes of a week as Transmission marks them: from begin to end for each day, on into the next one.
    #[test]
    fn every_begin_end_and_day_means_what_transmissions_do() {
        for begin in [0, 1, 540, 1439] {
            for end in [0, 1, 540, 541, 1439] {
                for days in [0, 1, 0b0111110, 0b1000001, 1 << 6, 127] {
                    let alt = AltSpeed { begin, end, days, ..AltSpeed::default() };
                    let mut week = vec![false; 7 * DAY_MINUTES as usize];
                    for day in (0..7).filter(|day| days & (1 << day) != 0) {
                        let last = if end > begin { end } else { end + DAY_MINUTES };
                        for minute in begin..last {
                            week[((day * DAY_MINUTES + minute) % (7 * DAY_MINUTES)) as usize] = true;
                        }
                    }
                    let differs = (0..7 * DAY_MINUTES)
                        .find(|at| is_due(&alt, at / DAY_MINUTES, at % DAY_MINUTES) != week[*at as usize]);
                    assert_eq!(differs, None, "{alt:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_switched_by_hand_stays_until_the_next_end_and_over_restarts() {
        // On all days from 9 to 17 o'clock; the epoch was a Thursday.
        let alt = AltSpeed { by_clock: true, begin: 540, end: 1020, ..AltSpeed::default() };
        let at = |day: u32, minute: u32| {
            let unix = u64::from(day * DAY_MINUTES + minute) * 60 + 30;
            Moment { unix, day: day + 4, minute }
        };
        let first = follow(&alt, at(0, 600)).expect("the time has come");
        assert!(first.on && follow(&first, at(0, 601)).is_none());
        let by_hand = AltSpeed { on: false, ..first };
        assert!(follow(&by_hand, at(0, 1019)).is_none(), "what was saved is what is read at a start");
        let evening = follow(&by_hand, at(0, 1020)).expect("the end");
        assert!(!evening.on);
        let by_hand = AltSpeed { on: true, ..evening };
        assert!(follow(&by_hand, at(1, 539)).is_none());
        assert!(follow(&by_hand, at(1, 540)).expect("the next begin").on);
        // Nobody looked for a day: it is the same part of it, and the ends between have passed.
        let by_hand = AltSpeed { on: false, ..first };
        assert!(follow(&by_hand, at(1, 601)).expect("ends have passed").on);
        // Without ends it is the user's for ever.
        let always = AltSpeed { begin: 0, end: 0, ..alt };
        let on = follow(&always, at(0, 0)).expect("it begins");
        assert_eq!(on.switched, Some(Switched { on: true, until: None }));
        assert!(follow(&AltSpeed { on: false, ..on }, at(9, 5)).is_none());
    }

    #[test]
    fn there_is_a_local_time() {
        let now = Moment::at(ringseed_handle::unix_now()).unwrap();
        assert!(now.day < 7 && now.minute < DAY_MINUTES);
    }
}
