//! When a window's pixels change, told by the X server, and mouse events without a program for each.

use super::display::Display;
use std::time::{Duration, Instant};
use x11rb::connection::Connection;
use x11rb::protocol::damage::{ConnectionExt as _, ReportLevel};
use x11rb::protocol::xproto::{BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, MOTION_NOTIFY_EVENT};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

/// Parts of one frame come closer together than this; so fast no frame follows another here.
const ONE_FRAME: Duration = Duration::from_millis(2);

/// The frames of one window, and a mouse over it.
pub struct Frames {
    connection: RustConnection,
    root: u32,
    last: Option<Instant>,
}

impl Frames {
    /// Watches the window with this number.
    pub fn of(display: &Display, window: u32) -> Frames {
        let (connection, screen) = x11rb::connect(Some(display.name())).unwrap();
        let root = connection.setup().roots[screen].root;
        connection.damage_query_version(1, 1).unwrap().reply().unwrap();
        let damage = connection.generate_id().unwrap();
        connection.damage_create(damage, window, ReportLevel::RAW_RECTANGLES).unwrap().check().unwrap();
        Frames { connection, root, last: None }
    }

    /// Moves the mouse.
    pub fn point(&self, x: i16, y: i16) {
        self.fake(MOTION_NOTIFY_EVENT, 0, x, y);
    }

    /// Presses a button where the mouse is: 1 is the left one, 5 a turn of the wheel down.
    pub fn press(&self, button: u8) {
        self.fake(BUTTON_PRESS_EVENT, button, 0, 0);
    }

    /// Lets it go.
    pub fn release(&self, button: u8) {
        self.fake(BUTTON_RELEASE_EVENT, button, 0, 0);
    }

    /// Turns the wheel down.
    pub fn turn_wheel(&self) {
        self.press(5);
        self.release(5);
    }

    fn fake(&self, kind: u8, button: u8, x: i16, y: i16) {
        self.connection.xtest_fake_input(kind, button, 0, self.root, x, y, 0).unwrap();
        self.connection.flush().unwrap();
    }

    /// Whether a frame came since the last call, and when its first part was told.
    pub fn next(&mut self) -> Option<Instant> {
        let mut first = None;
        while self.connection.poll_for_event().unwrap().is_some() {
            let now = Instant::now();
            let new = self.last.is_none_or(|last| now.duration_since(last) > ONE_FRAME);
            self.last = Some(now);
            if new && first.is_none() {
                first = Some(now);
            }
        }
        first
    }
}
