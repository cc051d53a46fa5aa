//! Bulk: what commands over many torrents take in a daemon with very many, and what one command takes there.

use std::{
    error::Error,
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use ringseed_benches::{
    daemon::{self, Client, Daemon, Serving},
    exit_code,
    library::{Library, Shape},
    process,
    results::{Measurement, Results, Target, Wanted},
};
use serde_json::{Value, json};

/// Measures commands over lists of torrents, adds, and answers about all torrents.
#[derive(Debug, Parser)]
#[command(version)]
struct Plan {
    /// Directory for the generated torrents and the daemon's state (kept)
    #[arg(long, default_value = "/var/tmp/ringseed-benches")]
    dir: PathBuf,
    /// Torrents
    #[arg(long, default_value_t = 100_000)]
    torrents: u32,
    /// Torrents in a list
    #[arg(long, default_value_t = 1000)]
    some: u32,
    /// Clients that add torrents at once
    #[arg(long, default_value_t = 8)]
    clients: u32,
    /// Starts of the daemon; medians are reported
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// Leave out stop and start of all torrents
    #[arg(long)]
    skip_all: bool,
    /// The ringseed binary; by default beside this program
    #[arg(long, env = "RINGSEED_BIN")]
    ringseed: Option<PathBuf>,
    /// Where the results are written
    #[arg(long, default_value = "benches/runs")]
    results: PathBuf,
}

/// What a client with a list of torrents asks for.
const FIELDS: [&str; 8] =
    ["id", "hashString", "name", "status", "percentDone", "rateUpload", "uploadRatio", "downloadDir"];

/// Adds that are measured one by one.
const SINGLE_ADDS: u32 = 20;

/// Longest wait for anything.
const WAIT_MAX: Duration = Duration::from_secs(900);

fn main() -> ExitCode {
    exit_code(run(&Plan::parse()))
}

fn run(plan: &Plan) -> Result<(), Box<dyn Error>> {
    let library = Library::prepare(&plan.dir, shape(plan.torrents, 64))?;
    // Another length: these are other torrents.
    let more = Library::prepare(&plan.dir, shape(plan.some + SINGLE_ADDS, 65))?;
    let empty = plan.dir.join("state-empty");
    fs::create_dir_all(&empty)?;
    let daemon = Daemon {
        program: daemon::program(plan.ringseed.as_deref())?,
        state: library.state(),
        data: library.data(),
        cpu: None,
        arguments: Vec::new(),
    };
    let own = memory_of_empty(&Daemon { state: empty, ..daemon.clone() })?;
    let mut all: Vec<(String, Vec<f64>)> = Vec::new();
    for run in 1..=plan.runs {
        let figures = measure(plan, &daemon, &more, own)?;
        eprintln!("run {run}: {figures:?}");
        for (what, value) in figures {
            match all.iter_mut().find(|(known, _)| *known == what) {
                Some((_, values)) => values.push(value),
                None => all.push((what, vec![value])),
            }
        }
    }
    conclude(plan, all)
}

fn shape(count: u32, pieces: u32) -> Shape {
    Shape { count, pieces, piece_length: 16 << 10, tracker: None }
}

fn conclude(plan: &Plan, figures: Vec<(String, Vec<f64>)>) -> Result<(), Box<dyn Error>> {
    let mut results = Results::new("bulk");
    results.versions.insert("ringseed".into(), env!("CARGO_PKG_VERSION").into());
    let case = format!("{} torrents", plan.torrents);
    for (what, runs) in figures {
        results.measurements.push(Measurement::new("ringseed", &case, &what, runs));
    }
    let some = plan.some;
    let mut wanted = vec![
        ("all seeding, s".to_owned(), 3.0),
        ("KiB per torrent".to_owned(), 3.4),
        ("torrent-get of all, s".to_owned(), 0.5),
        ("recently-active, ms".to_owned(), 10.0),
        ("one add without the disk, ms".to_owned(), 2.0),
        (format!("storm of {some} adds, s"), 3.0),
    ];
    for command in ["labels", "limits", "queue", "stop", "start", "verify", "move", "removal"] {
        wanted.push((format!("{command} of {some}, s"), 0.5));
    }
    if !plan.skip_all {
        wanted.extend([("stop of all, s".to_owned(), 5.0), ("start of all, s".to_owned(), 5.0)]);
    }
    for (what, bound) in wanted {
        let value = results.median("ringseed", &case, &what);
        results.targets.push(Target::new(what, Wanted::AtMost, bound, value));
    }
    Ok(results.conclude(&plan.results)?)
}

fn memory_of_empty(daemon: &Daemon) -> Result<f64, Box<dyn Error>> {
    let mut serving = daemon.start()?;
    serving.wait(WAIT_MAX, Duration::from_millis(20), |serving| {
        serving.status("/readyz").ok().filter(|status| *status == 200)
    })?;
    std::thread::sleep(Duration::from_secs(1));
    let memory = kibibytes(process::memory(serving.pid())?.anon);
    serving.stop()?;
    Ok(memory)
}

fn kibibytes(bytes: u64) -> f64 {
    bytes as f64 / 1024.0
}

/// What one start of the daemon showed, in the order in which it was done.
struct Run {
    serving: Serving,
    figures: Vec<(String, f64)>,
}

fn measure(
    plan: &Plan,
    daemon: &Daemon,
    more: &Library,
    own: f64,
) -> Result<Vec<(String, f64)>, Box<dyn Error>> {
    let mut run = Run { serving: daemon.start()?, figures: Vec::new() };
    run.until_seeding(f64::from(plan.torrents))?;
    run.note("all seeding, s", run.serving.age().as_secs_f64());
    std::thread::sleep(Duration::from_secs(3));
    let memory = kibibytes(process::memory(run.serving.pid())?.anon);
    run.note("KiB per torrent", (memory - own) / f64::from(plan.torrents));
    // What was loaded just now has changed lately: `recently-active` is asked for when that is over.
    std::thread::sleep(Duration::from_secs(65));
    run.ask("recently-active, ms", 1000.0, &json!({"fields": FIELDS, "ids": "recently-active"}))?;
    run.ask("torrent-get of all, s", 1.0, &json!({"fields": FIELDS}))?;

    let hashes: Vec<String> = run.hashes()?;
    let chosen: Vec<&String> =
        hashes.iter().step_by((plan.torrents / plan.some).max(1) as usize).take(plan.some as usize).collect();
    let some = plan.some;
    run.set(&format!("labels of {some}, s"), &json!({"ids": chosen, "labels": ["bulk"]}))?;
    run.set(
        &format!("limits of {some}, s"),
        &json!({"ids": chosen, "uploadLimit": 5000, "uploadLimited": true}),
    )?;
    run.serving.call(
        "torrent-set",
        &json!({"ids": chosen, "labels": [], "uploadLimited": false, "uploadLimit": 0}),
    )?;
    run.list(&format!("queue of {some}, s"), "queue-move-top", &json!({"ids": chosen}))?;
    run.list(&format!("stop of {some}, s"), "torrent-stop", &json!({"ids": chosen}))?;
    run.list(&format!("start of {some}, s"), "torrent-start", &json!({"ids": chosen}))?;
    run.until_seeding(f64::from(plan.torrents))?;
    run.list(&format!("verify of {some}, s"), "torrent-verify", &json!({"ids": chosen}))?;
    run.until_seeding(f64::from(plan.torrents))?;
    run.adds(plan, more)?;
    if !plan.skip_all {
        run.stop_and_start_all(f64::from(plan.torrents))?;
    }
    let Run { serving, mut figures } = run;
    figures.push(("stop of the daemon, s".to_owned(), serving.stop()?));
    Ok(figures)
}

impl Run {
    fn note(&mut self, what: &str, value: f64) {
        eprintln!("  {what}: {value:.3}");
        self.figures.push((what.to_owned(), value));
    }

    fn until_seeding(&mut self, wanted: f64) -> io::Result<()> {
        self.serving.wait(WAIT_MAX, Duration::from_millis(20), |serving| {
            (serving.metric("ringseed_torrents{state=\"seeding\"}").ok()? >= wanted).then_some(())
        })
    }

    /// The fastest of three `torrent-get`: each allocates, and what that costs the first time is not the question.
    fn ask(&mut self, what: &str, unit: f64, arguments: &Value) -> Result<(), Box<dyn Error>> {
        let mut client = self.serving.client();
        let mut best = f64::INFINITY;
        for _ in 0..3 {
            let began = Instant::now();
            client.text("torrent-get", arguments)?;
            best = best.min(began.elapsed().as_secs_f64());
        }
        self.note(what, best * unit);
        Ok(())
    }

    fn hashes(&mut self) -> Result<Vec<String>, Box<dyn Error>> {
        let answer = self.serving.call("torrent-get", &json!({"fields": ["hashString"]}))?;
        let torrents = answer["torrents"].as_array().ok_or("no list of torrents")?;
        Ok(torrents.iter().filter_map(|torrent| torrent["hashString"].as_str().map(str::to_owned)).collect())
    }

    fn set(&mut self, what: &str, arguments: &Value) -> io::Result<()> {
        self.list(what, "torrent-set", arguments)
    }

    /// Seconds until a command over a list is answered.
    fn list(&mut self, what: &str, method: &str, arguments: &Value) -> io::Result<()> {
        let began = Instant::now();
        self.serving.call(method, arguments)?;
        self.note(what, began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Adds torrents whose data is not there: one by one, then by several clients at once; moves and removes them.
    fn adds(&mut self, plan: &Plan, more: &Library) -> Result<(), Box<dyn Error>> {
        let (here, there) = (plan.dir.join("bulk-adds"), plan.dir.join("bulk-moved"));
        for place in [&here, &there] {
            let _ = fs::remove_dir_all(place);
            fs::create_dir_all(place)?;
        }
        let disk = sync_time(&plan.dir)?;
        self.note("fdatasync, ms", disk);
        let mut one = Vec::new();
        for number in 0..SINGLE_ADDS {
            std::thread::sleep(Duration::from_millis(50));
            let began = Instant::now();
            self.serving.call("torrent-add", &add(more, number, &here))?;
            one.push(began.elapsed().as_secs_f64() * 1000.0);
        }
        one.sort_by(f64::total_cmp);
        let one = one[one.len() / 2];
        self.note("one add, ms", one);
        self.note("one add without the disk, ms", one - disk);
        let began = Instant::now();
        let storms: Vec<_> = (0..plan.clients)
            .map(|client| {
                let numbers = (SINGLE_ADDS + client..SINGLE_ADDS + plan.some).step_by(plan.clients as usize);
                storm(self.serving.client(), more.clone(), numbers.collect(), here.clone())
            })
            .collect();
        for storm in storms {
            storm.join().map_err(|_| "a client panicked")??;
        }
        let some = plan.some;
        self.note(&format!("storm of {some} adds, s"), began.elapsed().as_secs_f64());
        let added: Vec<String> = self.hashes()?.split_off(plan.torrents as usize);
        let listed = &added[SINGLE_ADDS as usize..];
        self.list(
            &format!("move of {some}, s"),
            "torrent-set-location",
            &json!({"ids": listed, "location": there, "move": true}),
        )?;
        self.serving.wait(WAIT_MAX, Duration::from_millis(50), |serving| {
            let fields = json!({"fields": ["downloadDir", "status"], "ids": listed});
            let answer = serving.call("torrent-get", &fields).ok()?;
            let moved = |torrent: &Value| torrent["downloadDir"] == json!(there) && torrent["status"] != 2;
            answer["torrents"].as_array()?.iter().all(moved).then_some(())
        })?;
        self.list(&format!("removal of {some}, s"), "torrent-remove", &json!({"ids": listed}))?;
        self.serving.call("torrent-remove", &json!({"ids": &added[..SINGLE_ADDS as usize]}))?;
        Ok(())
    }

    /// Stops and starts all torrents; seconds until all have done so, and the slowest answer meanwhile.
    fn stop_and_start_all(&mut self, wanted: f64) -> Result<(), Box<dyn Error>> {
        let watch = Watch::new(self.serving.client());
        let began = Instant::now();
        self.serving.call("torrent-stop", &json!({}))?;
        self.note("answer to stop of all, s", began.elapsed().as_secs_f64());
        self.serving.wait(WAIT_MAX, Duration::from_millis(20), |serving| {
            (serving.metric("ringseed_torrents{state=\"paused\"}").ok()? >= wanted).then_some(())
        })?;
        self.note("stop of all, s", began.elapsed().as_secs_f64());
        let began = Instant::now();
        self.serving.call("torrent-start", &json!({}))?;
        self.note("answer to start of all, s", began.elapsed().as_secs_f64());
        self.until_seeding(wanted)?;
        self.note("start of all, s", began.elapsed().as_secs_f64());
        self.note("slowest other answer meanwhile, s", watch.slowest()?);
        Ok(())
    }
}

/// The arguments that add a torrent.
fn add(library: &Library, number: u32, directory: &Path) -> Value {
    json!({"filename": library.torrent(number), "download-dir": directory})
}

/// A client that adds torrents one after the other.
fn storm(
    mut client: Client,
    library: Library,
    numbers: Vec<u32>,
    directory: PathBuf,
) -> std::thread::JoinHandle<io::Result<()>> {
    std::thread::spawn(move || {
        for number in numbers {
            let answer = client.text("torrent-add", &add(&library, number, &directory))?;
            if !answer.contains("torrent-added") {
                return Err(io::Error::other(answer));
            }
        }
        Ok(())
    })
}

/// Milliseconds until the disk has one page: what a transaction waits for at least.
fn sync_time(directory: &Path) -> io::Result<f64> {
    let path = directory.join("bulk-sync");
    let mut file = File::create(&path)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()?;
    let mut times = Vec::new();
    for _ in 0..21 {
        let began = Instant::now();
        io::Seek::rewind(&mut file)?;
        file.write_all(&[1; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1000.0);
    }
    fs::remove_file(path)?;
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// A client that asks small questions all the time.
struct Watch {
    stop: Arc<AtomicBool>,
    asking: std::thread::JoinHandle<io::Result<f64>>,
}

impl Watch {
    fn new(mut client: Client) -> Watch {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let asking = std::thread::spawn(move || {
            let mut slowest = 0f64;
            while !stopped.load(Ordering::Relaxed) {
                let began = Instant::now();
                client.text("session-get", &json!({"fields": ["version"]}))?;
                slowest = slowest.max(began.elapsed().as_secs_f64());
                std::thread::sleep(Duration::from_millis(10));
            }
            Ok(slowest)
        });
        Watch { stop, asking }
    }

    fn slowest(self) -> Result<f64, Box<dyn Error>> {
        self.stop.store(true, Ordering::Relaxed);
        Ok(self.asking.join().map_err(|_| "a client panicked")??)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn flags_are_consistent() {
        Plan::command().debug_assert();
    }
}
