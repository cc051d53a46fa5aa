//! The dialog that makes a torrent.

use super::context::Context;
use super::generated::{CreateAdapter, Dialog, MainWindow, ToolbarAdapter, WindowAdapter};
use ringseed_api::AddArgs;
use ringseed_gui::create::{Making, Plan, Progress};
use slint::{ComponentHandle, SharedString};
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Piece sizes in the order of the list in the dialog.
const PIECE_SIZES: [&str; 10] = ["auto", "64K", "128K", "256K", "512K", "1M", "2M", "4M", "8M", "16M"];

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let making: Rc<RefCell<Option<Making>>> = Rc::default();
    let weak = window.as_weak();
    window.global::<ToolbarAdapter>().on_create(move || {
        if let Some(window) = weak.upgrade() {
            window.global::<CreateAdapter>().set_problem(SharedString::new());
            window.global::<WindowAdapter>().set_dialog(Dialog::Create);
        }
    });
    let adapter = window.global::<CreateAdapter>();
    let weak = window.as_weak();
    adapter.on_browse_file(move || browse(weak.clone(), false));
    let weak = window.as_weak();
    adapter.on_browse_folder(move || browse(weak.clone(), true));
    let (own, slot) = (context.clone(), making.clone());
    adapter.on_accepted(move || start(&own, &slot));
    adapter.on_cancel(move || {
        if let Some(making) = making.borrow().as_ref() {
            making.cancel();
        }
    });
    let own = context.clone();
    adapter.on_done(move |path, output| done(&own, &path, &output));
}

fn start(context: &Context, making: &RefCell<Option<Making>>) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<CreateAdapter>();
    let path = PathBuf::from(adapter.get_path().trim());
    let output = match adapter.get_output().trim() {
        "" => beside(&path),
        text => PathBuf::from(text),
    };
    let plan = Plan {
        path: path.clone(),
        output,
        trackers: adapter.get_trackers().to_string(),
        piece_size: usize::try_from(adapter.get_piece_size())
            .ok()
            .and_then(|index| PIECE_SIZES.get(index))
            .map_or_else(String::new, |size| (*size).to_owned()),
        private: adapter.get_is_private(),
        comment: adapter.get_comment().to_string(),
    };
    let weak = window.as_weak();
    let tell = move |progress: Progress| {
        let path = path.clone();
        // Fails only while the window is being closed.
        let _ = weak.upgrade_in_event_loop(move |window| show(&window, &path, progress));
    };
    match plan.start(tell) {
        Ok(started) => {
            *making.borrow_mut() = Some(started);
            adapter.set_problem(SharedString::new());
            adapter.set_progress(0.0);
            adapter.set_busy(true);
        }
        Err(why) => adapter.set_problem(why.into()),
    }
}

fn show(window: &MainWindow, path: &Path, progress: Progress) {
    let adapter = window.global::<CreateAdapter>();
    match progress {
        Progress::Percent(percent) => adapter.set_progress(f32::from(percent) / 100.0),
        Progress::Failed(why) => {
            adapter.set_busy(false);
            adapter.set_problem(why.into());
        }
        Progress::Done(output) => {
            adapter.set_busy(false);
            adapter.invoke_done(
                path.to_string_lossy().as_ref().into(),
                output.to_string_lossy().as_ref().into(),
            );
        }
    }
}

fn done(context: &Rc<Context>, path: &str, output: &str) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<CreateAdapter>();
    if adapter.get_add() {
        let folder = Path::new(path).parent().map(|folder| folder.to_string_lossy().into_owned());
        let args = AddArgs { download_dir: folder, ..AddArgs::default() };
        context.act(|app| app.add(output, &args));
    }
    adapter.set_path(SharedString::new());
    adapter.set_output(SharedString::new());
    super::close_dialog(&window);
    super::say(&window, &format!("Created {output}"), false);
}

/// `/data/name.torrent` of `/data/name`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    if name.is_empty() {
        return PathBuf::new();
    }
    name.push(".torrent");
    PathBuf::from(name)
}

fn browse(window: slint::Weak<MainWindow>, folder: bool) {
    super::spawn(async move {
        let dialog = rfd::AsyncFileDialog::new().set_title("Share");
        let chosen = if folder { dialog.pick_folder().await } else { dialog.pick_file().await };
        if let (Some(chosen), Some(window)) = (chosen, window.upgrade()) {
            window.global::<CreateAdapter>().set_path(chosen.path().to_string_lossy().as_ref().into());
        }
    });
}
