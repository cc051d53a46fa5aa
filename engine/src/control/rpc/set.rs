//! `torrent-set` and `session-set`. Rates are in kB/s of 1000 bytes on the wire.

use super::ids::select;
use super::methods::Outcome;
use super::server::Server;
use crate::control::{EngineChange, EngineError, LimitChange, TorrentChange};
use ringseed_api::{SessionSetArgs, SetArgs};
use serde_json::{Map, Value};

impl Server {
    pub(super) async fn torrent_set(&self, args: SetArgs) -> Outcome {
        refuse_others(&args.other)?;
        let change = TorrentChange {
            upload: limit(args.upload_limit, args.upload_limited),
            download: limit(args.download_limit, args.download_limited),
            sequential: args.sequential_download,
        };
        for torrent in select(&self.handle.snapshot(), args.ids.as_ref()) {
            match self.handle.change_torrent(torrent.info_hash(), change).await {
                // Gone meanwhile: nothing to set.
                Ok(()) | Err(EngineError::UnknownTorrent(_)) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        Ok(Value::Object(Map::new()))
    }

    pub(super) async fn session_set(&self, args: SessionSetArgs) -> Outcome {
        refuse_others(&args.other)?;
        let change = EngineChange {
            upload: limit(args.speed_limit_up, args.speed_limit_up_enabled),
            download: limit(args.speed_limit_down, args.speed_limit_down_enabled),
        };
        self.handle.change_engine(change).await.map_err(|error| error.to_string())?;
        Ok(Value::Object(Map::new()))
    }
}

fn limit(kilobytes: Option<u64>, on: Option<bool>) -> LimitChange {
    LimitChange { rate: kilobytes.map(|rate| rate.saturating_mul(1000)), on }
}

/// A wish that is not granted is said, so that nobody takes it for granted.
fn refuse_others(other: &Map<String, Value>) -> Result<(), String> {
    match other.keys().next() {
        Some(name) => Err(format!("setting {name} is not supported yet; nothing was changed")),
        None => Ok(()),
    }
}
