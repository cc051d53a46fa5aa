//! A child process whose output is collected, and which ends with its owner.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::PATIENCE;

#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A running program.
pub struct Process {
    name: String,
    child: Child,
    output: Arc<Output>,
    readers: Vec<std::thread::JoinHandle<()>>,
}

impl Process {
    /// Starts `command`; its output is collected.
    pub fn start(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("cannot start {name} ({error}): run engine/tests/run.sh, which installs it")
        });
        let output = Arc::new(Output::default());
        let readers = vec![
            collect(child.stdout.take().unwrap(), output.clone()),
            collect(child.stderr.take().unwrap(), output.clone()),
        ];
        Self { name: name.to_owned(), child, output, readers }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that holds `text`.
    pub fn wait_for(&mut self, text: &str) -> String {
        self.find(text, PATIENCE).unwrap_or_else(|| {
            panic!("{}: no line with {text:?} in {PATIENCE:?}; its output:\n{}", self.name, self.log())
        })
    }

    /// Waits up to `limit` for a line that holds `text`.
    pub fn find(&mut self, text: &str, limit: Duration) -> Option<String> {
        let start = Instant::now();
        let mut lines = self.output.lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(text)) {
                return Some(line.clone());
            }
            if start.elapsed() >= limit || !matches!(self.child.try_wait(), Ok(None)) {
                // What it wrote just before its end may still be on its way.
                drop(lines);
                std::thread::sleep(Duration::from_millis(50));
                return self.output.lines.lock().unwrap().iter().find(|line| line.contains(text)).cloned();
            }
            lines = self.output.more.wait_timeout(lines, Duration::from_millis(50)).unwrap().0;
        }
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                // Its last lines are in the pipes: the readers end when they have them.
                for reader in self.readers.drain(..) {
                    reader.join().unwrap();
                }
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "{} did not end; its output:\n{}", self.name, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for its end and wants exit code 0.
    pub fn wait_success(&mut self) {
        let status = self.wait();
        assert!(status.success(), "{} ended with {status}; its output:\n{}", self.name, self.log());
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: kill takes two integers; the child was not reaped, for `self` owns it, so the id is its own.
        unsafe { libc::kill(self.child.id() as i32, signal) };
    }

    /// Asks it to end and waits for that; gives the time it took.
    pub fn terminate(&mut self) -> Duration {
        let start = Instant::now();
        self.signal(libc::SIGTERM);
        self.wait();
        start.elapsed()
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Its output so far, at most the last 200 lines.
    pub fn log(&self) -> String {
        let lines = self.output.lines.lock().unwrap();
        lines[lines.len().saturating_sub(200)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- output of {}:\n{}", self.name, self.log());
        }
    }
}

fn collect(stream: impl Read + Send + 'static, output: Arc<Output>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|read| read > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            output.lines.lock().unwrap().push(line);
            output.more.notify_all();
            bytes.clear();
        }
    })
}
