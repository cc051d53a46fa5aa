//! Takes pictures of every view in dark and light and in two sizes, with made-up torrents; some are in `gui/screenshots`.
//! `PICTURES=FOLDER cargo nextest run -p ringseed-gui --test pictures --run-ignored all` (needs imagemagick).

// The made-up torrents are one large JSON literal.
#![recursion_limit = "512"]

mod support;

use ringseed_gui::endpoint::Endpoint;
use std::path::{Path, PathBuf};
use std::time::Duration;
use support::display::{Display, Window};
use support::fake::{Fake, gallery};
use support::swarm::Swarm;

const SIZES: [(u32, u32); 2] = [(1000, 640), (1600, 1000)];
/// Height of the details, of which the tabs are clicked, and of the line below.
const DETAILS: i32 = 256;
const STATUS: i32 = 28;

struct Studio<'a> {
    window: Window<'a>,
    folder: PathBuf,
    suffix: String,
    width: i32,
    height: i32,
}

impl Studio<'_> {
    /// Time for the window to draw: pictures have no event to wait for.
    fn pause(&self) {
        std::thread::sleep(Duration::from_millis(600));
    }

    fn take(&self, name: &str) {
        self.pause();
        self.window.screenshot(&self.folder.join(format!("{name}-{}.png", self.suffix)));
    }

    fn click(&self, x: i32, y: i32) {
        self.window.click((x, y), "1");
        self.pause();
    }

    fn press(&self, key: &str) {
        self.window.keys(&[key]);
        self.pause();
    }

    /// A dialog, and away with it.
    fn dialog(&self, name: &str, open: impl Fn()) {
        open();
        self.take(name);
        self.press("Escape");
    }
}

#[test]
#[ignore = "makes pictures for people to look at"]
fn take_pictures() {
    let folder = std::env::var_os("PICTURES").map_or_else(std::env::temp_dir, PathBuf::from);
    std::fs::create_dir_all(&folder).unwrap();
    let swarm = Swarm::start(500);
    for (width, height) in SIZES {
        for theme in ["dark", "light"] {
            take(&folder, theme, (width, height), swarm.torrent());
            take_empty(&folder, theme, (width, height));
        }
    }
}

fn open<'a>(
    display: &'a Display,
    home: &Path,
    fake: &Fake,
    folder: &Path,
    theme: &str,
    (width, height): (u32, u32),
) -> Studio<'a> {
    let endpoint = Endpoint::parse(fake.address()).unwrap();
    let window = Window::open(display, home, &["--connect", endpoint.url(), "--theme", theme]);
    window.place(0, 0, width, height);
    Studio {
        window,
        folder: folder.to_owned(),
        suffix: format!("{theme}-{width}"),
        width: i32::try_from(width).unwrap(),
        height: i32::try_from(height).unwrap(),
    }
}

fn take_empty(folder: &Path, theme: &str, size: (u32, u32)) {
    let fake = Fake::start(Vec::new(), 0);
    let home = tempfile::tempdir().unwrap();
    let display = Display::start(size.0, size.1);
    let studio = open(&display, home.path(), &fake, folder, theme, size);
    std::thread::sleep(Duration::from_secs(2));
    studio.take("empty");
}

fn take(folder: &Path, theme: &str, size: (u32, u32), torrent: &Path) {
    let fake = Fake::start(gallery(), 7);
    let home = tempfile::tempdir().unwrap();
    let display = Display::start(size.0, size.1);
    let studio = open(&display, home.path(), &fake, folder, theme, size);
    std::thread::sleep(Duration::from_secs(6));
    studio.take("main");
    studio.click(400, 160);
    std::thread::sleep(Duration::from_secs(2));
    studio.take("overview");
    let tabs = studio.height - STATUS - DETAILS + 16;
    let left = if studio.width < 1200 { 196 } else { 236 };
    for (name, x) in [("files", 122), ("peers", 179), ("trackers", 249), ("speed", 322)] {
        studio.click(left + x, tabs);
        std::thread::sleep(Duration::from_millis(1200));
        studio.take(name);
    }
    studio.click(left + 54, tabs);
    studio.dialog("add", || {
        studio.press("ctrl+shift+o");
        studio.window.types(torrent.to_str().unwrap());
        std::thread::sleep(Duration::from_secs(1));
    });
    studio.dialog("create", || studio.press("ctrl+n"));
    studio.dialog("rename", || studio.press("F2"));
    studio.dialog("remove", || studio.press("Delete"));
    // The tick, and the button that asks once more.
    studio.dialog("delete", || {
        studio.window.keys(&["Delete", "Tab", "space", "Tab", "Tab", "space"]);
    });
    studio.dialog("limits", || {
        studio.click(75, 18);
        studio.click(90, 253);
    });
    studio.dialog("connect", || {
        studio.click(24, 18);
        studio.click(60, 165);
    });
    studio.dialog("about", || {
        studio.click(190, 18);
        studio.click(220, 61);
    });
    for (page, name) in (0..).zip(["limits", "seeding", "folders", "connection", "window"]) {
        studio.dialog(&format!("preferences-{name}"), || {
            studio.click(if studio.width < 1200 { 715 } else { 730 }, 64);
            let left = (studio.width - 540) / 2 + 20;
            let tabs = [30, 95, 165, 245, 340];
            studio.click(left + tabs[page], preferences_tabs(studio.height));
        });
    }
    studio.window.click((500, 200), "3");
    studio.take("menu");
    studio.press("Escape");
    studio.click(75, 18);
    studio.take("torrent-menu");
    studio.press("Escape");
    studio.press("ctrl+f");
    studio.window.types("nothing like this");
    studio.take("no-result");
    studio.press("Escape");
    fake.leave();
    std::thread::sleep(Duration::from_secs(3));
    studio.take("banner");
    studio.click(left + 374, tabs);
    studio.take("log");
}

/// Where the tabs of the preferences are: the dialog stands a little above the middle.
fn preferences_tabs(height: i32) -> i32 {
    let (menu, card) = (36, 353);
    menu + (height - menu - card) * 4 / 10 + 67
}
