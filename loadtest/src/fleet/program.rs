//! One child process: its log, signals, and an end that it cannot escape.

use std::{
    fs::{self, File},
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// What a program can be told by a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM
    Terminate,
    /// SIGKILL
    Kill,
    /// SIGSTOP
    Stop,
    /// SIGCONT
    Continue,
}

/// A running program; dropped, it is killed. It dies with the thread that started it, whatever ends that.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; what it says is appended to `log`.
    ///
    /// # Errors
    /// It cannot be started, or the log cannot be written.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> io::Result<Program> {
        let file = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let parent = std::process::id();
        let before_exec = move || {
            // SAFETY: plain system calls without pointers, allowed between fork and exec.
            unsafe {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(io::Error::last_os_error());
                }
                // Whoever started it may have ended before that was set.
                if libc::getppid() as u32 != parent {
                    return Err(io::Error::from(io::ErrorKind::Interrupted));
                }
            }
            Ok(())
        };
        // SAFETY: the closure only makes system calls and allocates nothing.
        unsafe { command.pre_exec(before_exec) };
        let child = command.spawn().map_err(|error| {
            let program = command.get_program().to_string_lossy();
            io::Error::new(error.kind(), format!("cannot start {name} ({program}): {error}"))
        })?;
        Ok(Program { name: name.to_owned(), child, log: log.to_owned() })
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it is called in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its status, when it has ended.
    ///
    /// # Errors
    /// What the system says.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends it a signal; nothing happens when it has ended.
    pub fn signal(&self, signal: Signal) {
        let number = match signal {
            Signal::Terminate => libc::SIGTERM,
            Signal::Kill => libc::SIGKILL,
            Signal::Stop => libc::SIGSTOP,
            Signal::Continue => libc::SIGCONT,
        };
        // SAFETY: kill takes two integers; the child was not reaped or is remembered as such by the kernel only as
        // long as `self` owns it, so the id is its own or nobody's.
        unsafe { libc::kill(self.child.id() as i32, number) };
    }

    /// Asks it to end and waits; gives its status and the time that took.
    ///
    /// # Errors
    /// It has not ended within `limit`, and was killed.
    pub fn terminate(mut self, limit: Duration) -> io::Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        self.signal(Signal::Terminate);
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, began.elapsed()));
            }
            if began.elapsed() > limit {
                let text = format!("{} did not end within {} s of SIGTERM", self.name, limit.as_secs());
                return Err(io::Error::other(text));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills it and waits for its end.
    pub fn kill(mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The last lines that it wrote.
    pub fn last_words(&self) -> String {
        last_words(&self.log)
    }

    /// Waits until `find` finds something in what it has written.
    ///
    /// # Errors
    /// It ended, or wrote nothing of that kind within `limit`; its last words are in the message.
    pub fn wait_for<T>(&mut self, limit: Duration, mut find: impl FnMut(&str) -> Option<T>) -> io::Result<T> {
        let began = Instant::now();
        loop {
            let said = fs::read(&self.log).unwrap_or_default();
            if let Some(found) = find(&String::from_utf8_lossy(&said)) {
                return Ok(found);
            }
            let why = match self.child.try_wait()? {
                Some(status) => format!("ended with {status}"),
                None if began.elapsed() > limit => format!("is not ready after {} s", limit.as_secs()),
                None => {
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
            };
            return Err(io::Error::other(format!("{} {why}: {}", self.name, self.last_words())));
        }
    }
}

fn last_words(log: &Path) -> String {
    let said = fs::read(log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    let lines: Vec<&str> = said.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(4)..].join(" / ")
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, dir: &Path) -> Program {
        Program::start("sh", Command::new("sh").args(["-c", script]), &dir.join("log")).unwrap()
    }

    #[test]
    fn a_program_says_something_and_ends_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = shell("echo ready 7; exec sleep 60", dir.path());
        let found = program.wait_for(Duration::from_secs(30), |text| {
            text.lines().find_map(|line| line.strip_prefix("ready ")?.parse::<u32>().ok())
        });
        assert_eq!(found.unwrap(), 7);
        let (status, _) = program.terminate(Duration::from_secs(30)).unwrap();
        assert!(!status.success());
    }

    #[test]
    fn who_ends_early_is_quoted() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = shell("echo it is broken; exit 3", dir.path());
        let error = program.wait_for(Duration::from_secs(30), |_| None::<()>).unwrap_err().to_string();
        assert!(error.contains("it is broken") && error.contains("exit status: 3"), "{error}");
    }

    #[test]
    fn who_does_not_end_is_killed_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let mut program = shell("trap '' TERM; echo ready; while :; do sleep 1; done", dir.path());
        program.wait_for(Duration::from_secs(30), |text| text.contains("ready").then_some(())).unwrap();
        let error = program.terminate(Duration::from_millis(50)).unwrap_err().to_string();
        assert!(error.starts_with("sh did not end"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = Program::start("it", &mut Command::new("/nonexistent/x"), &dir.path().join("log"));
        assert!(error.unwrap_err().to_string().contains("/nonexistent/x"));
    }
}
