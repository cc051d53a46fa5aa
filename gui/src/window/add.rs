//! The dialog that adds a torrent.

use super::context::Context;
use super::generated::{AddAdapter, Dialog, MainWindow, ToolbarAdapter, WindowAdapter};
use ringseed_api::AddArgs;
use slint::ComponentHandle;
use std::rc::Rc;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let toolbar = window.global::<ToolbarAdapter>();
    let own = context.clone();
    toolbar.on_add_file(move || {
        open(&own);
        browse(&own);
    });
    let own = context.clone();
    toolbar.on_add_link(move || open(&own));
    let adapter = window.global::<AddAdapter>();
    let own = context.clone();
    adapter.on_browse(move || browse(&own));
    let own = context.clone();
    adapter.on_accepted(move || accept(&own));
}

fn open(context: &Context) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<AddAdapter>();
    adapter.set_source("".into());
    adapter.set_problem("".into());
    adapter.set_paused(false);
    adapter.set_sequential(false);
    if adapter.get_folder().is_empty()
        && let Some(session) = context.app.borrow().session()
    {
        adapter.set_folder(session.download_dir.as_str().into());
    }
    window.global::<WindowAdapter>().set_dialog(Dialog::Add);
}

fn accept(context: &Rc<Context>) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<AddAdapter>();
    let source = adapter.get_source();
    if source.trim().is_empty() {
        return;
    }
    let folder = adapter.get_folder().trim().to_owned();
    if !folder.is_empty() && !folder.starts_with('/') {
        adapter.set_problem("The folder must be an absolute path on the engine's machine.".into());
        return;
    }
    let args = AddArgs {
        download_dir: Some(folder).filter(|folder| !folder.is_empty()),
        paused: adapter.get_paused(),
        sequential_download: adapter.get_sequential(),
        ..AddArgs::default()
    };
    context.act(|app| app.add(&source, &args));
    super::close_dialog(&window);
}

/// Asks the desktop for a file. Where there is no desktop that can be asked, the path is typed.
fn browse(context: &Context) {
    let weak = context.window.clone();
    let asked = slint::spawn_local(async move {
        let file = rfd::AsyncFileDialog::new()
            .set_title("Add torrent file")
            .add_filter("Torrent files", &["torrent"])
            .pick_file()
            .await;
        if let (Some(file), Some(window)) = (file, weak.upgrade()) {
            window.global::<AddAdapter>().set_source(file.path().to_string_lossy().as_ref().into());
        }
    });
    if let Err(error) = asked {
        tracing::warn!(%error, "cannot ask for a file");
    }
}
