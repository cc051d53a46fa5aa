//! Sizes, rates, times and ratios as texts of a table.

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// A size: `512 B`, `1.4 GiB`.
pub fn bytes(count: u64) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    // 1023.95 would be written 1024.0.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

/// A rate, nothing when there is none.
pub fn rate(per_second: u64) -> String {
    if per_second == 0 { String::new() } else { format!("{}/s", bytes(per_second)) }
}

/// A rate, also when it is zero.
pub fn rate_or_zero(per_second: u64) -> String {
    format!("{}/s", bytes(per_second))
}

/// A time span in its two largest units: `45 s`, `3 min 20 s`, `2 d 4 h`; `∞` when it has no end (below zero).
pub fn span(seconds: i64) -> String {
    let Ok(seconds) = u64::try_from(seconds) else { return "∞".to_owned() };
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        (1..=99, _, _) => format!("{days} d {} h", hours % 24),
        (100..=3650, _, _) => format!("{days} d"),
        _ => "∞".to_owned(),
    }
}

/// A ratio; nothing when there is none (-1). -2 is one without end.
pub fn ratio(value: f64) -> String {
    if value.is_infinite() || value == -2.0 {
        "∞".to_owned()
    } else if value < 0.0 || value.is_nan() {
        String::new()
    } else {
        format!("{value:.2}")
    }
}

/// A share of 1 as percent. What is not complete is never written as 100 %.
pub fn percent(share: f64) -> String {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    let tenths = (share * 1000.0).floor();
    if tenths >= 1000.0 { "100 %".to_owned() } else { format!("{:.1} %", tenths / 10.0) }
}

/// Seconds since 1970 as local date and time; nothing for 0 and before.
pub fn date(seconds: i64) -> String {
    use chrono::{Local, TimeZone};
    if seconds <= 0 {
        return String::new();
    }
    Local
        .timestamp_opt(seconds, 0)
        .single()
        .map_or_else(String::new, |time| time.format("%Y-%m-%d %H:%M").to_string())
}

/// How many there are of something: `1 torrent`, `2 torrents`.
pub fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_never_show_1024_of_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!((rate(0), rate_or_zero(0)), (String::new(), "0 B/s".to_owned()));
    }

    #[test]
    fn spans_have_two_units() {
        for (seconds, text) in [
            (-1, "∞"),
            (0, "0 s"),
            (200, "3 min 20 s"),
            (3600, "1 h 0 min"),
            (187_200, "2 d 4 h"),
            (86_400 * 400, "400 d"),
            (i64::MAX, "∞"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn almost_done_is_not_done() {
        assert_eq!(percent(0.99999), "99.9 %");
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(f64::NAN), "0.0 %");
        assert_eq!((ratio(-1.0), ratio(1.234)), (String::new(), "1.23".to_owned()));
    }
}
