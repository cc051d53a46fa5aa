//! What changes torrents, categories and tags.

use super::Reply;
use super::add::limit;
use super::form::Form;
use crate::arguments::{absolute, checked_labels, checked_name};
use crate::error::LimitReached;
use crate::limits::{LABELS_MAX, NAME_BYTES_MAX, NAMES_MAX};
use crate::server::Server;
use crate::trackers::Edit;
use hyper::StatusCode;
use ringseed_handle::unix_now;
use ringseed_handle::{
    EngineChange, EngineError, FileWork, LimitChange, QueueMove, Rename, SessionSettings, TorrentChange,
    TorrentCommand, TorrentSettings, TorrentStatus,
};
use ringseed_proto::hashes::TorrentId;
use ringseed_proto::metainfo::Metainfo;
use std::collections::HashSet;
use std::sync::Arc;

impl Server {
    /// Answers a method that changes something.
    pub(super) async fn change_method(&self, path: &str, form: &Form) -> Reply {
        let alt = |on: fn(bool) -> bool| {
            self.settings(move |settings| settings.alt_speed.on = on(settings.alt_speed.on))
        };
        match path {
            "app/setPreferences" => self.set_preferences(form).await,
            "torrents/stop" | "torrents/pause" => self.each(form, TorrentCommand::Pause).await,
            "torrents/start" | "torrents/resume" => {
                self.each(form, TorrentCommand::Resume { now: false }).await
            }
            "torrents/setForceStart" => match form.flag("value") {
                Some(true) => self.each(form, TorrentCommand::Resume { now: true }).await,
                _ => {
                    let change = TorrentChange { in_turn: true, ..TorrentChange::default() };
                    match self.each(form, TorrentCommand::Change(change)).await {
                        Reply::Text(_) => self.each(form, TorrentCommand::Resume { now: false }).await,
                        refused => refused,
                    }
                }
            },
            "torrents/recheck" => self.each(form, TorrentCommand::Verify).await,
            "torrents/reannounce" => self.each(form, TorrentCommand::Reannounce).await,
            "torrents/delete" => {
                let delete = form.flag("deleteFiles") == Some(true);
                self.each(form, TorrentCommand::Remove { delete }).await
            }
            "torrents/topPrio" => self.queue_to(form, QueueMove::Top).await,
            "torrents/bottomPrio" => self.queue_to(form, QueueMove::Bottom).await,
            "torrents/increasePrio" => self.queue_to(form, QueueMove::Up).await,
            "torrents/decreasePrio" => self.queue_to(form, QueueMove::Down).await,
            "torrents/setLocation" => match absolute(form.get("location")) {
                Ok(to) => self.each(form, TorrentCommand::Handle(FileWork::Move(to))).await,
                Err(why) => Reply::refused(StatusCode::BAD_REQUEST, &why),
            },
            "torrents/rename" => match checked_name(form.get("name")) {
                Ok(name) if name.is_empty() => {
                    Reply::Refused(StatusCode::CONFLICT, "Incorrect torrent name".into())
                }
                Ok(name) => self.show_as(form, name).await,
                Err(why) => Reply::refused(StatusCode::CONFLICT, &why),
            },
            "torrents/renameFile" | "torrents/renameFolder" => {
                let rename = Rename { from: form.get("oldPath").into(), to: form.get("newPath").into() };
                self.rename(form, rename).await
            }
            "torrents/setCategory" => {
                let category = form.get("category").to_owned();
                let known = self.handle.snapshot().settings.categories.contains_key(&category);
                if !category.is_empty() && !known {
                    return Reply::Refused(StatusCode::CONFLICT, "Incorrect category name".into());
                }
                self.wish(form, move |settings| settings.category.clone_from(&category)).await
            }
            "torrents/createCategory" | "torrents/editCategory" => {
                let (name, dir) = (form.get("category").to_owned(), form.get("savePath").to_owned());
                let long = name.len() > NAME_BYTES_MAX;
                if name.is_empty() || long || name.contains(['\\', '\0']) || name.contains("//") {
                    return Reply::Refused(StatusCode::BAD_REQUEST, "Incorrect category name".into());
                }
                if !dir.is_empty() && absolute(&dir).is_err() {
                    return Reply::Refused(StatusCode::BAD_REQUEST, "the path is not absolute".into());
                }
                let snapshot = self.handle.snapshot();
                let known = snapshot.settings.categories.contains_key(&name);
                let full = !known && snapshot.settings.categories.len() >= NAMES_MAX;
                if known != path.ends_with("editCategory") || full {
                    return Reply::Refused(StatusCode::CONFLICT, "Unable to create category".into());
                }
                self.settings(move |settings| _ = settings.categories.insert(name.clone(), dir.clone())).await
            }
            "torrents/removeCategories" => {
                let names: HashSet<_> = form.list("categories", '\n').into_iter().collect();
                let gone = names.clone();
                let change = settings(|settings, _| settings.category.clear());
                let uses = self.all_that(|torrent| gone.contains(&torrent.settings.category));
                if let Err(why) = self.carry_out(uses, TorrentCommand::Change(change)).await {
                    return Reply::refused(StatusCode::CONFLICT, &why);
                }
                self.settings(move |settings| settings.categories.retain(|name, _| !names.contains(name)))
                    .await
            }
            "torrents/addTags" | "torrents/createTags" => {
                let tags = match tags(form) {
                    Ok(tags) => tags,
                    Err(reply) => return reply,
                };
                if let Err(why) = self.has_room_for(&tags, form, path == "torrents/addTags") {
                    return Reply::refused(StatusCode::CONFLICT, &why);
                }
                let kept = tags.clone();
                let result = self.settings(move |settings| {
                    settings.tags.extend(kept.iter().cloned());
                    settings.tags.sort_unstable();
                    settings.tags.dedup();
                });
                match (path, result.await) {
                    ("torrents/addTags", Reply::Text(_)) => {
                        self.wish(form, move |settings| {
                            let new: Vec<_> =
                                tags.iter().filter(|tag| !settings.labels.contains(tag)).cloned().collect();
                            settings.labels.extend(new);
                        })
                        .await
                    }
                    (_, reply) => reply,
                }
            }
            "torrents/setTags" => match checked_labels(&form.list("tags", ',')) {
                Ok(tags) => self.wish(form, move |settings| settings.labels.clone_from(&tags)).await,
                Err(why) => Reply::refused(StatusCode::BAD_REQUEST, &why),
            },
            "torrents/removeTags" => {
                let tags: HashSet<_> = form.list("tags", ',').into_iter().collect();
                self.wish(form, move |settings| {
                    settings.labels.retain(|label| !tags.is_empty() && !tags.contains(label))
                })
                .await
            }
            "torrents/deleteTags" => {
                let tags: HashSet<_> = form.list("tags", ',').into_iter().collect();
                let uses =
                    self.all_that(|torrent| torrent.settings.labels.iter().any(|tag| tags.contains(tag)));
                let gone = tags.clone();
                let change =
                    settings(move |settings, _| settings.labels.retain(|label| !gone.contains(label)));
                if let Err(why) = self.carry_out(uses, TorrentCommand::Change(change)).await {
                    return Reply::refused(StatusCode::CONFLICT, &why);
                }
                self.settings(move |settings| settings.tags.retain(|tag| !tags.contains(tag))).await
            }
            "torrents/setShareLimits" => {
                let (ratio, minutes) = (form.number("ratioLimit"), form.number("seedingTimeLimit"));
                let idle = form.number("inactiveSeedingTimeLimit");
                self.wish(form, move |settings| limit(settings, ratio, minutes, idle)).await
            }
            "torrents/setUploadLimit" | "torrents/setDownloadLimit" => {
                let rate = rate(form);
                let change = match path.ends_with("setUploadLimit") {
                    true => TorrentChange { upload: rate, ..TorrentChange::default() },
                    false => TorrentChange { download: rate, ..TorrentChange::default() },
                };
                self.each(form, TorrentCommand::Change(change)).await
            }
            "torrents/toggleSequentialDownload" => {
                let snapshot = self.handle.snapshot();
                let named = self.hashes(form).into_iter();
                let (on, off): (Vec<_>, Vec<_>) = named
                    .filter_map(|hash| snapshot.torrents.find(&hash))
                    .partition(|torrent| torrent.sequential);
                for (torrents, sequential) in [(on, Some(false)), (off, Some(true))] {
                    let torrents = torrents.into_iter().map(|torrent| torrent.torrent_id()).collect();
                    let change = TorrentChange { sequential, ..TorrentChange::default() };
                    if let Err(why) = self.carry_out(torrents, TorrentCommand::Change(change)).await {
                        return Reply::refused(StatusCode::CONFLICT, &why);
                    }
                }
                Reply::done()
            }
            "torrents/filePrio" => self.file_priority(form).await,
            "torrents/addTrackers" => match Edit::adding(form.list("urls", '\n')) {
                Ok(edit) => self.edit_trackers(form, move |_| edit.clone()).await,
                Err(why) => Reply::refused(StatusCode::BAD_REQUEST, &why),
            },
            "torrents/removeTrackers" => {
                let urls = form.list("urls", '|');
                self.edit_trackers(form, move |tiers| Edit::removing(tiers, &urls)).await
            }
            "transfer/toggleSpeedLimitsMode" => alt(|on| !on).await,
            "transfer/setSpeedLimitsMode" => match form.get("mode") {
                "1" => alt(|_| true).await,
                _ => alt(|_| false).await,
            },
            "transfer/setUploadLimit" => {
                self.engine(EngineChange { upload: rate(form), ..EngineChange::default() }).await
            }
            "transfer/setDownloadLimit" => {
                self.engine(EngineChange { download: rate(form), ..EngineChange::default() }).await
            }
            // Off is what it always is.
            "torrents/setSuperSeeding" if form.flag("value") == Some(false) => Reply::done(),
            "torrents/setAutoManagement" if form.flag("enable") == Some(false) => Reply::done(),
            "torrents/setSuperSeeding"
            | "torrents/setAutoManagement"
            | "torrents/toggleFirstLastPiecePrio"
            | "torrents/export" => Reply::lacking(path),
            _ => Reply::Refused(StatusCode::NOT_FOUND, "there is no such method".into()),
        }
    }

    /// Carries out a command for the torrents that a form names.
    async fn each(&self, form: &Form, command: TorrentCommand) -> Reply {
        match self.carry_out(self.hashes(form), command).await {
            Ok(()) => Reply::done(),
            Err(why) => Reply::refused(StatusCode::CONFLICT, &why),
        }
    }

    /// The torrents of which something is so.
    fn all_that(&self, is_so: impl Fn(&TorrentStatus) -> bool) -> Vec<TorrentId> {
        let snapshot = self.handle.snapshot();
        let torrents = snapshot.torrents.iter().filter(|torrent| is_so(torrent));
        torrents.map(|torrent| torrent.torrent_id()).collect()
    }

    /// Whether more tags fit into the session, and into the torrents that a form names when they are `added` to those.
    fn has_room_for(&self, tags: &[String], form: &Form, added: bool) -> Result<(), LimitReached> {
        let snapshot = self.handle.snapshot();
        let more = |known: &[String]| known.len() + tags.iter().filter(|tag| !known.contains(tag)).count();
        if more(&snapshot.settings.tags) > NAMES_MAX {
            return Err(LimitReached::Tags);
        }
        let named = if added { self.hashes(form) } else { Vec::new() };
        let mut torrents = named.iter().filter_map(|hash| snapshot.torrents.find(hash));
        match torrents.any(|torrent| more(&torrent.settings.labels) > LABELS_MAX) {
            true => Err(LimitReached::TorrentTags),
            false => Ok(()),
        }
    }

    async fn wish(
        &self,
        form: &Form,
        change: impl Fn(&mut TorrentSettings) + Send + Sync + 'static,
    ) -> Reply {
        self.each(form, TorrentCommand::Change(settings(move |settings, _| change(settings)))).await
    }

    async fn settings(&self, change: impl Fn(&mut SessionSettings) + Send + Sync + 'static) -> Reply {
        self.engine(EngineChange { settings: Some(Arc::new(change)), ..EngineChange::default() }).await
    }

    async fn engine(&self, change: EngineChange) -> Reply {
        Reply::of(self.handle.change_engine(change).await)
    }

    async fn queue_to(&self, form: &Form, to: QueueMove) -> Reply {
        Reply::of(self.carry_out(self.hashes(form), TorrentCommand::MoveInQueue(to)).await)
    }

    /// Gives a torrent a name that it is shown by.
    async fn show_as(&self, form: &Form, name: String) -> Reply {
        let change = settings(move |settings, _| settings.name.clone_from(&name));
        match form.get("hash").parse() {
            Ok(hash) => match self.handle.change_torrent(hash, change).await {
                Err(EngineError::UnknownTorrent(_)) => {
                    Reply::Refused(StatusCode::NOT_FOUND, "there is no such torrent".into())
                }
                result => Reply::of(result),
            },
            Err(_) => Reply::Refused(StatusCode::NOT_FOUND, "there is no such torrent".into()),
        }
    }

    async fn rename(&self, form: &Form, rename: Rename) -> Reply {
        let snapshot = self.handle.snapshot();
        let hash = form.get("hash").parse().ok();
        let Some(torrent) = hash.and_then(|hash| snapshot.torrents.find(&hash)) else {
            return Reply::Refused(StatusCode::NOT_FOUND, "there is no such torrent".into());
        };
        let normal = |path: &str| {
            !path.is_empty()
                && path.len() < ringseed_proto::limits::PATH_BYTES_MAX
                && !path.contains('\0')
                && std::path::Path::new(path)
                    .components()
                    .all(|part| matches!(part, std::path::Component::Normal(name) if name.len() <= 255))
        };
        let files = &torrent.metainfo.info.layout.files;
        let taken = |path: &str| files.iter().any(|file| file.path.starts_with(path));
        if !normal(&rename.from) || !normal(&rename.to) || !taken(&rename.from) {
            return Reply::Refused(StatusCode::BAD_REQUEST, "the path is not one of this torrent".into());
        }
        if rename.to != rename.from
            && !std::path::Path::new(&rename.to).starts_with(&rename.from)
            && taken(&rename.to)
        {
            return Reply::Refused(StatusCode::CONFLICT, "the torrent has something of this name".into());
        }
        let work = TorrentCommand::Handle(FileWork::Rename(rename));
        Reply::of(self.carry_out(vec![torrent.torrent_id()], work).await)
    }

    async fn file_priority(&self, form: &Form) -> Reply {
        let snapshot = self.handle.snapshot();
        let hash = form.get("hash").parse().ok();
        let Some(torrent) = hash.and_then(|hash| snapshot.torrents.find(&hash)) else {
            return Reply::Refused(StatusCode::NOT_FOUND, "there is no such torrent".into());
        };
        let count = torrent.metainfo.info.layout.files.len();
        let ids: Result<Vec<usize>, _> = form.list("id", '|').iter().map(|id| id.parse()).collect();
        let Ok(ids) = ids else { return Reply::Refused(StatusCode::BAD_REQUEST, "an id is a number".into()) };
        let (wanted, priority) = match form.number::<u8>("priority") {
            Some(0) => (false, 0),
            Some(1) => (true, 0),
            Some(6 | 7) => (true, 1),
            _ => return Reply::Refused(StatusCode::BAD_REQUEST, "a priority is 0, 1, 6 or 7".into()),
        };
        if ids.is_empty() || ids.iter().any(|id| *id >= count) {
            return Reply::Refused(StatusCode::CONFLICT, "there is no such file".into());
        }
        let change = settings(move |settings, _| {
            settings.set_files(count, &ids, |file| (file.wanted, file.priority) = (wanted, priority));
        });
        Reply::of(self.carry_out(vec![torrent.torrent_id()], TorrentCommand::Change(change)).await)
    }

    async fn edit_trackers(
        &self,
        form: &Form,
        edit: impl Fn(&[Vec<String>]) -> Edit + Send + Sync + 'static,
    ) -> Reply {
        let snapshot = self.handle.snapshot();
        let named = self.hashes(form);
        let tiers =
            named.iter().filter_map(|hash| snapshot.torrents.find(hash)).map(|torrent| torrent.tiers());
        if let Some(why) = tiers.filter_map(|tiers| edit(tiers).check(tiers).err()).next() {
            return Reply::refused(StatusCode::CONFLICT, &why);
        }
        let change = settings(move |settings, metainfo| {
            let tiers = settings.tiers.as_ref().unwrap_or(&metainfo.tiers);
            settings.tiers = Some(edit(tiers).apply(tiers));
            settings.edited_at = unix_now();
        });
        self.each(form, TorrentCommand::Change(change)).await
    }
}

/// The tags of a form, each once.
fn tags(form: &Form) -> Result<Vec<String>, Reply> {
    let mut seen = HashSet::new();
    let mut tags = form.list("tags", ',');
    tags.retain(|tag| seen.insert(tag.clone()));
    match tags.len() <= NAMES_MAX && tags.iter().all(|tag| tag.len() <= NAME_BYTES_MAX) {
        true => Ok(tags),
        false => {
            let why = format!("at most {NAMES_MAX} tags of {NAME_BYTES_MAX} bytes each");
            Err(Reply::Refused(StatusCode::BAD_REQUEST, why))
        }
    }
}

fn settings(change: impl Fn(&mut TorrentSettings, &Metainfo) + Send + Sync + 'static) -> TorrentChange {
    TorrentChange { settings: Some(Arc::new(change)), ..TorrentChange::default() }
}

/// A limit in bytes per second; 0 is none.
fn rate(form: &Form) -> LimitChange {
    match form.number::<u64>("limit") {
        Some(rate @ 1..) => LimitChange { rate: Some(rate), on: Some(true) },
        _ => LimitChange { rate: None, on: Some(false) },
    }
}
