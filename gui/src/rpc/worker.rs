//! The thread that talks to the engine: connects, asks for news once a second, sends commands, connects again.

use super::client::{Client, RpcError};
use super::command::Command;
use super::event::{DetailsNews, Event};
use super::limits::{
    COMMANDS_MAX, EVENTS_MAX, FULL_EVERY, POLL_EVERY, RETRY_FIRST, RETRY_MAX, SESSION_EVERY,
    TORRENT_BYTES_MAX,
};
use super::wire::{CHANGING, Listed, SLOW, TorrentList};
use crate::endpoint::Endpoint;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ringseed_api::{
    AddArgs, Added, GetArgs, Id, Ids, IdsArgs, LocationArgs, RemoveArgs, RenameArgs, Torrent,
};
use serde::Serialize;
use serde_json::{Map, Value};
use std::io::Read;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Fields of [`DetailsNews`] besides those of [`Torrent`].
const DETAILS_EXTRA: &[&str] = &["corruptEver", "dateCreated"];

/// The window's end: commands go in, news come out.
pub struct Link {
    commands: mpsc::Sender<Command>,
    events: Receiver<Event>,
}

impl Link {
    /// Sends a command. `false` when too many wait already, or the thread is gone.
    pub fn send(&self, command: Command) -> bool {
        self.commands.try_send(command).is_ok()
    }

    /// A sender of its own for commands.
    pub fn sender(&self) -> impl Fn(Command) -> bool + use<> {
        let commands = self.commands.clone();
        move |command| commands.try_send(command).is_ok()
    }

    /// The next news, if there are any now.
    pub fn try_next(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// The next news, waiting for them at most this long.
    pub fn next_within(&self, time: Duration) -> Option<Event> {
        self.events.recv_timeout(time).ok()
    }
}

/// Starts the thread. It calls `wake` after each piece of news that it has put into the link, and ends when the
/// link is dropped.
///
/// # Errors
/// No thread could be made.
pub fn start(endpoint: Endpoint, wake: impl Fn() + Send + 'static) -> std::io::Result<Link> {
    let (commands, inbox) = mpsc::channel(COMMANDS_MAX);
    let (outbox, events) = sync_channel(EVENTS_MAX);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("engine link".to_owned()).spawn(move || {
        let news = News { outbox, wake: Box::new(wake) };
        // Ends with an error when the window is gone, which is the way to end.
        let _ = runtime.block_on(Worker { inbox, news, watched: None }.run(endpoint));
    })?;
    Ok(Link { commands, events })
}

/// The window is gone.
struct WindowGone;

struct News {
    outbox: SyncSender<Event>,
    wake: Box<dyn Fn() + Send>,
}

impl News {
    /// Blocks while the window is busy: news that it cannot take yet need not be fetched.
    fn tell(&self, event: Event) -> Result<(), WindowGone> {
        self.outbox.send(event).map_err(|_| WindowGone)?;
        (self.wake)();
        Ok(())
    }
}

struct Worker {
    inbox: mpsc::Receiver<Command>,
    news: News,
    watched: Option<u32>,
}

/// Why a connection is over.
enum Over {
    Broken(RpcError),
    Elsewhere(Endpoint),
    Gone,
}

impl From<WindowGone> for Over {
    fn from(_: WindowGone) -> Over {
        Over::Gone
    }
}

impl Worker {
    async fn run(mut self, mut endpoint: Endpoint) -> Result<(), WindowGone> {
        let mut pause = RETRY_FIRST;
        loop {
            let mut client = Client::new(endpoint.clone());
            self.news.tell(Event::Connecting { host: endpoint.host().to_owned() })?;
            let over = match self.connect(&mut client).await {
                Ok(()) => {
                    pause = RETRY_FIRST;
                    self.stay(&mut client).await
                }
                Err(over) => over,
            };
            match over {
                Over::Gone => return Err(WindowGone),
                Over::Elsewhere(other) => {
                    endpoint = other;
                    self.watched = None;
                    pause = RETRY_FIRST;
                }
                Over::Broken(error) => {
                    tracing::debug!(%error, host = endpoint.host(), "no engine");
                    self.news.tell(Event::Lost {
                        why: error.to_string(),
                        retry_in_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                        nobody_there: error == RpcError::NobodyThere,
                    })?;
                    if let Some(other) = self.wait(pause).await? {
                        endpoint = other;
                        pause = RETRY_FIRST;
                    } else {
                        pause = (pause * 2).min(RETRY_MAX);
                    }
                }
            }
        }
    }

    async fn connect(&mut self, client: &mut Client) -> Result<(), Over> {
        let session = client.call("session-get", Map::new()).await.map_err(Over::Broken)?;
        let list: TorrentList<Listed> =
            client.call("torrent-get", everything()).await.map_err(Over::Broken)?;
        tracing::debug!(host = client.endpoint().host(), torrents = list.torrents.len(), "connected");
        self.news.tell(Event::Connected { session: Box::new(session), torrents: list.torrents })?;
        Ok(())
    }

    /// Waits until it is time to connect again. Returns another engine when the window chose one. Commands to
    /// the lost engine fail.
    async fn wait(&mut self, pause: Duration) -> Result<Option<Endpoint>, WindowGone> {
        let until = Instant::now() + pause;
        loop {
            let command = tokio::select! {
                () = tokio::time::sleep_until(until) => return Ok(None),
                command = self.inbox.recv() => command.ok_or(WindowGone)?,
            };
            match command {
                Command::Connect(endpoint) => return Ok(Some(endpoint)),
                Command::Retry => return Ok(None),
                Command::Watch(id) => self.watched = id,
                other => self.news.tell(Event::Failed {
                    verb: other.verb(),
                    why: "the engine is not connected".to_owned(),
                })?,
            }
        }
    }

    /// Talks to a connected engine until that is over.
    async fn stay(&mut self, client: &mut Client) -> Over {
        let mut tick = tokio::time::interval(POLL_EVERY);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut full = Instant::now();
        let mut session = full;
        loop {
            let command = tokio::select! {
                _ = tick.tick() => None,
                command = self.inbox.recv() => match command {
                    Some(command) => Some(command),
                    None => return Over::Gone,
                },
            };
            let done = async {
                if let Some(command) = command {
                    self.obey(client, command).await?;
                }
                if full.elapsed() >= FULL_EVERY {
                    full = Instant::now();
                    self.everything(client).await?;
                }
                if session.elapsed() >= SESSION_EVERY {
                    session = Instant::now();
                    self.session(client).await?;
                }
                self.poll(client).await
            };
            if let Err(over) = done.await {
                return over;
            }
        }
    }

    async fn poll(&mut self, client: &mut Client) -> Result<(), Over> {
        let args = get(Some(Ids::One(Id::Hash("recently-active".to_owned()))), CHANGING.iter());
        let list: TorrentList<Listed> = client.call("torrent-get", args).await.map_err(Over::Broken)?;
        self.news.tell(Event::Changed { torrents: list.torrents, removed: list.removed })?;
        let stats = client.call("session-stats", Map::new()).await.map_err(Over::Broken)?;
        self.news.tell(Event::Stats(stats))?;
        if let Some(id) = self.watched {
            self.details(client, id).await?;
        }
        Ok(())
    }

    async fn everything(&mut self, client: &mut Client) -> Result<(), Over> {
        let list: TorrentList<Listed> =
            client.call("torrent-get", everything()).await.map_err(Over::Broken)?;
        Ok(self.news.tell(Event::Everything(list.torrents))?)
    }

    async fn session(&mut self, client: &mut Client) -> Result<(), Over> {
        let session = client.call("session-get", Map::new()).await.map_err(Over::Broken)?;
        Ok(self.news.tell(Event::Session(Box::new(session)))?)
    }

    async fn details(&mut self, client: &mut Client, id: u32) -> Result<(), Over> {
        let fields = torrent_fields();
        let args =
            get(Some(ids(vec![id])), fields.iter().map(String::as_str).chain(DETAILS_EXTRA.iter().copied()));
        let list: TorrentList<DetailsNews> = client.call("torrent-get", args).await.map_err(Over::Broken)?;
        if let Some(news) = list.torrents.into_iter().next() {
            self.news.tell(Event::Details(Box::new(news)))?;
        }
        Ok(())
    }

    /// Sends a command. Only a broken connection is an error; a refusal is told to the window.
    async fn obey(&mut self, client: &mut Client, command: Command) -> Result<(), Over> {
        let verb = command.verb();
        tracing::debug!(verb, "command");
        let outcome = match command {
            Command::Connect(endpoint) => return Err(Over::Elsewhere(endpoint)),
            Command::Retry => Ok(()),
            Command::Watch(id) => {
                self.watched = id;
                Ok(())
            }
            Command::AddFile { path, args } => match read_torrent(&path) {
                Ok(metainfo) => {
                    self.add(client, AddArgs { metainfo: Some(STANDARD.encode(metainfo)), ..*args }).await
                }
                Err(why) => Err(Over::Broken(RpcError::Refused(why))),
            },
            Command::AddLink(args) => self.add(client, *args).await,
            Command::Start(list) => send(client, "torrent-start", named(list)).await,
            Command::Stop(list) => send(client, "torrent-stop", named(list)).await,
            Command::Verify(list) => send(client, "torrent-verify", named(list)).await,
            Command::Reannounce(list) => send(client, "torrent-reannounce", named(list)).await,
            Command::Remove { ids: list, delete_data } => {
                let args = RemoveArgs { ids: Some(ids(list)), delete_local_data: delete_data };
                send(client, "torrent-remove", args).await
            }
            Command::Queue(list, way) => {
                let moved = send(client, &format!("queue-move-{way}"), named(list)).await;
                match moved {
                    Ok(()) => self.everything(client).await,
                    Err(over) => Err(over),
                }
            }
            Command::Relocate(list, folder) => {
                let args = LocationArgs { ids: Some(ids(list.clone())), location: folder, move_files: true };
                match send(client, "torrent-set-location", args).await {
                    Ok(()) => self.fetch(client, list).await,
                    Err(over) => Err(over),
                }
            }
            Command::Rename { id, from, to } => {
                let args = RenameArgs { ids: Some(ids(vec![id])), path: from, name: to };
                match send(client, "torrent-rename-path", args).await {
                    Ok(()) => self.fetch(client, vec![id]).await,
                    Err(over) => Err(over),
                }
            }
            Command::Set(list, args) => {
                let args = ringseed_api::SetArgs { ids: Some(ids(list.clone())), ..*args };
                match send(client, "torrent-set", args).await {
                    Ok(()) => self.fetch(client, list).await,
                    Err(over) => Err(over),
                }
            }
            Command::SetSession(args) => match send(client, "session-set", *args).await {
                Ok(()) => self.session(client).await,
                Err(over) => Err(over),
            },
            Command::Shutdown => send(client, "session-close", Map::new()).await,
        };
        match outcome {
            Err(Over::Broken(RpcError::Refused(why))) => Ok(self.news.tell(Event::Failed { verb, why })?),
            other => other,
        }
    }

    async fn add(&mut self, client: &mut Client, args: AddArgs) -> Result<(), Over> {
        let added: Added = client.call("torrent-add", args).await.map_err(Over::Broken)?;
        let (torrent, duplicate) = match added {
            Added::TorrentAdded(torrent) => (torrent, false),
            Added::TorrentDuplicate(torrent) => (torrent, true),
        };
        let id = torrent.id;
        self.news.tell(Event::Added { torrent, duplicate })?;
        self.fetch(client, vec![id]).await
    }

    /// Fetches torrents that were changed by a command: not every change counts as activity.
    async fn fetch(&mut self, client: &mut Client, list: Vec<u32>) -> Result<(), Over> {
        let args = get(Some(ids(list)), CHANGING.iter().chain(SLOW));
        let list: TorrentList<Listed> = client.call("torrent-get", args).await.map_err(Over::Broken)?;
        Ok(self.news.tell(Event::Changed { torrents: list.torrents, removed: Vec::new() })?)
    }
}

async fn send<A: Serialize>(client: &mut Client, method: &str, args: A) -> Result<(), Over> {
    client.call::<A, Map<String, Value>>(method, args).await.map(|_| ()).map_err(Over::Broken)
}

fn get<T: AsRef<str>>(ids: Option<Ids>, fields: impl Iterator<Item = T>) -> GetArgs {
    GetArgs { ids, fields: fields.map(|field| field.as_ref().to_owned()).collect(), format: None }
}

fn everything() -> GetArgs {
    get(None, CHANGING.iter().chain(SLOW))
}

fn ids(list: Vec<u32>) -> Ids {
    Ids::Many(list.into_iter().map(|id| Id::Number(i64::from(id))).collect())
}

fn named(list: Vec<u32>) -> IdsArgs {
    IdsArgs { ids: Some(ids(list)) }
}

/// The names of all fields of [`Torrent`], as they are on the wire.
fn torrent_fields() -> Vec<String> {
    match serde_json::to_value(Torrent::default()) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(name, _)| name).collect(),
        _ => Vec::new(),
    }
}

fn read_torrent(path: &Path) -> Result<Vec<u8>, String> {
    let broken = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
    let file = std::fs::File::open(path).map_err(broken)?;
    // A pipe or device would never end.
    if !file.metadata().map_err(broken)?.is_file() {
        return Err(format!("{} is not a file", path.display()));
    }
    let mut bytes = Vec::new();
    file.take(TORRENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 > TORRENT_BYTES_MAX {
        return Err(format!("{} is larger than any torrent file", path.display()));
    }
    Ok(bytes)
}
