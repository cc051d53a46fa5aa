//! Where and when something was measured: results without this are claims.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

/// The machine and the moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// UTC, `YYYY-MM-DDThh:mm:ssZ`.
    pub date: String,
    /// Kernel release.
    pub kernel: String,
    /// Processor model.
    pub cpu: String,
    /// Cores.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// The command that ran.
    pub command: Vec<String>,
}

impl Machine {
    /// This machine, now.
    pub fn here() -> Machine {
        let field = |file: &str, key: &str| {
            let text = fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_default().to_owned();
            line.split_once(':').map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let kilobytes = field("/proc/meminfo", "MemTotal").replace(" kB", "").parse().unwrap_or(0u64);
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // The program's name without the directory it happened to be built in.
        let mut command: Vec<String> = std::env::args().collect();
        if let Some(program) = command.first_mut() {
            *program = program.rsplit('/').next().unwrap_or_default().to_owned();
        }
        Machine {
            date: utc(since.as_secs()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            cpu: field("/proc/cpuinfo", "model name"),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory: kilobytes * 1024,
            command,
        }
    }

    /// The date as it stands in file names: digits and dashes only.
    pub fn file_stamp(&self) -> String {
        self.date.replace(':', "").replace('T', "-").replace('Z', "")
    }
}

/// Civil date and time of seconds since 1970 (proleptic Gregorian calendar).
fn utc(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days since 1 March of year 0; eras of 400 years.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(utc(1_767_225_599), "2025-12-31T23:59:59Z");
        assert_eq!(utc(1_767_225_600), "2026-01-01T00:00:00Z");
    }

    #[test]
    fn this_machine_has_a_kernel_and_a_stamp_for_file_names() {
        let here = Machine::here();
        assert!(!here.kernel.is_empty() && here.memory > 0 && here.cores > 0);
        assert!(here.file_stamp().bytes().all(|b| b.is_ascii_digit() || b == b'-'), "{}", here.file_stamp());
    }
}
