//! What ten thousand torrents cost the window. An engine that only looks like one answers, for no real one has so
//! many that move; the window is a real one on a display that is not there, with the software renderer.
//!
//! ```sh
//! cargo build --release -p ringseed-gui
//! RINGSEED_GUI_PROGRAM=target/release/ringseed-gui cargo nextest run -p ringseed-gui --test measure \
//!     --run-ignored all --no-capture
//! ```

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::endpoint::Endpoint;
use std::time::{Duration, Instant};
use support::display::{Display, Window};
use support::fake::{Fake, many};
use support::screen::{Area, Screen};

const TORRENTS: usize = 10_000;
/// Names of the first rows.
const NAMES: Area = Area { x: 244, y: 120, width: 200, height: 80 };
/// A place in the table.
const TABLE: (i32, i32) = (400, 300);
/// Headings by which the table is sorted: Size, State, Name.
const HEADINGS: [i32; 3] = [1092, 1290, 400];

#[test]
#[ignore = "measures; says how in its first lines"]
fn ten_thousand_torrents() {
    for active in [1000, TORRENTS] {
        measure(active);
    }
}

fn measure(active: usize) {
    let fake = Fake::start(many(TORRENTS), active);
    let home = tempfile::tempdir().unwrap();
    let display = Display::start(1600, 1000);
    let endpoint = Endpoint::parse(fake.address()).unwrap();
    let window = Window::open(&display, home.path(), &["--connect", endpoint.url(), "--theme", "dark"]);
    window.place(0, 0, 1600, 1000);
    let screen = Screen::of(&display);
    let start = Instant::now();
    while fake.looks() < 5 {
        assert!(start.elapsed() < support::PATIENCE, "the window asks for no news");
        std::thread::sleep(Duration::from_millis(100));
    }

    let looks = fake.looks();
    let (cpu, time) = (cpu_seconds(window.pid()), Instant::now());
    std::thread::sleep(Duration::from_secs(30));
    let share = (cpu_seconds(window.pid()) - cpu) / time.elapsed().as_secs_f64();
    let looks = (fake.looks() - looks) as f64 / time.elapsed().as_secs_f64();

    display.xdotool(&["mousemove", &TABLE.0.to_string(), &TABLE.1.to_string()]);
    let none = median((0..20).map(|_| took(|| drop(display.xdotool(&["getmouselocation"])))).collect());
    let turns = (0..60).map(|_| until_drawn(&screen, || drop(display.xdotool(&["click", "5"])))).collect();
    let (turn, worst_turn) = summary(turns);
    let clicks = HEADINGS.iter().cycle().take(12).map(|x| {
        let place = [x.to_string(), "103".to_owned()];
        display.xdotool(&["mousemove", &place[0], &place[1]]);
        until_drawn(&screen, || drop(display.xdotool(&["click", "1"])))
    });
    let (sort, worst_sort) = summary(clicks.collect());
    let (frames, gap) = scroll(&display, &screen);

    println!("{TORRENTS} torrents, {active} of them change, {looks:.2} looks a second:");
    println!("  CPU of one core       {:6.1} %", share * 100.0);
    println!(
        "  memory now, at most   {:6.0} MiB, {:.0} MiB",
        memory(window.pid(), "VmRSS"),
        memory(window.pid(), "VmHWM")
    );
    println!("  a turn of the wheel   {turn:6.1} ms median, {worst_turn:.1} ms at most");
    println!("  a click on a heading  {sort:6.1} ms median, {worst_sort:.1} ms at most");
    println!("  (the program that turns and clicks takes {none:.1} ms of these)");
    println!("  scrolling             {frames:6.1} frames a second, {gap:.1} ms at most between two");
}

/// CPU time of a process so far.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name in parentheses may have blanks.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // USER_HZ, which is 100 on every Linux.
    ticks as f64 / 100.0
}

/// MiB of memory of a process.
fn memory(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

fn took(deed: impl FnOnce()) -> f64 {
    let start = Instant::now();
    deed();
    start.elapsed().as_secs_f64() * 1000.0
}

/// Milliseconds until the names have changed on the display, from before the deed on.
fn until_drawn(screen: &Screen, deed: impl FnOnce()) -> f64 {
    // What was asked for before is drawn by now.
    std::thread::sleep(Duration::from_millis(300));
    let before = screen.pixels(NAMES);
    let start = Instant::now();
    deed();
    while screen.pixels(NAMES) == before {
        assert!(start.elapsed() < support::PATIENCE, "nothing is drawn");
    }
    start.elapsed().as_secs_f64() * 1000.0
}

/// Turns the wheel without a pause; frames a second, and the longest time without a new one.
fn scroll(display: &Display, screen: &Screen) -> (f64, f64) {
    display.xdotool(&["mousemove", &TABLE.0.to_string(), &TABLE.1.to_string()]);
    let mut wheel = std::process::Command::new("xdotool")
        .args(["click", "--repeat", "400", "--delay", "10", "5"])
        .env("DISPLAY", display.name())
        .spawn()
        .unwrap();
    let mut shown = screen.until("the first turn", NAMES, {
        let before = screen.pixels(NAMES);
        move |now| now != before
    });
    let (start, mut last, mut frames, mut gap) = (Instant::now(), Instant::now(), 0u32, Duration::ZERO);
    while wheel.try_wait().unwrap().is_none() {
        let now = screen.pixels(NAMES);
        if now != shown {
            frames += 1;
            gap = gap.max(last.elapsed());
            last = Instant::now();
            shown = now;
        }
    }
    (f64::from(frames) / start.elapsed().as_secs_f64(), gap.as_secs_f64() * 1000.0)
}

fn summary(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() - 1])
}

fn median(times: Vec<f64>) -> f64 {
    summary(times).0
}
