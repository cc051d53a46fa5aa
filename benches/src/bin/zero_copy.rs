//! Zero copy: gathered `SENDMSG` and `SENDMSG_ZC` at several sizes, over loopback and over a veth pair.

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringseed_benches::{
    data::TestTorrent,
    exit_code, floor,
    gathered_sends::{self, Sending, Sent},
    namespaces::{ADDRESSES, Namespaces},
    ports::free_address,
    results::{Measurement, Results},
};

const CPU: &str = "CPU s/GB";
const RATE: &str = "MB/s";
const COPIED: &str = "sends copied after all";
const RATIO: &str = "CPU, over that of copying";

/// Measures from which size on sending without a copy pays.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    #[command(flatten)]
    plan: Plan,
}

/// Parts that run as processes of their own.
#[derive(Debug, Subcommand)]
enum Part {
    /// Sends, and prints what that took
    #[command(hide = true)]
    Send { sending: Sending, file: PathBuf, to: SocketAddr, streams: usize, size: usize, total: u64 },
    /// Throws away what comes
    #[command(hide = true)]
    Discard { at: SocketAddr, streams: usize },
}

/// The way between sender and receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Link {
    /// Within one network namespace
    Loopback,
    /// A veth pair between two namespaces that this program makes: needs root and iproute2
    Veth,
}

#[derive(Debug, Args)]
struct Plan {
    /// Directory for the generated data (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Ways between sender and receiver
    #[arg(long, value_delimiter = ',', default_value = "veth,loopback")]
    links: Vec<Link>,
    /// KiB per send, gathered from blocks of 16 KiB
    #[arg(long, value_delimiter = ',', default_value = "16,64,128,256,512")]
    sizes: Vec<usize>,
    /// Connections
    #[arg(long, default_value_t = 8)]
    streams: usize,
    /// GB per run
    #[arg(long, default_value_t = 4.0)]
    gb: f64,
    /// Runs per case; medians are reported
    #[arg(long, default_value_t = 5)]
    runs: u32,
    /// MiB of data that blocks are taken from
    #[arg(long, default_value_t = 1024)]
    data_mib: u64,
    /// Core of the sender
    #[arg(long, default_value_t = 0)]
    sender_cpu: usize,
    /// Core of the receiver
    #[arg(long, default_value_t = 1)]
    receiver_cpu: usize,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.part {
        Some(Part::Send { sending, file, to, streams, size, total }) => {
            send(sending, &file, to, streams, size, total)
        }
        Some(Part::Discard { at, streams }) => gathered_sends::discard(at, streams).map_err(Into::into),
        None => run(&cli.plan),
    };
    exit_code(outcome)
}

fn send(
    sending: Sending,
    file: &std::path::Path,
    to: SocketAddr,
    streams: usize,
    size: usize,
    total: u64,
) -> Result<(), Box<dyn Error>> {
    let map = floor::map_file(file)?;
    let sent = gathered_sends::send(&map, to, streams, size, total, sending)?;
    println!("{}", serde_json::to_string(&sent)?);
    Ok(())
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let torrent = TestTorrent::prepare(&plan.dir, plan.data_mib << 20, 1 << 20)?;
    torrent.warm()?;
    let mut results = Results::new("zero_copy");
    let namespaces = match plan.links.contains(&Link::Veth) {
        true => Some(Namespaces::create()?),
        false => None,
    };
    for &link in &plan.links {
        let namespaces = namespaces.as_ref().filter(|_| link == Link::Veth);
        for &size in &plan.sizes {
            let name = if link == Link::Veth { "veth" } else { "loopback" };
            let case = format!("{name}, {size} KiB per send");
            let mut measured: [Vec<Sent>; 2] = Default::default();
            for _ in 0..plan.runs {
                for (sending, all) in [Sending::Copied, Sending::ZeroCopy].into_iter().zip(&mut measured) {
                    all.push(measure(plan, namespaces, &torrent, sending, size << 10)?);
                }
            }
            let per_gb = |all: &[Sent]| -> Vec<f64> {
                all.iter().map(|sent| sent.cpu_seconds / (sent.bytes as f64 / 1e9)).collect()
            };
            for (who, all) in ["copied", "zero copy"].into_iter().zip(&measured) {
                let rates = all.iter().map(|sent| sent.bytes as f64 / 1e6 / sent.seconds).collect();
                results.measurements.push(Measurement::new(who, &case, CPU, per_gb(all)));
                results.measurements.push(Measurement::new(who, &case, RATE, rates));
            }
            let zero = &measured[1];
            let copied =
                zero.iter().map(|sent| sent.copied_after_all as f64 / sent.notified as f64).collect();
            results.measurements.push(Measurement::new("zero copy", &case, COPIED, copied));
            let ratios = per_gb(zero).iter().zip(per_gb(&measured[0])).map(|(a, b)| a / b).collect();
            results.measurements.push(Measurement::new("zero copy", &case, RATIO, ratios));
            eprintln!("{case}: {:.3}", results.median("zero copy", &case, RATIO));
        }
    }
    drop(namespaces);
    Ok(results.conclude(&plan.results)?)
}

fn measure(
    plan: &Plan,
    namespaces: Option<&Namespaces>,
    torrent: &TestTorrent,
    sending: Sending,
    size: usize,
) -> Result<Sent, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let port = free_address()?.port();
    let to = SocketAddr::from((namespaces.map_or(Ipv4Addr::LOCALHOST, |_| ADDRESSES[1]), port));
    let command = |end: usize, cpu: usize| match namespaces {
        Some(namespaces) => namespaces.command(end, cpu, &program),
        None => {
            let mut command = Command::new("taskset");
            command.args(["-c", &cpu.to_string()]).arg(&program);
            command
        }
    };
    let streams = plan.streams.to_string();
    let mut receiver = command(1, plan.receiver_cpu);
    let mut receiver = receiver.args(["discard", &to.to_string(), &streams]).stdin(Stdio::null()).spawn()?;
    let mut sender = command(0, plan.sender_cpu);
    let name = if sending == Sending::Copied { "copied" } else { "zero-copy" };
    sender.args(["send", name]).arg(torrent.file()).args([&to.to_string(), &streams]);
    sender.args([size.to_string(), ((plan.gb * 1e9) as u64).to_string()]).stdin(Stdio::null());
    let output = sender.output();
    // It ends with the connections; a sender that failed may not have made them all.
    let failed = !output.as_ref().is_ok_and(|output| output.status.success());
    if failed {
        let _ = receiver.kill();
    }
    receiver.wait()?;
    let output = output?;
    if failed {
        return Err(format!("sender: {}", String::from_utf8_lossy(&output.stderr).trim()).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }
}
