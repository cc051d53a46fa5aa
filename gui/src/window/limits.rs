//! The dialog for limits of the selected torrents.

use super::context::Context;
use super::generated::{Dialog, LimitsAdapter, MainWindow, WindowAdapter};
use ringseed_gui::preferences::{self, Goal, Switch, TorrentLimits};
use slint::{ComponentHandle, SharedString};
use std::rc::Rc;

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let adapter = window.global::<LimitsAdapter>();
    let own = context.clone();
    adapter.on_open(move || open(&own));
    let own = context.clone();
    adapter.on_accepted(move || accept(&own));
}

fn open(context: &Context) {
    let Some(window) = context.window.upgrade() else { return };
    let app = context.app.borrow();
    let Some(what) = super::selection(&app) else { return };
    let limits = app.limits();
    let adapter = window.global::<LimitsAdapter>();
    adapter.set_what(what.into());
    adapter.set_limit_down(limits.down.on);
    adapter.set_down(super::spin(limits.down.value));
    adapter.set_limit_up(limits.up.on);
    adapter.set_up(super::spin(limits.up.value));
    adapter.set_goal(limits.goal as i32);
    adapter.set_ratio(slint::format!("{:.2}", limits.ratio));
    adapter.set_problem(SharedString::new());
    window.global::<WindowAdapter>().set_dialog(Dialog::Limits);
}

fn accept(context: &Context) {
    let Some(window) = context.window.upgrade() else { return };
    let adapter = window.global::<LimitsAdapter>();
    let goal = usize::try_from(adapter.get_goal()).ok().and_then(|index| Goal::ALL.get(index).copied());
    let goal = goal.unwrap_or_default();
    let ratio = match preferences::ratio(&adapter.get_ratio()) {
        Ok(ratio) => ratio,
        Err(why) if goal == Goal::Own => {
            adapter.set_problem(why.into());
            return;
        }
        Err(_) => 0.0,
    };
    let switch = |on, value| Switch { on, value: super::number(value) };
    let limits = TorrentLimits {
        down: switch(adapter.get_limit_down(), adapter.get_down()),
        up: switch(adapter.get_limit_up(), adapter.get_up()),
        goal,
        ratio,
    };
    super::close_dialog(&window);
    context.act(|app| app.set_limits(&limits));
}
