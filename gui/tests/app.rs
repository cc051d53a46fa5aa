//! The controller without a window and without an engine: what it makes of news, and which commands it sends.

use ringseed_api::{AddArgs, Session, SessionSetArgs, SessionStats, SetArgs};
use ringseed_gui::endpoint::Endpoint;
use ringseed_gui::preferences::{EngineSettings, Switch, TorrentLimits};
use ringseed_gui::rpc::{Command, Event, Listed};
use ringseed_gui::torrents::Click;
use ringseed_gui::{App, Connection, Redraw};
use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;

fn app() -> (App, Rc<RefCell<Vec<Command>>>) {
    let sent = Rc::new(RefCell::new(Vec::new()));
    let own = sent.clone();
    let app = App::new(&Endpoint::local(), move |command| {
        own.borrow_mut().push(command);
        true
    });
    (app, sent)
}

fn torrent(id: u32, left: u64) -> Listed {
    Listed {
        id,
        name: format!("torrent {id}"),
        status: if left > 0 { 4 } else { 6 },
        left_until_done: left,
        done_date: i64::from(left == 0),
        ..Listed::default()
    }
}

fn connected(torrents: Vec<Listed>) -> Event {
    let session = Session { download_dir_free_space: 1 << 30, ..Session::default() };
    Event::Connected { session: Box::new(session), torrents }
}

#[test]
fn deeds_are_for_the_selected_torrents() {
    let (mut app, sent) = app();
    app.on_event(connected(vec![torrent(1, 5), torrent(2, 0), torrent(3, 0)]));
    app.pause();
    assert!(sent.borrow().is_empty(), "nothing is selected");
    app.click(1, Click::default());
    app.click(2, Click { toggle: true, range: false });
    sent.borrow_mut().clear();
    app.pause();
    app.resume();
    app.verify();
    app.remove(false);
    let ids = vec![2, 3];
    assert_eq!(
        *sent.borrow(),
        [
            Command::Stop(ids.clone()),
            Command::Start(ids.clone()),
            Command::Verify(ids.clone()),
            Command::Remove { ids, delete_data: false },
        ]
    );
}

#[test]
fn the_current_torrent_is_watched_also_after_the_engine_came_back() {
    let (mut app, sent) = app();
    app.on_event(connected(vec![torrent(1, 5), torrent(2, 5)]));
    app.click(1, Click::default());
    app.click(1, Click::default());
    assert_eq!(*sent.borrow(), [Command::Watch(Some(2))]);
    app.on_event(Event::Lost { why: "gone".to_owned(), retry_in_ms: 500, nobody_there: true });
    app.on_event(connected(vec![torrent(1, 5), torrent(2, 5)]));
    assert_eq!(sent.borrow().last(), Some(&Command::Watch(Some(2))));
    app.on_event(Event::Changed { torrents: vec![], removed: vec![2] });
    assert_eq!(sent.borrow().last(), Some(&Command::Watch(None)));
}

#[test]
fn what_is_added_before_an_engine_answers_waits_for_it() {
    let (mut app, sent) = app();
    assert!(app.add("/a.torrent", &AddArgs::default()).notice.is_some());
    app.add("magnet:?xt=urn:btih:00", &AddArgs::default());
    assert!(sent.borrow().is_empty());
    app.on_event(connected(vec![]));
    let link = AddArgs { filename: Some("magnet:?xt=urn:btih:00".to_owned()), ..AddArgs::default() };
    assert_eq!(
        *sent.borrow(),
        [
            Command::AddFile { path: PathBuf::from("/a.torrent"), args: Box::default() },
            Command::AddLink(Box::new(link))
        ]
    );
}

#[test]
fn a_lost_engine_leaves_the_list_and_stops_the_rates() {
    let (mut app, _) = app();
    app.on_event(connected(vec![torrent(1, 5)]));
    app.on_event(Event::Stats(SessionStats { download_speed: 2048, ..SessionStats::default() }));
    let line = app.status();
    assert_eq!((line.torrents.as_str(), line.down.as_str()), ("1 torrent", "2.0 KiB/s"));
    assert_eq!(line.free_space, "1.0 GiB free");
    app.on_event(Event::Lost { why: "gone".to_owned(), retry_in_ms: 500, nobody_there: false });
    assert!(matches!(app.connection(), Connection::Lost { why, .. } if why == "gone"));
    assert_eq!((app.status().down.as_str(), app.table().len()), ("–", 1));
}

#[test]
fn another_engine_has_other_torrents() {
    let (mut app, _) = app();
    app.on_event(connected(vec![torrent(1, 5)]));
    let redraw = app.on_event(Event::Connecting { host: "box:9091".to_owned() });
    assert_eq!((redraw.table.new_len, app.table().total(), app.host()), (0, 0, "box:9091"));
}

#[test]
fn a_completed_download_is_told_once() {
    let (mut app, _) = app();
    app.on_event(connected(vec![torrent(1, 5), torrent(2, 0)]));
    let news = |torrents| Event::Changed { torrents, removed: vec![] };
    let notice = app.on_event(news(vec![torrent(1, 0)])).notice.unwrap();
    assert!(notice.for_desktop && notice.text == "torrent 1 is complete");
    assert!(app.on_event(news(vec![torrent(1, 0), torrent(2, 0)])).notice.is_none());
    // One that is added and was complete from the start is no news.
    assert!(app.on_event(news(vec![torrent(3, 0)])).notice.is_none());
}

#[test]
fn a_refusal_names_what_did_not_work() {
    let (mut app, _) = app();
    let notice = app.on_event(Event::Failed { verb: "remove", why: "no".to_owned() }).notice.unwrap();
    assert!(notice.is_error && notice.text == "Could not remove: no");
    let mut deaf = App::new(&Endpoint::local(), |_| false);
    assert!(deaf.retry().notice.unwrap().is_error);
}

#[test]
fn settings_and_limits_are_sent_as_far_as_they_change() {
    let (mut app, sent) = app();
    app.on_event(connected(vec![torrent(1, 5), torrent(2, 5)]));
    let mut settings = EngineSettings::of(app.session().unwrap());
    assert_eq!(app.set_engine(&settings), Redraw::default());
    assert!(sent.borrow().is_empty(), "nothing was changed");
    settings.up = Switch { on: true, value: 300 };
    app.set_engine(&settings);
    let up = SessionSetArgs {
        speed_limit_up: Some(300),
        speed_limit_up_enabled: Some(true),
        ..SessionSetArgs::default()
    };
    assert_eq!(*sent.borrow(), [Command::SetSession(Box::new(up))]);

    app.select_all();
    sent.borrow_mut().clear();
    let down = Switch { on: true, value: 50 };
    app.set_limits(&TorrentLimits { down, ..app.limits() });
    match sent.borrow().as_slice() {
        [Command::Set(ids, args)] => {
            assert_eq!((ids.as_slice(), args.download_limit), ([1, 2].as_slice(), Some(50)));
            assert_eq!((args.download_limited, args.upload_limited), (Some(true), Some(false)));
        }
        other => panic!("{other:?}"),
    };
}

#[test]
fn labels_are_set_each_once() {
    let (mut app, sent) = app();
    app.on_event(connected(vec![torrent(1, 5)]));
    app.click(0, Click::default());
    sent.borrow_mut().clear();
    app.set_labels("linux, iso,, linux");
    let labels = Some(vec!["linux".to_owned(), "iso".to_owned()]);
    assert_eq!(*sent.borrow(), [Command::Set(vec![1], Box::new(SetArgs { labels, ..SetArgs::default() }))]);
}
