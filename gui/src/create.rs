//! Making a torrent: the program `ringseed create` does the work, this follows its progress.

use crate::local_engine;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// File or folder to be shared.
    pub path: PathBuf,
    /// Torrent file to be written.
    pub output: PathBuf,
    /// Announce URLs, one a line; each is a tier.
    pub trackers: String,
    /// `auto`, or a power of two such as `256K`.
    pub piece_size: String,
    /// Peers come from the trackers only.
    pub private: bool,
    /// Text for people.
    pub comment: String,
}

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// So many percent are hashed.
    Percent(u8),
    /// The torrent file is there.
    Done(PathBuf),
    /// It is not, and why.
    Failed(String),
}

/// The work on the way. It goes on when this is dropped.
#[derive(Debug)]
pub struct Making {
    child: Arc<Mutex<Child>>,
}

impl Plan {
    /// Whether it can be made.
    ///
    /// # Errors
    /// What is missing, for people.
    pub fn check(&self) -> Result<(), String> {
        if self.path.as_os_str().is_empty() {
            return Err("Choose a file or folder to share.".to_owned());
        }
        if !self.path.exists() {
            return Err(format!("{} does not exist.", self.path.display()));
        }
        if self.trackers().next().is_none() {
            return Err("At least one tracker URL is needed.".to_owned());
        }
        if self.output.as_os_str().is_empty() {
            return Err("Choose where to write the torrent file.".to_owned());
        }
        Ok(())
    }

    fn trackers(&self) -> impl Iterator<Item = &str> {
        self.trackers.lines().map(str::trim).filter(|line| !line.is_empty())
    }

    fn arguments(&self) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = ["create", "--force", "--output"].map(OsString::from).into();
        arguments.push(self.output.clone().into_os_string());
        for tracker in self.trackers() {
            arguments.push(OsString::from("--tracker"));
            arguments.push(OsString::from(tracker));
        }
        if !self.piece_size.is_empty() && self.piece_size != "auto" {
            arguments.push(OsString::from("--piece-size"));
            arguments.push(OsString::from(&self.piece_size));
        }
        if self.private {
            arguments.push(OsString::from("--private"));
        }
        if !self.comment.trim().is_empty() {
            arguments.push(OsString::from("--comment"));
            arguments.push(OsString::from(self.comment.trim()));
        }
        // A name may start with a dash.
        arguments.push(OsString::from("--"));
        arguments.push(self.path.clone().into_os_string());
        arguments
    }

    /// Starts the work. `tell` is called from a thread of its own, last with the end.
    ///
    /// # Errors
    /// The plan is incomplete, or the program is not there. For people.
    pub fn start(self, tell: impl Fn(Progress) + Send + 'static) -> Result<Making, String> {
        self.check()?;
        let program =
            local_engine::program().ok_or("The program ringseed is not installed beside this one.")?;
        let failed = |error: std::io::Error| format!("{} cannot be started: {error}", program.display());
        let mut child = Command::new(&program)
            .args(self.arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let lines = child.stderr.take().ok_or("its output cannot be read")?;
        let child = Arc::new(Mutex::new(child));
        let own = child.clone();
        std::thread::Builder::new()
            .name("torrent creation".to_owned())
            .spawn(move || tell(follow(lines, &own, &self.output, &tell)))
            .map_err(failed)?;
        Ok(Making { child })
    }
}

impl Making {
    /// Gives up.
    pub fn cancel(&self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        // It may have ended by itself.
        let _ = child.kill();
    }
}

fn follow(lines: impl Read, child: &Mutex<Child>, output: &Path, tell: &impl Fn(Progress)) -> Progress {
    let mut last = String::new();
    for line in BufReader::new(lines).lines() {
        let Ok(line) = line else { break };
        match percent(&line) {
            Some(percent) => tell(Progress::Percent(percent)),
            None => last = line,
        }
    }
    // The output has ended, so the process has or is about to: the lock is held for a moment only.
    let status = child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    match status {
        Ok(status) if status.success() => Progress::Done(output.to_owned()),
        _ if last.is_empty() => Progress::Failed("It was cancelled.".to_owned()),
        _ => Progress::Failed(last),
    }
}

/// `42` of `hashing: 42 % of 3.0 GiB, …`.
fn percent(line: &str) -> Option<u8> {
    line.strip_prefix("hashing: ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_from_lines() {
        assert_eq!(percent("hashing: 42 % of 3.0 GiB, 1.0 GiB/s, ETA 2 s"), Some(42));
        assert_eq!(percent("error: no"), None);
    }

    #[test]
    fn what_is_missing_is_said() {
        let plan = Plan { path: "/".into(), trackers: " \n".into(), output: "/x".into(), ..Plan::default() };
        assert!(plan.check().unwrap_err().contains("tracker"));
        assert!(Plan::default().check().unwrap_err().contains("share"));
        let plan = Plan { path: "/nowhere/at-all".into(), ..plan };
        assert!(plan.check().unwrap_err().contains("exist"));
    }

    #[test]
    fn each_tracker_is_a_tier_and_odd_paths_are_no_flags() {
        let plan = Plan {
            path: "-x".into(),
            output: "/o".into(),
            trackers: "http://a/announce\n\n udp://b:1 \n".into(),
            piece_size: "256K".into(),
            private: true,
            comment: " hi ".into(),
        };
        let arguments = plan.arguments();
        let text: Vec<_> = arguments.iter().map(|argument| argument.to_str().unwrap()).collect();
        assert_eq!(
            text.join(" "),
            "create --force --output /o --tracker http://a/announce --tracker udp://b:1 --piece-size 256K --private \
             --comment hi -- -x"
        );
    }
}
