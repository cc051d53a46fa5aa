//! The side bar.

use super::context::Context;
use super::generated::{MainWindow, SidebarAdapter, SidebarLine};
use ringseed_gui::App;
use ringseed_gui::torrents::{Choice, Section, SidebarItem};
use slint::{ComponentHandle, Model, ModelRc, VecModel};
use std::rc::Rc;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let adapter = window.global::<SidebarAdapter>();
    adapter.set_lines(ModelRc::new(VecModel::<SidebarLine>::default()));
    let own = context.clone();
    adapter.on_chosen(move |line| {
        let choice = {
            let lines = lines(&own.app.borrow());
            usize::try_from(line)
                .ok()
                .and_then(|line| lines.into_iter().nth(line))
                .and_then(|(_, choice)| choice)
        };
        if let Some(choice) = choice {
            own.act(|app| app.choose(choice));
        }
    });
}

pub(super) fn show(window: &MainWindow, app: &App) {
    let model = window.global::<SidebarAdapter>().get_lines();
    let lines = lines(app).into_iter().map(|(line, _)| line).collect();
    if let Some(model) = model.as_any().downcast_ref::<VecModel<SidebarLine>>() {
        super::fill(model, lines);
    }
}

/// All lines, headings among them, with what each chooses.
fn lines(app: &App) -> Vec<(SidebarLine, Option<Choice>)> {
    let mut lines = Vec::new();
    let mut section = None;
    for item in app.sidebar() {
        if section != Some(item.section) {
            section = Some(item.section);
            let title = match item.section {
                Section::States => "STATE",
                Section::Labels => "LABELS",
                Section::Trackers => "TRACKERS",
            };
            lines.push((SidebarLine { title: title.into(), heading: true, ..SidebarLine::default() }, None));
        }
        lines.push(line(item));
    }
    lines
}

fn line(item: SidebarItem) -> (SidebarLine, Option<Choice>) {
    let kind = match (item.section, &item.choice) {
        (Section::States, _) => item.title.as_str(),
        (_, Choice::Label(Some(_))) => "label",
        (_, Choice::Tracker(Some(_))) => "tracker",
        _ => "All",
    };
    let line = SidebarLine {
        kind: kind.into(),
        count: item.count.to_string().into(),
        chosen: item.chosen,
        heading: false,
        title: item.title.into(),
    };
    (line, Some(item.choice))
}
