//! Two network namespaces with a veth pair between them: a link that is not loopback, on one machine.

use std::{io, net::Ipv4Addr, process::Command};

/// Two namespaces of our own, each with one end of a link; dropped, they are gone.
#[derive(Debug)]
pub struct Namespaces {
    names: [String; 2],
}

/// Addresses of the ends, in a network that nobody routes to.
pub const ADDRESSES: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 213, 77, 1), Ipv4Addr::new(10, 213, 77, 2)];

impl Namespaces {
    /// Makes both and the link.
    ///
    /// # Errors
    /// `ip` (iproute2) is missing, or this user may not make namespaces.
    pub fn create() -> io::Result<Namespaces> {
        let names = ["a", "b"].map(|end| format!("ringseed-{}-{end}", std::process::id()));
        for name in &names {
            ip(&["netns", "add", name])?;
        }
        let made = Namespaces { names };
        let [a, b] = &made.names;
        ip(&["-n", a, "link", "add", "link0", "type", "veth", "peer", "name", "link0", "netns", b])?;
        for (name, address) in made.names.iter().zip(ADDRESSES) {
            ip(&["-n", name, "address", "add", &format!("{address}/24"), "dev", "link0"])?;
            ip(&["-n", name, "link", "set", "link0", "up"])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        Ok(made)
    }

    /// The names of both.
    pub fn names(&self) -> [&str; 2] {
        [&self.names[0], &self.names[1]]
    }

    /// A command that runs `program` in namespace `end`, 0 or 1, on core `cpu`.
    pub fn command(&self, end: usize, cpu: usize, program: &std::path::Path) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[end], "taskset", "-c", &cpu.to_string()]).arg(program);
        command
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for name in &self.names {
            // The link goes with them.
            let _ = ip(&["netns", "delete", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> io::Result<()> {
    let output = Command::new("ip").args(arguments).output()?;
    if output.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ip {}: {}", arguments.join(" "), words.trim())))
}
