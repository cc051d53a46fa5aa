//! What libtorrent says of odd torrents, and what this crate says of them.

use std::os::unix::ffi::OsStrExt;

use super::*;

const NAMES: &str = include_str!("names_of_libtorrent.txt");

/// Bytes from their form in the table.
fn decode(text: &str) -> Vec<u8> {
    if text == "%" {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        rest = more;
        if first == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).unwrap();
            out.push(u8::from_str_radix(digits, 16).unwrap());
            rest = &rest[2..];
        } else {
            out.push(first);
        }
    }
    out
}

/// An `info` dictionary of files of one byte each; `None` for a single file.
fn info_of(name: &[u8], files: Option<&[Vec<Vec<u8>>]>) -> Vec<u8> {
    let mut out = b"d".to_vec();
    match files {
        Some(files) => {
            out.extend_from_slice(b"5:filesl");
            for path in files {
                out.extend_from_slice(b"d6:lengthi1e4:pathl");
                path.iter().for_each(|name| put_bytes(&mut out, name));
                out.extend_from_slice(b"ee");
            }
            out.push(b'e');
        }
        None => out.extend_from_slice(b"6:lengthi1e"),
    }
    out.extend_from_slice(b"4:name");
    put_bytes(&mut out, name);
    out.extend_from_slice(b"12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
    out
}

#[test]
fn files_have_the_names_that_libtorrent_gives_them() {
    let mut count = 0;
    for line in NAMES.lines().filter(|line| !line.starts_with('#')) {
        let (torrent, on_disk) = line.split_once(" = ").unwrap();
        let mut words = torrent.split(' ');
        let name = decode(words.next().unwrap());
        let files: Vec<Vec<Vec<u8>>> = words.map(|path| path.split('/').map(decode).collect()).collect();
        let info = Info::parse(&info_of(&name, (!files.is_empty()).then_some(&files))).unwrap();
        let expected: Vec<Vec<u8>> = on_disk
            .split(' ')
            .map(|path| path.split('/').map(decode).collect::<Vec<_>>().join(&b'/'))
            .collect();
        let found: Vec<&[u8]> =
            info.layout.files.iter().map(|file| file.path.as_os_str().as_bytes()).collect();
        assert_eq!(found, expected, "{line}");
        count += 1;
    }
    assert!(count >= 700, "{count} torrents");
}

/// An `info` dictionary with these files, each with its whole dictionary, and as many hashes as `bytes` need.
fn info_with(before: &str, files: &[&str], bytes: usize) -> Vec<u8> {
    let hashes = bytes.div_ceil(16384) * 20;
    let files = files.concat();
    let list = if files.is_empty() { String::new() } else { format!("5:filesl{files}e") };
    let text = format!("d{before}{list}12:meta versioni2e4:name1:t12:piece lengthi16384e6:pieces{hashes}:");
    let text = if before.contains("file tree") { text } else { text.replace("12:meta versioni2e", "") };
    [text.as_bytes(), &vec![b'h'; hashes], b"e"].concat()
}

#[test]
fn links_have_no_bytes_whatever_their_length_says() {
    for length in ["", "6:lengthi0e", "6:lengthi50000e", "6:lengthi-5e"] {
        let link = format!("d4:attr1:l{length}4:pathl1:le12:symlink pathl1:xee");
        let info = Info::parse(&info_with("", &["d6:lengthi1e4:pathl1:xee", &link], 1)).unwrap();
        let [file, link] = &info.layout.files[..] else { panic!("{length}") };
        assert_eq!((file.length, link.length, link.padding), (1, 0, true), "{length}: it is never made");
        // With bytes of its own the hashes would be too few.
        let without_target = format!("d4:attr1:l{length}4:pathl1:lee");
        let info = Info::parse(&info_with("", &["d6:lengthi1e4:pathl1:xee", &without_target], 1)).unwrap();
        assert_eq!((info.layout.files[1].length, info.layout.files[1].padding), (0, false), "an empty file");
    }
    let only = info_with("", &["d4:attr1:l4:pathl1:le12:symlink pathl1:xee"], 0);
    assert_eq!(Info::parse(&only), Err(MetainfoError::NoContent));
}

#[test]
fn torrents_without_bytes_are_refused() {
    for files in
        [&["d6:lengthi0e4:pathl1:xee"][..], &["d6:lengthi0e4:pathl1:xee", "d6:lengthi0e4:pathl1:yee"]]
    {
        assert_eq!(Info::parse(&info_with("", files, 0)), Err(MetainfoError::NoContent));
    }
    let single = b"d6:lengthi0e4:name1:a12:piece lengthi16384e6:pieces0:e";
    assert_eq!(Info::parse(single), Err(MetainfoError::NoContent));
    let one_of_two = info_with("", &["d6:lengthi0e4:pathl1:xee", "d6:lengthi1e4:pathl1:yee"], 1);
    assert!(Info::parse(&one_of_two).is_ok());
}

/// As libtorrent 2.0.8 judges them.
#[test]
fn hybrid_torrents_whose_halves_disagree_are_refused() {
    let root = format!("11:pieces root32:{}", "r".repeat(32));
    let leaf = |length: usize| format!("d0:d6:lengthi{length}e{root}ee");
    let tree = |inside: &str| format!("9:file treed{inside}e");
    let file = |length: usize, path: &str| format!("d6:lengthi{length}e4:pathl{path}ee");
    let pad = |length: usize| format!("d4:attr1:p6:lengthi{length}e4:pathl4:.padee");
    let two = tree(&format!("1:a{}1:bd1:c{}e", leaf(5), leaf(7)));
    let (a, c) = (file(5, "1:a"), file(7, "1:b1:c"));
    let parse = |tree: &str, files: &[&str], bytes| Info::parse(&info_with(tree, files, bytes)).map(|_| ());
    let refused = |result| matches!(result, Err(MetainfoError::Halves(_)));
    assert_eq!(parse(&two, &[&a, &pad(16379), &c], 16391), Ok(()));
    assert_eq!(parse(&two, &[&a, &pad(16379), &c, &pad(16377)], 32768), Ok(()));
    assert!(refused(parse(&two, &[&a, &c], 12)), "no padding");
    assert!(refused(parse(&two, &[&c, &pad(16377), &a], 16389)), "another order");
    assert!(refused(parse(&two, &[&file(6, "1:a"), &pad(16378), &c], 16391)), "another length");
    assert!(refused(parse(&two, &[&file(5, "1:x"), &pad(16379), &c], 16391)), "another name");
    assert!(refused(parse(&two, &[&a], 5)), "a file less");
    let more = file(1, "1:z");
    assert!(refused(parse(&two, &[&a, &pad(16379), &c, &pad(16377), &more], 32769)), "a file more");
    // The same names after they were made safe.
    assert_eq!(parse(&tree(&format!("2:a/{}", leaf(5))), &[&a], 5), Ok(()));
    assert!(refused(parse(&tree(&format!("1:a{}", leaf(5))), &[&file(5, "1:A")], 5)), "another case");
    let aligned = tree(&format!("1:a{}1:b{}", leaf(16384), leaf(5)));
    assert_eq!(parse(&aligned, &[&file(16384, "1:a"), &file(5, "1:b")], 16389), Ok(()));
    let empty = tree(&format!("1:a{}1:ed0:d6:lengthi0eee", leaf(5)));
    let nothing = file(0, "1:e");
    assert_eq!(parse(&empty, &[&a, &nothing], 5), Ok(()));
    assert_eq!(parse(&empty, &[&a, &pad(16379), &nothing], 16384), Ok(()));
    let link = "d4:attr1:l4:pathl1:le12:symlink pathl1:aee";
    let linked = tree(&format!("1:a{}1:ld0:d4:attr1:l12:symlink pathl1:aeee", leaf(5)));
    assert_eq!(parse(&linked, &[&a, link], 5), Ok(()));
    for odd in [
        "1:ad0:d6:lengthi5eee".to_owned(),
        format!("1:ad0:d6:lengthi5e{root}e1:b{}e", leaf(3)),
        format!("0:d6:lengthi5e{root}e"),
        "1:ai5e".to_owned(),
        "1:ad0:i5ee".to_owned(),
    ] {
        assert!(refused(parse(&tree(&odd), &[&a], 5)), "{odd}");
    }
    assert!(refused(parse("9:file treel1:ae", &[&a], 5)));
}
