//! Encodings of answers' bodies (RFC 9110, section 8.4): gzip and deflate are undone, within the bound of the answer.

use flate2::read::{GzDecoder, MultiGzDecoder, ZlibDecoder};
use flate2::{Decompress, FlushDecompress, Status};
use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;
use std::borrow::Cow;
use std::io::{self, Read};

/// What is asked for.
pub(super) const ACCEPTED: &str = "gzip, deflate";

/// Why the body of an answer cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum EncodingError {
    /// It is encoded more often than any server has reason to.
    #[error("the answer is encoded many times over")]
    TooOften,
    /// An encoding that was not asked for. No more than the beginning of its name.
    #[error("the answer is encoded with {0}, which was not asked for")]
    Unknown(String),
    /// What it is without the encoding is larger than it may be.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// It is not what the encoding makes.
    #[error("the answer's encoding is broken: {0}")]
    Broken(#[from] io::Error),
}

/// The body as it was before it was encoded, of at most `bytes_max` bytes.
pub(super) fn decoded<'a>(
    headers: &HeaderMap,
    body: &'a [u8],
    bytes_max: usize,
) -> Result<Cow<'a, [u8]>, EncodingError> {
    let names = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let names = names.flat_map(|names| names.split(',')).map(|name| name.trim().to_ascii_lowercase());
    let mut body = Cow::Borrowed(body);
    let names: Vec<String> = names.filter(|name| !name.is_empty() && name != "identity").collect();
    if names.len() > ENCODINGS_MAX {
        return Err(EncodingError::TooOften);
    }
    // The last one was done last.
    for name in names.iter().rev() {
        body = match name.as_str() {
            // Some servers say so and send it as it is.
            "gzip" | "x-gzip" if !body.starts_with(&GZIP_MAGIC) => body,
            "gzip" | "x-gzip" => Cow::Owned(gunzip(&body, bytes_max)?),
            "deflate" => match inflate(&body, bytes_max)? {
                Some(inflated) => Cow::Owned(inflated),
                None => body,
            },
            other => {
                return Err(EncodingError::Unknown(other.chars().take(20).collect()));
            }
        };
    }
    Ok(body)
}

/// Encodings undone in one answer.
const ENCODINGS_MAX: usize = 2;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

fn gunzip(body: &[u8], bytes_max: usize) -> Result<Vec<u8>, EncodingError> {
    match bounded(MultiGzDecoder::new(body), bytes_max) {
        // Something else may follow the first member.
        Err(EncodingError::Broken(_)) => bounded(GzDecoder::new(body), bytes_max),
        done => done,
    }
}

/// `deflate` is a zlib stream by the standard and a bare one by some servers. `None` when the body is neither: it was
/// sent as it is.
fn inflate(body: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, EncodingError> {
    match bounded(ZlibDecoder::new(body), bytes_max) {
        Ok(inflated) => return Ok(Some(inflated)),
        Err(EncodingError::Broken(_)) => {}
        Err(too_large) => return Err(too_large),
    }
    let mut out = Vec::with_capacity(body.len().saturating_mul(4).min(bytes_max + 1));
    let mut stream = Decompress::new(false);
    loop {
        let read = usize::try_from(stream.total_in()).unwrap_or(body.len()).min(body.len());
        let before = (stream.total_in(), out.len());
        match stream.decompress_vec(&body[read..], &mut out, FlushDecompress::None) {
            Ok(Status::StreamEnd) if out.len() <= bytes_max => return Ok(Some(out)),
            _ if out.len() > bytes_max => return Err(EncodingError::TooLarge(bytes_max)),
            Ok(_) if out.len() == out.capacity() => {
                out.reserve(out.len().max(512).min(bytes_max + 1 - out.len()))
            }
            Ok(_) if (stream.total_in(), out.len()) != before => {}
            Ok(_) | Err(_) => return Ok(None),
        }
    }
}

/// All of a decoder's output; a small body that grows without end is stopped at the bound.
fn bounded(decoder: impl Read, bytes_max: usize) -> Result<Vec<u8>, EncodingError> {
    let mut out = Vec::new();
    decoder.take(bytes_max as u64 + 1).read_to_end(&mut out)?;
    if out.len() > bytes_max { Err(EncodingError::TooLarge(bytes_max)) } else { Ok(out) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use std::io::Write;

    const BODY: &[u8] = b"d8:intervali1800e5:peers0:e";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn raw(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(name: &str, body: &[u8], bytes_max: usize) -> Result<Vec<u8>, EncodingError> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, name.parse().unwrap());
        decoded(&headers, body, bytes_max).map(Cow::into_owned)
    }

    fn is_too_large(decoded: Result<Vec<u8>, EncodingError>) -> bool {
        matches!(decoded, Err(EncodingError::TooLarge(_)))
    }

    #[test]
    fn what_servers_call_gzip_and_deflate_is_undone() {
        for (name, body) in [
            ("gzip", gzip(BODY)),
            ("X-GZIP", gzip(BODY)),
            ("deflate", zlib(BODY)),
            ("deflate", raw(BODY)),
            ("identity, gzip", gzip(BODY)),
            ("deflate, gzip", gzip(&zlib(BODY))),
            // Said and not done.
            ("gzip", BODY.to_vec()),
            ("deflate", BODY.to_vec()),
            ("", BODY.to_vec()),
            ("identity", BODY.to_vec()),
            ("gzip", [gzip(BODY), b"\r\n".to_vec()].concat()),
            ("gzip", [gzip(&BODY[..9]), gzip(&BODY[9..])].concat()),
        ] {
            assert_eq!(decode(name, &body, 100).unwrap(), BODY, "{name}");
        }
        assert_eq!(&*decoded(&HeaderMap::new(), BODY, 100).unwrap(), BODY);
        let large: Vec<u8> = (0..200_000u32).flat_map(|n| (n % 251).to_be_bytes()).collect();
        for (name, body) in [("gzip", gzip(&large)), ("deflate", zlib(&large)), ("deflate", raw(&large))] {
            assert!(decode(name, &body, large.len()).unwrap() == large, "{name}");
            assert!(is_too_large(decode(name, &body, large.len() - 1)), "{name}");
        }
    }

    #[test]
    fn a_bomb_ends_at_the_bound() {
        let zeros = vec![0; 32 << 20];
        for (name, body) in [("gzip", gzip(&zeros)), ("deflate", zlib(&zeros)), ("deflate", raw(&zeros))] {
            assert!(body.len() < 64 << 10);
            assert!(is_too_large(decode(name, &body, 512 << 10)), "{name}");
        }
        let twice = gzip(&gzip(&zeros));
        assert!(is_too_large(decode("gzip, gzip", &twice, 512 << 10)));
        let thrice = decode("gzip, gzip, gzip", &twice, 512 << 10);
        assert!(matches!(thrice, Err(EncodingError::TooOften)));
    }

    #[test]
    fn cut_and_foreign_encodings_are_told() {
        let body = gzip(BODY);
        for cut in 2..body.len() - 8 {
            let cut_short = decode("gzip", &body[..cut], 100);
            assert!(matches!(cut_short, Err(EncodingError::Broken(_))), "{cut}");
        }
        assert!(matches!(decode("br", BODY, 100), Err(EncodingError::Unknown(name)) if name == "br"));
        // What deflate cannot be is left as it is, for whoever reads it to refuse.
        assert_eq!(decode("deflate", b"<html>", 100).unwrap(), b"<html>");
        for byte in 0..=255 {
            let _ = decode("deflate", &[byte, byte, 0, 1, 2], 100);
            let _ = decode("gzip", &[0x1f, 0x8b, 8, byte, 0, 1, 2], 100);
        }
    }
}
