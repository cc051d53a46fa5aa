//! A session bus of the test's own.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// Ends a process with its value.
pub struct Ending(pub Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The bus. It ends with this value.
pub struct Bus {
    address: String,
    _daemon: Ending,
}

impl Bus {
    /// Starts one and waits until it listens.
    pub fn start() -> Bus {
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon is needed: engine/tests/run.sh installs it");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Bus { address: address.trim().to_owned(), _daemon: Ending(daemon) }
    }

    /// For `DBUS_SESSION_BUS_ADDRESS`.
    pub fn address(&self) -> &str {
        &self.address
    }
}
