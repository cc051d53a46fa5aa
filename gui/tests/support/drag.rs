//! Drags something over a window and drops it, as a file manager or browser does it (XDND, version 5).

use super::PATIENCE;
use super::display::Display;
use std::time::Instant;
use x11rb::connection::Connection;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ClientMessageEvent, ConnectionExt, CreateWindowAux, EventMask, PropMode,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// One that drags.
pub struct Source {
    connection: RustConnection,
    own: Window,
}

impl Source {
    /// Connects to a display.
    pub fn on(display: &Display) -> Source {
        let (connection, screen) = x11rb::connect(Some(display.name())).unwrap();
        let root = connection.setup().roots[screen].root;
        let own = connection.generate_id().unwrap();
        let (class, aux) = (WindowClass::INPUT_ONLY, CreateWindowAux::new());
        connection
            .create_window(0, own, root, -1, -1, 1, 1, 0, class, x11rb::COPY_FROM_PARENT, &aux)
            .unwrap();
        Source { connection, own }
    }

    fn atom(&self, name: &str) -> Atom {
        self.connection.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    /// Drops data of this kind on a window. Returns whether it was taken.
    pub fn drop_on(&self, window: &str, kind: &str, data: &str) -> bool {
        let target: Window = window.parse().unwrap();
        let kind = self.atom(kind);
        let selection = self.atom("XdndSelection");
        self.connection.set_selection_owner(self.own, selection, x11rb::CURRENT_TIME).unwrap();
        let proxy = self.proxy(target);
        self.tell(proxy, target, "XdndEnter", [5 << 24, kind, 0, 0]);
        self.tell(proxy, target, "XdndPosition", [0, 0, x11rb::CURRENT_TIME, self.atom("XdndActionCopy")]);
        let status = self.answer("XdndStatus", kind, data);
        assert_eq!(status[0], target, "the window that is talked about, not its proxy");
        if status[1] & 1 == 0 {
            self.tell(proxy, target, "XdndLeave", [0; 4]);
            return false;
        }
        self.tell(proxy, target, "XdndDrop", [0, x11rb::CURRENT_TIME, 0, 0]);
        self.answer("XdndFinished", kind, data)[1] & 1 == 1
    }

    /// Who takes drops for a window: itself, or a proxy that names itself.
    fn proxy(&self, target: Window) -> Window {
        let name = self.atom("XdndProxy");
        let property = |window| {
            let reply =
                self.connection.get_property(false, window, name, AtomEnum::WINDOW, 0, 1).unwrap().reply();
            reply.ok().and_then(|reply| reply.value32()?.next())
        };
        let start = Instant::now();
        loop {
            if let Some(proxy) = property(target).filter(|proxy| property(*proxy) == Some(*proxy)) {
                return proxy;
            }
            assert!(start.elapsed() < PATIENCE, "the window takes no drops of links");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    fn tell(&self, to: Window, target: Window, kind: &str, data: [u32; 4]) {
        let data = [self.own, data[0], data[1], data[2], data[3]];
        let message = ClientMessageEvent::new(32, target, self.atom(kind), data);
        self.connection.send_event(false, to, EventMask::NO_EVENT, message).unwrap();
        self.connection.flush().unwrap();
    }

    /// Waits for a message, and hands over the data meanwhile.
    fn answer(&self, kind: &str, data_kind: Atom, data: &str) -> [u32; 5] {
        let kind = self.atom(kind);
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "the window does not answer");
            match self.connection.poll_for_event().unwrap() {
                Some(Event::ClientMessage(message)) if message.type_ == kind => {
                    return message.data.as_data32();
                }
                Some(Event::SelectionRequest(request)) => self.hand_over(&request, data_kind, data),
                Some(_) => {}
                None => std::thread::sleep(std::time::Duration::from_millis(5)),
            }
        }
    }

    fn hand_over(&self, request: &SelectionRequestEvent, kind: Atom, data: &str) {
        assert_eq!(request.target, kind);
        let (mode, bytes) = (PropMode::REPLACE, data.as_bytes());
        self.connection.change_property8(mode, request.requestor, request.property, kind, bytes).unwrap();
        let answer = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property: request.property,
        };
        self.connection.send_event(false, request.requestor, EventMask::NO_EVENT, answer).unwrap();
        self.connection.flush().unwrap();
    }
}
