//! What is dropped on a window of X11: torrent files, links, text.
//!
//! The window's toolkit takes files only. So the window names one of ours as the one that talks to whoever drags
//! (`XdndProxy` of XDND 5), which takes links, too. Wayland has another protocol.

use crate::add::links;
use std::error::Error;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ClientMessageEvent, ConnectionExt, CreateWindowAux, EventMask, PropMode,
    SelectionNotifyEvent, Timestamp, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// Version of the protocol.
const VERSION: u32 = 5;
/// Longest text that is taken, in the four-byte units of the request: as much as some thousand paths.
const TEXT_WORDS_MAX: u32 = (1 << 20) / 4;
/// Kinds of data that a source may offer.
const KINDS_MAX: u32 = 256;

x11rb::atom_manager! {
    Atoms: AtomsCookie {
        XdndAware,
        XdndProxy,
        XdndEnter,
        XdndPosition,
        XdndStatus,
        XdndLeave,
        XdndDrop,
        XdndFinished,
        XdndSelection,
        XdndTypeList,
        XdndActionCopy,
        UTF8_STRING,
        RINGSEED_DROP,
        UriList: b"text/uri-list",
        Utf8Text: b"text/plain;charset=utf-8",
        Text: b"text/plain",
    }
}

/// Why nothing can be dropped.
pub type Failure = Box<dyn Error + Send + Sync>;

/// Something that is dragged over the window.
#[derive(Debug, Clone, Copy)]
struct Drag {
    source: Window,
    /// The window that the source talks about.
    target: Window,
    /// The kind of data that is best, if any is of use.
    kind: Option<Atom>,
}

struct Proxy {
    connection: RustConnection,
    atoms: Atoms,
    own: Window,
    drag: Option<Drag>,
}

/// Takes what is dropped on `window`: `take` is called with files and links from a thread of its own.
///
/// # Errors
/// There is no X server, or no thread.
pub fn listen(window: Window, take: impl Fn(Vec<String>) + Send + 'static) -> Result<(), Failure> {
    let (connection, screen) = x11rb::connect(None)?;
    let atoms = Atoms::new(&connection)?.reply()?;
    let root = connection.setup().roots.get(screen).ok_or("the display has no screen")?.root;
    let own = connection.generate_id()?;
    let (class, aux) = (WindowClass::INPUT_ONLY, CreateWindowAux::new());
    connection.create_window(0, own, root, -1, -1, 1, 1, 0, class, x11rb::COPY_FROM_PARENT, &aux)?;
    // A proxy names itself, so that what is left of one that has died is not taken for one.
    for target in [own, window] {
        let (replace, proxy, aware) = (PropMode::REPLACE, atoms.XdndProxy, atoms.XdndAware);
        connection.change_property32(replace, target, proxy, AtomEnum::WINDOW, &[own])?;
        connection.change_property32(replace, target, aware, AtomEnum::ATOM, &[VERSION])?;
    }
    connection.flush()?;
    let mut proxy = Proxy { connection, atoms, own, drag: None };
    std::thread::Builder::new().name("drops".to_owned()).spawn(move || {
        // Ends with the connection to the display, as the window does.
        while let Ok(event) = proxy.connection.wait_for_event() {
            match proxy.on_event(&event) {
                Ok(dropped) if dropped.is_empty() => {}
                Ok(dropped) => take(dropped),
                Err(error) => tracing::debug!(%error, "a drop failed"),
            }
        }
    })?;
    Ok(())
}

impl Proxy {
    fn on_event(&mut self, event: &Event) -> Result<Vec<String>, Failure> {
        match event {
            Event::ClientMessage(message) if message.format == 32 => self.on_message(message)?,
            Event::SelectionNotify(answer) if answer.selection == self.atoms.XdndSelection => {
                return self.on_data(answer);
            }
            _ => {}
        }
        Ok(Vec::new())
    }

    fn on_message(&mut self, message: &ClientMessageEvent) -> Result<(), Failure> {
        let data = message.data.as_data32();
        let source = data[0];
        let ours = self.drag.filter(|drag| drag.source == source);
        if message.type_ == self.atoms.XdndEnter {
            let offered = if data[1] & 1 == 0 { data[2..].to_vec() } else { self.offered(source)? };
            self.drag = Some(Drag { source, target: message.window, kind: self.best(&offered) });
        } else if message.type_ == self.atoms.XdndPosition {
            if let Some(drag) = ours {
                let (taken, action) =
                    if drag.kind.is_some() { (1, self.atoms.XdndActionCopy) } else { (0, x11rb::NONE) };
                self.tell(drag, self.atoms.XdndStatus, [taken, 0, 0, action])?;
            }
        } else if message.type_ == self.atoms.XdndLeave {
            self.drag = None;
        } else if message.type_ == self.atoms.XdndDrop {
            match ours {
                Some(Drag { kind: Some(kind), .. }) => self.fetch(kind, data[2])?,
                Some(drag) => self.finish(drag, false)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Kinds of data of a source that has more than three.
    fn offered(&self, source: Window) -> Result<Vec<Atom>, Failure> {
        let list = self.atoms.XdndTypeList;
        let reply =
            self.connection.get_property(false, source, list, AtomEnum::ATOM, 0, KINDS_MAX)?.reply()?;
        Ok(reply.value32().map(Iterator::collect).unwrap_or_default())
    }

    fn best(&self, offered: &[Atom]) -> Option<Atom> {
        let atoms = &self.atoms;
        let wanted = [atoms.UriList, atoms.Utf8Text, atoms.UTF8_STRING, atoms.Text];
        wanted.into_iter().find(|kind| offered.contains(kind))
    }

    fn fetch(&self, kind: Atom, time: Timestamp) -> Result<(), Failure> {
        let (selection, property) = (self.atoms.XdndSelection, self.atoms.RINGSEED_DROP);
        self.connection.convert_selection(self.own, selection, kind, property, time)?;
        Ok(self.connection.flush()?)
    }

    fn on_data(&mut self, answer: &SelectionNotifyEvent) -> Result<Vec<String>, Failure> {
        let Some(drag) = self.drag else { return Ok(Vec::new()) };
        let mut dropped = Vec::new();
        if answer.property != x11rb::NONE {
            let (property, any) = (self.atoms.RINGSEED_DROP, AtomEnum::ANY);
            let reply =
                self.connection.get_property(true, self.own, property, any, 0, TEXT_WORDS_MAX)?.reply()?;
            dropped = links(&String::from_utf8_lossy(&reply.value));
        }
        self.finish(drag, !dropped.is_empty())?;
        Ok(dropped)
    }

    fn finish(&mut self, drag: Drag, taken: bool) -> Result<(), Failure> {
        self.drag = None;
        let action = if taken { self.atoms.XdndActionCopy } else { x11rb::NONE };
        self.tell(drag, self.atoms.XdndFinished, [u32::from(taken), action, 0, 0])
    }

    fn tell(&self, drag: Drag, kind: Atom, data: [u32; 4]) -> Result<(), Failure> {
        let data = [drag.target, data[0], data[1], data[2], data[3]];
        let message = ClientMessageEvent::new(32, drag.source, kind, data);
        self.connection.send_event(false, drag.source, EventMask::NO_EVENT, message)?;
        Ok(self.connection.flush()?)
    }
}
