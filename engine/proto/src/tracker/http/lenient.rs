//! Bencode as trackers really write it: what cannot be used is passed over, and the rest is read.
//!
//! [`dictionary`] walks over the answer once, within the limits of [`Limits::TRACKER`], and refuses only what has no
//! structure. The values it gives are slices of the answer, looked into where something is expected of them: a number
//! beyond 64 bits, a fraction, or a value of another kind costs nothing but itself.

use crate::bencode::{BencodeError, Limits, string_span};

/// Longest number looked at; 2^63 has 19 digits. What is longer is no bencode at all.
const DIGITS_MAX: usize = 64;

/// A value of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// `None` when it is not a whole number of 64 bits.
    Integer(Option<i64>),
    Bytes(&'a [u8]),
    /// The bytes of its elements, in a row.
    List(&'a [u8]),
    /// The bytes of its keys and values, in a row.
    Dictionary(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number, also when it is written as text.
    pub(super) fn integer(self) -> Option<i64> {
        match self {
            Value::Integer(value) => value,
            Value::Bytes(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            Value::List(_) | Value::Dictionary(_) => None,
        }
    }

    pub(super) fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Value::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The elements of a list, or the values of a dictionary, which is how some languages write one.
    pub(super) fn elements(self) -> impl Iterator<Item = Value<'a>> {
        let (rest, keyed) = match self {
            Value::List(bytes) => (bytes, false),
            Value::Dictionary(bytes) => (bytes, true),
            Value::Integer(_) | Value::Bytes(_) => (&[][..], false),
        };
        let mut values = Values(rest);
        std::iter::from_fn(move || {
            if keyed {
                values.next()?;
            }
            values.next()
        })
    }

    /// The keys and values of a dictionary in their order; a key that is not a string comes with neither.
    pub(super) fn entries(self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> {
        let mut values = Values(if let Value::Dictionary(bytes) = self { bytes } else { &[] });
        std::iter::from_fn(move || Some((values.next()?, values.next()?)))
            .filter_map(|(key, value)| Some((key.bytes()?, value)))
    }

    /// The value of a key; the first one where it is repeated.
    pub(super) fn get(self, key: &[u8]) -> Option<Value<'a>> {
        self.entries().find(|(other, _)| *other == key).map(|(_, value)| value)
    }
}

/// The dictionary that an answer is. White space and a byte order mark before it, and whatever follows it, are passed
/// over.
///
/// # Errors
/// When it is not a dictionary, is cut off, or exceeds a limit.
pub(super) fn dictionary(body: &[u8]) -> Result<Value<'_>, BencodeError> {
    let limits = &Limits::TRACKER;
    if body.len() > limits.bytes_max {
        return Err(BencodeError::TooLarge { found: body.len(), max: limits.bytes_max });
    }
    let answer = body.trim_ascii_start();
    let answer = answer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(answer).trim_ascii_start();
    let offset = body.len() - answer.len();
    if answer.is_empty() {
        return Err(BencodeError::Truncated);
    }
    if answer[0] != b'd' {
        // What is bencode, and what is a web page, is told by the walk.
        end_of(answer, limits.depth_max, limits.tokens_max)?;
        return Err(BencodeError::Syntax { offset, problem: "not a dictionary" });
    }
    let end = end_of(answer, limits.depth_max, limits.tokens_max)?;
    Ok(Value::Dictionary(&answer[1..end - 1]))
}

/// One past the end of the value at the beginning of `bytes`.
fn end_of(bytes: &[u8], depth_max: usize, tokens_max: usize) -> Result<usize, BencodeError> {
    let (mut at, mut depth, mut tokens) = (0, 0usize, 0usize);
    loop {
        match *bytes.get(at).ok_or(BencodeError::Truncated)? {
            b'e' => {
                let outer = depth.checked_sub(1);
                depth = outer
                    .ok_or(BencodeError::Syntax { offset: at, problem: "an end without a beginning" })?;
                at += 1;
            }
            first => {
                tokens += 1;
                if tokens > tokens_max {
                    return Err(BencodeError::TooManyTokens(tokens_max));
                }
                match first {
                    b'i' => at = number_end(bytes, at)?,
                    b'0'..=b'9' => at = string_span(bytes, at)?.end,
                    b'l' | b'd' => {
                        if depth == depth_max {
                            return Err(BencodeError::TooDeep(depth_max));
                        }
                        depth += 1;
                        at += 1;
                        continue;
                    }
                    _ => {
                        return Err(BencodeError::Syntax { offset: at, problem: "an unknown kind of value" });
                    }
                }
            }
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

/// One past the `e` of the number whose `i` is at `start`.
fn number_end(bytes: &[u8], start: usize) -> Result<usize, BencodeError> {
    let window = &bytes[start + 1..bytes.len().min(start + 1 + DIGITS_MAX)];
    match window.iter().position(|&byte| byte == b'e') {
        Some(length) => Ok(start + 1 + length + 1),
        None if window.len() < DIGITS_MAX => Err(BencodeError::Truncated),
        None => Err(BencodeError::Syntax { offset: start, problem: "an integer without an end" }),
    }
}

/// Takes values off the front of bytes that [`end_of`] has walked over.
struct Values<'a>(&'a [u8]);

impl<'a> Iterator for Values<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Value<'a>> {
        let end = end_of(self.0, usize::MAX, usize::MAX).ok()?;
        let (value, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(match value[0] {
            b'i' => {
                let text = std::str::from_utf8(&value[1..end - 1]).ok();
                Value::Integer(text.and_then(|text| text.trim().parse().ok()))
            }
            b'l' => Value::List(&value[1..end - 1]),
            b'd' => Value::Dictionary(&value[1..end - 1]),
            _ => Value::Bytes(&value[string_span(value, 0).ok()?]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_values_cost_nothing_but_themselves() {
        let answer = b"d1:ai99999999999999999999e1:bi1.5e1:cie1:d2:12i7ei8e1:eli1e1:xdeee";
        let dictionary = dictionary(answer).unwrap();
        assert_eq!(dictionary.get(b"a"), Some(Value::Integer(None)));
        assert_eq!(dictionary.get(b"b").unwrap().integer(), None);
        assert_eq!(dictionary.get(b"c").unwrap().integer(), None);
        assert_eq!(dictionary.get(b"d").unwrap().integer(), Some(12));
        let elements: Vec<_> = dictionary.get(b"e").unwrap().elements().collect();
        assert_eq!(elements, [Value::Integer(Some(1)), Value::Bytes(b"x"), Value::Dictionary(b"")]);
        assert_eq!(dictionary.entries().count(), 5, "a key that is a number is passed over");
    }

    #[test]
    fn a_dictionary_may_stand_for_a_list_and_the_first_of_repeated_keys_counts() {
        let value = dictionary(b"\xef\xbb\xbf\r\n d1:0i5e1:1i6e1:0i7ee<html>").unwrap();
        assert_eq!(value.elements().filter_map(Value::integer).collect::<Vec<_>>(), [5, 6, 7]);
        assert_eq!(value.get(b"0"), Some(Value::Integer(Some(5))));
    }

    #[test]
    fn what_has_no_structure_is_refused() {
        for body in [&b""[..], b" ", b"<html>", b"le", b"i1e", b"d", b"d1:a", b"d1:ai1e", b"d9:ae", b"e"] {
            assert!(dictionary(body).is_err(), "{}", body.escape_ascii());
        }
        let endless = [b"d1:ai".as_slice(), &[b'1'; 100], b"ee"].concat();
        assert!(matches!(dictionary(&endless), Err(BencodeError::Syntax { .. })));
        let many = [b"d1:al".as_slice(), &b"le".repeat(200_000), b"ee"].concat();
        assert!(matches!(dictionary(&many), Err(BencodeError::TooManyTokens(_))));
    }
}
