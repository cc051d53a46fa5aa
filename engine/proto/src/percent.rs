//! Percent-encoding (RFC 3986) of raw bytes, for tracker queries and magnet links.

use std::borrow::Cow;

use crate::hashes::hex_value;

/// Appends the bytes; all but unreserved characters are written as `%XX`.
pub fn encode(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

/// The bytes that `text` stands for; `None` when a `%` is not followed by two hexadecimal digits. A `+` stays
/// a `+`, for it may be a byte of an info-hash.
#[must_use]
pub fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if !text.contains(&b'%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        if byte == b'%' {
            let high = hex_value(*rest.next()?)?;
            let low = hex_value(*rest.next()?)?;
            bytes.push(high << 4 | low);
        } else {
            bytes.push(byte);
        }
    }
    Some(Cow::Owned(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_survives() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut text = String::new();
        encode(&mut text, &bytes);
        assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
        assert_eq!(decode(text.as_bytes()).unwrap(), bytes);
        assert_eq!(decode(text.to_lowercase().as_bytes()).unwrap()[0xfe], 0xfe);
    }

    #[test]
    fn broken_escapes_are_refused() {
        for text in ["%", "%1", "a%1", "%zz", "%1g", "%%20"] {
            assert!(decode(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(decode(b"a+b").unwrap(), &b"a+b"[..]);
    }
}
