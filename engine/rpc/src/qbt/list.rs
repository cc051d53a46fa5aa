//! What is only read.

use super::form::Form;
use super::{Reply, tell};
use crate::answers::AnswerTurn;
use crate::server::Server;
use hyper::StatusCode;
use ringseed_handle::{EngineSnapshot, TorrentStatus};
use ringseed_proto::hashes::TorrentId;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// What is told of one torrent.
type Tell = fn(&TorrentStatus) -> Value;

impl Server {
    /// Answers a method that changes nothing; `None` when this is not one.
    pub(super) async fn read_method(
        &self,
        path: &str,
        form: &Arc<Form>,
        turn: &AnswerTurn<'_>,
    ) -> Option<Reply> {
        if let Some(write) = list_of(path) {
            return Some(match turn.take().await {
                Ok(()) => self.written(write, form).await,
                Err(why) => Reply::refused(StatusCode::SERVICE_UNAVAILABLE, &why),
            });
        }
        let snapshot = self.handle.snapshot();
        let one: Tell = match path {
            "torrents/properties" => tell::properties,
            "torrents/files" => tell::files,
            "torrents/trackers" => tell::trackers,
            "torrents/webseeds" => {
                |torrent| torrent.metainfo.web_seeds.iter().map(|url| json!({"url": url})).collect()
            }
            "torrents/pieceStates" => |torrent| {
                let state = |piece| json!(if torrent.have.get(piece) { 2 } else { 0 });
                (0..torrent.have.len()).map(state).collect()
            },
            "sync/torrentPeers" => |torrent| {
                let peers = torrent.peers.iter().map(|peer| (peer.address.to_string(), tell::peer(peer)));
                json!({"rid": 1, "full_update": true, "show_flags": false, "peers": peers.collect::<Map<_, _>>()})
            },
            _ => return self.small_method(path, &snapshot),
        };
        let hash = form.get("hash").parse().ok();
        let torrent = hash.and_then(|hash| snapshot.torrents.find(&hash)).cloned();
        Some(match torrent {
            Some(torrent) => beside(move || one(&torrent)).await,
            None => Reply::Refused(StatusCode::NOT_FOUND, "there is no such torrent".into()),
        })
    }

    /// Answers a method about the session, whose answer is short.
    fn small_method(&self, path: &str, snapshot: &EngineSnapshot) -> Option<Reply> {
        Some(match path {
            "app/version" => Reply::Text("v5.1.4".into()),
            "app/webapiVersion" => Reply::Text("2.11.4".into()),
            "app/buildInfo" => {
                Reply::json(&json!({"qt": "6.8.0", "libtorrent": "2.0.11.0", "boost": "1.86.0",
                "openssl": "3.4.0", "zlib": "1.3.1", "bitness": 64, "platform": "linux"}))
            }
            "app/defaultSavePath" => Reply::Text(self.download_dir().to_string_lossy().into_owned()),
            "app/preferences" => Reply::json(&self.preferences(snapshot)),
            "torrents/count" => Reply::Text(snapshot.torrents.len().to_string()),
            "torrents/categories" => Reply::json(&categories(snapshot)),
            "torrents/tags" => Reply::json(&json!(tags(snapshot))),
            "transfer/info" => Reply::json(&transfer(snapshot)),
            "transfer/speedLimitsMode" => Reply::Text(u8::from(snapshot.settings.alt_speed.on).to_string()),
            "transfer/uploadLimit" => Reply::Text(limit(snapshot.limits.upload).to_string()),
            "transfer/downloadLimit" => Reply::Text(limit(snapshot.limits.download).to_string()),
            _ => return None,
        })
    }

    /// A list of torrents.
    async fn written(&self, write: List, form: &Arc<Form>) -> Reply {
        let (snapshot, form) = (self.handle.snapshot(), form.clone());
        beside(move || write(&snapshot, &form)).await
    }
}

/// What is told of many torrents.
type List = fn(&EngineSnapshot, &Form) -> Value;

fn list_of(path: &str) -> Option<List> {
    match path {
        "torrents/info" => Some(info),
        "sync/maindata" => Some(maindata),
        _ => None,
    }
}

/// What is as long as there are torrents, files or pieces is written beside the control thread, which has others to
/// answer.
async fn beside(write: impl FnOnce() -> Value + Send + 'static) -> Reply {
    match tokio::task::spawn_blocking(move || write().to_string()).await {
        Ok(text) => Reply::Json(text),
        Err(error) => Reply::Refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// Everything at once. Each answer is a full one: what changed since the last is for the client to see.
fn maindata(snapshot: &EngineSnapshot, form: &Form) -> Value {
    let places = places(snapshot);
    let place = |torrent: &TorrentStatus| places.get(&torrent.id).copied().unwrap_or(0);
    let torrents = snapshot.torrents.iter().map(|torrent| {
        let mut fields = tell::torrent(torrent, snapshot, place(torrent));
        fields.remove("hash");
        (torrent.torrent_id().to_string(), Value::Object(fields))
    });
    let mut trackers: HashMap<&str, Vec<String>> = HashMap::new();
    for torrent in &snapshot.torrents {
        for url in torrent.tiers().iter().flatten() {
            trackers.entry(url).or_default().push(torrent.torrent_id().to_string());
        }
    }
    let rid = form.number::<u64>("rid").unwrap_or(0).saturating_add(1);
    json!({
        "rid": rid, "full_update": true,
        "torrents": torrents.collect::<Map<_, _>>(),
        "categories": categories(snapshot), "tags": tags(snapshot), "trackers": trackers,
        "server_state": transfer(snapshot),
    })
}

/// Places in the queue by id.
fn places(snapshot: &EngineSnapshot) -> HashMap<u32, usize> {
    snapshot.queue.iter().enumerate().map(|(place, (_, id))| (*id, place)).collect()
}

fn info(snapshot: &EngineSnapshot, form: &Form) -> Value {
    let places = places(snapshot);
    let wanted = form.list("hashes", '|');
    let all = wanted.is_empty() || wanted == ["all"];
    let wanted: HashSet<TorrentId> = wanted.iter().filter_map(|hash| hash.parse().ok()).collect();
    let has = |name: &str| form.given(name).is_some();
    let chosen = |torrent: &&Arc<TorrentStatus>| {
        (all || wanted.contains(&torrent.torrent_id()))
            && tell::is_listed(torrent, form.get("filter"))
            && (!has("category") || torrent.settings.category == form.get("category"))
            && (!has("tag") || torrent.settings.labels.iter().any(|label| label == form.get("tag")))
    };
    let mut list: Vec<Map<String, Value>> = snapshot
        .torrents
        .iter()
        .filter(chosen)
        .map(|torrent| tell::torrent(torrent, snapshot, places.get(&torrent.id).copied().unwrap_or(0)))
        .collect();
    if let Some(key) = form.given("sort") {
        list.sort_by(|one, other| order(one.get(key), other.get(key)));
        if form.flag("reverse") == Some(true) {
            list.reverse();
        }
    }
    let skip = form.number::<usize>("offset").unwrap_or(0);
    let take = form.number::<usize>("limit").filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    list.into_iter().skip(skip).take(take).map(Value::Object).collect()
}

fn order(one: Option<&Value>, other: Option<&Value>) -> std::cmp::Ordering {
    match (one, other) {
        (Some(Value::String(one)), Some(Value::String(other))) => {
            one.to_lowercase().cmp(&other.to_lowercase())
        }
        (Some(Value::Bool(one)), Some(Value::Bool(other))) => one.cmp(other),
        (Some(one), Some(other)) => {
            let number = |value: &Value| value.as_f64().unwrap_or(0.0);
            number(one).total_cmp(&number(other))
        }
        _ => std::cmp::Ordering::Equal,
    }
}

fn categories(snapshot: &EngineSnapshot) -> Value {
    let kept = snapshot.settings.categories.iter();
    let all: Map<String, Value> =
        kept.map(|(name, path)| (name.clone(), json!({"name": name, "savePath": path}))).collect();
    Value::Object(all)
}

fn tags(snapshot: &EngineSnapshot) -> Vec<String> {
    let used = snapshot.torrents.iter().flat_map(|torrent| &torrent.settings.labels);
    let mut tags: Vec<String> = snapshot.settings.tags.iter().chain(used).cloned().collect();
    tags.sort_unstable();
    tags.dedup();
    tags
}

fn transfer(snapshot: &EngineSnapshot) -> Value {
    let (sent, received) = (snapshot.all_runs.uploaded, snapshot.all_runs.downloaded);
    json!({
        "alltime_dl": received, "alltime_ul": sent,
        "connection_status": if snapshot.trouble.is_some() { "disconnected" } else { "connected" }, "dht_nodes": 0,
        "dl_info_data": snapshot.run.downloaded, "dl_info_speed": snapshot.torrents.sums().download_rate,
        "dl_rate_limit": limit(snapshot.limits.download),
        "up_info_data": snapshot.run.uploaded, "up_info_speed": snapshot.torrents.sums().upload_rate,
        "up_rate_limit": limit(snapshot.limits.upload),
        "free_space_on_disk": -1,
        "global_ratio": format!("{:.2}", if received == 0 { 0.0 } else { sent as f64 / received as f64 }),
        "queueing": snapshot.settings.download_queue.on || snapshot.settings.seed_queue.on,
        "total_peer_connections": snapshot.connections,
        "use_alt_speed_limits": snapshot.settings.alt_speed.on,
    })
}

/// A limit in bytes per second; 0 is none.
fn limit(limit: ringseed_handle::SpeedLimit) -> u64 {
    super::app::known_limit(limit.effective())
}
