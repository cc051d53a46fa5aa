//! Limits of the whole engine: the usual ones, and alternative ones by hand or by the clock.

use super::Session;
use crate::storage::{AltSpeed, SessionSettings};
use std::sync::Arc;
use std::time::SystemTime;

impl Session {
    /// Lets the limits hold that are in force now.
    pub(super) fn apply_limits(&self) {
        let alt = self.settings.alt_speed;
        let (upload, download) = match alt.on {
            true => (Some(alt.upload), Some(alt.download)),
            false => (self.limits.upload.effective(), self.limits.download.effective()),
        };
        self.parts.upload_limit.set(upload);
        self.parts.download_limit.set(download);
    }

    /// Turns the alternative limits on or off when the clock passes an end of their time.
    pub(super) fn follow_clock(&mut self) {
        let alt = self.settings.alt_speed;
        if !alt.by_clock {
            self.alt_due = None;
            return;
        }
        let due = local_time().map(|(day, minute)| is_due(&alt, day, minute));
        // Between two ends it is the user's: what was switched by hand stays until the next end.
        if due.is_some() && due != self.alt_due {
            self.alt_due = due;
            self.change_settings(|settings| settings.alt_speed.on = due == Some(true));
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

/// Whether the schedule has the limits on at this minute of this day (0 is Sunday).
fn is_due(alt: &AltSpeed, day: u32, minute: u32) -> bool {
    let on = |day: u32| alt.days & (1 << (day % 7)) != 0;
    if alt.begin <= alt.end {
        on(day) && (alt.begin..alt.end).contains(&minute)
    } else {
        // Over midnight: it belongs to the day on which it began.
        (minute >= alt.begin && on(day)) || (minute < alt.end && on(day + 6))
    }
}

/// Day of the week (0 is Sunday) and minute of the day where this process is.
fn local_time() -> Option<(u32, u32)> {
    let seconds = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let seconds = libc::time_t::try_from(seconds).ok()?;
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
    fn there_is_a_local_time() {
        let (day, minute) = local_time().unwrap();
        assert!(day < 7 && minute < 24 * 60);
    }
}
