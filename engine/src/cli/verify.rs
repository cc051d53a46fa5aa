//! `verify`: compares files with their torrent and tells what is right, file by file.

use super::args::{Output, Verify};
use super::failure::Failure;
use super::quantity::{printable, size};
use super::signals::Stop;
use super::work_bar::WorkBar;
use super::{as_found, directory, fetch, screen};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::layout::Layout;
use ringseed_storage::{StoreConfig, StoreLimits, TorrentStore};

/// Runs the command.
pub fn run(args: &Verify, output: &Output) -> Result<(), Failure> {
    let stop = Stop::install()?;
    let metainfo = fetch::torrent_blocking(&args.torrent)?;
    let data_dir = directory(&args.data)?;
    let info = as_found(&metainfo.info, &data_dir);
    let layout = &info.layout;
    let name = printable(&info.name);
    let failed = |reason: String| Failure::failed(format!("cannot verify {name}: {reason}"));
    let limits = StoreLimits::new(&StoreConfig::default());
    let store =
        TorrentStore::open(&data_dir, info.clone(), &limits).map_err(|error| failed(error.to_string()))?;

    let bar = WorkBar::new("verifying", layout.total_length, output.quiet);
    let mut have = Bitfield::new(layout.piece_count());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let verified = store
        .verify_blocking(threads, |piece, good| {
            if good {
                have.set(piece.0);
            }
            bar.advance(layout.piece_len(piece).into());
            !stop.requested()
        })
        .map_err(|error| failed(error.to_string()))?;
    bar.finish();
    let Some(verified) = verified else { return Err(Failure::failed("interrupted")) };

    for line in file_lines(layout, &have) {
        screen::say(&line);
    }
    // Empty files have no pieces that could be wrong, but they can be missing.
    let missing = layout
        .files
        .iter()
        .filter(|file| !file.padding && file.length == 0 && !args.data.join(&file.path).is_file())
        .inspect(|file| screen::say(&format!("missing {} (empty)", printable(&file.path.to_string_lossy()))))
        .count();
    // Right bytes and more behind them: not the file that the torrent has.
    let longer = store.longer_files();
    for (path, more) in &longer {
        let path = path.strip_prefix(store.directory()).unwrap_or(path);
        let path = printable(&path.to_string_lossy());
        screen::say(&format!("longer  {path} is longer than the torrent says by {more} bytes"));
    }
    let all = layout.piece_count();
    screen::say(&format!("{name}: {} of {all} pieces ok, {} bad", verified.good, verified.bad));
    if let Some(error) = verified.unreadable {
        return Err(failed(error.to_string()));
    }
    if verified.good != all || missing > 0 {
        let folder = args.data.display();
        return Err(Failure::failed(format!(
            "{name} is not complete in {folder}; `ringseed get -o {folder}` fetches what is missing"
        )));
    }
    if !longer.is_empty() {
        let (folder, count) = (args.data.display(), longer.len());
        let files = if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") };
        return Err(Failure::failed(format!(
            "{name}: {files} longer than the torrent says; `ringseed get -o {folder}` cuts what is too much"
        )));
    }
    Ok(())
}

/// One line per file that has pieces.
fn file_lines(layout: &Layout, have: &Bitfield) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, file) in layout.files.iter().enumerate().filter(|(_, file)| !file.padding && file.length > 0)
    {
        let pieces = layout.pieces_of_file(index);
        let all = pieces.len();
        let good = pieces.filter(|piece| have.get(*piece)).count();
        let path = printable(&file.path.to_string_lossy());
        let length = size(file.length);
        lines.push(if good == all {
            format!("ok      {path} ({length}, {all} pieces)")
        } else {
            format!("bad     {path} ({length}, {good} of {all} pieces ok, {} bad)", all - good)
        });
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringseed_proto::layout::FileSpec;

    #[test]
    fn each_file_has_a_line_and_padding_none() {
        let spec = |path: &str, length, padding| FileSpec { path: path.into(), length, padding };
        let layout = Layout::new(
            16_384,
            vec![
                spec("t/a", 16_384, false),
                spec("t/b", 20_000, false),
                spec("t/pad", 12_768, true),
                spec("t/c", 5, false),
            ],
        )
        .expect("layout");
        let mut have = Bitfield::new(layout.piece_count());
        for piece in [0, 1, 3] {
            have.set(piece);
        }
        assert_eq!(
            file_lines(&layout, &have),
            [
                "ok      t/a (16.0 KiB, 1 pieces)",
                "bad     t/b (19.5 KiB, 1 of 2 pieces ok, 1 bad)",
                "ok      t/c (5 B, 1 pieces)"
            ]
        );
    }
}
