//! Quantities as people write and read them: sizes, rates, durations, dates.

use std::time::Duration;

/// A number of bytes read from text such as `500K`, `10M`, `1.5GiB` or `4096`.
///
/// The letters K, M, G and T are powers of 1024, with or without `i`, `B` or `iB` behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

/// A text that does not say how many bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// It is not a number with a unit.
    #[error("'{0}' is not a size; write bytes or a number with K, M, G or T, such as 500K")]
    NotASize(String),
    /// More than can be counted.
    #[error("'{0}' is too large")]
    TooLarge(String),
}

impl std::str::FromStr for Bytes {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let wrong = || SizeError::NotASize(text.to_owned());
        let too_large = || SizeError::TooLarge(text.to_owned());
        let trimmed = text.trim();
        let digits = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(digits);
        let shift = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "ki" | "kb" | "kib" => 10,
            "m" | "mi" | "mb" | "mib" => 20,
            "g" | "gi" | "gb" | "gib" => 30,
            "t" | "ti" | "tb" | "tib" => 40,
            _ => return Err(wrong()),
        };
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(1 << shift).map(Bytes).ok_or_else(too_large);
        }
        let fraction: f64 = number.parse().map_err(|_| wrong())?;
        let bytes = fraction * (1u64 << shift) as f64;
        if bytes < u64::MAX as f64 { Ok(Bytes(bytes as u64)) } else { Err(too_large()) }
    }
}

/// `bytes` in binary units with three significant digits: `1.50 GiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64;
    let mut unit = 0;
    // 999.5 and more would print as four digits.
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// `bytes` per second: `12.3 MiB/s`.
pub fn rate(bytes: u64) -> String {
    format!("{}/s", size(bytes))
}

/// A duration to the second: `1d 2h`, `3h 05m`, `4m 09s`, `7s`.
pub fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {:02}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes:02}m"),
        (_, _, _) => format!("{days}d {hours}h"),
    }
}

/// Time left for `left` bytes at `rate` bytes per second; `None` when nothing moves.
pub fn eta(left: u64, rate: u64) -> Option<Duration> {
    (left > 0).then(|| left.checked_div(rate)).flatten().map(Duration::from_secs)
}

/// Seconds since 1970 as `2026-11-24 00:15:23 UTC`, for the years 1 to 9999; the number otherwise.
pub fn date(unix: i64) -> String {
    let (days, second) = (unix.div_euclid(86_400), unix.rem_euclid(86_400));
    if !(-719_162..=2_932_896).contains(&days) {
        return format!("{unix} s after 1970");
    }
    // Days since 0000-03-01, so that the leap day is the last of its year; eras of 400 years.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02} UTC",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

/// `text` with control characters replaced, so that names from torrents cannot steer a terminal.
pub fn printable(text: &str) -> String {
    let steers = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if steers(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("500K", 512_000),
            ("500k", 512_000),
            ("10M", 10 << 20),
            ("10 MiB", 10 << 20),
            ("1.5G", 3 << 29),
            ("2T", 2 << 40),
            ("16KiB", 16_384),
        ] {
            assert_eq!(text.parse::<Bytes>(), Ok(Bytes(bytes)), "{text}");
        }
        for text in ["", "K", "-1", "1X", "1..2", "ten", "99999999999T", "1e3"] {
            assert!(text.parse::<Bytes>().is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_are_written() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (1536, "1.50 KiB"),
            (268_435_456, "256 MiB"),
            (1_048_575, "1.00 MiB"),
            (12_900_000, "12.3 MiB"),
        ] {
            assert_eq!(size(bytes), text, "{bytes}");
        }
        assert!(size(u64::MAX).ends_with("EiB"));
    }

    #[test]
    fn spans_and_etas() {
        assert_eq!(span(Duration::from_secs(7)), "7s");
        assert_eq!(span(Duration::from_secs(249)), "4m 09s");
        assert_eq!(span(Duration::from_secs(11_100)), "3h 05m");
        assert_eq!(span(Duration::from_secs(93_600)), "1d 2h");
        assert_eq!(eta(100, 0), None);
        assert_eq!(eta(0, 10), None);
        assert_eq!(eta(100, 10), Some(Duration::from_secs(10)));
    }

    #[test]
    fn dates_follow_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(date(951_827_696), "2000-02-29 12:34:56 UTC");
        assert_eq!(date(1_795_479_323), "2026-11-24 00:15:23 UTC");
        assert_eq!(date(-1), "1969-12-31 23:59:59 UTC");
        assert_eq!(date(i64::MAX), format!("{} s after 1970", i64::MAX));
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\n\u{202e}c"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c");
        assert_eq!(printable("grün 日本"), "grün 日本");
    }
}
