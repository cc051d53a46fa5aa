//! The pane below the table.

use super::context::Context;
use super::generated::{
    DetailsAdapter, FactLine, FileLine, FilesAdapter, LogAdapter, LogLine, MainWindow, OverviewAdapter,
    PeerLine, PeersAdapter, SpeedAdapter, TrackerLine, TrackersAdapter,
};
use ringseed_gui::details::{Details, Fact, FileRow, PeerRow, PieceMap, Priority, TrackerRow};
use ringseed_gui::{App, quantity};
use slint::{ComponentHandle, Image, Model, ModelRc, Rgba8Pixel, SharedPixelBuffer, VecModel};
use std::rc::Rc;

/// Steps of the piece map: about as many as there are pixels.
const PIECE_STEPS: usize = 1024;
/// Size of the box that the lines of the speed graph are drawn in.
const GRAPH: (f32, f32) = (1000.0, 100.0);

pub(super) fn connect(window: &MainWindow, context: &Rc<Context>) {
    let overview = window.global::<OverviewAdapter>();
    overview.set_transfer(empty::<FactLine>());
    overview.set_about(empty::<FactLine>());
    window.global::<PeersAdapter>().set_lines(empty::<PeerLine>());
    window.global::<TrackersAdapter>().set_lines(empty::<TrackerLine>());
    window.global::<LogAdapter>().set_lines(empty::<LogLine>());
    let files = window.global::<FilesAdapter>();
    files.set_lines(empty::<FileLine>());
    let own = context.clone();
    window.global::<DetailsAdapter>().on_tab_chosen(move |tab| {
        if let Some(window) = own.window.upgrade() {
            window.global::<DetailsAdapter>().set_tab(tab);
            show(&window, &own.app.borrow());
        }
    });
    let own = context.clone();
    files.on_toggled(move |line| {
        if let Ok(line) = usize::try_from(line) {
            own.act(|app| app.toggle_folder(line));
        }
    });
    let own = context.clone();
    files.on_priority_chosen(move |line, priority| {
        let chosen = usize::try_from(priority).ok().and_then(|index| Priority::ALL.get(index));
        if let (Ok(line), Some(priority)) = (usize::try_from(line), chosen) {
            own.act(|app| app.set_priority(line, *priority));
        }
    });
}

/// Shows what is known of the current torrent: the tab that is open, for some are long.
pub(super) fn show(window: &MainWindow, app: &App) {
    let details = app.details();
    let adapter = window.global::<DetailsAdapter>();
    adapter.set_has_torrent(details.has_torrent());
    match adapter.get_tab() {
        0 => show_overview(window, details),
        1 => {
            let files = details.files().into_iter().map(file).collect();
            replace(&window.global::<FilesAdapter>().get_lines(), files);
        }
        2 => {
            let peers = details.peers().into_iter().map(peer).collect();
            replace(&window.global::<PeersAdapter>().get_lines(), peers);
        }
        3 => {
            let trackers = details.trackers(chrono::Utc::now().timestamp()).into_iter().map(tracker);
            replace(&window.global::<TrackersAdapter>().get_lines(), trackers.collect());
        }
        4 => show_speed(window, app),
        _ => show_log(window, details),
    }
}

fn show_overview(window: &MainWindow, details: &Details) {
    let map = details.pieces(PIECE_STEPS);
    let (transfer, about) = details.facts(map.have);
    let overview = window.global::<OverviewAdapter>();
    overview.set_pieces(strip(&map));
    overview.set_percent(
        details.news().map(|news| quantity::percent(news.torrent.percent_done)).unwrap_or_default().into(),
    );
    overview.set_problem(details.problem().into());
    replace(&overview.get_transfer(), transfer.into_iter().map(fact).collect());
    replace(&overview.get_about(), about.into_iter().map(fact).collect());
}

/// Shows rates over time where they are to be seen.
pub(super) fn show_speed_if_open(window: &MainWindow, app: &App) {
    if window.global::<DetailsAdapter>().get_tab() == 4 {
        show_speed(window, app);
    }
}

fn show_speed(window: &MainWindow, app: &App) {
    let details = app.details();
    let speed = details.speed();
    let adapter = window.global::<SpeedAdapter>();
    let (down, up) = speed.paths(GRAPH.0, GRAPH.1);
    let latest = speed.latest();
    adapter.set_empty(speed.is_empty());
    adapter.set_down_path(down.into());
    adapter.set_up_path(up.into());
    adapter.set_top(quantity::rate_or_zero(speed.top()).into());
    adapter.set_half(quantity::rate_or_zero(speed.top() / 2).into());
    adapter.set_down(quantity::rate_or_zero(latest.down).into());
    adapter.set_up(quantity::rate_or_zero(latest.up).into());
    let title = details.news().map_or("All torrents", |news| news.torrent.name.as_str());
    adapter.set_title(title.into());
}

/// Shows the log.
pub(super) fn show_log(window: &MainWindow, details: &Details) {
    let time = |at: i64| quantity::date(at).split(' ').next_back().unwrap_or_default().to_owned();
    let lines = details.log().map(|entry| LogLine {
        time: time(entry.at).into(),
        text: entry.text.as_str().into(),
        is_error: entry.is_error,
    });
    replace(&window.global::<LogAdapter>().get_lines(), lines.collect());
}

fn empty<T: Clone + 'static>() -> ModelRc<T> {
    ModelRc::new(VecModel::<T>::default())
}

fn replace<T: Clone + PartialEq + 'static>(model: &ModelRc<T>, lines: Vec<T>) {
    if let Some(model) = model.as_any().downcast_ref::<VecModel<T>>() {
        super::fill(model, lines);
    }
}

fn fact(fact: Fact) -> FactLine {
    FactLine { name: fact.name.into(), value: fact.value.into() }
}

fn file(row: FileRow) -> FileLine {
    FileLine {
        name: row.name.into(),
        depth: super::row_number(row.depth),
        is_folder: row.is_folder,
        is_open: row.is_open,
        size: row.size.into(),
        progress: row.progress,
        percent: row.percent.into(),
        priority: row.priority.map_or("Mixed", Priority::title).into(),
    }
}

fn peer(row: PeerRow) -> PeerLine {
    PeerLine {
        address: row.address.into(),
        client: row.client.into(),
        flags: row.flags.into(),
        progress: row.progress,
        percent: row.percent.into(),
        down: row.down.into(),
        up: row.up.into(),
    }
}

fn tracker(row: TrackerRow) -> TrackerLine {
    TrackerLine {
        tier: row.tier.into(),
        url: row.url.into(),
        status: row.status.into(),
        failed: row.failed,
        seeds: row.seeds.into(),
        leeches: row.leeches.into(),
        peers: row.peers.into(),
        next: row.next.into(),
    }
}

/// The piece map as a picture of one line: what is here is opaque.
fn strip(map: &PieceMap) -> Image {
    if map.steps.is_empty() {
        return Image::default();
    }
    let mut pixels = SharedPixelBuffer::<Rgba8Pixel>::new(u32::try_from(map.steps.len()).unwrap_or(1), 1);
    for (pixel, step) in pixels.make_mut_slice().iter_mut().zip(&map.steps) {
        *pixel = Rgba8Pixel { r: 0, g: 0, b: 0, a: *step };
    }
    Image::from_rgba8(pixels)
}
