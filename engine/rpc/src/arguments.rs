//! Arguments that several methods take, and what is wrong with one that cannot be used.

use super::limits::{FIELDS_MAX, LABELS_MAX, NAME_BYTES_MAX};
use ringseed_create::CreateFailure;
use ringseed_proto::limits::PATH_BYTES_MAX;
use std::path::{Component, Path, PathBuf};

/// An argument has a value that it cannot have. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum ArgumentError {
    /// A method that is not meant for all torrents names none.
    #[error("{0} needs ids")]
    NoIds(&'static str),
    /// A form of `torrent-get` that there is not.
    #[error("the format {0:?} is neither objects nor table")]
    Format(String),
    /// More fields than one request may name.
    #[error("a request names at most {FIELDS_MAX} fields")]
    TooManyFields,
    /// A share ratio that is negative or not a number.
    #[error("seedRatioLimit is not a ratio")]
    Ratio,
    /// A mode of encryption that there is not.
    #[error("encryption is tolerated, preferred or required")]
    Encryption,
    /// A mode of a share limit that there is not.
    #[error("a mode is 0, 1 or 2, not {0}")]
    Mode(u8),
    /// A label without a character.
    #[error("labels cannot be empty")]
    EmptyLabel,
    /// A label that clients would take for two.
    #[error("labels cannot contain comma (,) character")]
    CommaInLabel,
    /// A label that is too long.
    #[error("a label has at most {NAME_BYTES_MAX} bytes")]
    LongLabel,
    /// More labels than a torrent may have.
    #[error("a torrent has at most {LABELS_MAX} labels")]
    TooManyLabels,
    /// A name of a torrent that is too long.
    #[error("a name has at most {NAME_BYTES_MAX} bytes")]
    LongName,
    /// A name that no category may have.
    #[error("invalid argument: this is no name of a category")]
    CategoryName,
    /// A name of a group that is too long.
    #[error("invalid argument: the name of a group has at most {NAME_BYTES_MAX} bytes")]
    LongGroupName,
    /// A group without a name.
    #[error("No group name given")]
    NoGroupName,
    /// Groups that are asked for by something else than names.
    #[error("group is a name or a list of names")]
    GroupNames,
    /// What incomplete files carry cannot be at the end of a name.
    #[error("the suffix of incomplete files is no end of a name")]
    PartialSuffix,
    /// A rename of no torrent or of several.
    #[error("torrent-rename-path requires 1 torrent")]
    RenameNeedsOneTorrent,
    /// A new name that no file can have.
    #[error("Invalid argument: the new name is not a name")]
    NotAName,
    /// A path that the torrent does not have.
    #[error("Invalid argument: the torrent has nothing at this path")]
    NothingAtPath,
    /// Something else of the torrent has the new name.
    #[error("File exists: the torrent has something of this name")]
    NameTaken,
    /// A path would become longer than paths may be.
    #[error("File name too long")]
    PathTooLong,
    /// No port to listen on.
    #[error("peer-port is a number from 1 to 65535")]
    Port,
    /// A time of day that there is not.
    #[error("a day has 1440 minutes")]
    TimeOfDay,
    /// A web seed over a protocol that is not spoken.
    #[error("invalid argument: {0:?} is not a URL of http, https or ftp")]
    WebSeed(String),
    /// A path that torrents may not be made of or written to.
    #[error("invalid argument: {0}")]
    CreatePath(CreateFailure),
}

/// Why a path cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    /// It is longer than paths may be.
    #[error("a path has at most {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// It does not begin at the root, or goes up again. What it is, for the user.
    #[error("{0} is not absolute")]
    NotAbsolute(&'static str),
}

/// Labels without blanks around them, each once.
///
/// # Errors
/// For an empty one, for one with a comma (clients join them by it), for a long one, and when there are too many.
pub(super) fn checked_labels(labels: &[String]) -> Result<Vec<String>, ArgumentError> {
    let mut checked: Vec<String> = Vec::new();
    for label in labels.iter().map(|label| label.trim()) {
        if label.is_empty() {
            return Err(ArgumentError::EmptyLabel);
        }
        if label.contains(',') {
            return Err(ArgumentError::CommaInLabel);
        }
        if label.len() > NAME_BYTES_MAX {
            return Err(ArgumentError::LongLabel);
        }
        if checked.iter().all(|other| other != label) {
            if checked.len() == LABELS_MAX {
                return Err(ArgumentError::TooManyLabels);
            }
            checked.push(label.to_owned());
        }
    }
    Ok(checked)
}

/// A name that a torrent is shown by; empty for its own.
pub(super) fn checked_name(name: &str) -> Result<String, ArgumentError> {
    let name = name.trim();
    if name.len() > NAME_BYTES_MAX {
        return Err(ArgumentError::LongName);
    }
    Ok(name.chars().filter(|c| !c.is_control()).collect())
}

/// A directory that a client names as a place for data.
pub(super) fn absolute(path: &str) -> Result<PathBuf, PathError> {
    absolute_as("new location path", path)
}

/// A directory that a client names; `what` it is, for the user.
pub(super) fn absolute_as(what: &'static str, path: &str) -> Result<PathBuf, PathError> {
    let parts = || Path::new(path).components();
    if path.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong);
    }
    if !Path::new(path).is_absolute() || parts().any(|part| part == Component::ParentDir) {
        return Err(PathError::NotAbsolute(what));
    }
    Ok(parts().collect())
}
