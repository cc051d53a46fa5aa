//! A bounded reader of one bencoded dictionary that copies nothing.
//!
//! Extension messages are small dictionaries from strangers, sometimes followed by raw bytes
//! (`ut_metadata` data), so the reader also says where the dictionary ends.

use super::limits::DICT_DEPTH_MAX;

/// A bencoded value, as a slice of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'a> {
    Integer(i64),
    Bytes(&'a [u8]),
    /// The whole encoding of the dictionary.
    Dict(&'a [u8]),
    List,
}

impl<'a> Value<'a> {
    pub(super) fn integer(self) -> Option<i64> {
        if let Value::Integer(value) = self { Some(value) } else { None }
    }

    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        if let Value::Bytes(bytes) = self { Some(bytes) } else { None }
    }
}

/// Calls `visit` for each entry of the dictionary at the start of `bytes` and returns what follows it.
/// `None` when there is no well-formed dictionary. Keys need not be sorted: some clients do not sort them.
pub(super) fn read<'a>(bytes: &'a [u8], mut visit: impl FnMut(&'a [u8], Value<'a>)) -> Option<&'a [u8]> {
    let mut rest = bytes.strip_prefix(b"d")?;
    loop {
        if let Some(after) = rest.strip_prefix(b"e") {
            return Some(after);
        }
        let (key, after) = string(rest)?;
        let (value, after) = value(after)?;
        visit(key, value);
        rest = after;
    }
}

fn value(bytes: &[u8]) -> Option<(Value<'_>, &[u8])> {
    match bytes.first()? {
        b'i' => {
            let (number, rest) = integer(bytes)?;
            Some((Value::Integer(number), rest))
        }
        b'l' => Some((Value::List, skip(bytes)?)),
        b'd' => {
            let rest = skip(bytes)?;
            Some((Value::Dict(&bytes[..bytes.len() - rest.len()]), rest))
        }
        _ => {
            let (text, rest) = string(bytes)?;
            Some((Value::Bytes(text), rest))
        }
    }
}

/// Steps over one value without recursion.
fn skip(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    let mut depth = 0;
    loop {
        match rest.first()? {
            b'l' | b'd' => {
                depth += 1;
                if depth > DICT_DEPTH_MAX {
                    return None;
                }
                rest = &rest[1..];
            }
            b'e' => {
                rest = &rest[1..];
                depth -= 1;
            }
            b'i' => rest = integer(rest)?.1,
            _ => rest = string(rest)?.1,
        }
        if depth == 0 {
            return Some(rest);
        }
    }
}

fn integer(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let rest = bytes.strip_prefix(b"i")?;
    // 20 characters hold any i64.
    let end = rest.iter().take(21).position(|&byte| byte == b'e')?;
    let number = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    Some((number, &rest[end + 1..]))
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // 8 digits hold any length a message can have.
    let colon = bytes.iter().take(9).position(|&byte| byte == b':')?;
    let digits = &bytes[..colon];
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = digits.iter().fold(0usize, |length, digit| length * 10 + usize::from(digit - b'0'));
    bytes[colon + 1..].split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_entries_and_the_rest() {
        let mut seen = Vec::new();
        let rest = read(b"d1:ai-5e1:b2:xy1:cd1:zi1ee1:dli1eeeRAW", |key, value| seen.push((key, value)));
        assert_eq!(rest, Some(&b"RAW"[..]));
        assert_eq!(
            seen,
            [
                (&b"a"[..], Value::Integer(-5)),
                (b"b", Value::Bytes(b"xy")),
                (b"c", Value::Dict(b"d1:zi1ee")),
                (b"d", Value::List),
            ]
        );
    }

    #[test]
    fn refuses_what_is_not_a_dictionary() {
        let deep = [b"d1:a".to_vec(), vec![b'l'; 100], vec![b'e'; 101]].concat();
        let cases: [&[u8]; 12] = [
            b"",
            b"d",
            b"i1e",
            b"d1:a",
            b"d1:ae",
            b"d1:ai1e",
            b"d9:ai1ee",
            b"d1:aiee",
            b"d1:ai99999999999999999999ee",
            b"d999999999:a",
            b"di1ei1ee",
            &deep,
        ];
        for case in cases {
            assert_eq!(read(case, |_, _| ()), None, "{case:?}");
        }
    }
}
