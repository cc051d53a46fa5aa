//! What changes torrents, categories and tags.

use super::Reply;
use super::add::limit;
use super::form::Form;
use crate::control::rpc::limits::{LABELS_MAX, NAME_BYTES_MAX, NAMES_MAX};
use crate::control::rpc::server::Server;
use crate::control::rpc::set::{absolute, checked_labels, checked_name, settle};
use crate::control::rpc::trackers::Edit;
use crate::control::torrent::unix_now;
use crate::control::{
    EngineChange, EngineError, FileWork, LimitChange, QueueMove, Rename, SessionSettings, TorrentChange,
    Wishes,
};
use hyper::StatusCode;
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
            "torrents/stop" | "torrents/pause" => {
                self.each(form, async |hash| self.handle.pause(hash).await).await
            }
            "torrents/start" | "torrents/resume" => {
                self.each(form, async |hash| self.handle.resume(hash).await).await
            }
            "torrents/setForceStart" => match form.flag("value") {
                Some(true) => self.each(form, async |hash| self.handle.resume_now(hash).await).await,
                _ => {
                    self.each(form, async |hash| {
                        let change = TorrentChange { in_turn: true, ..TorrentChange::default() };
                        self.handle.change_torrent(hash, change).await?;
                        self.handle.resume(hash).await
                    })
                    .await
                }
            },
            "torrents/recheck" => self.each(form, async |hash| self.handle.verify(hash).await).await,
            "torrents/reannounce" => self.each(form, async |hash| self.handle.reannounce(hash).await).await,
            "torrents/delete" => match form.flag("deleteFiles") {
                Some(true) => self.each(form, async |hash| self.handle.remove_with_data(hash).await).await,
                _ => self.each(form, async |hash| self.handle.remove(hash).await).await,
            },
            "torrents/topPrio" => self.queue_to(form, QueueMove::Top).await,
            "torrents/bottomPrio" => self.queue_to(form, QueueMove::Bottom).await,
            "torrents/increasePrio" => self.queue_to(form, QueueMove::Up).await,
            "torrents/decreasePrio" => self.queue_to(form, QueueMove::Down).await,
            "torrents/setLocation" => match absolute(form.get("location")) {
                Ok(to) => {
                    let work = FileWork::Move(to);
                    self.each(form, async |hash| self.handle.handle_files(hash, work.clone()).await).await
                }
                Err(why) => Reply::Refused(StatusCode::BAD_REQUEST, why),
            },
            "torrents/rename" => match checked_name(form.get("name")) {
                Ok(name) if name.is_empty() => {
                    Reply::Refused(StatusCode::CONFLICT, "Incorrect torrent name".into())
                }
                Ok(name) => self.show_as(form, name).await,
                Err(why) => Reply::Refused(StatusCode::CONFLICT, why),
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
                self.wish(form, move |wishes| wishes.category.clone_from(&category)).await
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
                let uses = self.handle.snapshot();
                for torrent in uses.torrents.iter().filter(|torrent| gone.contains(&torrent.wishes.category))
                {
                    let change = wishes(|wishes: &mut Wishes| wishes.category.clear());
                    let _ = self.handle.change_torrent(torrent.info_hash(), change).await;
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
                    return Reply::Refused(StatusCode::CONFLICT, why);
                }
                let kept = tags.clone();
                let result = self.settings(move |settings| {
                    settings.tags.extend(kept.iter().cloned());
                    settings.tags.sort_unstable();
                    settings.tags.dedup();
                });
                match (path, result.await) {
                    ("torrents/addTags", Reply::Text(_)) => {
                        self.wish(form, move |wishes| {
                            let new: Vec<_> =
                                tags.iter().filter(|tag| !wishes.labels.contains(tag)).cloned().collect();
                            wishes.labels.extend(new);
                        })
                        .await
                    }
                    (_, reply) => reply,
                }
            }
            "torrents/setTags" => match checked_labels(&form.list("tags", ',')) {
                Ok(tags) => self.wish(form, move |wishes| wishes.labels.clone_from(&tags)).await,
                Err(why) => Reply::Refused(StatusCode::BAD_REQUEST, why),
            },
            "torrents/removeTags" => {
                let tags: HashSet<_> = form.list("tags", ',').into_iter().collect();
                self.wish(form, move |wishes| {
                    wishes.labels.retain(|label| !tags.is_empty() && !tags.contains(label))
                })
                .await
            }
            "torrents/deleteTags" => {
                let tags: HashSet<_> = form.list("tags", ',').into_iter().collect();
                let snapshot = self.handle.snapshot();
                for torrent in &snapshot.torrents {
                    if torrent.wishes.labels.iter().any(|label| tags.contains(label)) {
                        let tags = tags.clone();
                        let change =
                            wishes(move |wishes| wishes.labels.retain(|label| !tags.contains(label)));
                        let _ = self.handle.change_torrent(torrent.info_hash(), change).await;
                    }
                }
                self.settings(move |settings| settings.tags.retain(|tag| !tags.contains(tag))).await
            }
            "torrents/setShareLimits" => {
                let (ratio, minutes) = (form.number("ratioLimit"), form.number("seedingTimeLimit"));
                let idle = form.number("inactiveSeedingTimeLimit");
                self.wish(form, move |wishes| limit(wishes, ratio, minutes, idle)).await
            }
            "torrents/setUploadLimit" | "torrents/setDownloadLimit" => {
                let rate = rate(form);
                let change = match path.ends_with("setUploadLimit") {
                    true => TorrentChange { upload: rate, ..TorrentChange::default() },
                    false => TorrentChange { download: rate, ..TorrentChange::default() },
                };
                self.each(form, async |hash| self.handle.change_torrent(hash, change.clone()).await).await
            }
            "torrents/toggleSequentialDownload" => {
                let snapshot = self.handle.snapshot();
                self.each(form, async |hash| {
                    let torrent = snapshot.torrents.iter().find(|torrent| torrent.info_hash() == hash);
                    let sequential = torrent.map(|torrent| !torrent.sequential);
                    self.handle
                        .change_torrent(hash, TorrentChange { sequential, ..TorrentChange::default() })
                        .await
                })
                .await
            }
            "torrents/filePrio" => self.file_priority(form).await,
            "torrents/addTrackers" => match Edit::adding(form.list("urls", '\n')) {
                Ok(edit) => self.edit_trackers(form, |_| edit.clone()).await,
                Err(why) => Reply::Refused(StatusCode::BAD_REQUEST, why),
            },
            "torrents/removeTrackers" => {
                let urls = form.list("urls", '|');
                self.edit_trackers(form, |tiers| Edit::removing(tiers, &urls)).await
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

    /// Does something to each torrent that a form names.
    async fn each(
        &self,
        form: &Form,
        change: impl AsyncFn(ringseed_proto::units::InfoHash) -> Result<(), crate::control::EngineError>,
    ) -> Reply {
        for hash in self.hashes(form) {
            if let Err(why) = settle(change(hash).await) {
                return Reply::Refused(StatusCode::CONFLICT, why);
            }
        }
        Reply::done()
    }

    /// Whether more tags fit into the session, and into the torrents that a form names when they are `added` to those.
    fn has_room_for(&self, tags: &[String], form: &Form, added: bool) -> Result<(), String> {
        let snapshot = self.handle.snapshot();
        let more = |known: &[String]| known.len() + tags.iter().filter(|tag| !known.contains(tag)).count();
        if more(&snapshot.settings.tags) > NAMES_MAX {
            return Err(format!("there are {NAMES_MAX} tags at most: delete some first"));
        }
        let named: HashSet<_> = if added { self.hashes(form).into_iter().collect() } else { HashSet::new() };
        let mut torrents = snapshot.torrents.iter().filter(|torrent| named.contains(&torrent.info_hash()));
        match torrents.any(|torrent| more(&torrent.wishes.labels) > LABELS_MAX) {
            true => Err(format!("a torrent has at most {LABELS_MAX} tags")),
            false => Ok(()),
        }
    }

    async fn wish(&self, form: &Form, change: impl Fn(&mut Wishes) + Send + Sync + 'static) -> Reply {
        let change = wishes(change);
        self.each(form, async |hash| self.handle.change_torrent(hash, change.clone()).await).await
    }

    async fn settings(&self, change: impl Fn(&mut SessionSettings) + Send + Sync + 'static) -> Reply {
        self.engine(EngineChange { settings: Some(Arc::new(change)), ..EngineChange::default() }).await
    }

    async fn engine(&self, change: EngineChange) -> Reply {
        Reply::of(self.handle.change_engine(change).await.map_err(|error| error.to_string()))
    }

    async fn queue_to(&self, form: &Form, to: QueueMove) -> Reply {
        Reply::of(settle(self.handle.move_in_queue(self.hashes(form), to).await))
    }

    /// Gives a torrent a name that it is shown by.
    async fn show_as(&self, form: &Form, name: String) -> Reply {
        let change = wishes(move |wishes| wishes.name.clone_from(&name));
        match form.get("hash").parse() {
            Ok(hash) => match self.handle.change_torrent(hash, change).await {
                Err(EngineError::UnknownTorrent(_)) => {
                    Reply::Refused(StatusCode::NOT_FOUND, "there is no such torrent".into())
                }
                result => Reply::of(settle(result)),
            },
            Err(_) => Reply::Refused(StatusCode::NOT_FOUND, "there is no such torrent".into()),
        }
    }

    async fn rename(&self, form: &Form, rename: Rename) -> Reply {
        let snapshot = self.handle.snapshot();
        let hash = form.get("hash").parse().ok();
        let Some(torrent) = snapshot.torrents.iter().find(|torrent| Some(torrent.info_hash()) == hash) else {
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
        Reply::of(settle(self.handle.handle_files(torrent.info_hash(), FileWork::Rename(rename)).await))
    }

    async fn file_priority(&self, form: &Form) -> Reply {
        let snapshot = self.handle.snapshot();
        let hash = form.get("hash").parse().ok();
        let Some(torrent) = snapshot.torrents.iter().find(|torrent| Some(torrent.info_hash()) == hash) else {
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
        let change = wishes(move |wishes| {
            wishes.set_files(count, &ids, |file| (file.wanted, file.priority) = (wanted, priority));
        });
        Reply::of(settle(self.handle.change_torrent(torrent.info_hash(), change).await))
    }

    async fn edit_trackers(&self, form: &Form, edit: impl Fn(&[Vec<String>]) -> Edit) -> Reply {
        let snapshot = self.handle.snapshot();
        let named: HashSet<_> = self.hashes(form).into_iter().collect();
        for torrent in snapshot.torrents.iter().filter(|torrent| named.contains(&torrent.info_hash())) {
            let edit = edit(torrent.tiers());
            if let Err(why) = edit.check(torrent.tiers()) {
                return Reply::Refused(StatusCode::CONFLICT, why);
            }
            let metainfo = torrent.metainfo.clone();
            let change = wishes(move |wishes| {
                wishes.tiers = Some(edit.apply(wishes.tiers.as_ref().unwrap_or(&metainfo.tiers)));
                wishes.edited_at = unix_now();
            });
            if let Err(why) = settle(self.handle.change_torrent(torrent.info_hash(), change).await) {
                return Reply::Refused(StatusCode::CONFLICT, why);
            }
        }
        Reply::done()
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

fn wishes(change: impl Fn(&mut Wishes) + Send + Sync + 'static) -> TorrentChange {
    TorrentChange { wishes: Some(Arc::new(change)), ..TorrentChange::default() }
}

/// A limit in bytes per second; 0 is none.
fn rate(form: &Form) -> LimitChange {
    match form.number::<u64>("limit") {
        Some(rate @ 1..) => LimitChange { rate: Some(rate), on: Some(true) },
        _ => LimitChange { rate: None, on: Some(false) },
    }
}
