//! What ten thousand torrents cost the window. An engine that only looks like one answers, for no real one has so
//! many that move; the window is a real one on a display that is not there, with the software renderer.
//!
//! ```sh
//! cargo build --release -p ringseed-gui
//! RINGSEED_GUI_PROGRAM=$PWD/target/release/ringseed-gui cargo nextest run -p ringseed-gui --test measure \
//!     --run-ignored all --no-capture
//! ```

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::endpoint::Endpoint;
use std::time::{Duration, Instant};
use support::display::{Display, Window};
use support::fake::{Fake, many};
use support::frames::Frames;
use support::screen::{Area, Screen};

const TORRENTS: usize = 10_000;
/// Names of the first rows.
const NAMES: Area = Area { x: 244, y: 120, width: 200, height: 80 };
/// A place in the table.
const TABLE: (i16, i16) = (400, 300);
/// Headings by which the table is sorted: Size, State, Name.
const HEADINGS: [i16; 3] = [1092, 1290, 400];
/// Longest time between two frames that still looks fluid.
const FRAME_MS: f64 = 33.0;
/// Time between two looks for frames: short beside one, and long enough to leave the cores to the window.
const LOOK_EVERY: Duration = Duration::from_micros(500);
/// Time between two turns of the wheel, or halves of a click: faster than a hand.
const DO_EVERY: Duration = Duration::from_millis(10);
/// How long it is turned, or clicked.
const DO_FOR: Duration = Duration::from_secs(8);

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

    let mut frames = Frames::of(&display, window.id().parse().unwrap());
    frames.point(TABLE.0, TABLE.1);
    let turns = (0..60).map(|_| until_drawn(&screen, &mut frames, Frames::turn_wheel)).collect();
    let (turn, worst_turn) = summary(turns);
    let clicks = HEADINGS.iter().cycle().take(12).map(|&x| {
        frames.point(x, 103);
        // It does something when it is let go.
        frames.press(1);
        until_drawn(&screen, &mut frames, |mouse| mouse.release(1))
    });
    let (sort, worst_sort) = summary(clicks.collect());
    frames.point(HEADINGS[2], 103);
    let half_a_click = |mouse: &Frames, turn| if turn % 2 == 0 { mouse.press(1) } else { mouse.release(1) };
    let sorting = film(&mut frames, window.pid(), half_a_click);
    frames.point(TABLE.0, TABLE.1);
    let scrolling = film(&mut frames, window.pid(), |mouse, _| mouse.turn_wheel());

    println!("{TORRENTS} torrents, {active} of them change, {looks:.2} looks a second:");
    println!("  CPU of one core       {:6.1} %", share * 100.0);
    println!(
        "  memory now, at most   {:6.0} MiB, {:.0} MiB",
        memory(window.pid(), "VmRSS"),
        memory(window.pid(), "VmHWM")
    );
    println!("  a turn of the wheel   {turn:6.1} ms median, {worst_turn:.1} ms at most");
    println!("  a click on a heading  {sort:6.1} ms median, {worst_sort:.1} ms at most");
    println!("  (these two wait up to 17 ms for their turn on the display)");
    for (what, film) in [("sorting", sorting), ("scrolling", scrolling)] {
        let (gaps, work): (Vec<f64>, Vec<f64>) = film.into_iter().unzip();
        let (count, total) = (gaps.len() as f64, gaps.iter().sum::<f64>() / 1000.0);
        let late = gaps.iter().filter(|&&gap| gap > FRAME_MS).count();
        let (gap, longest) = summary(gaps);
        let (middle, most) = summary(work);
        println!("  {what}:");
        println!("    frames a second     {:6.1}", count / total);
        println!("    work for one        {middle:6.1} ms median, {most:.1} ms at most");
        println!(
            "    between two         {gap:6.1} ms median, {longest:.1} ms at most, \
             {late} of {count} over {FRAME_MS} ms"
        );
    }
}

/// CPU milliseconds of a process's first thread, which draws its window.
fn window_work(pid: u32) -> f64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/schedstat")).unwrap();
    text.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e6
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

/// Milliseconds until the names have changed on the display, from what the mouse does on.
fn until_drawn(screen: &Screen, frames: &mut Frames, deed: impl FnOnce(&Frames)) -> f64 {
    // What was asked for before is drawn by now.
    std::thread::sleep(Duration::from_millis(300));
    let before = screen.pixels(NAMES);
    frames.next();
    let start = Instant::now();
    deed(frames);
    loop {
        assert!(start.elapsed() < support::PATIENCE, "nothing is drawn");
        match frames.next() {
            // It may be only the heading, or the news of the second.
            Some(drawn) if screen.pixels(NAMES) != before => return (drawn - start).as_secs_f64() * 1000.0,
            _ => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Does something every 10 ms for some seconds. For each frame of that time the milliseconds since the one before, and
/// those of them that the window worked.
fn film(frames: &mut Frames, pid: u32, deed: impl Fn(&Frames, u32)) -> Vec<(f64, f64)> {
    let (start, mut film) = (Instant::now(), Vec::new());
    let (mut turns, mut last) = (0, None);
    while start.elapsed() < DO_FOR {
        if start.elapsed() >= DO_EVERY * turns {
            deed(frames, turns);
            turns += 1;
        }
        if let Some(drawn) = frames.next() {
            let work = window_work(pid);
            let since = last
                .map(|(last, before): (Instant, f64)| ((drawn - last).as_secs_f64() * 1000.0, work - before));
            film.extend(since);
            last = Some((drawn, work));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    film
}

fn summary(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() - 1])
}
