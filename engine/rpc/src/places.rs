//! Where torrents are: `torrent-set-location`, `torrent-rename-path`, the queue, bandwidth groups.

use super::arguments::{ArgumentError, absolute};
use super::error::{LimitReached, Unsupported};
use super::ids::select;
use super::limits::{NAME_BYTES_MAX, NAMES_MAX};
use super::methods::{Outcome, empty, read, write};
use super::server::Server;
use ringseed_api::{IdsArgs, LocationArgs, RenameArgs};
use ringseed_handle::{EngineChange, FileWork, Group, QueueMove, Rename, SessionSettings, TorrentCommand};
use ringseed_proto::limits::PATH_BYTES_MAX;
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

impl Server {
    pub(super) async fn set_location(&self, args: LocationArgs) -> Outcome {
        let location = absolute(&args.location)?;
        let work = if args.move_files { FileWork::Move(location) } else { FileWork::Found(location) };
        self.change_all(args.ids.as_ref(), TorrentCommand::Handle(work)).await
    }

    pub(super) async fn rename_path(&self, args: RenameArgs) -> Outcome {
        let torrents = select(&self.handle.snapshot(), args.ids.as_ref());
        let [torrent] = &torrents[..] else {
            return Err(ArgumentError::RenameNeedsOneTorrent.into());
        };
        let invalid = args.name.is_empty()
            || args.name.len() > 255
            || matches!(args.name.as_str(), "." | "..")
            || args.name.contains(['/', '\0']);
        if invalid {
            return Err(ArgumentError::NotAName.into());
        }
        let from = Path::new(&args.path);
        let files = &torrent.metainfo.info.layout.files;
        if args.path.is_empty() || !files.iter().any(|file| file.path.starts_with(from)) {
            return Err(ArgumentError::NothingAtPath.into());
        }
        let to = from.with_file_name(&args.name);
        if to != from && files.iter().any(|file| file.path.starts_with(&to)) {
            return Err(ArgumentError::NameTaken.into());
        }
        let rest = |path: &Path| path.as_os_str().len() - from.as_os_str().len() + to.as_os_str().len();
        let longest =
            files.iter().filter(|file| file.path.starts_with(from)).map(|file| rest(&file.path)).max();
        if longest.is_some_and(|length| length > PATH_BYTES_MAX) {
            return Err(ArgumentError::PathTooLong.into());
        }
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let rename = Rename { from: text(from), to: text(&to) };
        self.handle.handle_files(torrent.torrent_id(), FileWork::Rename(rename)).await?;
        Ok(json!({"path": args.path, "name": args.name, "id": torrent.id}))
    }

    pub(super) async fn queue_move(&self, arguments: Map<String, Value>, to: QueueMove) -> Outcome {
        let args: IdsArgs = read(arguments)?;
        self.change_all(args.ids.as_ref(), TorrentCommand::MoveInQueue(to)).await
    }

    pub(super) fn group_get(&self, arguments: &Map<String, Value>) -> Outcome {
        let wanted: Option<HashSet<&str>> = match arguments.get("group") {
            None => None,
            Some(Value::String(name)) => Some(HashSet::from([name.as_str()])),
            Some(Value::Array(names)) => Some(names.iter().filter_map(Value::as_str).collect()),
            Some(_) => return Err(ArgumentError::GroupNames.into()),
        };
        let settings = self.handle.snapshot().settings.clone();
        let groups = settings
            .groups
            .iter()
            .filter(|(name, _)| wanted.as_ref().is_none_or(|wanted| wanted.contains(&name.as_str())));
        let groups: Vec<_> = groups
            .map(|(name, group)| ringseed_api::Group {
                name: name.clone(),
                honors_session_limits: Some(true),
                speed_limit_down: Some(group.download),
                speed_limit_down_enabled: Some(false),
                speed_limit_up: Some(group.upload),
                speed_limit_up_enabled: Some(false),
            })
            .collect();
        Ok(json!({"group": write(&groups)?}))
    }

    pub(super) async fn group_set(&self, group: ringseed_api::Group) -> Outcome {
        if group.name.is_empty() {
            return Err(ArgumentError::NoGroupName.into());
        }
        if group.name.len() > NAME_BYTES_MAX {
            return Err(ArgumentError::LongGroupName.into());
        }
        let snapshot = self.handle.snapshot();
        let groups = &snapshot.settings.groups;
        if groups.len() >= NAMES_MAX && !groups.contains_key(&group.name) {
            return Err(LimitReached::Groups.into());
        }
        if group.speed_limit_down_enabled == Some(true) || group.speed_limit_up_enabled == Some(true) {
            return Err(Unsupported::GroupLimits.into());
        }
        if group.honors_session_limits == Some(false) {
            return Err(Unsupported::NoSessionLimits.into());
        }
        let change = move |settings: &mut SessionSettings| {
            let kept: &mut Group = settings.groups.entry(group.name.clone()).or_default();
            kept.download = group.speed_limit_down.unwrap_or(kept.download);
            kept.upload = group.speed_limit_up.unwrap_or(kept.upload);
        };
        let change = EngineChange { settings: Some(Arc::new(change)), ..EngineChange::default() };
        self.handle.change_engine(change).await?;
        empty()
    }
}
