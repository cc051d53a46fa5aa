//! How blocklists come packed: plain, in gzip, or as the first file of a zip archive.

use super::BlocklistError;
use std::borrow::Cow;
use std::io::{self, Read};

/// Bytes of a list after unpacking: the largest ones in use have 30 MB.
pub(super) const BYTES_MAX: u64 = 256 << 20;

/// What a gzip member begins with (RFC 1952).
const GZIP: &[u8] = &[0x1f, 0x8b];
/// What the header of a file in a zip archive begins with.
const ZIP: &[u8] = b"PK\x03\x04";
/// Bytes of that header before the name of the file.
const ZIP_HEADER_LEN: usize = 30;

/// Why what a list is packed in cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PackingError {
    /// The zip archive is damaged.
    #[error("the zip archive is damaged")]
    ZipDamaged,
    /// The zip archive needs a password.
    #[error("the zip archive is encrypted")]
    ZipEncrypted,
    /// The file in the zip archive is packed in a way that is not known.
    #[error("zip method {0} is not known")]
    ZipMethod(usize),
    /// The packed data is damaged.
    #[error("{0}")]
    Data(#[from] io::Error),
}

/// The list itself.
///
/// # Errors
/// When what it is packed in is damaged or holds more than [`BYTES_MAX`].
pub(super) fn unpacked(bytes: &[u8]) -> Result<Cow<'_, [u8]>, BlocklistError> {
    if bytes.starts_with(GZIP) {
        all_of(flate2::read::MultiGzDecoder::new(bytes)).map(Cow::Owned)
    } else if bytes.starts_with(ZIP) {
        first_file(bytes)
    } else {
        Ok(Cow::Borrowed(bytes))
    }
}

/// The first file of a zip archive. Its length need not be known: deflated data says where it ends.
fn first_file(archive: &[u8]) -> Result<Cow<'_, [u8]>, BlocklistError> {
    let header = archive.get(..ZIP_HEADER_LEN).ok_or(PackingError::ZipDamaged)?;
    let short = |at: usize| usize::from(u16::from_le_bytes([header[at], header[at + 1]]));
    let (flags, method) = (short(6), short(8));
    let data = archive.get(ZIP_HEADER_LEN + short(26) + short(28)..).ok_or(PackingError::ZipDamaged)?;
    if flags & 1 != 0 {
        return Err(PackingError::ZipEncrypted.into());
    }
    match method {
        8 => all_of(flate2::read::DeflateDecoder::new(data)).map(Cow::Owned),
        0 if flags & 8 == 0 => {
            let length = u32::from_le_bytes([header[18], header[19], header[20], header[21]]);
            Ok(data.get(..length as usize).map(Cow::Borrowed).ok_or(PackingError::ZipDamaged)?)
        }
        _ => Err(PackingError::ZipMethod(method).into()),
    }
}

fn all_of(packed: impl Read) -> Result<Vec<u8>, BlocklistError> {
    let mut out = Vec::new();
    packed.take(BYTES_MAX + 1).read_to_end(&mut out).map_err(PackingError::Data)?;
    if out.len() as u64 > BYTES_MAX {
        return Err(BlocklistError::TooLarge);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use std::io::Write;

    #[test]
    fn gzip_and_zip_are_unpacked_and_damage_is_told() {
        let list = b"10.0.0.0/8\n".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(&list).unwrap();
        let gzip = gzip.finish().unwrap();
        assert_eq!(unpacked(&gzip).unwrap(), list);
        assert_eq!(unpacked(&[gzip.as_slice(), &gzip].concat()).unwrap().len(), list.len() * 2);
        assert!(unpacked(&gzip[..gzip.len() / 2]).is_err());

        let mut deflated = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        deflated.write_all(&list).unwrap();
        let deflated = deflated.finish().unwrap();
        let mut header = vec![0; ZIP_HEADER_LEN];
        header[..4].copy_from_slice(ZIP);
        header[8] = 8;
        header[26] = 4;
        let archive = [header.as_slice(), b"list", &deflated, b"PK\x01\x02"].concat();
        assert_eq!(unpacked(&archive).unwrap(), list);
        assert!(unpacked(&archive[..60]).is_err() && unpacked(&archive[..20]).is_err());
        header[8] = 0;
        header[18..22].copy_from_slice(&(list.len() as u32).to_le_bytes());
        assert_eq!(unpacked(&[header.as_slice(), b"list", &list].concat()).unwrap(), list);
    }
}
