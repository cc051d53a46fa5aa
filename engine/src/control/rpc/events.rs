//! Changes as server-sent events, an extension: what `torrent-get` would say, told when it changes.
//!
//! The first event has all torrents; each later one those that changed since, and the ids of those that are gone. An
//! event is made when the client has taken the one before: a slow client gets fewer events, and misses nothing.

use super::fields;
use super::limits::{EVENT_PAUSE, EVENT_SILENCE_MAX};
use crate::control::{EngineHandle, EngineSnapshot, TorrentStatus};
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;
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
    fields: Vec<String>,
}

impl Wanted {
    /// The fields of `?fields=id,name`.
    pub(super) fn of(query: Option<&str>) -> Self {
        let listed = query.unwrap_or_default().split('&').find_map(|pair| pair.strip_prefix("fields="));
        let fields: Vec<String> = listed.map_or_else(
            || FIELDS.map(str::to_owned).to_vec(),
            |listed| listed.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        );
        Self { fields }
    }
}

/// The body of an answer that goes on until the client or the engine ends.
pub(super) struct Events(mpsc::Receiver<Bytes>);

impl Events {
    /// Begins to tell of changes; has to run inside a `LocalSet`.
    pub(super) fn new(handle: EngineHandle, wanted: Wanted) -> Self {
        let (sender, receiver) = mpsc::channel(1);
        tokio::task::spawn_local(tell(handle, wanted, sender));
        Self(receiver)
    }
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}

async fn tell(mut handle: EngineHandle, wanted: Wanted, client: mpsc::Sender<Bytes>) {
    let mut told: HashMap<u32, Arc<TorrentStatus>> = HashMap::new();
    let mut first = true;
    loop {
        // Only with room is it worth looking: what changes meanwhile is in the same event.
        let Ok(room) = client.reserve().await else { return };
        let snapshot = handle.snapshot();
        if snapshot.ready
            && let Some(event) = changes(&snapshot, &mut told, &wanted, first).await
        {
            room.send(event);
            first = false;
        } else {
            drop(room);
        }
        sleep(EVENT_PAUSE).await;
        tokio::select! {
            () = client.closed() => return,
            changed = timeout(EVENT_SILENCE_MAX, handle.changed()) => match changed {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                // A comment shows proxies and clients that the connection lives.
                Err(_) => if client.send(Bytes::from_static(b":\n\n")).await.is_err() { return },
            },
        }
    }
}

/// The next event; `None` when nothing is new.
async fn changes(
    snapshot: &Arc<EngineSnapshot>,
    told: &mut HashMap<u32, Arc<TorrentStatus>>,
    wanted: &Wanted,
    first: bool,
) -> Option<Bytes> {
    let mut changed = Vec::new();
    for torrent in &snapshot.torrents {
        // A torrent of which nothing changed is the same one in the next snapshot.
        if told.get(&torrent.id).is_none_or(|known| !Arc::ptr_eq(known, torrent)) {
            told.insert(torrent.id, torrent.clone());
            changed.push(torrent.clone());
        }
    }
    let mut removed = Vec::new();
    if told.len() > snapshot.torrents.len() {
        // Both are in ascending order of ids.
        let here = |id: &u32| snapshot.torrents.binary_search_by_key(id, |torrent| torrent.id).is_ok();
        removed.extend(told.keys().filter(|id| !here(id)).copied());
        removed.sort_unstable();
        for id in &removed {
            told.remove(id);
        }
    }
    if changed.is_empty() && removed.is_empty() && !first {
        return None;
    }
    let (snapshot, fields) = (snapshot.clone(), wanted.fields.clone());
    let write = move || fields::write(&snapshot, &changed, &fields, false, Some(&removed));
    // Thousands are written beside this thread, which has others to answer.
    let text = tokio::task::spawn_blocking(write).await.ok()?.ok()?;
    Some([&b"event: torrents\ndata: "[..], &text, b"\n\n"].concat().into())
}
