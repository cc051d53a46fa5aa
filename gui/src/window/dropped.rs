//! Torrent files dropped from the desktop (X11; Slint itself takes drops from Qt only).

use super::context::Context;
use super::generated::MainWindow;
use ringseed_api::AddArgs;
use slint::ComponentHandle;
use slint::winit_030::winit::event::WindowEvent;
use slint::winit_030::{EventResult, WinitWindowAccessor};
use std::rc::Rc;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let own = context.clone();
    window.window().on_winit_window_event(move |_, event| {
        if let WindowEvent::DroppedFile(path) = event {
            own.act(|app| app.add(&path.to_string_lossy(), &AddArgs::default()));
        }
        EventResult::Propagate
    });
}
