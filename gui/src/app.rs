//! The controller: news of the engine and deeds of the user in, changes of the models and commands out.

use crate::add::{labels, local_path};
use crate::details::{Details, LogEntry, Priority, Sample};
use crate::endpoint::Endpoint;
use crate::preferences::{EngineSettings, TorrentLimits};
use crate::rpc::{Command, Event, Listed};
use crate::status::{Connection, StatusLine, StatusParts};
use crate::torrents::{Choice, Click, Column, Filter, Order, SidebarItem, Step, Table, TableChange};
use ringseed_api::{AddArgs, Session, SessionStats, SetArgs};

/// What a window has to show anew.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redraw {
    /// Rows of the table.
    pub table: TableChange,
    /// The side bar.
    pub sidebar: bool,
    /// The status bar, the banner and which buttons can be pressed.
    pub status: bool,
    /// The order of the table.
    pub order: bool,
    /// The details of the current torrent.
    pub details: bool,
    /// Rates over time.
    pub speed: bool,
    /// A message.
    pub notice: Option<Notice>,
}

/// A message to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub text: String,
    /// It is something that went wrong.
    pub is_error: bool,
    /// It is worth a notification of the desktop.
    pub for_desktop: bool,
}

/// The controller. It sends commands through a function that says whether they were taken.
pub struct App {
    send: Box<dyn Fn(Command) -> bool>,
    host: String,
    connection: Connection,
    session: Option<Session>,
    stats: SessionStats,
    table: Table,
    details: Details,
    watched: Option<u32>,
    /// What was asked for on the command line before an engine answered.
    waiting: Vec<String>,
}

impl App {
    /// A controller of a window that talks to the engine at `endpoint`.
    pub fn new(endpoint: &Endpoint, send: impl Fn(Command) -> bool + 'static) -> App {
        App {
            send: Box::new(send),
            host: endpoint.host().to_owned(),
            connection: Connection::Connecting,
            session: None,
            stats: SessionStats::default(),
            table: Table::default(),
            details: Details::default(),
            watched: None,
            waiting: Vec::new(),
        }
    }

    /// The table.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// The details of the current torrent.
    pub fn details(&self) -> &Details {
        &self.details
    }

    /// Lines of the side bar.
    pub fn sidebar(&self) -> Vec<SidebarItem> {
        self.table.sidebar()
    }

    /// State of the connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Host and port of the engine.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the engine runs on this machine, so that it has the same folders.
    pub fn is_local(&self) -> bool {
        Endpoint::parse(&self.host).is_ok_and(|endpoint| endpoint.is_local())
    }

    /// Settings of the engine, once it has answered.
    pub fn session(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// Texts of the status bar.
    pub fn status(&self) -> StatusLine {
        StatusParts {
            host: &self.host,
            connection: &self.connection,
            session: self.session.as_ref(),
            stats: &self.stats,
            total: self.table.total(),
            shown: self.table.len(),
            selected: self.table.selected().len(),
        }
        .line()
    }

    /// Takes news of the engine. What is worth a message goes into the log, too.
    pub fn on_event(&mut self, event: Event) -> Redraw {
        let redraw = self.digest(event);
        if let Some(notice) = &redraw.notice {
            self.details.note(LogEntry { at: now(), text: notice.text.clone(), is_error: notice.is_error });
        }
        redraw
    }

    fn digest(&mut self, event: Event) -> Redraw {
        match event {
            Event::Connecting { host } => {
                let moved = host != self.host;
                self.host = host;
                if moved {
                    self.session = None;
                    self.connection = Connection::Connecting;
                    return self.listed(|table| table.clear());
                }
                Redraw { status: true, ..Redraw::default() }
            }
            Event::Connected { session, torrents } => {
                self.connection = Connection::Connected;
                self.session = Some(*session);
                let redraw = self.listed(|table| table.replace(torrents));
                // An engine that was started again has forgotten what is watched.
                self.watched = None;
                self.watch();
                let redraw = Redraw { details: true, ..redraw };
                for torrent in std::mem::take(&mut self.waiting) {
                    self.add(&torrent, &AddArgs::default());
                }
                redraw
            }
            Event::Lost { why, retry_in_ms, nobody_there } => {
                if self.connection == Connection::Connected {
                    let text = format!("Lost the connection to {}: {why}", self.host);
                    self.details.note(LogEntry { at: now(), text, is_error: true });
                }
                self.connection = Connection::Lost { why, retry_in_ms, nobody_there };
                self.stats = SessionStats::default();
                Redraw { status: true, details: true, ..Redraw::default() }
            }
            Event::Everything(torrents) => self.listed(|table| table.replace(torrents)),
            Event::Changed { torrents, removed } => self.changed(torrents, &removed),
            Event::Stats(stats) => {
                let status = self.stats != stats;
                self.details.sample(Sample { down: stats.download_speed, up: stats.upload_speed });
                self.stats = stats;
                Redraw { status, speed: true, ..Redraw::default() }
            }
            Event::Session(session) => {
                self.session = Some(*session);
                Redraw { status: true, ..Redraw::default() }
            }
            Event::Added { torrent, duplicate: true } => {
                notice(format!("{} is already in the list", torrent.name), false)
            }
            Event::Added { .. } => Redraw::default(),
            Event::Details(news) => Redraw { details: self.details.take(*news), ..Redraw::default() },
            Event::Failed { verb, why } => notice(format!("Could not {verb}: {why}"), true),
        }
    }

    fn changed(&mut self, torrents: Vec<Listed>, removed: &[u32]) -> Redraw {
        let finished: Vec<String> = torrents
            .iter()
            .filter(|now| {
                let before = self.table.listed(now.id);
                before.is_some_and(|before| before.done_date == 0 && before.left_until_done > 0)
                    && now.left_until_done == 0
                    && now.done_date > 0
            })
            .map(|now| now.name.clone())
            .collect();
        let mut redraw = self.listed(|table| table.update(torrents, removed));
        redraw.notice = match finished.as_slice() {
            [] => None,
            [name] => Some(format!("{name} is complete")),
            [name, rest @ ..] => Some(format!("{name} and {} more are complete", rest.len())),
        }
        .map(|text| Notice { text, is_error: false, for_desktop: true });
        redraw
    }

    /// After a change of the list.
    fn listed(&mut self, change: impl FnOnce(&mut Table) -> TableChange) -> Redraw {
        let table = change(&mut self.table);
        let details = self.watch();
        Redraw { table, sidebar: true, status: true, details, ..Redraw::default() }
    }

    /// After a change of the selection.
    fn selected(&mut self, change: impl FnOnce(&mut Table) -> TableChange) -> Redraw {
        let table = change(&mut self.table);
        let details = self.watch();
        Redraw { table, status: true, details, ..Redraw::default() }
    }

    /// Has the engine's thread tell about the torrent that details are shown of. Returns whether that is another
    /// one than before.
    fn watch(&mut self) -> bool {
        let current = self.table.current();
        if self.watched != current && (self.send)(Command::Watch(current)) {
            self.watched = current;
        }
        self.details.watch(current)
    }

    /// Opens or closes a folder in the tree of files.
    pub fn toggle_folder(&mut self, line: usize) -> Redraw {
        if let Some(row) = self.details.files().get(line) {
            self.details.toggle(&row.path);
        }
        Redraw { details: true, ..Redraw::default() }
    }

    /// Gives a file or all in a folder a priority.
    pub fn set_priority(&mut self, line: usize, priority: Priority) -> Redraw {
        let files = self.details.files().into_iter().nth(line).map(|row| row.files).unwrap_or_default();
        match self.details.set_priority(&files, priority) {
            Some(command) if !files.is_empty() => self.command(command),
            _ => Redraw::default(),
        }
    }

    /// Follows a click in the side bar.
    pub fn choose(&mut self, choice: Choice) -> Redraw {
        self.listed(|table| table.choose(choice))
    }

    /// Shows torrents whose names have these words.
    pub fn search(&mut self, text: &str) -> Redraw {
        let filter = Filter { search: text.to_owned(), ..self.table.filter().clone() };
        self.listed(|table| table.set_filter(filter))
    }

    /// Orders the table.
    pub fn set_order(&mut self, order: Order) -> Redraw {
        Redraw { order: true, ..self.listed(|table| table.set_order(order)) }
    }

    /// Follows a click on a heading.
    pub fn click_heading(&mut self, column: Column) -> Redraw {
        // No torrent comes or goes, and the side bar counts them in any order.
        Redraw { order: true, ..self.selected(|table| table.click_heading(column)) }
    }

    /// Follows a click on a row.
    pub fn click(&mut self, row: usize, click: Click) -> Redraw {
        self.selected(|table| table.click(row, click))
    }

    /// Follows a right click on a row.
    pub fn point(&mut self, row: usize) -> Redraw {
        self.selected(|table| table.point(row))
    }

    /// Follows an arrow key.
    pub fn step(&mut self, step: Step, extend: bool) -> Redraw {
        self.selected(|table| table.step(step, extend))
    }

    /// Selects all rows.
    pub fn select_all(&mut self) -> Redraw {
        self.selected(Table::select_all)
    }

    /// Selects no row.
    pub fn select_none(&mut self) -> Redraw {
        self.selected(Table::select_none)
    }

    /// Adds a torrent file of this machine, a magnet link or a URL; once connected, if that is not so yet.
    pub fn add(&mut self, torrent: &str, args: &AddArgs) -> Redraw {
        let torrent = torrent.trim();
        if torrent.is_empty() {
            return Redraw::default();
        }
        if self.connection != Connection::Connected {
            self.waiting.push(torrent.to_owned());
            return notice(format!("{torrent} will be added when the engine answers"), false);
        }
        let command = match local_path(torrent) {
            Some(path) => Command::AddFile { path, args: Box::new(args.clone()) },
            None => {
                Command::AddLink(Box::new(AddArgs { filename: Some(torrent.to_owned()), ..args.clone() }))
            }
        };
        self.command(command)
    }

    /// Starts what is selected.
    pub fn resume(&mut self) -> Redraw {
        self.on_selected(Command::Start)
    }

    /// Pauses what is selected.
    pub fn pause(&mut self) -> Redraw {
        self.on_selected(Command::Stop)
    }

    /// Starts the current torrent if it is stopped, pauses it else: a double click.
    pub fn toggle_running(&mut self) -> Redraw {
        let stopped = self
            .table
            .current()
            .and_then(|id| self.table.listed(id))
            .is_some_and(|torrent| torrent.status == 0);
        if stopped { self.resume() } else { self.pause() }
    }

    /// Asks the trackers for peers of what is selected.
    pub fn reannounce(&mut self) -> Redraw {
        self.on_selected(Command::Reannounce)
    }

    /// Gives what is selected these labels, separated by commas.
    pub fn set_labels(&mut self, text: &str) -> Redraw {
        let args = SetArgs { labels: Some(labels(text)), ..SetArgs::default() };
        self.on_selected(|ids| Command::Set(ids, Box::new(args)))
    }

    /// Limits of what is selected, as far as they are known.
    pub fn limits(&self) -> TorrentLimits {
        let news = self.details.news().filter(|news| self.table.selected() == [news.torrent.id]);
        news.map(|news| TorrentLimits::of(&news.torrent)).unwrap_or_default()
    }

    /// Limits what is selected.
    pub fn set_limits(&mut self, limits: &TorrentLimits) -> Redraw {
        let args = limits.args();
        self.on_selected(|ids| Command::Set(ids, Box::new(args)))
    }

    /// Changes settings of the engine.
    pub fn set_engine(&mut self, settings: &EngineSettings) -> Redraw {
        let Some(session) = &self.session else { return Redraw::default() };
        let mut redraw = Redraw::default();
        for changes in settings.changes(&EngineSettings::of(session)) {
            let sent = self.command(Command::SetSession(Box::new(changes)));
            redraw.notice = redraw.notice.or(sent.notice);
        }
        redraw
    }

    /// Moves the files of what is selected below another directory.
    pub fn relocate(&mut self, folder: &str) -> Redraw {
        if !folder.trim().starts_with('/') {
            return notice("The folder must be an absolute path on the engine's machine".to_owned(), true);
        }
        self.on_selected(|ids| Command::Relocate(ids, folder.trim().to_owned()))
    }

    /// Gives the current torrent another name.
    pub fn rename(&mut self, name: &str) -> Redraw {
        let name = name.trim();
        let torrent = self.table.current().and_then(|id| self.table.listed(id));
        match torrent {
            Some(torrent) if !name.is_empty() && name != torrent.name => {
                let (id, from) = (torrent.id, torrent.name.clone());
                self.command(Command::Rename { id, from, to: name.to_owned() })
            }
            _ => Redraw::default(),
        }
    }

    /// Moves what is selected in the queue: `top`, `up`, `down` or `bottom`.
    pub fn queue(&mut self, way: &'static str) -> Redraw {
        self.on_selected(|ids| Command::Queue(ids, way))
    }

    /// Checks the files of what is selected.
    pub fn verify(&mut self) -> Redraw {
        self.on_selected(Command::Verify)
    }

    /// Removes what is selected.
    pub fn remove(&mut self, delete_data: bool) -> Redraw {
        self.on_selected(|ids| Command::Remove { ids, delete_data })
    }

    /// Tries to connect now.
    pub fn retry(&mut self) -> Redraw {
        self.command(Command::Retry)
    }

    /// Talks to another engine.
    pub fn connect(&mut self, endpoint: Endpoint) -> Redraw {
        self.command(Command::Connect(endpoint))
    }

    fn on_selected(&mut self, command: impl FnOnce(Vec<u32>) -> Command) -> Redraw {
        let ids = self.table.selected();
        if ids.is_empty() { Redraw::default() } else { self.command(command(ids)) }
    }

    /// Sends a command.
    pub fn command(&mut self, command: Command) -> Redraw {
        let verb = command.verb();
        if (self.send)(command) {
            Redraw::default()
        } else {
            notice(format!("Could not {verb}: the engine is busy"), true)
        }
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

fn notice(text: String, is_error: bool) -> Redraw {
    Redraw { notice: Some(Notice { text, is_error, for_desktop: false }), ..Redraw::default() }
}
