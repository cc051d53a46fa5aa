//! `create`: makes a torrent of a file or directory.

use super::args::{Create, Output, PieceSize};
use super::content::{self, Content, ContentFile};
use super::failure::{Failure, io_reason};
use super::quantity::{printable, size};
use super::signals::Stop;
use super::torrent_file::Target;
use super::work_bar::WorkBar;
use super::{screen, show};
use ringseed_proto::create::{CreateError, CreateOptions, CreatePlan, PieceHasher};
use ringseed_proto::layout::LayoutError;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::BLOCK_LEN;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::SystemTime;

/// Runs the command.
pub fn run(args: &Create, output: &Output) -> Result<(), Failure> {
    let stop = Stop::install()?;
    let tiers = tiers(&args.tracker)?;
    for url in &args.web_seed {
        check_url(url, &["http", "https", "ftp"], "--web-seed")?;
    }
    let target = Target::new(&args.output, args.force)?;
    let content = content::find(&args.path)?;
    refuse_own_output(&content, args)?;
    for directory in &content.empty_directories {
        let shown = printable(&directory.to_string_lossy());
        screen::note(&format!(
            "note: {shown} is empty; a torrent cannot hold empty directories, so it is left out"
        ));
    }
    let options = CreateOptions {
        tiers,
        web_seeds: args.web_seed.clone(),
        private: args.private,
        source: None,
        comment: args.comment.clone(),
        created_by: Some(concat!("ringseed ", env!("CARGO_PKG_VERSION")).into()),
        creation_date: creation_date(args.creation_date),
    };
    let metainfo = torrent_of(&content, args.piece_size, options, &stop, output.quiet)?;
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
    screen::say(&format!("info-hash {}", metainfo.info_hash));
    screen::say(&format!("magnet    {}", show::magnet(&metainfo)));
    Ok(())
}

/// Hashes `content` on all cores and makes its torrent.
pub fn torrent_of(
    content: &Content,
    piece_size: PieceSize,
    options: CreateOptions,
    stop: &Stop,
    quiet: bool,
) -> Result<Metainfo, Failure> {
    let impossible = |error: CreateError| match error {
        CreateError::Layout(LayoutError::PieceLength(_)) => Failure::usage(format!("--piece-size: {error}")),
        _ => Failure::failed(format!("cannot make the torrent: {error}")),
    };
    let piece_length = match piece_size {
        PieceSize::Auto => None,
        PieceSize::Fixed(length) if length.is_power_of_two() && length >= BLOCK_LEN => Some(length),
        PieceSize::Fixed(length) => {
            return Err(Failure::usage(format!(
                "--piece-size {length}: other clients take powers of two from 16K only, such as 256K or 1M"
            )));
        }
    };
    let plan = plan(content, piece_length).map_err(impossible)?;
    let bar = WorkBar::new("hashing", plan.layout().total_length, quiet);
    let hashes = hash(&plan, content, &bar, stop)?;
    bar.finish();
    if let Some(changed) = content.files.iter().find(|file| !file.is_unchanged()) {
        let shown = printable(&changed.source.to_string_lossy());
        return Err(Failure::failed(format!(
            "{shown} changed while it was hashed; try again when it is finished"
        )));
    }
    plan.finish(&hashes, options).map_err(impossible)
}

fn plan(content: &Content, piece_length: Option<u32>) -> Result<CreatePlan, CreateError> {
    if let [file] = &content.files[..]
        && file.path.components().count() == 1
    {
        return CreatePlan::file(file.path.as_os_str(), file.length, piece_length);
    }
    let name = content.files.first().and_then(|file| file.path.iter().next()).ok_or(CreateError::Empty)?;
    let below = content.files.iter().map(|file| {
        let path = file.path.strip_prefix(name).unwrap_or(&file.path);
        (path.to_owned(), file.length)
    });
    let plan = CreatePlan::folder(name, below, piece_length)?;
    debug_assert!(
        plan.layout().files.iter().zip(&content.files).all(|(planned, file)| planned.path == file.path)
    );
    Ok(plan)
}

/// Bytes that a thread takes at once: seconds of work, so that taking costs nothing, and no long tail.
const RANGE_BYTES: u64 = 32 << 20;

/// The hashes of all pieces, computed on all cores.
fn hash(plan: &CreatePlan, content: &Content, bar: &WorkBar, stop: &Stop) -> Result<Vec<[u8; 20]>, Failure> {
    let ranges: Vec<_> = plan.ranges(RANGE_BYTES).collect();
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(ranges.len());
    let work = || {
        let mut done = Vec::new();
        while let index = next.fetch_add(1, Ordering::Relaxed)
            && let Some(range) = ranges.get(index)
        {
            let mut open = OpenFile::None;
            let read = |file: usize, offset: u64, buffer: &mut [u8]| {
                if stop.requested() || failed.load(Ordering::Relaxed) {
                    return Err(Failure::failed("interrupted"));
                }
                let Some(source) = content.files.get(file) else { return Err(Failure::Reported) };
                open.of(file, source)
                    .and_then(|opened| opened.read_exact_at(buffer, offset))
                    .map_err(|error| unreadable(source, &error))
            };
            let hashed =
                PieceHasher::new(plan.layout()).hash(range.clone(), read, |bytes| bar.advance(bytes));
            done.push((index, hashed.inspect_err(|_| failed.store(true, Ordering::Relaxed))?));
        }
        Ok(done)
    };
    let results: Vec<Result<Vec<_>, Failure>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(Failure::failed("a hashing thread ended unexpectedly")))
        };
        threads.into_iter().map(join).collect()
    });
    // The threads that were called off because of it do not hide the cause.
    let interrupted = Failure::failed("interrupted");
    if let Some(cause) =
        results.iter().position(|result| result.as_ref().is_err_and(|error| *error != interrupted))
    {
        return Err(results.into_iter().nth(cause).and_then(Result::err).unwrap_or(interrupted));
    }
    let mut parts = results.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    parts.sort_unstable_by_key(|(index, _)| *index);
    Ok(parts.into_iter().flat_map(|(_, hashes)| hashes).collect())
}

/// The file that a thread reads, kept open from one read to the next.
enum OpenFile {
    None,
    One { index: usize, file: File },
}

impl OpenFile {
    fn of(&mut self, wanted: usize, source: &ContentFile) -> std::io::Result<&File> {
        if !matches!(self, Self::One { index, .. } if *index == wanted) {
            *self = Self::One { index: wanted, file: File::open(&source.source)? };
        }
        match self {
            Self::One { file, .. } => Ok(file),
            Self::None => Err(ErrorKind::NotFound.into()),
        }
    }
}

fn unreadable(source: &ContentFile, error: &std::io::Error) -> Failure {
    let reason = match error.kind() {
        ErrorKind::UnexpectedEof => "it became shorter while it was hashed".into(),
        _ => io_reason(error),
    };
    Failure::failed(format!("cannot read {}: {reason}", printable(&source.source.to_string_lossy())))
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

/// Refuses what cannot work: no known scheme, no host.
fn check_url(url: &str, schemes: &[&str], flag: &str) -> Result<(), Failure> {
    let wrong = |reason: &str| Err(Failure::usage(format!("{flag} '{}': {reason}", printable(url))));
    let Some((scheme, rest)) = url.split_once("://") else {
        return wrong(&format!("this is not a URL; it begins with {}://", schemes.join(":// or ")));
    };
    if !schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme)) {
        return wrong(&format!("the scheme has to be {}", schemes.join(" or ")));
    }
    if rest.is_empty() || rest.starts_with(['/', ':', '?']) || url.contains(char::is_whitespace) {
        return wrong("this is not a URL with a host");
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
        for wrong in ["", ",", "tracker.example", "ws://a/", "http://", "http:///announce", "http://a b/"] {
            assert!(matches!(tiers(&[wrong.to_owned()]), Err(Failure::Usage(_))), "{wrong}");
        }
    }

    #[test]
    fn zero_is_no_creation_date() {
        assert_eq!(creation_date(Some(0)), None);
        assert_eq!(creation_date(Some(5)), Some(5));
        assert!(creation_date(None) > Some(1_700_000_000));
    }
}
