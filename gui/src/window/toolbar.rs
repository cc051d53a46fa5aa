//! The toolbar, and the question before something is removed.

use super::context::Context;
use super::generated::{
    AskAdapter, Dialog, MainWindow, Question, RemoveAdapter, TableAdapter, ToolbarAdapter, WindowAdapter,
};
use ringseed_gui::{App, quantity};
use slint::ComponentHandle;
use std::rc::Rc;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let adapter = window.global::<ToolbarAdapter>();
    let own = context.clone();
    adapter.on_resume(move || own.act(App::resume));
    let own = context.clone();
    adapter.on_pause(move || own.act(App::pause));
    let own = context.clone();
    adapter.on_verify(move || own.act(App::verify));
    let own = context.clone();
    adapter.on_reannounce(move || own.act(App::reannounce));
    let own = context.clone();
    adapter.on_queue(move |way| {
        let ways = ["top", "up", "down", "bottom"];
        if let Some(way) = usize::try_from(way).ok().and_then(|index| ways.get(index)) {
            own.act(|app| app.queue(way));
        }
    });
    let own = context.clone();
    adapter.on_search(move |text| own.act(|app| app.search(&text)));
    let asked = window.global::<AskAdapter>();
    let own = context.clone();
    asked.on_ask(move |question| ask(&own, question));
    let own = context.clone();
    asked.on_accepted(move || answer(&own));
    let own = context.clone();
    adapter.on_remove(move || ask_to_remove(&own));
    let own = context.clone();
    window.global::<TableAdapter>().on_remove_pressed(move || ask_to_remove(&own));
    let own = context.clone();
    window.global::<RemoveAdapter>().on_accepted(move |delete_data| {
        own.act(|app| app.remove(delete_data));
        if let Some(window) = own.window.upgrade() {
            super::close_dialog(&window);
        }
    });
}

/// Asks for a text about what is selected.
fn ask(context: &Context, question: Question) {
    let Some(window) = context.window.upgrade() else { return };
    let app = context.app.borrow();
    let selected = app.table().selected();
    let Some(first) = selected.first().and_then(|id| app.table().listed(*id)) else { return };
    let adapter = window.global::<AskAdapter>();
    adapter.set_question(question);
    adapter.set_what(super::selection(&app).unwrap_or_default().into());
    adapter.set_answer(match question {
        Question::Label => first.labels.join(", ").into(),
        Question::Folder => first.download_dir.as_str().into(),
        Question::Name => first.name.as_str().into(),
    });
    window.global::<WindowAdapter>().set_dialog(Dialog::Ask);
}

fn answer(context: &Context) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<AskAdapter>();
    let (question, text) = (adapter.get_question(), adapter.get_answer());
    super::close_dialog(&window);
    context.act(|app| match question {
        Question::Label => app.set_labels(&text),
        Question::Folder => app.relocate(&text),
        Question::Name => app.rename(&text),
    });
}

fn ask_to_remove(context: &Context) {
    let Some(window) = context.window.upgrade() else { return };
    let app = context.app.borrow();
    let Some(what) = super::selection(&app) else { return };
    let listed = app.table().selected().into_iter().filter_map(|id| app.table().listed(id));
    let size = listed.fold(0u64, |sum, torrent| {
        sum.saturating_add(torrent.size_when_done.saturating_sub(torrent.left_until_done))
    });
    let adapter = window.global::<RemoveAdapter>();
    adapter.set_what(slint::format!("Remove {what} from the list?"));
    adapter.set_size(quantity::bytes(size).into());
    adapter.set_asked(false);
    // Data stays unless the user says so, each time anew.
    adapter.set_delete_data(false);
    window.global::<WindowAdapter>().set_dialog(Dialog::Remove);
}
