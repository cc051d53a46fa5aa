//! `torrents/add`.

use super::Reply;
use super::form::Form;
use crate::arguments::{absolute, checked_labels, checked_name};
use crate::names::{ContentLayout, renames};
use crate::server::Server;
use hyper::StatusCode;
use ringseed_announce::{FetchError, FetchRequest, fetch, shown_url};
use ringseed_handle::{AddOutcome, AddTorrent, LimitChange, ShareLimitMode, TorrentChange, TorrentSettings};
use ringseed_proto::limits::TORRENT_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use std::path::PathBuf;
use std::sync::Arc;

/// Where a torrent comes from.
enum Source<'a> {
    File(Vec<u8>),
    Url(&'a str),
}

impl Server {
    /// Adds the torrents of a form; `Ok.` when at least one is new.
    ///
    /// One is read, or fetched, after the other: a list of addresses takes no more memory than its largest torrent.
    pub(super) async fn add_torrents(&self, form: &Form, files: Vec<Vec<u8>>) -> Reply {
        let session = self.handle.snapshot().settings.clone();
        let category = form.get("category").to_owned();
        let data_dir: Option<PathBuf> = match form.given("savepath") {
            Some(path) => match absolute(path) {
                Ok(path) => Some(path),
                Err(why) => return Reply::refused(StatusCode::BAD_REQUEST, &why),
            },
            None => match session.categories.get(&category).filter(|path| !path.is_empty()) {
                Some(path) => Some(path.into()),
                None => session.download_dir.clone().or_else(|| Some(self.info.download_dir.clone())),
            },
        };
        if !category.is_empty()
            && let Err(why) = self.make_category(&category).await
        {
            return Reply::refused(StatusCode::BAD_REQUEST, &why);
        }
        let labels = match checked_labels(&form.list("tags", ',')) {
            Ok(labels) => labels,
            Err(why) => return Reply::refused(StatusCode::BAD_REQUEST, &why),
        };
        let name = match checked_name(form.get("rename")) {
            Ok(name) => name,
            Err(why) => return Reply::refused(StatusCode::BAD_REQUEST, &why),
        };
        let mut settings =
            TorrentSettings { labels, category, name: name.clone(), ..TorrentSettings::default() };
        limit(
            &mut settings,
            form.number("ratioLimit"),
            form.number("seedingTimeLimit"),
            form.number("inactiveSeedingTimeLimit"),
        );
        let content_layout = content_layout(form);
        let paused = form.flag("stopped").or(form.flag("paused")).unwrap_or(!session.start_added);
        let urls = form.get("urls").lines().map(str::trim).filter(|url| !url.is_empty());
        let (mut added, mut refused) = (false, None);
        for source in files.into_iter().map(Source::File).chain(urls.map(Source::Url)) {
            let file = match source {
                Source::File(file) => file,
                Source::Url(url) => match self.fetch_torrent(url, form.given("cookie")).await {
                    Ok(file) => file,
                    Err(why) => {
                        tracing::warn!(url = shown_url(url), %why, "cannot fetch a torrent");
                        continue;
                    }
                },
            };
            let parsed = tokio::task::spawn_blocking(move || Metainfo::parse(&file)).await;
            let Ok(Ok(metainfo)) = parsed else {
                return Reply::Refused(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "a torrent file is not valid".into(),
                );
            };
            let metainfo = Arc::new(metainfo);
            let layout = &metainfo.info.layout;
            settings.renames = match renames(layout, &content_layout.names(layout)) {
                Ok(renames) => renames,
                Err(why) => {
                    refused = Some(why.to_string());
                    continue;
                }
            };
            // It keeps the name that it has in its file.
            if name.is_empty() {
                settings.name = match settings.renames.is_empty() {
                    true => String::new(),
                    false => metainfo.info.name.clone(),
                };
            }
            let torrent = AddTorrent {
                data_dir: data_dir.clone(),
                paused,
                sequential: form.flag("sequentialDownload") == Some(true),
                settings: settings.clone(),
                ..AddTorrent::new(metainfo.clone())
            };
            match self.handle.add(torrent).await {
                Ok(AddOutcome::Added(_)) => added = true,
                Ok(AddOutcome::Duplicate(_)) => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot add a torrent");
                    refused = Some(error.to_string());
                    continue;
                }
            }
            let rate = |name: &str| match form.number::<u64>(name) {
                Some(rate @ 1..) => LimitChange { rate: Some(rate), on: Some(true) },
                _ => LimitChange::default(),
            };
            let change = TorrentChange {
                upload: rate("upLimit"),
                download: rate("dlLimit"),
                ..TorrentChange::default()
            };
            if let Err(error) = self.handle.change_torrent(metainfo.id(), change).await {
                tracing::warn!(%error, "cannot limit an added torrent");
            }
        }
        match (added, refused) {
            (true, _) => Reply::Text("Ok.".into()),
            (false, Some(why)) => Reply::Refused(StatusCode::CONFLICT, why),
            (false, None) => Reply::Text("Fails.".into()),
        }
    }

    async fn fetch_torrent(&self, url: &str, cookies: Option<&str>) -> Result<Vec<u8>, FetchError> {
        let (local, route, trust) = (self.info.fetch_local, &self.info.route, &self.info.trust);
        fetch(&FetchRequest { url, cookies, local, route, trust, bytes_max: TORRENT_BYTES_MAX }).await
    }
}

/// How the files are to lie; `root_folder` is how older clients say it.
fn content_layout(form: &Form) -> ContentLayout {
    match (form.get("contentLayout"), form.flag("root_folder")) {
        ("Subfolder", _) => ContentLayout::Subfolder,
        ("NoSubfolder", _) | ("", Some(false)) => ContentLayout::NoSubfolder,
        _ => ContentLayout::Original,
    }
}

/// Sets goals as qBittorrent writes them: -2 the session's, -1 none.
pub(super) fn limit(
    settings: &mut TorrentSettings,
    ratio: Option<f64>,
    minutes: Option<i64>,
    idle: Option<i64>,
) {
    match ratio {
        Some(ratio) if ratio >= 0.0 && ratio.is_finite() => {
            (settings.ratio_mode, settings.ratio) = (ShareLimitMode::Own, ratio)
        }
        Some(-1.0) => settings.ratio_mode = ShareLimitMode::Never,
        Some(_) => settings.ratio_mode = ShareLimitMode::Session,
        None => {}
    }
    if let Some(minutes) = minutes {
        settings.seed_minutes = u64::try_from(minutes).ok();
        settings.seed_time_never = minutes == -1;
    }
    match idle {
        Some(minutes @ 0..) => {
            (settings.idle_mode, settings.idle_minutes) =
                (ShareLimitMode::Own, u32::try_from(minutes).unwrap_or(u32::MAX));
        }
        Some(-1) => settings.idle_mode = ShareLimitMode::Never,
        Some(_) => settings.idle_mode = ShareLimitMode::Session,
        None => {}
    }
}
