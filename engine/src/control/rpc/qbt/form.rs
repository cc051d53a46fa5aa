//! Parameters of a request: from the query, a form, or a multipart form with files.

use std::collections::HashMap;

/// Parts that one multipart form may have.
const PARTS_MAX: usize = 1000;
/// Parameters that one form may have.
pub(in crate::control::rpc) const FIELDS_MAX: usize = 1000;

/// What a request carries.
#[derive(Debug, Default)]
pub(in crate::control::rpc) struct Form {
    fields: HashMap<String, String>,
    /// Contents of files, in order.
    pub(in crate::control::rpc) files: Vec<Vec<u8>>,
}

impl Form {
    /// Reads the query and the body of a request.
    ///
    /// # Errors
    /// When a multipart body is not one.
    pub(in crate::control::rpc) fn read(
        query: Option<&str>,
        content_type: &str,
        body: &[u8],
    ) -> Result<Form, &'static str> {
        let mut form = Form::default();
        form.urlencoded(query.unwrap_or_default().as_bytes());
        match boundary(content_type) {
            Some(boundary) => form.multipart(&boundary, body)?,
            None => form.urlencoded(body),
        }
        Ok(form)
    }

    /// How many parameters it has.
    pub(in crate::control::rpc) fn len(&self) -> usize {
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

    fn insert(&mut self, name: String, value: String) {
        if self.fields.len() < FIELDS_MAX {
            self.fields.insert(name, value);
        }
    }

    fn urlencoded(&mut self, text: &[u8]) {
        for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
                Some(at) => (&pair[..at], &pair[at + 1..]),
                None => (pair, &pair[..0]),
            };
            self.insert(decode(name), decode(value));
        }
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
                self.insert(name, String::from_utf8_lossy(&content[..end]).into_owned());
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
    parameter(content_type, "boundary").filter(|boundary| !boundary.is_empty() && boundary.len() <= 200)
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
