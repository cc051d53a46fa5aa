//! Bencode (BEP 3): a bound before the decoder, exact byte spans, and typed values by `serde_bencode`.
//!
//! `serde_bencode` recurses once per level and trusts the input's counts. [`check`] therefore walks the bytes
//! first, without recursion or allocation beyond its limits, and everything here calls it before decoding.
//!
//! Tolerated, as other clients do: keys out of order, repeated keys (the first counts), unknown keys of any
//! type, keys that are not UTF-8, integers with leading zeros. Refused: integers beyond 64 bits, truncation.

mod dict;

use std::ops::Range;

use serde::Deserialize;

pub(crate) use dict::{Bounded, Loose, dict};

use crate::limits;

/// Bounds of one kind of input.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the whole input.
    pub bytes_max: usize,
    /// Open lists and dictionaries at any place.
    pub depth_max: usize,
    /// Integers, strings, keys, lists and dictionaries together.
    pub tokens_max: usize,
}

impl Limits {
    /// A torrent file that the user chose.
    pub const TORRENT: Limits = Limits {
        bytes_max: limits::TORRENT_BYTES_MAX,
        depth_max: limits::BENCODE_DEPTH_MAX,
        tokens_max: limits::BENCODE_TOKENS_MAX,
    };
    /// An `info` dictionary from peers.
    pub const METADATA: Limits = Limits {
        bytes_max: limits::METADATA_BYTES_MAX,
        depth_max: limits::BENCODE_DEPTH_MAX,
        tokens_max: limits::METADATA_TOKENS_MAX,
    };
    /// The answer of an HTTP tracker.
    pub const TRACKER: Limits = Limits {
        bytes_max: limits::TRACKER_RESPONSE_BYTES_MAX,
        depth_max: limits::TRACKER_RESPONSE_DEPTH_MAX,
        tokens_max: limits::TRACKER_RESPONSE_TOKENS_MAX,
    };
    /// A message of the extension protocol (BEP 10): handshake, `ut_metadata` header, `ut_pex`.
    pub const EXTENSION: Limits = Limits {
        bytes_max: limits::EXTENSION_BYTES_MAX,
        depth_max: limits::EXTENSION_DEPTH_MAX,
        tokens_max: limits::EXTENSION_TOKENS_MAX,
    };
}

/// Why bytes are not acceptable bencode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BencodeError {
    /// More bytes than [`Limits::bytes_max`].
    #[error("{found} bytes are more than the supported {max}")]
    TooLarge {
        /// Given.
        found: usize,
        /// Allowed.
        max: usize,
    },
    /// More open lists and dictionaries than [`Limits::depth_max`].
    #[error("lists and dictionaries are nested deeper than {0} levels")]
    TooDeep(usize),
    /// More values than [`Limits::tokens_max`].
    #[error("more than {0} values")]
    TooManyTokens(usize),
    /// The bytes end inside a value.
    #[error("the data is cut off")]
    Truncated,
    /// Something else than bencode.
    #[error("not bencoded at byte {offset}: {problem}")]
    Syntax {
        /// Where.
        offset: usize,
        /// What is wrong there.
        problem: &'static str,
    },
    /// Bytes after the value where none may be.
    #[error("{0} bytes follow the data")]
    Trailing(usize),
    /// The values are not what was expected.
    #[error("{0}")]
    Decode(String),
}

/// Walks over the first value and returns its length in bytes. What follows it is not looked at.
///
/// # Errors
/// When the bytes are not bencode or exceed a limit.
pub fn check(bytes: &[u8], limits: &Limits) -> Result<usize, BencodeError> {
    if bytes.len() > limits.bytes_max {
        return Err(BencodeError::TooLarge { found: bytes.len(), max: limits.bytes_max });
    }
    /// What an open container waits for.
    #[derive(Clone, Copy, PartialEq)]
    enum Open {
        Item,
        Key,
        Value,
    }
    let mut open: Vec<Open> = Vec::new();
    let mut at = 0;
    let mut tokens = 0usize;
    loop {
        let first = *bytes.get(at).ok_or(BencodeError::Truncated)?;
        if first == b'e' {
            match open.pop() {
                Some(Open::Item | Open::Key) => at += 1,
                Some(Open::Value) => return Err(syntax(at, "a key has no value")),
                None => return Err(syntax(at, "an end without a beginning")),
            }
        } else {
            tokens += 1;
            if tokens > limits.tokens_max {
                return Err(BencodeError::TooManyTokens(limits.tokens_max));
            }
            if open.last() == Some(&Open::Key) && !first.is_ascii_digit() {
                return Err(syntax(at, "a key is not a string"));
            }
            match first {
                b'i' => at = integer_end(bytes, at)?,
                b'0'..=b'9' => at = string_span(bytes, at)?.end,
                b'l' | b'd' => {
                    if open.len() >= limits.depth_max {
                        return Err(BencodeError::TooDeep(limits.depth_max));
                    }
                    open.push(if first == b'l' { Open::Item } else { Open::Key });
                    at += 1;
                    continue;
                }
                _ => return Err(syntax(at, "an unknown kind of value")),
            }
        }
        // A value ended.
        match open.last_mut() {
            None => return Ok(at),
            Some(Open::Item) => {}
            Some(state) => *state = if *state == Open::Key { Open::Value } else { Open::Key },
        }
    }
}

/// Decodes the value that makes up all of `bytes`.
///
/// # Errors
/// As [`check`]; also when bytes follow, or the value does not suit `T`.
pub fn decode<'de, T: Deserialize<'de>>(bytes: &'de [u8], limits: &Limits) -> Result<T, BencodeError> {
    match decode_prefix(bytes, limits)? {
        (value, []) => Ok(value),
        (_, rest) => Err(BencodeError::Trailing(rest.len())),
    }
}

/// Decodes the first value; returns it and the bytes that follow it.
///
/// # Errors
/// As [`check`]; also when the value does not suit `T`.
pub fn decode_prefix<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
    limits: &Limits,
) -> Result<(T, &'de [u8]), BencodeError> {
    let (value, rest) = bytes.split_at(check(bytes, limits)?);
    let value = serde_bencode::from_bytes(value).map_err(|error| BencodeError::Decode(error.to_string()))?;
    Ok((value, rest))
}

/// The exact bytes of the value under a path of keys, from the outermost dictionary inwards; the first one
/// where a key is repeated. Call it on bytes that [`check`] has passed.
///
/// Returns `None` when there is no such key or a value on the way is not a dictionary.
pub fn value_span(bytes: &[u8], path: &[&[u8]]) -> Option<Range<usize>> {
    let mut at = 0;
    for &wanted in path {
        if bytes.get(at) != Some(&b'd') {
            return None;
        }
        at += 1;
        loop {
            if !bytes.get(at)?.is_ascii_digit() {
                return None;
            }
            let key = string_span(bytes, at).ok()?;
            at = key.end;
            if &bytes[key] == wanted {
                break;
            }
            at = value_end(bytes, at)?;
        }
    }
    Some(at..value_end(bytes, at)?)
}

/// Where the value that begins at `start` ends. Counts open containers only, for [`check`] saw the rest.
fn value_end(bytes: &[u8], start: usize) -> Option<usize> {
    let mut at = start;
    let mut depth = 0usize;
    loop {
        match bytes.get(at)? {
            b'i' => at = integer_end(bytes, at).ok()?,
            b'0'..=b'9' => at = string_span(bytes, at).ok()?.end,
            b'l' | b'd' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'e' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ => return None,
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

fn syntax(offset: usize, problem: &'static str) -> BencodeError {
    BencodeError::Syntax { offset, problem }
}

/// One past the `e` of the integer whose `i` is at `start`.
fn integer_end(bytes: &[u8], start: usize) -> Result<usize, BencodeError> {
    let digits = &bytes[start + 1..];
    // 2^63 has 19 digits; a few leading zeros are let through.
    let window = &digits[..digits.len().min(32)];
    let Some(length) = window.iter().position(|&byte| byte == b'e') else {
        return Err(
            if window.len() == digits.len() && window.iter().all(|b| b.is_ascii_digit() || *b == b'-') {
                BencodeError::Truncated
            } else {
                syntax(start, "an integer without an end")
            },
        );
    };
    let text = &window[..length];
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    if unsigned.is_empty() || !unsigned.iter().all(u8::is_ascii_digit) {
        return Err(syntax(start, "an integer that is not a number"));
    }
    let parsed = std::str::from_utf8(text).ok().and_then(|text| text.parse::<i64>().ok());
    parsed.map(|_| start + 1 + length + 1).ok_or(syntax(start, "an integer beyond 64 bits"))
}

/// The content of the string whose length begins at `start`, which is a digit.
pub(crate) fn string_span(bytes: &[u8], start: usize) -> Result<Range<usize>, BencodeError> {
    let mut length = 0usize;
    let mut at = start;
    loop {
        match *bytes.get(at).ok_or(BencodeError::Truncated)? {
            digit @ b'0'..=b'9' => {
                length = length
                    .checked_mul(10)
                    .and_then(|length| length.checked_add(usize::from(digit - b'0')))
                    .ok_or(syntax(start, "a string length beyond 64 bits"))?;
                at += 1;
                if at - start > 20 {
                    return Err(syntax(start, "a string length of too many digits"));
                }
            }
            b':' => break,
            _ => return Err(syntax(start, "a string length that is not a number")),
        }
    }
    let from = at + 1;
    let end = from.checked_add(length).ok_or(syntax(start, "a string length beyond 64 bits"))?;
    if end > bytes.len() {
        return Err(BencodeError::Truncated);
    }
    Ok(from..end)
}

/// Appends a string.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.push(b':');
    out.extend_from_slice(bytes);
}

/// Appends an integer.
pub(crate) fn put_integer(out: &mut Vec<u8>, value: u64) {
    out.push(b'i');
    put_number(out, value);
    out.push(b'e');
}

/// Appends decimal digits.
fn put_number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests;
