//! `create --connect`: a torrent that a running daemon makes of files on its machine.

use super::args::Connect;
use super::client::Daemon;
use crate::cli::args::Create;
use crate::cli::failure::{Failure, io_reason};
use crate::cli::signals::Stop;
use crate::cli::work_bar::WorkBar;
use ringseed_api::{CreateArgs, Creation, CreationState, Creations};
use ringseed_proto::create::CreateOptions;
use ringseed_proto::metainfo::Metainfo;
use serde_json::json;
use std::time::Duration;

/// Time between two looks at the progress.
const INTERVAL: Duration = Duration::from_millis(200);

/// Has the daemon make the torrent, and fetches it.
pub fn create(
    args: &Create,
    daemon: &str,
    options: CreateOptions,
    stop: &Stop,
    quiet: bool,
) -> Result<Metainfo, Failure> {
    let daemon =
        Daemon::new(&Connect { connect: Some(daemon.to_owned()), login: args.login.clone(), json: false })?;
    let path = std::path::absolute(&args.path).map_err(|error| Failure::failed(io_reason(&error)))?;
    let path = path.to_str().ok_or_else(|| Failure::usage("the path is not UTF-8, which the RPC needs"))?;
    let ask = CreateArgs {
        path: path.to_owned(),
        output: None,
        piece_size: args.piece_size.fixed(),
        trackers: options.tiers,
        web_seeds: options.web_seeds,
        private: options.private,
        source: options.source,
        comment: options.comment,
        creation_date: Some(options.creation_date.unwrap_or(0)),
    };
    let text =
        |error: serde_json::Error| Failure::failed(format!("the daemon's answer is no answer: {error}"));
    let id = daemon.call("torrent-create", serde_json::to_value(&ask).map_err(text)?)?["id"].clone();
    let mine = json!({"ids": [id]});
    let made = follow(&daemon, &id, stop, quiet);
    // Whatever came of it: it is not wanted there any more.
    let forgotten = daemon.call("torrent-create-cancel", mine);
    let made = made?;
    forgotten?;
    let bytes = ringseed_rpc::decode_base64(&made.metainfo);
    let bytes = bytes.ok_or_else(|| Failure::failed("the daemon's torrent is not base64"))?;
    Metainfo::parse(&bytes).map_err(|error| Failure::failed(format!("the daemon's torrent is none: {error}")))
}

/// Waits until it is done, and shows how far it is.
fn follow(daemon: &Daemon, id: &serde_json::Value, stop: &Stop, quiet: bool) -> Result<Creation, Failure> {
    let look = |metainfo: bool| -> Result<Creation, Failure> {
        let answer = daemon.call("torrent-create-get", json!({"ids": [id], "metainfo": metainfo}))?;
        let all: Creations = serde_json::from_value(answer)
            .map_err(|error| Failure::failed(format!("the daemon's answer is no answer: {error}")))?;
        let one = all.creations.into_iter().next();
        one.ok_or_else(|| Failure::failed("the daemon has forgotten the torrent that it was to make"))
    };
    let mut bar: Option<(WorkBar, u64)> = None;
    loop {
        let now = look(false)?;
        match now.state {
            CreationState::Failed => return Err(Failure::failed(now.error)),
            CreationState::Done => {
                if let Some((bar, _)) = &bar {
                    bar.finish();
                }
                return look(true);
            }
            CreationState::Waiting | CreationState::Hashing => {}
        }
        if now.total_bytes > 0 {
            let (bar, shown) =
                bar.get_or_insert_with(|| (WorkBar::new("hashing", now.total_bytes, quiet), 0));
            bar.advance(now.hashed_bytes.saturating_sub(*shown));
            *shown = now.hashed_bytes;
        }
        if stop.requested() {
            return Err(Failure::failed("interrupted"));
        }
        std::thread::sleep(INTERVAL);
    }
}
