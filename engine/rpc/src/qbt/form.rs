//! Parameters of a request: from the query, a form, or a multipart form with files.

use crate::limits::{FORM_BYTES_MAX, FORM_ITEMS_MAX};
use std::collections::HashMap;

const TOO_LONG: &str = "the form is too long: send lists in parts, and torrents as files";
/// Longest mark between the parts of a form (RFC 2046).
const BOUNDARY_BYTES_MAX: usize = 70;
/// Parts that one multipart form may have.
const PARTS_MAX: usize = 1000;
/// Parameters that one form may have.
pub(crate) const FIELDS_MAX: usize = 1000;

/// What a request carries.
#[derive(Debug, Default)]
pub(crate) struct Form {
    fields: HashMap<String, String>,
    /// Bytes of all values that were given.
    bytes: usize,
    /// Contents of files, in order.
    pub(crate) files: Vec<Vec<u8>>,
}

impl Form {
    /// Reads the query and the body of a request.
    ///
    /// # Errors
    /// When a multipart body is not one, and when there is too much beside files.
    pub(crate) fn read(query: Option<&str>, content_type: &str, body: &[u8]) -> Result<Form, &'static str> {
        let mut form = Form::default();
        form.urlencoded(query.unwrap_or_default().as_bytes())?;
        match boundary(content_type) {
            Some(boundary) => form.multipart(&boundary, body)?,
            None => form.urlencoded(body)?,
        }
        Ok(form)
    }

    /// How many parameters it has.
    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// A parameter; empty when it is missing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    /// A parameter when it is there and not empty.
    pub(super) fn given(&self, name: &str) -> Option<&str> {
        Some(self.get(name)).filter(|value| !value.is_empty())
    }

    /// A parameter as a flag.
    pub(super) fn flag(&self, name: &str) -> Option<bool> {
        match self.get(name).to_ascii_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Some(true),
            "false" | "0" | "off" | "no" => Some(false),
            _ => None,
        }
    }

    /// A parameter as a number.
    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.get(name).trim().parse().ok()
    }

    /// The items of a parameter.
    pub(super) fn list(&self, name: &str, separator: char) -> Vec<String> {
        let items = self.get(name).split(separator).map(str::trim);
        items.filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    fn insert(&mut self, name: String, value: String) -> Result<(), &'static str> {
        self.bytes += value.len();
        let items = |separator| value.bytes().filter(|byte| *byte == separator).count();
        if self.bytes > FORM_BYTES_MAX || name.len() > FORM_BYTES_MAX {
            return Err(TOO_LONG);
        }
        // The separators of all lists that there are.
        if [b'|', b',', b'\n'].into_iter().any(|separator| items(separator) > FORM_ITEMS_MAX) {
            return Err("a list in the form is too long: send it in parts");
        }
        if self.fields.len() < FIELDS_MAX {
            self.fields.insert(name, value);
        }
        Ok(())
    }

    fn urlencoded(&mut self, text: &[u8]) -> Result<(), &'static str> {
        // Three bytes may stand for one.
        if text.len() > 3 * FORM_BYTES_MAX {
            return Err(TOO_LONG);
        }
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &pair[..0]),
            };
            self.insert(decode(name), decode(value))?;
        }
        Ok(())
    }

    fn multipart(&mut self, boundary: &str, body: &[u8]) -> Result<(), &'static str> {
        let mark = format!("--{boundary}").into_bytes();
        let mut rest = after(body, &mark).ok_or("the form has no part")?;
        for _ in 0..PARTS_MAX {
            if rest.starts_with(b"--") {
                return Ok(());
            }
            rest = rest.strip_prefix(b"\r\n").ok_or("a part of the form is broken")?;
            let head_end = find(rest, b"\r\n\r\n").ok_or("a part of the form has no head")?;
            let head = String::from_utf8_lossy(&rest[..head_end]).into_owned();
            let content = &rest[head_end + 4..];
            let end =
                find(content, &[b"\r\n", mark.as_slice()].concat()).ok_or("a part of the form has no end")?;
            let disposition =
                head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-disposition:"));
            let disposition = disposition.unwrap_or_default();
            if parameter(disposition, "filename").is_some() {
                self.files.push(content[..end].to_vec());
            } else if let Some(name) = parameter(disposition, "name") {
                // Looked at before it is copied.
                if end > FORM_BYTES_MAX {
                    return Err(TOO_LONG);
                }
                self.insert(name, String::from_utf8_lossy(&content[..end]).into_owned())?;
            }
            rest = &content[end + 2 + mark.len()..];
        }
        Err("the form has too many parts")
    }
}

/// The boundary of a multipart form.
fn boundary(content_type: &str) -> Option<String> {
    let lower = content_type.to_ascii_lowercase();
    if !lower.starts_with("multipart/form-data") {
        return None;
    }
    parameter(content_type, "boundary")
        .filter(|boundary| !boundary.is_empty() && boundary.len() <= BOUNDARY_BYTES_MAX)
}

/// A parameter of a header, quoted or not.
fn parameter(header: &str, name: &str) -> Option<String> {
    header.split(';').skip(1).find_map(|part| {
        let (key, value) = part.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
    })
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn after<'a>(text: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    find(text, wanted).map(|at| &text[at + wanted.len()..])
}

/// A percent-encoded value with `+` for blanks.
fn decode(text: &[u8]) -> String {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let pair = text.get(at + 1..at + 3).and_then(|pair| Some((digit(pair[0])?, digit(pair[1])?)));
        match (text[at], pair) {
            (b'+', _) => bytes.push(b' '),
            (b'%', Some((high, low))) => {
                bytes.push((high * 16 + low) as u8);
                at += 2;
            }
            (byte, _) => bytes.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read() {
        let form = Form::read(Some("hashes=a%7Cb&x"), "", b"tags=one%2C+two&flag=true&n=%2").unwrap();
        assert_eq!(form.list("hashes", '|'), ["a", "b"]);
        assert_eq!(form.list("tags", ','), ["one", "two"]);
        assert_eq!((form.flag("flag"), form.flag("x"), form.get("n")), (Some(true), None, "%2"));
    }

    #[test]
    fn what_is_no_file_is_bounded() {
        let urlencoded =
            |value: String| Form::read(None, "", format!("hashes={value}").as_bytes()).map(|_| ());
        assert_eq!(urlencoded("a|".repeat(FORM_ITEMS_MAX)), Ok(()));
        assert!(urlencoded("a|".repeat(FORM_ITEMS_MAX + 1)).unwrap_err().contains("list"));
        assert_eq!(urlencoded("%61".repeat(FORM_BYTES_MAX - 10)), Ok(()));
        assert_eq!(urlencoded("a".repeat(FORM_BYTES_MAX + 1)), Err(TOO_LONG));
        // The same parameter over and over.
        let parts = format!("tags={}&", "a".repeat(1 << 20)).repeat(5);
        assert_eq!(Form::read(None, "", parts.as_bytes()).map(|_| ()), Err(TOO_LONG));
        let part = |head: &str| {
            let content = "x".repeat(FORM_BYTES_MAX + 1);
            let body =
                format!("--xx\r\nContent-Disposition: form-data; {head}\r\n\r\n{content}\r\n--xx--\r\n");
            Form::read(None, "multipart/form-data; boundary=xx", body.as_bytes())
        };
        assert_eq!(part("name=\"tags\"").map(|_| ()), Err(TOO_LONG));
        assert_eq!(part("name=\"t\"; filename=\"a\"").unwrap().files[0].len(), FORM_BYTES_MAX + 1);
    }

    #[test]
    fn multipart_forms_are_read_or_refused() {
        let body = b"--xx\r\nContent-Disposition: form-data; name=\"savepath\"\r\n\r\n/srv\r\n--xx\r\n\
            Content-Disposition: form-data; name=\"torrents\"; filename=\"a.torrent\"\r\n\
            Content-Type: application/x-bittorrent\r\n\r\nd4\r\n:--xxx\r\n--xx--\r\n";
        let form = Form::read(None, "multipart/form-data; boundary=xx", body).unwrap();
        assert_eq!(form.get("savepath"), "/srv");
        assert_eq!(form.files, [b"d4\r\n:--xxx".to_vec()]);
        for broken in [&b""[..], b"--xx", b"--xx\r\n", b"--xx\r\nA: b\r\n\r\n", b"--xx\r\n\r\n\r\n--x"] {
            assert!(Form::read(None, "multipart/form-data; boundary=xx", broken).is_err());
        }
    }
}
