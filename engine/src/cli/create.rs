//! `create`: makes a torrent of a file or directory.

use super::args::{Create, Output, PieceSize};
use super::failure::{Failure, io_reason};
use super::quantity::{printable, size};
use super::signals::Stop;
use super::torrent_file::Target;
use super::work_bar::WorkBar;
use super::{remote, screen, show};
use ringseed_create::{self as create, Content, ContentFile, CreateFailure};
use ringseed_proto::create::{CreateError, CreateOptions};
use ringseed_proto::layout::LayoutError;
use ringseed_proto::limits::URL_BYTES_MAX;
use ringseed_proto::metainfo::Metainfo;
use std::path::Path;
use std::time::SystemTime;

/// Runs the command.
pub fn run(args: &Create, output: &Output) -> Result<(), Failure> {
    let stop = Stop::install()?;
    let options = CreateOptions {
        tiers: tiers(&args.tracker)?,
        web_seeds: args.web_seed.clone(),
        private: args.private,
        source: None,
        comment: args.comment.clone(),
        created_by: Some(concat!("ringseed ", env!("CARGO_PKG_VERSION")).into()),
        creation_date: creation_date(args.creation_date),
    };
    for url in &args.web_seed {
        check_url(url, &["http", "https", "ftp"], "--web-seed")?;
    }
    let target = Target::new(&args.output, args.force)?;
    let metainfo = match &args.connect {
        Some(daemon) => remote::create(args, daemon, options, &stop, output.quiet)?,
        None => here(args, options, &stop, output.quiet)?,
    };
    target.write(&metainfo.to_bytes())?;

    let layout = &metainfo.info.layout;
    screen::say(&format!("created {}", args.output.display()));
    screen::say(&format!(
        "content   {}, {} files, {} pieces of {}",
        size(layout.total_length),
        layout.files.len(),
        layout.piece_count(),
        size(layout.piece_length.into())
    ));
    screen::say(&format!("info-hash {}", metainfo.id()));
    screen::say(&format!("magnet    {}", show::magnet(&metainfo)));
    Ok(())
}

/// The torrent of files of this machine.
fn here(args: &Create, options: CreateOptions, stop: &Stop, quiet: bool) -> Result<Metainfo, Failure> {
    let content = Content::find(&args.path)?;
    refuse_own_output(&content, args)?;
    for directory in &content.empty_directories {
        let shown = printable(&directory.to_string_lossy());
        screen::note(&format!(
            "note: {shown} is empty; a torrent cannot hold empty directories, so it is left out"
        ));
    }
    torrent_of(&content, args.piece_size, options, stop, quiet)
}

/// Hashes `content` on all cores and makes its torrent.
pub fn torrent_of(
    content: &Content,
    piece_size: PieceSize,
    options: CreateOptions,
    stop: &Stop,
    quiet: bool,
) -> Result<Metainfo, Failure> {
    let plan = create::plan(content, piece_size.fixed())?;
    let bar = WorkBar::new("hashing", plan.layout().total_length, quiet);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let hashes = create::hash(&plan, content, threads, &|bytes| bar.advance(bytes), &|| stop.requested())?;
    bar.finish();
    Ok(plan.finish(&hashes, options).map_err(CreateFailure::from)?)
}

impl From<CreateFailure> for Failure {
    fn from(failure: CreateFailure) -> Self {
        let shown = |path: &Path| printable(&path.to_string_lossy());
        match failure {
            CreateFailure::PieceLength(_) => Self::usage(format!("--piece-size {failure}")),
            CreateFailure::Plan(CreateError::Layout(LayoutError::PieceLength(_))) => {
                Self::usage(format!("--piece-size: {failure}"))
            }
            CreateFailure::Share { path, error } => {
                Self::failed(format!("cannot share {}: {}", shown(&path), io_reason(&error)))
            }
            CreateFailure::Read { path, error } => {
                Self::failed(format!("cannot read {}: {}", shown(&path), io_reason(&error)))
            }
            other => Self::failed(printable(&other.to_string())),
        }
    }
}

/// Tracker URLs by tier: each argument is a tier, the URLs of one are separated by commas.
fn tiers(arguments: &[String]) -> Result<Vec<Vec<String>>, Failure> {
    let tier = |argument: &String| {
        let urls = argument.split(',').map(str::trim).filter(|url| !url.is_empty());
        urls.map(|url| check_url(url, &["http", "https", "udp"], "--tracker").map(|()| url.to_owned()))
            .collect()
    };
    let tiers: Vec<Vec<String>> = arguments.iter().map(tier).collect::<Result<_, Failure>>()?;
    if tiers.iter().any(Vec::is_empty) {
        return Err(Failure::usage("--tracker needs a URL, such as http://tracker.example:6969/announce"));
    }
    Ok(tiers)
}

/// Refuses what cannot work: no known scheme, no host, more bytes than a URL may have. What a URL may not hold otherwise,
/// such as spaces, is escaped when it is asked.
fn check_url(url: &str, schemes: &[&str], flag: &str) -> Result<(), Failure> {
    let wrong = |reason: &str| Err(Failure::usage(format!("{flag} '{}': {reason}", printable(url))));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong(&format!("this is not a URL; it begins with {}://", schemes.join(":// or ")));
    };
    if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return wrong(&format!("the scheme has to be {}", schemes.join(" or ")));
    }
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if host.is_empty() || host.starts_with(':') || host.contains(char::is_whitespace) {
        return wrong("this is not a URL with a host");
    }
    if url.len() > URL_BYTES_MAX || url.contains(|c: char| c.is_ascii_control()) {
        return wrong(&format!("a URL has up to {URL_BYTES_MAX} bytes and no control characters"));
    }
    Ok(())
}

/// A torrent file that is part of its own content would change it.
fn refuse_own_output(content: &Content, args: &Create) -> Result<(), Failure> {
    let Ok(output) = args.output.canonicalize() else { return Ok(()) };
    let same = |file: &ContentFile| file.source.canonicalize().is_ok_and(|source| source == output);
    if content.files.iter().any(same) {
        return Err(Failure::failed(format!(
            "{} is one of the files to be shared; write the torrent elsewhere",
            args.output.display()
        )));
    }
    Ok(())
}

/// The creation date to write: 0 asks for none, and nothing asked is now.
fn creation_date(asked: Option<u64>) -> Option<u64> {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|since| since.as_secs());
    asked.map_or_else(now, |date| (date > 0).then_some(date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trackers_come_in_tiers() {
        let arguments = ["http://a/announce,udp://b:1/x".to_owned(), "https://c".to_owned()];
        assert_eq!(
            tiers(&arguments),
            Ok(vec![vec!["http://a/announce".into(), "udp://b:1/x".into()], vec!["https://c".into()]])
        );
        let long = format!("http://a/{}", "x".repeat(URL_BYTES_MAX));
        for wrong in [
            "",
            ",",
            "tracker.example",
            "ws://a/",
            "http://",
            "http:///announce",
            "http://a b/",
            "http://a/\nb",
            &long,
        ] {
            assert!(matches!(tiers(&[wrong.to_owned()]), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    /// What can be added to a torrent later can be given to it from the start.
    #[test]
    fn tracker_urls_are_taken_as_they_are_when_trackers_are_edited() {
        for url in ["http://a/x?k=a b", "http://a/\"|{b}^", "HTTP://n:p@a/x", "udp://[::1]:2/x"] {
            assert!(ringseed_proto::tracker::is_announce_url(url));
            assert_eq!(tiers(&[url.to_owned()]), Ok(vec![vec![url.to_owned()]]), "{url}");
        }
    }

    #[test]
    fn zero_is_no_creation_date() {
        assert_eq!(creation_date(Some(0)), None);
        assert_eq!(creation_date(Some(5)), Some(5));
        assert!(creation_date(None) > Some(1_700_000_000));
    }
}
