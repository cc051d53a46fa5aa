//! Changes as server-sent events, an extension: what `torrent-get` would say, told when it changes.
//!
//! The first event has all torrents; each later one those that changed since, and the ids of those that are gone. An
//! event is made when the client has taken the one before: a slow client gets fewer events, and misses nothing. It is
//! made in parts, so that a stream has a few torrents in memory and not all; and it remembers when it told of each
//! torrent, not what.

use super::arguments::ArgumentError;
use super::body::Streamed;
use super::fields;
use super::limits::{
    CLIENT_STREAMS_MAX, EVENT_PART_TORRENTS, EVENT_PAUSE, EVENT_SILENCE_MAX, FIELDS_MAX, STREAMS_MAX,
};
use super::origin::Client;
use bytes::Bytes;
use ringseed_handle::{EngineHandle, EngineSnapshot};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

/// Where they are.
pub(super) const PATH: &str = "/ringseed/events";

/// Fields that are told when the request names none.
const FIELDS: [&str; 10] = [
    "id",
    "hashString",
    "name",
    "status",
    "percentDone",
    "leftUntilDone",
    "rateDownload",
    "rateUpload",
    "uploadRatio",
    "errorString",
];

/// What an answer carries that is to become a stream of events.
#[derive(Clone)]
pub(super) struct Wanted {
    fields: Arc<[String]>,
    /// Who wants it.
    client: Client,
}

impl Wanted {
    /// The fields of `?fields=id,name`, each once.
    ///
    /// # Errors
    /// When there are more than [`FIELDS_MAX`].
    pub(super) fn of(query: Option<&str>, client: Client) -> Result<Self, ArgumentError> {
        let listed = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("fields="));
        let names = |listed: &str| -> Vec<String> {
            listed.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
        };
        let named = listed.map_or_else(|| FIELDS.map(str::to_owned).to_vec(), names);
        Ok(Self { fields: each_once(named)?.into(), client })
    }
}

/// Names of fields, each once, in the order in which they come.
///
/// # Errors
/// When there are more than [`FIELDS_MAX`].
pub(super) fn each_once(mut names: Vec<String>) -> Result<Vec<String>, ArgumentError> {
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.len() <= FIELDS_MAX && seen.insert(name.clone()));
    match names.len() <= FIELDS_MAX {
        true => Ok(names),
        false => Err(ArgumentError::TooManyFields),
    }
}

/// The streams that are open.
#[derive(Default)]
pub(super) struct Streams {
    open: BTreeMap<u64, (Client, oneshot::Sender<Infallible>)>,
    next: u64,
}

impl Streams {
    /// Takes in a stream. When there are too many, of the client or of all, the oldest of the client that has most ends:
    /// a client that was cut off does not have to wait until that is noticed.
    fn enter(streams: &Rc<RefCell<Self>>, client: Client) -> Seat {
        let mut all = streams.borrow_mut();
        let mut counts: HashMap<Client, usize> = HashMap::new();
        for (client, _) in all.open.values() {
            *counts.entry(*client).or_default() += 1;
        }
        let too_many = match counts.get(&client) {
            Some(count) if *count >= CLIENT_STREAMS_MAX => Some(client),
            _ if all.open.len() >= STREAMS_MAX => {
                counts.into_iter().max_by_key(|(_, count)| *count).map(|(client, _)| client)
            }
            _ => None,
        };
        let ended = too_many.and_then(|client| all.open.iter().find(|(_, (of, _))| *of == client));
        if let Some(number) = ended.map(|(number, _)| *number) {
            // Dropping the sender tells it.
            all.open.remove(&number);
        }
        let (alive, ended) = oneshot::channel();
        let number = all.next;
        all.next += 1;
        all.open.insert(number, (client, alive));
        Seat { streams: streams.clone(), number, ended }
    }
}

/// A stream's place among [`Streams`], until it is dropped.
struct Seat {
    streams: Rc<RefCell<Streams>>,
    number: u64,
    /// Resolves when the stream has to end.
    ended: oneshot::Receiver<Infallible>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.streams.borrow_mut().open.remove(&self.number);
    }
}

/// Begins to tell of changes, until the client or the engine ends; has to run inside a `LocalSet`.
pub(super) fn begin(handle: EngineHandle, wanted: Wanted, streams: &Rc<RefCell<Streams>>) -> Streamed {
    let (sender, receiver) = mpsc::channel(1);
    let mut seat = Streams::enter(streams, wanted.client);
    tokio::task::spawn_local(async move {
        tokio::select! {
            _ = tell(handle, &wanted.fields, &sender) => {}
            () = sender.closed() => {}
            _ = &mut seat.ended => {}
        }
    });
    Streamed(receiver)
}

/// Tells a client of changes; none when it or the engine is gone.
async fn tell(mut handle: EngineHandle, fields: &Arc<[String]>, client: &mpsc::Sender<Bytes>) -> Option<()> {
    let mut told = Told::default();
    let mut first = true;
    loop {
        // Only with room is it worth looking: what changes meanwhile is in the same event.
        drop(client.reserve().await.ok()?);
        let snapshot = handle.snapshot();
        if snapshot.ready {
            let news = told.news(&snapshot);
            drop(snapshot);
            if first || !news.is_empty() {
                send(&handle, &news, fields, client).await?;
                first = false;
            }
        }
        sleep(EVENT_PAUSE).await;
        match timeout(EVENT_SILENCE_MAX, handle.changed()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            // A comment shows proxies and clients that the connection lives.
            Err(_) => client.send(Bytes::from_static(b":\n\n")).await.ok()?,
        }
    }
}

/// Sends one event, a part after the other. Each tells what is true when it is made: no old snapshot is kept for a client
/// that reads slowly.
async fn send(
    handle: &EngineHandle,
    news: &News,
    fields: &Arc<[String]>,
    client: &mpsc::Sender<Bytes>,
) -> Option<()> {
    let removed = serde_json::to_string(&news.removed).ok()?;
    let mut text = format!("event: torrents\ndata: {{\"removed\":{removed},\"torrents\":[").into_bytes();
    let mut any = false;
    for ids in news.changed.chunks(EVENT_PART_TORRENTS) {
        let snapshot = handle.snapshot();
        let torrents: Vec<_> = ids.iter().filter_map(|id| snapshot.torrents.get(*id).cloned()).collect();
        if torrents.is_empty() {
            continue;
        }
        let fields = fields.clone();
        let write = move || fields::write_rows(&snapshot, &torrents, &fields);
        // Beside this thread, which has others to answer.
        let rows = tokio::task::spawn_blocking(write).await.ok()?.ok()?;
        // What is between the brackets of the list.
        let rows = rows.strip_prefix(b"[").and_then(|rows| rows.strip_suffix(b"]"))?;
        if std::mem::replace(&mut any, true) {
            text.push(b',');
            client.send(std::mem::take(&mut text).into()).await.ok()?;
        }
        text.extend_from_slice(rows);
    }
    text.extend_from_slice(b"]}\n\n");
    client.send(text.into()).await.ok()
}

/// What a stream told: the ids of torrents in ascending order, and when each had changed last.
#[derive(Default)]
struct Told(Vec<(u32, Instant)>);

/// What a stream has to tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    changed: Vec<u32>,
    removed: Vec<u32>,
}

impl News {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.removed.is_empty()
    }
}

impl Told {
    /// What is new in a snapshot, whose torrents are in the order of their ids; it counts as told then.
    fn news(&mut self, snapshot: &EngineSnapshot) -> News {
        let mut news = News::default();
        let mut before = std::mem::take(&mut self.0).into_iter().peekable();
        self.0.reserve_exact(snapshot.torrents.len());
        for torrent in &snapshot.torrents {
            while let Some((id, _)) = before.next_if(|(id, _)| *id < torrent.id) {
                news.removed.push(id);
            }
            let known = before.next_if(|(id, _)| *id == torrent.id);
            if known.is_none_or(|(_, at)| at != torrent.changed_at) {
                news.changed.push(torrent.id);
            }
            self.0.push((torrent.id, torrent.changed_at));
        }
        news.removed.extend(before.map(|(id, _)| id));
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_told_once() {
        let fields = |query: &str| Wanted::of(Some(query), Client::Here).map(|wanted| wanted.fields.to_vec());
        assert_eq!(fields("x=1&fields=id,name,id,,name").unwrap(), ["id", "name"]);
        let many =
            |range: std::ops::Range<usize>| range.map(|n| format!("f{n}")).collect::<Vec<_>>().join(",");
        assert_eq!(fields(&format!("fields={}", "id,".repeat(5000))).unwrap(), ["id"]);
        assert_eq!(fields(&format!("fields={}", many(0..FIELDS_MAX))).unwrap().len(), FIELDS_MAX);
        let too_many = fields(&format!("fields={}", many(0..5000)));
        assert!(matches!(too_many, Err(ArgumentError::TooManyFields)));
        assert_eq!(fields("").unwrap(), FIELDS);
    }

    #[test]
    fn streams_are_bounded_and_the_oldest_of_who_has_most_ends() {
        let streams = Rc::new(RefCell::new(Streams::default()));
        let at = |last: u8| Client::of(Some([192, 0, 2, last].into()));
        let is_ended = |seat: &mut Seat| seat.ended.try_recv() == Err(oneshot::error::TryRecvError::Closed);
        let mut greedy: Vec<_> =
            (0..CLIENT_STREAMS_MAX + 3).map(|_| Streams::enter(&streams, at(1))).collect();
        let ended = greedy.iter_mut().map(is_ended).collect::<Vec<_>>();
        assert_eq!(ended.iter().filter(|ended| **ended).count(), 3);
        assert!(ended[..3].iter().all(|ended| *ended));
        let mut others: Vec<_> =
            (10..10 + STREAMS_MAX as u8 - 4).map(|n| Streams::enter(&streams, at(n))).collect();
        assert_eq!(streams.borrow().open.len(), STREAMS_MAX);
        assert!(!others.iter_mut().any(is_ended));
        drop((greedy, others));
        assert!(streams.borrow().open.is_empty());
    }
}
