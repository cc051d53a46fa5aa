//! A display that is not there, and a window on it that is driven by keys and clicks.

use super::{PATIENCE, program};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// An X server without a screen.
pub struct Display {
    server: Child,
    name: String,
}

impl Display {
    /// Starts one of this many pixels at a free number.
    pub fn start(width: u32, height: u32) -> Display {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-nolisten", "tcp", "-screen", "0", &format!("{width}x{height}x24")])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is needed: engine/tests/run.sh installs it");
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.trim().is_empty(), "Xvfb did not start");
        Display { server, name: format!(":{}", line.trim()) }
    }

    /// Its name for `DISPLAY`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs xdotool; returns what it prints.
    pub fn xdotool(&self, arguments: &[&str]) -> String {
        let output = Command::new("xdotool").args(arguments).env("DISPLAY", &self.name).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Where things stand in a window of 1000 by 640, from the left and from the top.
pub mod places {
    /// First row of the table.
    pub const FIRST_ROW: (i32, i32) = (320, 132);
    /// Heading of the sizes.
    pub const SIZE: (i32, i32) = (490, 103);
    /// Lines of the side bar.
    pub const ALL: (i32, i32) = (80, 133);
    /// Those that are paused.
    pub const PAUSED: (i32, i32) = (80, 237);
    /// All labels.
    pub const ALL_LABELS: (i32, i32) = (80, 399);
    /// The label after `No label`.
    pub const SECOND_LABEL: (i32, i32) = (80, 451);
    /// Tabs of the details: overview, files, peers, trackers, speed, log.
    pub const TABS: [(i32, i32); 6] =
        [(246, 372), (319, 372), (376, 372), (445, 372), (516, 372), (572, 372)];
    /// The third line of the files.
    pub const THIRD_FILE: (i32, i32) = (300, 472);
    /// The tick of the third file in the dialog that adds a torrent of three lines.
    pub const ADD_THIRD_TICK: (i16, i16) = (248, 331);
    /// The input for labels there.
    pub const ADD_LABELS: (i32, i32) = (666, 387);
    /// The button of the dialog for limits.
    pub const LIMITS_BUTTON: (i32, i32) = (705, 398);
    /// The input for trackers in the dialog that makes a torrent.
    pub const CREATE_TRACKERS: (i32, i32) = (500, 280);
    /// The button that makes it.
    pub const CREATE_BUTTON: (i32, i32) = (735, 500);
    /// In the preferences: the tick and the number of the first limit, the page of the window and its first tick, the
    /// button.
    pub const PREFERENCES_LIMIT: (i32, i32) = (259, 248);
    /// See [`PREFERENCES_LIMIT`].
    pub const PREFERENCES_NUMBER: (i32, i32) = (525, 249);
    /// See [`PREFERENCES_LIMIT`].
    pub const PREFERENCES_WINDOW: (i32, i32) = (617, 206);
    /// See [`PREFERENCES_LIMIT`].
    pub const PREFERENCES_NOTIFY: (i32, i32) = (259, 285);
    /// See [`PREFERENCES_LIMIT`].
    pub const PREFERENCES_SAVE: (i32, i32) = (721, 458);
}

/// `ringseed-gui` as a process on a display.
pub struct Window<'a> {
    display: &'a Display,
    child: Child,
    id: String,
}

/// The command of a window with a home of its own below `home`.
pub fn command(display: &Display, home: &Path) -> Command {
    let runtime = home.join("run");
    std::fs::create_dir_all(&runtime).unwrap();
    let mut command = Command::new(program("ringseed-gui"));
    command
        .env("DISPLAY", display.name())
        .env_remove("WAYLAND_DISPLAY")
        .env("SLINT_BACKEND", "winit-software")
        .env("SLINT_SCALE_FACTOR", "1")
        .env("HOME", home)
        .env("XDG_RUNTIME_DIR", &runtime)
        .env("XDG_CONFIG_HOME", home.join("config"))
        .env("XDG_STATE_HOME", home.join("state"))
        .env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent");
    command
}

impl<'a> Window<'a> {
    /// Opens one and waits until it is there.
    pub fn open(display: &'a Display, home: &Path, arguments: &[&str]) -> Window<'a> {
        let mut program = command(display, home);
        program.args(arguments);
        Window::open_with(display, program)
    }

    /// Starts this command of a window and waits until it is there.
    pub fn open_with(display: &'a Display, mut program: Command) -> Window<'a> {
        let child = program.spawn().unwrap();
        let mut window = Window { display, child, id: String::new() };
        let start = Instant::now();
        while window.id.is_empty() {
            assert!(start.elapsed() < PATIENCE, "no window was opened");
            assert!(window.child.try_wait().unwrap().is_none(), "the window's process ended");
            std::thread::sleep(Duration::from_millis(50));
            let found =
                display.xdotool(&["search", "--onlyvisible", "--pid", &window.child.id().to_string()]);
            window.id = found.lines().last().unwrap_or("").to_owned();
        }
        display.xdotool(&["windowfocus", "--sync", &window.id]);
        window
    }

    /// Its number on the display.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Presses keys one after the other, such as `ctrl+p`.
    pub fn keys(&self, keys: &[&str]) {
        for key in keys {
            self.display.xdotool(&["key", "--clearmodifiers", key]);
        }
    }

    /// Types a text.
    pub fn types(&self, text: &str) {
        self.display.xdotool(&["type", "--delay", "2", text]);
    }

    /// Clicks at a place of the window: `1` is the left button, `3` the right one.
    pub fn click(&self, (x, y): (i32, i32), button: &str) {
        let (x, y) = (x.to_string(), y.to_string());
        self.display.xdotool(&["mousemove", "--window", &self.id, &x, &y, "click", button]);
    }

    /// Drags from one place of the window to another.
    pub fn drag(&self, from: (i32, i32), to: (i32, i32)) {
        let [x, y, to_x, to_y] = [from.0, from.1, to.0, to.1].map(|number| number.to_string());
        self.display.xdotool(&["mousemove", "--window", &self.id, &x, &y, "mousedown", "1"]);
        self.display.xdotool(&[
            "mousemove",
            "--window",
            &self.id,
            &to_x,
            &to_y,
            "sleep",
            "0.1",
            "mouseup",
            "1",
        ]);
    }

    /// Gives it a place and a size.
    pub fn place(&self, x: u32, y: u32, width: u32, height: u32) {
        let [x, y, width, height] = [x, y, width, height].map(|number| number.to_string());
        self.display.xdotool(&["windowmove", &self.id, &x, &y]);
        self.display.xdotool(&["windowsize", &self.id, &width, &height]);
    }

    /// Gives it the keyboard.
    pub fn focus(&self) {
        self.display.xdotool(&["windowfocus", "--sync", &self.id]);
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether its process has ended, and how.
    pub fn ended(&mut self) -> Option<std::process::ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Writes what the display shows as PNG.
    pub fn screenshot(&self, file: &Path) {
        let status = Command::new("import")
            .args(["-window", "root", "-strip"])
            .arg(file)
            .env("DISPLAY", self.display.name())
            .status()
            .expect("imagemagick is needed for screenshots");
        assert!(status.success());
    }
}

impl Drop for Window<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
