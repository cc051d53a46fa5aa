//! A program that runs to its end under measurement: time, CPU of all its threads, most anonymous memory.

use std::{
    io::{self, BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use crate::process;

/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(5);

/// What a run took.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// Seconds from the start to the awaited line, or to the end where no line was awaited or none came.
    pub done: f64,
    /// Seconds from the start to the end.
    pub wall: f64,
    /// User and system CPU seconds of all threads, from the start to the end.
    pub cpu: f64,
    /// Most anonymous resident bytes that were seen, looking every 5 ms.
    pub anon_peak: u64,
}

/// Runs `command` to its end. `line` is the beginning of the line on its standard output that tells when it has
/// done its work.
///
/// # Errors
/// It cannot be started, fails, or takes longer than `limit`, when it is killed.
pub fn run(command: &mut Command, line: Option<&str>, limit: Duration) -> io::Result<Usage> {
    let began = Instant::now();
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let lines = times_of_lines(&mut child, line.map(str::to_owned));
    let mut anon_peak = 0;
    let (status, usage) = loop {
        if let Ok(memory) = process::memory(child.id()) {
            anon_peak = anon_peak.max(memory.anon);
        }
        if let Some(ended) = try_wait(&child)? {
            break ended;
        }
        if began.elapsed() > limit {
            // It may have ended by itself just now.
            let _ = child.kill();
            let _ = child.wait();
            return Err(io::Error::other("it takes too long"));
        }
        std::thread::sleep(SAMPLE);
    };
    let wall = began.elapsed().as_secs_f64();
    if status != 0 {
        return Err(io::Error::other(format!("it ended with status {status:#x}")));
    }
    let done = lines.iter().next().map_or(wall, |at| at.duration_since(began).as_secs_f64());
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Usage { done, wall, cpu: seconds(usage.ru_utime) + seconds(usage.ru_stime), anon_peak })
}

/// Reads the child's output to its end, so that it never waits; gives the times of lines that begin with `start`.
fn times_of_lines(child: &mut Child, start: Option<String>) -> Receiver<Instant> {
    let (sender, receiver) = channel();
    if let Some(output) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if start.as_ref().is_some_and(|start| line.starts_with(start)) {
                    // Nobody listens any more when the child took too long.
                    let _ = sender.send(Instant::now());
                }
            }
        });
    }
    receiver
}

/// The status and what it used, when the child has ended. It must not be waited for otherwise.
fn try_wait(child: &Child) -> io::Result<Option<(i32, libc::rusage)>> {
    let mut status = 0;
    // SAFETY: all-zero is a valid `rusage`.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    let pid = unsafe { libc::wait4(child.id() as i32, &mut status, libc::WNOHANG, &mut usage) };
    match pid {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(Some((status, usage))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_time_and_memory_and_a_line() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo begun; echo done it; sleep 0.05"]);
        let usage = run(&mut command, Some("done"), Duration::from_secs(30)).unwrap();
        assert!(usage.done < usage.wall && usage.wall >= 0.05, "{usage:?}");
        assert!(usage.anon_peak > 0 && usage.cpu >= 0.0, "{usage:?}");
        let usage = run(&mut Command::new("true"), Some("done"), Duration::from_secs(30)).unwrap();
        assert_eq!(usage.done, usage.wall);
    }

    #[test]
    fn failures_are_errors() {
        assert!(run(&mut Command::new("false"), None, Duration::from_secs(30)).is_err());
        let mut long = Command::new("sleep");
        assert!(run(long.arg("60"), None, Duration::from_millis(20)).is_err());
        assert!(run(&mut Command::new("/nonexistent"), None, Duration::from_secs(1)).is_err());
    }
}
