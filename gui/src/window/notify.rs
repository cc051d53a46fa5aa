//! Notifications of the desktop.

/// Tells the desktop. On a thread of its own: a desktop that does not answer holds up nothing.
pub(super) fn tell_desktop(text: &str) {
    let text = text.to_owned();
    let thread = std::thread::Builder::new().name("notification".to_owned()).spawn(move || {
        let shown = notify_rust::Notification::new()
            .appname("Ringseed")
            .summary("Download complete")
            .body(&text)
            .icon("ringseed")
            .hint(notify_rust::Hint::DesktopEntry("ringseed".to_owned()))
            .show();
        if let Err(error) = shown {
            tracing::debug!(%error, "the desktop takes no notifications");
        }
    });
    if let Err(error) = thread {
        tracing::warn!(%error, "no thread for a notification");
    }
}
