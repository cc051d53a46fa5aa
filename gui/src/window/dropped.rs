//! Torrent files and links that are dropped on the window.

use super::context::Context;
use super::generated::WindowAdapter;
use ringseed_gui::xdnd;
use slint::ComponentHandle;
use slint::winit_030::WinitWindowAccessor;
use slint::winit_030::winit::raw_window_handle::{HasWindowHandle, RawWindowHandle};

/// Takes drops as soon as the window is there. On Wayland there are none.
pub(super) fn connect(context: &Context) {
    let weak = context.window.clone();
    super::spawn(async move {
        let Some(window) = weak.upgrade() else { return };
        let Ok(native) = window.window().winit_window().await else { return };
        let id = match native.window_handle().map(|handle| handle.as_raw()) {
            Ok(RawWindowHandle::Xlib(handle)) => u32::try_from(handle.window).ok(),
            Ok(RawWindowHandle::Xcb(handle)) => Some(handle.window.get()),
            _ => None,
        };
        let Some(id) = id else { return };
        let take = move |torrents: Vec<String>| {
            // Fails only while the window is being closed.
            let _ = weak.upgrade_in_event_loop(move |window| {
                for torrent in torrents {
                    window.global::<WindowAdapter>().invoke_handed_over(torrent.into());
                }
            });
        };
        if let Err(error) = xdnd::listen(id, take) {
            tracing::warn!(%error, "nothing can be dropped on the window");
        }
    });
}
