//! Tests of torrent files: ordinary ones, the dialects of real ones, and hostile ones.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use super::*;
use crate::limits::{BENCODE_DEPTH_MAX, FILES_MAX};
use crate::noise::Noise;
use crate::units::PieceIndex;

/// A torrent around an `info` dictionary.
fn around(info: &[u8]) -> Vec<u8> {
    [b"d8:announce12:http://t/ann4:info", info, b"e"].concat()
}

/// An `info` dictionary of one file of `length` bytes, with the right number of hashes of piece length 16384.
fn single(length: i64) -> Vec<u8> {
    let pieces = (length.max(0) as u64).div_ceil(16384) as usize;
    let hashes = pieces * 20;
    let head = format!("d6:lengthi{length}e4:name5:a.txt12:piece lengthi16384e6:pieces{hashes}:");
    [head.as_bytes(), &vec![7; hashes], b"e"].concat()
}

/// An `info` dictionary named `name` of files of one byte each, given as bencoded path lists.
fn folder(name: &[u8], paths: &[&[u8]]) -> Vec<u8> {
    let mut out = b"d5:filesl".to_vec();
    for path in paths {
        out.extend_from_slice(b"d6:lengthi1e4:pathl");
        out.extend_from_slice(path);
        out.extend_from_slice(b"ee");
    }
    out.extend_from_slice(b"e4:name");
    put_bytes(&mut out, name);
    let hashes = paths.len().div_ceil(16384);
    out.extend_from_slice(format!("12:piece lengthi16384e6:pieces{}:", hashes * 20).as_bytes());
    out.extend_from_slice(&vec![7; hashes * 20]);
    out.push(b'e');
    out
}

fn paths(info: &[u8]) -> Vec<String> {
    let info = Info::parse(info).unwrap();
    for file in &info.layout.files {
        let relative = file.path.components().all(|part| matches!(part, Component::Normal(_)));
        assert!(relative, "{:?}", file.path);
    }
    info.layout.files.iter().map(|file| file.path.to_str().unwrap().to_owned()).collect()
}

fn error(info: &[u8]) -> MetainfoError {
    Metainfo::parse(&around(info)).unwrap_err()
}

/// The bytes with one part replaced; panics when the part is not there.
fn with(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).expect("the part is there");
    [&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()
}

#[test]
fn a_single_file_torrent() {
    let info = single(40000);
    let torrent = Metainfo::parse(&around(&info)).unwrap();
    assert_eq!(torrent.hashes, InfoHashes::of_v1(&info));
    assert_eq!(&torrent.info_bytes[..], info);
    assert_eq!(torrent.tiers, [["http://t/ann"]]);
    assert_eq!(torrent.info.name, "a.txt");
    assert_eq!(torrent.info.layout.files[0].path, Path::new("a.txt"));
    assert_eq!(torrent.info.layout.piece_count(), 3);
    assert_eq!(torrent.info.piece_hash(PieceIndex(2)), Some(&[7; 20]));
    assert_eq!(torrent.info.piece_hash(PieceIndex(3)), None);
    assert_eq!(torrent.info.renamed_files, 0);
    assert!(!torrent.info.private);
}

#[test]
fn a_folder_torrent() {
    let info = folder("größe".as_bytes(), &[b"1:a", b"3:sub1:b", "6:世界".as_bytes()]);
    assert_eq!(paths(&info), ["größe/a", "größe/sub/b", "größe/世界"]);
}

#[test]
fn the_info_hash_is_over_the_original_bytes() {
    // Unsorted keys, a repeated key, an unknown one that is not UTF-8, an integer with leading zeros.
    let info =
        b"d4:name1:x2:\xff\xfei1e6:lengthi001e6:pieces20:aaaaaaaaaaaaaaaaaaaa12:piece lengthi16384e4:name1:ye";
    let torrent = Metainfo::parse(&around(info)).unwrap();
    assert_eq!(torrent.hashes, InfoHashes::of_v1(info));
    assert_eq!(torrent.info.name, "x");
    // A second info dictionary does not change what the first says.
    let twice = [&b"d4:info"[..], info, b"4:info", &single(5), b"e"].concat();
    assert_eq!(Metainfo::parse(&twice).unwrap().hashes, InfoHashes::of_v1(info));
}

#[test]
fn bytes_after_the_torrent_are_overlooked_but_not_after_an_info_dictionary() {
    let torrent = [around(&single(1)), b"\r\ngarbage".to_vec()].concat();
    assert!(Metainfo::parse(&torrent).is_ok());
    assert!(Info::parse(&single(1)).is_ok());
    assert_eq!(
        Info::parse(&[single(1), b"x".to_vec()].concat()),
        Err(MetainfoError::Bencode(BencodeError::Trailing(1)))
    );
}

#[test]
fn trackers_come_in_tiers() {
    let parse = |outer: &str| {
        let torrent = [b"d", outer.as_bytes(), b"4:info", &single(1), b"e"].concat();
        Metainfo::parse(&torrent).unwrap().tiers
    };
    let nothing: Vec<Vec<String>> = Vec::new();
    assert_eq!(parse(""), nothing);
    assert_eq!(parse("8:announce5:a://1"), [["a://1"]]);
    assert_eq!(
        parse("8:announce5:a://113:announce-listll5:a://25:a://3el6: a://4ee"),
        [vec!["a://2", "a://3"], vec!["a://4"]]
    );
    // Repeated ones, empty ones, and a list of strings.
    assert_eq!(parse("13:announce-listll5:a://25:a://20:el5:a://2ee"), nothing_or(&[&["a://2"]]));
    assert_eq!(parse("13:announce-listl5:a://25:a://3e"), nothing_or(&[&["a://2"], &["a://3"]]));
    assert_eq!(parse("8:announce5:a://113:announce-listllee"), [["a://1"]]);
    // Wrong types and texts that are no URLs are overlooked.
    assert_eq!(parse("8:announcei5e13:announce-listi7e"), nothing);
    assert_eq!(parse("8:announce4:text"), nothing);
    assert_eq!(parse("8:announce7:a://1\n2"), nothing);
}

fn nothing_or(tiers: &[&[&str]]) -> Vec<Vec<String>> {
    tiers.iter().map(|tier| tier.iter().map(|&url| url.to_owned()).collect()).collect()
}

#[test]
fn a_flood_of_trackers_is_bounded() {
    let many: String = (0..5000).map(|n| format!("l8:a://{n:04}e")).collect();
    let torrent = [b"d13:announce-listl", many.as_bytes(), b"e4:info", &single(1), b"e"].concat();
    assert_eq!(Metainfo::parse(&torrent).unwrap().tiers.len(), TRACKERS_MAX);
}

#[test]
fn web_seeds_are_a_string_or_a_list() {
    for (value, wanted) in [
        ("5:h://1", vec!["h://1"]),
        ("l5:h://15:h://25:h://10:e", vec!["h://1", "h://2"]),
        ("0:", vec![]),
        ("i1e", vec![]),
        ("de", vec![]),
    ] {
        let torrent = [b"d4:info", &single(1)[..], b"8:url-list", value.as_bytes(), b"e"].concat();
        assert_eq!(Metainfo::parse(&torrent).unwrap().web_seeds, wanted, "{value}");
    }
}

#[test]
fn private_is_believed_when_in_doubt() {
    for (value, private) in [("i1e", true), ("i0e", false), ("1:1", true), ("1:0", false), ("le", false)] {
        let info = with(&single(1), "6:pieces", &format!("7:private{value}6:pieces"));
        assert_eq!(Info::parse(&info).unwrap().private, private, "{value}");
    }
}

#[test]
fn padding_files_are_known_by_attribute_and_by_their_old_name() {
    let info = b"d5:filesld6:lengthi1e4:pathl1:aeed4:attr1:p6:lengthi16383e4:pathl4:.pad5:16383eed6:lengthi2e\
        4:pathl1:beed6:lengthi3e4:pathl21:_____padding_file_1__eed4:attr1:p6:lengthi1eee4:name1:t12:piece lengthi16384e\
        6:pieces40:aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbbe";
    let info = Info::parse(info).unwrap();
    let padding: Vec<_> = info.layout.files.iter().map(|file| file.padding).collect();
    assert_eq!(padding, [false, true, false, true, true]);
    assert_eq!(info.layout.files[2].offset, 16384);
}

#[test]
fn paths_that_escape_stay_inside() {
    let info = folder(
        b"t",
        &[b"2:..2:..3:etc6:passwd", b"11:/etc/passwd", b"1:.0:1:x", b"2:..", b"12:../../../esc", b"3:a\0b"],
    );
    assert_eq!(paths(&info), ["t/etc/passwd", "t/etcpasswd", "t/_/x", "t/_.1", "t/......esc", "t/ab"]);
    assert_eq!(Info::parse(&info).unwrap().renamed_files, 6);
}

#[test]
fn torrent_names_that_escape_stay_inside() {
    assert_eq!(paths(&folder(b"", &[b"1:x"])), ["_/x"]);
    assert_eq!(paths(&folder(b"../..", &[b"1:x"])), ["..../x"]);
    for name in [&b".."[..], b".", b"/"] {
        let info = folder(name, &[b"1:x"]);
        assert_eq!(paths(&info), [format!("{}/x", InfoHashes::of_v1(&info).id())]);
        assert_eq!(Info::parse(&info).unwrap().renamed_files, 1);
    }
    let info = with(&single(1), "5:a.txt", "11:/etc/passwd");
    assert_eq!(paths(&info), ["etcpasswd"]);
}

#[test]
fn equal_paths_and_files_where_folders_are_become_distinct() {
    let info = folder(b"t", &[b"1:a", b"1:a", b"1:a1:b", b"1:c1:d", b"1:c", b"2:..1:a"]);
    assert_eq!(paths(&info), ["t/a.1", "t/a.2", "t/a/b", "t/c/d", "t/c.1", "t/a.3"]);
    assert_eq!(Info::parse(&info).unwrap().renamed_files, 4);
    // What cannot be had by the letter of the torrent is not looked for.
    assert!(Info::parse(&info).unwrap().plain_paths().is_empty());
}

#[test]
fn over_long_names_are_cut_and_over_long_paths_refused() {
    let long = format!("304:{}.txt", "x".repeat(300));
    let path = &paths(&folder(b"t", &[long.as_bytes()]))[0];
    assert_eq!(path.len(), 2 + 244);
    assert!(path.ends_with("x.txt"));
    let deep = b"1:a".repeat(101);
    assert_eq!(error(&folder(b"t", &[b"1:x", &deep])), MetainfoError::PathTooLong { file: 2 });
    let wide = format!("200:{}", "y".repeat(200)).repeat(20);
    assert_eq!(error(&folder(b"t", &[wide.as_bytes()])), MetainfoError::PathTooLong { file: 1 });
}

#[test]
fn names_by_the_letter_of_the_torrent_are_known_as_well() {
    let info = Info::parse(&folder(b"t\xe9", &[b"4:caf\xe9", b"1:x"])).unwrap();
    assert_eq!(info.name, "t_");
    assert_eq!(info.layout.files[0].path, Path::new("t_/caf_"));
    assert_eq!(info.renamed_files, 2);
    let plain = info.with_plain_paths();
    assert_eq!(plain.layout.files[0].path.as_os_str(), OsStr::from_bytes(b"t\xe9/caf\xe9"));
    assert_eq!(plain.layout.files[1].path.as_os_str(), OsStr::from_bytes(b"t\xe9/x"));
    let cases = Info::parse(&folder(b"t", &[b"1:a", b"1:A"])).unwrap();
    assert_eq!(cases.plain_paths(), [(1, "t/A".into())]);
    assert!(
        Info::parse(&folder(b"t", &[b"1:a", b"3:a\\b"])).unwrap().plain_paths() == [(1, "t/a\\b".into())]
    );
}

#[test]
fn utf8_names_are_preferred() {
    let info = with(&folder(b"old", &[b"1:a"]), "4:name", "10:name.utf-83:new4:name");
    let info = with(&info, "4:pathl1:ae", "4:pathl1:ae10:path.utf-8l2:\u{e9}e");
    assert_eq!(paths(&info), ["new/\u{e9}"]);
    let info = with(&folder(b"old", &[b"1:a"]), "4:name", "10:name.utf-80:4:name");
    assert_eq!(paths(&info), ["_/a"]);
    let info = with(&folder(b"t", &[b"1:a"]), "4:path", "10:path.utf-81:x4:path");
    assert_eq!(paths(&info), ["t/a"]);
}

#[test]
fn negative_missing_and_overflowing_lengths_are_refused() {
    assert_eq!(error(&single(-1)), MetainfoError::NegativeLength { file: 1 });
    assert_eq!(error(&with(&single(1), "6:lengthi1e", "")), MetainfoError::FileLength { file: 1 });
    assert_eq!(error(&with(&single(1), "i1e", "1:1")), MetainfoError::FileLength { file: 1 });
    let two = folder(b"t", &[b"1:a", b"1:b"]);
    assert_eq!(
        error(&with(&two, "i1e4:pathl1:b", "i-5e4:pathl1:b")),
        MetainfoError::NegativeLength { file: 2 }
    );
    let max = format!("i{}e", i64::MAX);
    let info = with(&with(&two, "i1e", &max), "i1e", &max);
    assert_eq!(error(&info), MetainfoError::Layout(LayoutError::Overflow));
    assert!(matches!(error(&with(&two, "i1e", &max)), MetainfoError::Layout(_)));
    assert!(matches!(error(&with(&single(1), "i1e", "i9223372036854775808e")), MetainfoError::Bencode(_)));
}

#[test]
fn piece_lengths_out_of_range_are_refused() {
    for length in ["0", "-16384", "1023", "4294967296", "1073741824", "9223372036854775807"] {
        let info = with(&single(1), "i16384e", &format!("i{length}e"));
        assert!(
            matches!(error(&info), MetainfoError::Layout(LayoutError::PieceLength(_))),
            "piece length {length}"
        );
    }
    // Odd ones work: other clients take them.
    for length in ["1024", "20000", "16777216"] {
        assert!(Info::parse(&with(&single(1), "i16384e", &format!("i{length}e"))).is_ok());
    }
}

#[test]
fn piece_hashes_must_fit() {
    let info = |length: u64, hashes: usize| {
        let head = format!("d6:lengthi{length}e4:name1:a12:piece lengthi16384e6:pieces{hashes}:");
        [head.as_bytes(), &vec![7; hashes], b"e"].concat()
    };
    assert_eq!(error(&info(1, 21)), MetainfoError::PiecesLength(21));
    assert_eq!(error(&info(1, 0)), MetainfoError::PieceCount { expected: 1, found: 0 });
    assert_eq!(error(&info(1, 40)), MetainfoError::PieceCount { expected: 1, found: 2 });
    assert_eq!(error(&info(16385, 20)), MetainfoError::PieceCount { expected: 2, found: 1 });
}

#[test]
fn missing_keys_are_named() {
    assert_eq!(error(b"de"), MetainfoError::Key("pieces"));
    assert_eq!(
        error(&with(&single(1), "12:piece length", "12:piece_length")),
        MetainfoError::Key("piece length")
    );
    assert_eq!(error(&with(&single(1), "4:name", "4:mane")), MetainfoError::Key("name"));
    assert_eq!(error(b"i1e"), MetainfoError::NoInfo);
    assert_eq!(Metainfo::parse(b"d1:ai1ee").unwrap_err(), MetainfoError::NoInfo);
    assert!(matches!(Metainfo::parse(b"le"), Err(MetainfoError::Bencode(_))));
    assert!(matches!(Metainfo::parse(b"<html>"), Err(MetainfoError::Bencode(_))));
    assert!(matches!(Metainfo::parse(b""), Err(MetainfoError::Bencode(_))));
    let no_files = folder(b"t", &[]);
    assert_eq!(error(&no_files), MetainfoError::Layout(LayoutError::NoFiles));
    assert_eq!(error(&folder(b"t", &[b""])), MetainfoError::FilePath { file: 1 });
    assert_eq!(error(&folder(b"t", &[b"i5e"])), MetainfoError::FilePath { file: 1 });
}

#[test]
fn version_2_only_is_named_and_hybrids_work() {
    let v2 = b"d9:file treed1:ad0:d6:lengthi1eeee12:meta versioni2e4:name1:t12:piece lengthi16384ee";
    assert_eq!(error(v2), MetainfoError::OnlyVersion2);
    let root = format!("11:pieces root32:{}", "r".repeat(32));
    let hybrid =
        with(&single(1), "6:length", &format!("9:file treed5:a.txtd0:d6:lengthi1e{root}eee6:length"));
    let hybrid = with(&hybrid, "4:name", "12:meta versioni2e4:name");
    assert!(Info::parse(&hybrid).is_ok());
    let other = with(&hybrid, "5:a.txt12", "5:b.txt12");
    assert!(matches!(Info::parse(&other), Err(MetainfoError::Halves(_))));
    let without_tree = with(&single(1), "4:name", "12:meta versioni2e4:name");
    assert!(matches!(Info::parse(&without_tree), Err(MetainfoError::Halves(_))));
}

#[test]
fn deep_nesting_is_refused() {
    let deep = |n: usize| {
        let info = [vec![b'l'; n], vec![b'e'; n]].concat();
        Metainfo::parse(&[b"d3:abc", &info[..], b"4:info", &single(1), b"e"].concat())
    };
    assert!(deep(BENCODE_DEPTH_MAX - 1).is_ok());
    let too_deep = MetainfoError::Bencode(BencodeError::TooDeep(BENCODE_DEPTH_MAX));
    assert_eq!(deep(BENCODE_DEPTH_MAX).unwrap_err(), too_deep);
    assert_eq!(deep(5_000_000).unwrap_err(), too_deep);
}

#[test]
fn a_million_files_are_accepted_and_more_than_the_limit_refused() {
    let many = |n: usize| {
        let paths: Vec<Vec<u8>> = (0..n).map(|n| format!("7:{n:07}").into_bytes()).collect();
        folder(b"t", &paths.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    let info = Info::parse(&many(1_000_000)).unwrap();
    assert_eq!(info.layout.files.len(), 1_000_000);
    assert_eq!(info.layout.files[999_999].path, Path::new("t/0999999"));
    assert!(matches!(error(&many(FILES_MAX + 1)), MetainfoError::Bencode(_)));
}

#[test]
fn a_flood_of_deep_folders_is_refused() {
    let deep = "1:a".repeat(97);
    let paths: Vec<_> = (0..12_000).map(|n| format!("5:{n:05}{deep}").into_bytes()).collect();
    let info = folder(b"t", &paths.iter().map(Vec::as_slice).collect::<Vec<_>>());
    assert_eq!(error(&info), MetainfoError::TooManyFolders);
}

#[test]
fn many_equal_paths_are_numbered_without_trying_each_number() {
    let info = folder(b"t", &vec![&b"1:a"[..]; 200_000]);
    let info = Info::parse(&info).unwrap();
    assert_eq!(info.layout.files[199_999].path, Path::new("t/a.199999"));
}

fn rich() -> Vec<u8> {
    let info = folder(b"t", &[b"1:a", b"3:sub5:b.txt", b"2:..1:c"]);
    [
        &b"d8:announce5:a://113:announce-listll5:a://1el5:a://2ee7:comment2:hi10:created by1:x13:creation datei9e4:info"[..],
        &info,
        b"8:url-listl5:h://1ee",
    ]
    .concat()
}

#[test]
fn torrents_round_trip_byte_for_byte() {
    let bytes = rich();
    let torrent = Metainfo::parse(&bytes).unwrap();
    assert_eq!(torrent.comment.as_deref(), Some("hi"));
    assert_eq!(torrent.creation_date, Some(9));
    assert_eq!(torrent.to_bytes(), bytes);
    assert_eq!(Metainfo::parse(&torrent.to_bytes()).unwrap(), torrent);
    let bare = Metainfo::from_info_bytes(&torrent.info_bytes).unwrap();
    assert_eq!(bare.hashes, torrent.hashes);
    assert_eq!(Metainfo::parse(&bare.to_bytes()).unwrap(), bare);
}

#[test]
fn every_cut_torrent_is_an_error() {
    let bytes = rich();
    for cut in 0..bytes.len() {
        assert!(Metainfo::parse(&bytes[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn random_mutations_never_panic_and_paths_stay_inside() {
    let mut noise = Noise::new(6);
    let bytes = rich();
    for _ in 0..20_000 {
        let Ok(torrent) = Metainfo::parse(&noise.mutate(&bytes)) else { continue };
        let mut seen = std::collections::HashSet::new();
        for file in &torrent.info.layout.files {
            assert!(file.path.components().all(|part| matches!(part, Component::Normal(_))));
            assert!(file.padding || seen.insert(&file.path));
        }
        assert_eq!(Metainfo::parse(&torrent.to_bytes()).unwrap(), torrent);
    }
}

#[test]
fn a_lean_torrent_is_served_but_not_checked() {
    let info = single(40_000);
    let whole = Metainfo::parse(&around(&info)).unwrap();
    let lean = whole.clone().stub();
    assert!(lean.is_stub() && !whole.is_stub());
    assert!(whole.info.has_hashes() && !lean.info.has_hashes());
    assert_eq!(
        (lean.hashes, &lean.tiers, &lean.info.layout),
        (whole.hashes, &whole.tiers, &whole.info.layout)
    );
    assert_eq!(lean.info.encoded_len(), info.len());
    assert_eq!(lean.info.piece_hash(PieceIndex(0)), None);
}

#[test]
fn urls_with_spaces_in_path_or_query_are_kept() {
    for (text, usable) in [
        (" http://t/announce?k=a b ", true),
        ("http://t/a b/announce", true),
        ("http://t/\"|{^", true),
        ("http://a b/announce", false),
        ("http://t/a\nb", false),
        ("http://t/announce http://u/announce", false),
        ("announce", false),
    ] {
        assert_eq!(usable_url(text), usable.then(|| text.trim().to_owned()), "{text}");
    }
}
