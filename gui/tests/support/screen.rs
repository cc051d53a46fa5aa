//! What is to be seen on a display, as colours.

use super::PATIENCE;
use super::display::Display;
use std::time::{Duration, Instant};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConnectionExt, ImageFormat};
use x11rb::rust_connection::RustConnection;

/// Colour of the menu bar in the dark theme.
pub const DARK: (u8, u8, u8) = (0x1d, 0x20, 0x25);
/// The same in the light one.
pub const LIGHT: (u8, u8, u8) = (0xf3, 0xf5, 0xf8);

/// A place on the display.
#[derive(Debug, Clone, Copy)]
pub struct Area {
    /// From the left.
    pub x: i16,
    /// From the top.
    pub y: i16,
    /// To the right.
    pub width: u16,
    /// Down.
    pub height: u16,
}

/// Looks at a display.
pub struct Screen {
    connection: RustConnection,
    root: u32,
}

impl Screen {
    /// Connects to it.
    pub fn of(display: &Display) -> Screen {
        let (connection, screen) = x11rb::connect(Some(display.name())).unwrap();
        let root = connection.setup().roots[screen].root;
        Screen { connection, root }
    }

    /// The pixels of an area, four bytes each: blue, green, red, nothing.
    pub fn pixels(&self, area: Area) -> Vec<u8> {
        let Area { x, y, width, height } = area;
        self.connection
            .get_image(ImageFormat::Z_PIXMAP, self.root, x, y, width, height, !0)
            .unwrap()
            .reply()
            .unwrap()
            .data
    }

    /// Red, green and blue of one pixel.
    pub fn colour(&self, x: i16, y: i16) -> (u8, u8, u8) {
        let pixel = self.pixels(Area { x, y, width: 1, height: 1 });
        (pixel[2], pixel[1], pixel[0])
    }

    /// Waits until an area looks as expected.
    pub fn until(&self, what: &str, area: Area, condition: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        let start = Instant::now();
        loop {
            let pixels = self.pixels(area);
            if condition(&pixels) {
                return pixels;
            }
            assert!(start.elapsed() < PATIENCE, "waited in vain to see {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a pixel has this colour.
    pub fn until_colour(&self, what: &str, x: i16, y: i16, colour: (u8, u8, u8)) {
        let start = Instant::now();
        while self.colour(x, y) != colour {
            assert!(start.elapsed() < PATIENCE, "waited in vain for {what}: {:?}", self.colour(x, y));
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}
