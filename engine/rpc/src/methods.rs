//! The methods of the RPC.

use super::answers::AnswerTurn;
use super::arguments::{ArgumentError, PathError};
use super::error::{MethodError, Unsupported};
use super::events::each_once;
use super::fields;
use super::ids::{hashes, is_recently_active, removed, select};
use super::limits::INLINE_TORRENTS_MAX;
use super::requests::RequestError;
use super::server::Server;
use ringseed_api::{
    FreeSpace, FreeSpaceArgs, GetArgs, Ids, IdsArgs, RemoveArgs, Request, Response, SessionStats,
    TransferStats,
};
use ringseed_handle::{QueueMove, TorrentCommand, TorrentState, Totals};
use ringseed_proto::hashes::TorrentId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

/// What a method answers: its arguments, or what went wrong.
pub(super) type Outcome = Result<Value, MethodError>;

/// Methods by name; anything else is counted as `other`.
const METHODS: [&str; 29] = [
    "torrent-add",
    "torrent-get",
    "torrent-start",
    "torrent-start-now",
    "torrent-stop",
    "torrent-verify",
    "torrent-reannounce",
    "torrent-remove",
    "torrent-set",
    "torrent-set-location",
    "torrent-cancel-move",
    "torrent-rename-path",
    "queue-move-top",
    "queue-move-up",
    "queue-move-down",
    "queue-move-bottom",
    "session-get",
    "session-set",
    "session-stats",
    "session-close",
    "blocklist-update",
    "port-test",
    "free-space",
    "group-get",
    "group-set",
    "shard-stats",
    "torrent-create",
    "torrent-create-get",
    "torrent-create-cancel",
];

impl Server {
    /// Answers a request in JSON. Returns its method as a metrics label, too.
    pub(super) async fn call(
        &self,
        request: Result<Request, RequestError>,
        turn: &AnswerTurn<'_>,
    ) -> (&'static str, Vec<u8>) {
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                let why = Response::failure(format!("cannot read the request: {error}"));
                return ("invalid", serde_json::to_vec(&why).unwrap_or_default());
            }
        };
        let label = METHODS.iter().find(|name| **name == request.method).copied().unwrap_or("other");
        let tag = request.tag;
        let outcome = self.answer_to(&request.method, request.arguments, turn).await;
        (label, envelope(outcome, tag))
    }

    /// What a method answers, as JSON.
    pub(super) async fn answer_to(
        &self,
        method: &str,
        arguments: Map<String, Value>,
        turn: &AnswerTurn<'_>,
    ) -> Result<Vec<u8>, MethodError> {
        if method == "torrent-get" {
            return self.torrent_get(read(arguments)?, turn).await;
        }
        let arguments = self.dispatch(method, arguments).await?;
        serde_json::to_vec(&arguments).map_err(MethodError::Answer)
    }

    async fn dispatch(&self, method: &str, arguments: Map<String, Value>) -> Outcome {
        match method {
            "torrent-add" => {
                let paused_given = arguments.contains_key("paused");
                self.torrent_add(read(arguments)?, paused_given).await
            }
            "torrent-start" => self.change(arguments, TorrentCommand::Resume { now: false }).await,
            "torrent-start-now" => self.change(arguments, TorrentCommand::Resume { now: true }).await,
            "torrent-stop" => self.change(arguments, TorrentCommand::Pause).await,
            "torrent-verify" => self.change(arguments, TorrentCommand::Verify).await,
            "torrent-reannounce" => self.change(arguments, TorrentCommand::Reannounce).await,
            "torrent-cancel-move" => {
                let args: IdsArgs = read(arguments)?;
                if args.ids.is_none() {
                    return Err(ArgumentError::NoIds("torrent-cancel-move").into());
                }
                self.change_all(args.ids.as_ref(), TorrentCommand::CancelMove).await
            }
            "torrent-remove" => {
                let args: RemoveArgs = read(arguments)?;
                // Removing everything has to be meant.
                if args.ids.is_none() {
                    return Err(ArgumentError::NoIds("torrent-remove").into());
                }
                let command = TorrentCommand::Remove { delete: args.delete_local_data };
                self.change_all(args.ids.as_ref(), command).await
            }
            "torrent-set" => self.torrent_set(read(arguments)?).await,
            "torrent-set-location" => self.set_location(read(arguments)?).await,
            "torrent-rename-path" => self.rename_path(read(arguments)?).await,
            "queue-move-top" => self.queue_move(arguments, QueueMove::Top).await,
            "queue-move-up" => self.queue_move(arguments, QueueMove::Up).await,
            "queue-move-down" => self.queue_move(arguments, QueueMove::Down).await,
            "queue-move-bottom" => self.queue_move(arguments, QueueMove::Bottom).await,
            "blocklist-update" => self.blocklist_update().await,
            "port-test" => Err(Unsupported::PortTest.into()),
            "group-get" => self.group_get(&arguments),
            "group-set" => self.group_set(read(arguments)?).await,
            "session-set" => self.session_set(read(arguments)?).await,
            "session-get" => self.session_get(&arguments).await,
            "session-stats" => self.session_stats(),
            "shard-stats" => self.shard_stats(),
            "torrent-create" => self.torrent_create(read(arguments)?),
            "torrent-create-get" => self.torrent_create_get(&read(arguments)?),
            "torrent-create-cancel" => self.torrent_create_cancel(&read(arguments)?),
            "session-close" => {
                let handle = self.handle.clone();
                // The answer goes out while the engine stops.
                tokio::task::spawn_local(async move { handle.shutdown().await });
                empty()
            }
            "free-space" => self.free_space(read(arguments)?).await,
            _ => Err(MethodError::UnknownMethod),
        }
    }

    /// The torrents asked for. Many are written beside this thread, which has others to answer meanwhile.
    async fn torrent_get(&self, args: GetArgs, turn: &AnswerTurn<'_>) -> Result<Vec<u8>, MethodError> {
        let table = match args.format.as_deref() {
            None | Some("objects") => false,
            Some("table") => true,
            Some(other) => return Err(ArgumentError::Format(other.to_owned()).into()),
        };
        let fields = each_once(args.fields)?;
        let mut snapshot = self.handle.snapshot();
        let mut torrents = select(&snapshot, args.ids.as_ref());
        let many = torrents.len() > INLINE_TORRENTS_MAX;
        if many {
            turn.take().await?;
            // It may have waited: what is told is true now.
            snapshot = self.handle.snapshot();
            torrents = select(&snapshot, args.ids.as_ref());
        }
        let removed = is_recently_active(args.ids.as_ref()).then(|| removed(&snapshot));
        let write = move || fields::write(&snapshot, &torrents, &fields, table, removed.as_deref());
        let text = match many {
            true => tokio::task::spawn_blocking(write).await?,
            false => write(),
        };
        text.map_err(MethodError::Answer)
    }

    async fn change(&self, arguments: Map<String, Value>, command: TorrentCommand) -> Outcome {
        let args: IdsArgs = read(arguments)?;
        self.change_all(args.ids.as_ref(), command).await
    }

    pub(super) async fn change_all(&self, ids: Option<&Ids>, command: TorrentCommand) -> Outcome {
        self.carry_out(hashes(&select(&self.handle.snapshot(), ids)), command).await?;
        empty()
    }

    /// Carries out a command for torrents. Those that are gone meanwhile are what was wanted, or nothing to do.
    ///
    /// # Errors
    /// The torrents that it failed for, and why. It was carried out for the others.
    pub(super) async fn carry_out(
        &self,
        torrents: Vec<TorrentId>,
        command: TorrentCommand,
    ) -> Result<(), MethodError> {
        let asked = torrents.len();
        if asked == 0 {
            return Ok(());
        }
        Ok(self.handle.command(torrents, command).await?.of_list(asked)?)
    }

    async fn free_space(&self, args: FreeSpaceArgs) -> Outcome {
        if !Path::new(&args.path).is_absolute() {
            return Err(PathError::NotAbsolute("directory path").into());
        }
        let (size_bytes, total_size) = self.spaces.of(args.path.clone().into()).await?;
        write(&FreeSpace { path: args.path, size_bytes, total_size })
    }

    fn session_stats(&self) -> Outcome {
        let snapshot = self.handle.snapshot();
        let sums = snapshot.torrents.sums();
        let of = |state: TorrentState| u64::from(sums.states[state.place()]);
        let none = String::new;
        let paused =
            of(TorrentState::Paused) + of(TorrentState::Failed(none())) + of(TorrentState::Missing(none()));
        let all = snapshot.torrents.len() as u64;
        let told = |totals: Totals| TransferStats {
            uploaded_bytes: totals.uploaded,
            downloaded_bytes: totals.downloaded,
            files_added: totals.files_added,
            session_count: totals.runs,
            seconds_active: totals.seconds,
        };
        write(&SessionStats {
            active_torrent_count: all - paused,
            paused_torrent_count: paused,
            torrent_count: all,
            download_speed: sums.download_rate,
            upload_speed: sums.upload_rate,
            cumulative: told(snapshot.all_runs),
            current: told(snapshot.run),
        })
    }
}

impl Server {
    /// What each shard did, an extension.
    fn shard_stats(&self) -> Outcome {
        let snapshot = self.handle.snapshot();
        let shards = snapshot.shards.iter().map(|shard| ringseed_api::Shard {
            connections: shard.connections as u64,
            turns: shard.counters.turns,
            sends: shard.counters.sends,
            blocks_sent: shard.counters.blocks_sent,
            partial_sends: shard.counters.partial_sends,
            cold_reads: shard.counters.cold_pieces,
            read_waits: shard.counters.read_waits,
            dirty_waits: shard.counters.dirty_waits,
            major_faults: shard.counters.major_faults,
            received_bytes: shard.ring.received_bytes,
            sent_bytes: shard.ring.sent_bytes,
            operations: shard.ring.ops.into(),
            busy_microseconds: shard.delays.sum_us,
            longest_turn_microseconds: shard.delays.longest_us,
        });
        write(&ringseed_api::ShardStats { shards: shards.collect() })
    }
}

/// An answer around its arguments in JSON.
fn envelope(outcome: Result<Vec<u8>, MethodError>, tag: Option<Value>) -> Vec<u8> {
    match outcome {
        Ok(arguments) => {
            let mut text = br#"{"result":"success","arguments":"#.to_vec();
            text.extend_from_slice(&arguments);
            if let Some(tag) = tag {
                text.extend_from_slice(br#","tag":"#);
                text.extend_from_slice(tag.to_string().as_bytes());
            }
            text.push(b'}');
            text
        }
        Err(why) => {
            let failure = Response { tag, ..Response::failure(why.to_string()) };
            serde_json::to_vec(&failure).unwrap_or_default()
        }
    }
}

/// An answer without arguments.
pub(super) fn empty() -> Outcome {
    Ok(Value::Object(Map::new()))
}

/// The arguments of a method.
pub(super) fn read<T: DeserializeOwned>(arguments: Map<String, Value>) -> Result<T, MethodError> {
    serde_json::from_value(Value::Object(arguments)).map_err(MethodError::Malformed)
}

pub(super) fn write(value: &impl Serialize) -> Outcome {
    serde_json::to_value(value).map_err(MethodError::Answer)
}
