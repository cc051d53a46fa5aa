//! Takes the pictures of `gui/screenshots`: every view in dark and light and in two sizes, with made-up torrents.
//! `cargo nextest run -p ringseed-gui --test pictures --run-ignored all` (needs imagemagick).

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::endpoint::Endpoint;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::display::{Display, Window};
use support::fake::{Fake, gallery};

const SIZES: [(u32, u32); 2] = [(1000, 640), (1600, 1000)];
/// Height of the details, of which the tabs are clicked.
const DETAILS: i32 = 230;
const STATUS: i32 = 28;

struct Studio<'a> {
    window: Window<'a>,
    folder: PathBuf,
    suffix: String,
    height: i32,
}

impl Studio<'_> {
    /// Time for the window to draw: pictures have no event to wait for.
    fn pause(&self) {
        std::thread::sleep(Duration::from_millis(500));
    }

    fn take(&self, name: &str) {
        self.pause();
        self.window.screenshot(&self.folder.join(format!("{name}-{}.png", self.suffix)));
    }

    fn tab(&self, x: i32) {
        self.window.click(x, self.height - STATUS - DETAILS + 16, "1");
    }
}

#[test]
#[ignore = "makes pictures for people to look at"]
fn take_pictures() {
    let folder = std::env::var_os("PICTURES").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    for (width, height) in SIZES {
        for theme in ["dark", "light"] {
            take(&folder, theme, width, height);
        }
    }
}

fn take(folder: &Path, theme: &str, width: u32, height: u32) {
    let fake = Fake::start(gallery(), 7);
    let home = tempfile::tempdir().unwrap();
    let display = Display::start(width, height);
    let endpoint = Endpoint::parse(fake.address()).unwrap();
    let window = Window::open(&display, home.path(), &["--connect", endpoint.url(), "--theme", theme]);
    window.place(0, 0, width, height);
    let studio = Studio {
        window,
        folder: folder.to_owned(),
        suffix: format!("{theme}-{width}"),
        height: i32::try_from(height).unwrap(),
    };
    std::thread::sleep(Duration::from_secs(6));
    studio.take("main");
    studio.window.keys(&["Home", "Down", "Down"]);
    std::thread::sleep(Duration::from_millis(1500));
    studio.take("overview");
    for (name, x) in [("files", 118), ("peers", 175), ("trackers", 245), ("speed", 318), ("log", 370)] {
        studio.tab(x);
        std::thread::sleep(Duration::from_millis(1200));
        studio.take(name);
    }
    studio.tab(50);
    for (name, keys) in
        [("add", "ctrl+shift+o"), ("create", "ctrl+n"), ("remove", "Delete"), ("rename", "F2")]
    {
        studio.window.keys(&[keys]);
        studio.take(name);
        studio.window.keys(&["Escape"]);
        studio.pause();
    }
    studio.window.click(500, 200, "3");
    studio.take("menu");
    studio.window.keys(&["Escape"]);
    for (name, row) in [("connect", 148), ("preferences", 176)] {
        studio.window.click(24, 14, "1");
        studio.pause();
        studio.window.click(60, row, "1");
        studio.take(name);
        studio.window.keys(&["Escape"]);
        studio.pause();
    }
}
