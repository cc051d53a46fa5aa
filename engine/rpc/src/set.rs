//! `torrent-set`: what changes about torrents. Everything is looked at before anything is changed. Rates are in kB/s
//! of 1000 bytes on the wire.

use super::arguments::{ArgumentError, absolute, checked_labels};
use super::error::{LimitReached, MethodError, Unsupported};
use super::ids::{hashes, select};
use super::limits::{NAME_BYTES_MAX, NAMES_MAX};
use super::methods::{Outcome, empty};
use super::server::Server;
use super::trackers::Edit;
use ringseed_api::{AddArgs, SetArgs};
use ringseed_handle::unix_now;
use ringseed_handle::{
    EngineChange, FilePriority, FileWork, LimitChange, QueueMove, SessionSettings, ShareLimitMode,
    TorrentChange, TorrentCommand, TorrentSettings, TorrentSettingsChange,
};
use ringseed_proto::metainfo::Metainfo;
use serde_json::{Map, Value};
use std::sync::Arc;

impl Server {
    pub(super) async fn torrent_set(&self, args: SetArgs) -> Outcome {
        refuse_others(&args.other)?;
        if args.bandwidth_priority.is_some_and(|priority| priority != 0) {
            return Err(Unsupported::Priority.into());
        }
        if args.honors_session_limits == Some(false) {
            return Err(Unsupported::NoSessionLimits.into());
        }
        if args.seed_ratio_limit.is_some_and(|ratio| !ratio.is_finite() || ratio < 0.0) {
            return Err(ArgumentError::Ratio.into());
        }
        let modes = (mode(args.seed_ratio_mode)?, mode(args.seed_idle_mode)?);
        let labels = args.labels.as_deref().map(checked_labels).transpose()?;
        if args.group.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(ArgumentError::LongGroupName.into());
        }
        let location = args.location.as_deref().map(absolute).transpose()?;
        let edit = Edit::of(&args)?;
        let files = FileLists::of_set(&args);
        let torrents = select(&self.handle.snapshot(), args.ids.as_ref());
        for torrent in &torrents {
            files.check(torrent.metainfo.info.layout.files.len())?;
            if let Some(edit) = &edit {
                edit.check(torrent.tiers())?;
            }
        }
        if let Some(name) = args.category.as_ref().filter(|name| !name.is_empty()) {
            self.make_category(name).await?;
        }
        let upload = limit(args.upload_limit, args.upload_limited);
        let download = limit(args.download_limit, args.download_limited);
        let (sequential, queue_position) = (args.sequential_download, args.queue_position);
        let settings = move |settings: &mut TorrentSettings, metainfo: &Metainfo| {
            files.apply(settings, metainfo.info.layout.files.len());
            replace(&mut settings.labels, labels.as_ref());
            replace(&mut settings.group, args.group.as_ref());
            replace(&mut settings.category, args.category.as_ref());
            replace(&mut settings.ratio_mode, modes.0.as_ref());
            replace(&mut settings.ratio, args.seed_ratio_limit.as_ref());
            replace(&mut settings.idle_mode, modes.1.as_ref());
            replace(&mut settings.idle_minutes, args.seed_idle_limit.as_ref());
            settings.peer_limit = args.peer_limit.or(settings.peer_limit);
            if let Some(minutes) = args.seed_minutes {
                settings.seed_minutes = u64::try_from(minutes).ok();
            }
            if let Some(edit) = &edit {
                settings.tiers = Some(edit.apply(settings.tiers.as_ref().unwrap_or(&metainfo.tiers)));
                settings.edited_at = unix_now();
            }
        };
        let settings: Option<TorrentSettingsChange> = Some(Arc::new(settings));
        let change = TorrentChange { upload, download, sequential, settings, ..TorrentChange::default() };
        self.carry_out(hashes(&torrents), TorrentCommand::Change(change)).await?;
        if let Some(place) = queue_position {
            let to = TorrentCommand::MoveInQueue(QueueMove::To(place));
            self.carry_out(hashes(&torrents), to).await?;
        }
        if let Some(location) = location {
            let work = TorrentCommand::Handle(FileWork::Move(location));
            self.carry_out(hashes(&torrents), work).await?;
        }
        empty()
    }

    /// Makes a category when there is none of this name.
    pub(super) async fn make_category(&self, name: &str) -> Result<(), MethodError> {
        if name.contains(['\\', '\0']) || name.contains("//") || name.len() > NAME_BYTES_MAX {
            return Err(ArgumentError::CategoryName.into());
        }
        let snapshot = self.handle.snapshot();
        if snapshot.settings.categories.contains_key(name) {
            return Ok(());
        }
        if snapshot.settings.categories.len() >= NAMES_MAX {
            return Err(LimitReached::Categories.into());
        }
        let name = name.to_owned();
        let change =
            move |settings: &mut SessionSettings| _ = settings.categories.entry(name.clone()).or_default();
        let change = EngineChange { settings: Some(Arc::new(change)), ..EngineChange::default() };
        Ok(self.handle.change_engine(change).await?)
    }
}

/// How much files are wanted, as lists of indexes; an empty list means all.
#[derive(Clone, Default)]
pub(super) struct FileLists([Option<Vec<usize>>; 5]);

type FileChange = fn(&mut FilePriority);

/// What each list does, in the order in which Transmission does it.
const FILE_CHANGES: [FileChange; 5] = [
    |file| file.wanted = false,
    |file| file.wanted = true,
    |file| file.priority = 1,
    |file| file.priority = -1,
    |file| file.priority = 0,
];

impl FileLists {
    fn of_set(args: &SetArgs) -> Self {
        let lists = [
            &args.files_unwanted,
            &args.files_wanted,
            &args.priority_high,
            &args.priority_low,
            &args.priority_normal,
        ];
        Self(lists.map(Clone::clone))
    }

    pub(super) fn of_add(args: &AddArgs) -> Self {
        let lists = [
            &args.files_unwanted,
            &args.files_wanted,
            &args.priority_high,
            &args.priority_low,
            &args.priority_normal,
        ];
        Self(lists.map(Clone::clone))
    }

    /// Whether all indexes are files of the torrent.
    pub(super) fn check(&self, count: usize) -> Result<(), MethodError> {
        match self.0.iter().flatten().flatten().find(|index| **index >= count) {
            Some(index) => Err(MethodError::FileOutOfRange { index: *index, count }),
            None => Ok(()),
        }
    }

    pub(super) fn apply(&self, settings: &mut TorrentSettings, count: usize) {
        for (list, change) in self.0.iter().zip(FILE_CHANGES) {
            if let Some(indexes) = list {
                settings.set_files(count, indexes, change);
            }
        }
    }
}

pub(super) fn limit(kilobytes: Option<u64>, on: Option<bool>) -> LimitChange {
    LimitChange { rate: kilobytes.map(|rate| rate.saturating_mul(1000)), on }
}

fn replace<T: Clone>(place: &mut T, with: Option<&T>) {
    if let Some(with) = with {
        place.clone_from(with);
    }
}

fn mode(mode: Option<u8>) -> Result<Option<ShareLimitMode>, ArgumentError> {
    match mode {
        None => Ok(None),
        Some(0) => Ok(Some(ShareLimitMode::Session)),
        Some(1) => Ok(Some(ShareLimitMode::Own)),
        Some(2) => Ok(Some(ShareLimitMode::Never)),
        Some(other) => Err(ArgumentError::Mode(other)),
    }
}

/// A wish that is not granted is said, so that nobody takes it for granted.
fn refuse_others(other: &Map<String, Value>) -> Result<(), Unsupported> {
    match other.keys().next() {
        Some(name) => Err(Unsupported::Setting(name.clone())),
        None => Ok(()),
    }
}
