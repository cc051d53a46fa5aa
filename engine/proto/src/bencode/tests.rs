//! Tests of the bound, the spans and the tolerant dictionaries.

use serde_bytes::ByteBuf;

use super::*;
use crate::noise::Noise;

const SMALL: Limits = Limits { bytes_max: 1000, depth_max: 5, tokens_max: 20 };

fn checked(bytes: &[u8]) -> Result<usize, BencodeError> {
    check(bytes, &SMALL)
}

#[test]
fn values_end_where_they_end() {
    for value in
        ["i0e", "i-12e", "i007e", "0:", "3:abc", "le", "de", "l1:ai1ee", "d1:al1:bee", "d1:ade1:bi1ee"]
    {
        assert_eq!(checked(value.as_bytes()), Ok(value.len()), "{value}");
        assert_eq!(checked(format!("{value}xyz").as_bytes()), Ok(value.len()), "{value}");
        for cut in 0..value.len() {
            assert!(checked(&value.as_bytes()[..cut]).is_err(), "{value} cut at {cut}");
        }
    }
}

#[test]
fn what_is_not_bencode_is_refused() {
    for value in [
        "", "e", "x", "i e", "ie", "i-e", "i+1e", "i1.5e", "i1", "-1:a", "1a:", "di1ei1ee", "d1:ae",
        "dlelee", "1", "5:abc", "i--1e", ":",
    ] {
        assert!(checked(value.as_bytes()).is_err(), "{value}");
    }
}

#[test]
fn integers_and_lengths_beyond_64_bits_are_refused() {
    assert!(checked(b"i9223372036854775807e").is_ok());
    assert!(checked(b"i-9223372036854775808e").is_ok());
    assert!(matches!(checked(b"i9223372036854775808e"), Err(BencodeError::Syntax { .. })));
    assert!(checked(b"18446744073709551615:a").is_err());
    assert!(checked(b"18446744073709551616:a").is_err());
    assert!(checked(b"99999999999999999999999999:a").is_err());
    assert!(checked(&[&b"i"[..], &[b'1'; 900]].concat()).is_err());
}

#[test]
fn deep_nesting_is_refused_before_the_decoder_recurses() {
    assert_eq!(checked(b"llllleeeee"), Ok(10));
    assert_eq!(checked(b"lllllleeeeee"), Err(BencodeError::TooDeep(5)));
    let deep = vec![b'l'; 10_000_000];
    assert_eq!(
        decode::<Loose>(&deep, &Limits::TORRENT).unwrap_err(),
        BencodeError::TooDeep(limits::BENCODE_DEPTH_MAX)
    );
}

#[test]
fn too_many_values_and_bytes_are_refused() {
    assert_eq!(
        checked(&[&b"l"[..], &b"i1e".repeat(20), b"e"].concat()),
        Err(BencodeError::TooManyTokens(20))
    );
    assert_eq!(checked(&[b'l'; 1001]), Err(BencodeError::TooLarge { found: 1001, max: 1000 }));
}

#[test]
fn spans_are_exact() {
    let bytes = b"d1:ai1e1:bd1:cl1:xe1:ci2ee1:bi9eetrailing";
    assert_eq!(value_span(bytes, &[]), Some(0..bytes.len() - 8));
    assert_eq!(value_span(bytes, &[b"a"]).map(|span| &bytes[span]), Some(&b"i1e"[..]));
    assert_eq!(value_span(bytes, &[b"b"]).map(|span| &bytes[span]), Some(&b"d1:cl1:xe1:ci2ee"[..]));
    assert_eq!(value_span(bytes, &[b"b", b"c"]).map(|span| &bytes[span]), Some(&b"l1:xe"[..]));
    assert_eq!(value_span(bytes, &[b"z"]), None);
    assert_eq!(value_span(bytes, &[b"a", b"c"]), None);
    assert_eq!(value_span(b"", &[b"a"]), None);
    assert_eq!(value_span(b"d1:a", &[b"a"]), None);
}

dict! {
    struct Sample {
        b"name" => name: ByteBuf,
        b"size" => size: i64,
        b"extra" => extra: Loose,
    }
}

#[test]
fn dictionaries_tolerate_what_clients_tolerate() {
    // Out of order, an unknown key that is not UTF-8, a repeated key, an unknown nested value.
    let bytes = b"d4:sizei1e2:\xff\xfei5e4:name1:n4:sizei2e3:zzzld1:xi1eeee";
    let sample: Sample = decode(bytes, &Limits::TORRENT).unwrap();
    assert_eq!(sample.size, Some(1));
    assert_eq!(sample.name.as_deref().map(|name| name.as_slice()), Some(&b"n"[..]));
    assert!(sample.extra.is_none());
    assert!(matches!(decode::<Sample>(b"d4:size1:xe", &Limits::TORRENT), Err(BencodeError::Decode(_))));
    assert!(matches!(decode::<Sample>(b"i1e", &Limits::TORRENT), Err(BencodeError::Decode(_))));
    assert_eq!(decode::<Sample>(b"dex", &Limits::TORRENT).unwrap_err(), BencodeError::Trailing(1));
}

#[test]
fn loose_values_keep_only_so_many_elements() {
    let bytes = [&b"d5:extral"[..], &b"i1e".repeat(Loose::ELEMENTS_MAX + 10), b"e4:sizei7ee"].concat();
    let sample: Sample = decode(&bytes, &Limits::TORRENT).unwrap();
    assert_eq!(sample.size, Some(7));
    assert_eq!(sample.extra.unwrap().into_elements().len(), Loose::ELEMENTS_MAX);
}

#[test]
fn bounded_lists_refuse_more() {
    assert_eq!(decode::<Bounded<i64, 2>>(b"li1ei2ee", &SMALL).unwrap().0, [1, 2]);
    assert!(decode::<Bounded<i64, 2>>(b"li1ei2ei3ee", &SMALL).is_err());
}

#[test]
fn numbers_are_written_in_decimal() {
    for value in [0, 7, 10, 12345, u64::MAX] {
        let mut out = Vec::new();
        put_integer(&mut out, value);
        assert_eq!(out, format!("i{value}e").into_bytes());
    }
}

#[test]
fn random_mutations_never_panic_and_checked_bytes_decode() {
    let valid = b"d4:name5:hello4:sizei42e5:extrald1:ali1ei2eee3:xyzee";
    let mut noise = Noise::new(1);
    for _ in 0..20_000 {
        let bytes = noise.mutate(valid);
        if let Ok(length) = check(&bytes, &SMALL) {
            assert!(decode::<Loose>(&bytes[..length], &SMALL).is_ok());
            assert_eq!(value_span(&bytes, &[]), Some(0..length));
        }
        let _ = decode::<Sample>(&bytes, &SMALL);
    }
}
