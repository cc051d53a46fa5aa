//! Other names that a user gives to files and folders of a torrent.

use ringseed_handle::RenameError;
use ringseed_proto::layout::Layout;
use ringseed_proto::limits::PATH_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use ringseed_storage::{Rename, TorrentSettings, is_partial_name};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Whether a torrent with these files can have this rename.
///
/// # Errors
/// When it has nothing to be renamed, or the new path is not one that its files can have.
pub(super) fn check(layout: &Layout, rename: &Rename) -> Result<(), RenameError> {
    let (from, to) = (Path::new(&rename.from), Path::new(&rename.to));
    let normal = |path: &Path| {
        let mut parts = path.components().peekable();
        parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    let below = |top: &Path| layout.files.iter().any(|file| file.path.starts_with(top));
    if !normal(from) || !below(from) {
        return Err(RenameError::NothingThere(rename.from.clone()));
    }
    if !normal(to) {
        return Err(RenameError::NotAPath(rename.to.clone()));
    }
    if to.starts_with(from) {
        return Err(RenameError::IntoItself { from: rename.from.clone(), to: rename.to.clone() });
    }
    if to.iter().any(|name| is_partial_name(name) && !from.iter().any(|old| old == name)) {
        return Err(RenameError::PartialName(rename.to.clone()));
    }
    // What is renamed does not stand in its own way, as when a file takes the place of the folder that it is in.
    let others = || layout.files.iter().filter(|file| !file.path.starts_with(from));
    if let Some(file) = others().find(|file| file.path.starts_with(to) || to.starts_with(&file.path)) {
        return Err(RenameError::Taken(file.path.clone()));
    }
    let renamed = layout.files.iter().filter_map(|file| after(&file.path, rename));
    if renamed.map(|path| path.as_os_str().len()).max().is_some_and(|longest| longest > PATH_BYTES_MAX) {
        return Err(RenameError::TooLong);
    }
    Ok(())
}

/// The torrent with the names that its files have on disk, and those that the user gave them.
pub(in crate::control) fn renamed(metainfo: Metainfo, settings: &TorrentSettings) -> Metainfo {
    let renames = &settings.renames;
    if renames.is_empty() && !settings.plain_names {
        return metainfo;
    }
    let mut info = (*metainfo.info).clone();
    if settings.plain_names {
        info = info.with_plain_paths();
    }
    let single = info.layout.files.len() == 1 && info.layout.files[0].path == Path::new(&info.name);
    for file in &mut info.layout.files {
        for rename in renames {
            if let Some(path) = after(&file.path, rename) {
                file.path = path;
            }
        }
    }
    let top = info.layout.files.first().and_then(|file| match single {
        true => Some(file.path.as_path()),
        false => file.path.iter().next().map(Path::new),
    });
    if let Some(top) = top {
        info.name = top.to_string_lossy().into_owned();
    }
    Metainfo { info: Arc::new(info), ..metainfo }
}

/// The path of a file after a rename that concerns it.
pub(super) fn after(path: &Path, rename: &Rename) -> Option<PathBuf> {
    let rest = path.strip_prefix(&rename.from).ok()?;
    let to = Path::new(&rename.to);
    Some(if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::layout::FileSpec;

    fn rename(from: &str, to: &str) -> Rename {
        Rename { from: from.into(), to: to.into() }
    }

    #[test]
    fn renames_change_whole_names_only() {
        let path = Path::new("t/sub/a.txt");
        assert_eq!(after(path, &rename("t", "u")), Some("u/sub/a.txt".into()));
        assert_eq!(after(path, &rename("t/sub/a.txt", "t/sub/b")), Some("t/sub/b".into()));
        assert_eq!(after(path, &rename("t/su", "x")), None);
    }

    #[test]
    fn what_cannot_be_is_refused_before_anything_is_touched() {
        let file = |path: &str| FileSpec { path: path.into(), length: 3, padding: false };
        let layout = Layout::new(16384, vec![file("t/a/x"), file("t/b")]).unwrap();
        let check =
            |from: &str, to: &str| check(&layout, &rename(from, to)).map_err(|error| error.to_string());
        for (from, to) in [("t/a", "t/c"), ("t/b", "u/v/b"), ("t", "u"), ("t/a/x", "t/x")] {
            assert_eq!(check(from, to), Ok(()), "{from} {to}");
        }
        for (from, to, why) in [
            ("t/a", "t/a/b", "into itself"),
            ("t", "t/t", "into itself"),
            ("t/b", "t/b/b", "into itself"),
            ("t/b", "t/a/x", "already"),
            ("t/b", "t/a", "already"),
            ("t/a", "t/b/a", "already"),
            ("t/none", "t/c", "nothing at"),
            ("t/b", "../b", "ordinary"),
            ("t/b", "/b", "ordinary"),
            ("t/b", "", "ordinary"),
            ("t/b", "t/b.part", "incomplete"),
        ] {
            assert!(check(from, to).unwrap_err().contains(why), "{from} {to}: {:?}", check(from, to));
        }
    }
}
