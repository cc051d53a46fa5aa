//! The binary format of PeerGuardian lists, versions 1 to 3. Numbers are big-endian, labels end with a zero byte.

use super::BlocklistError;
use std::net::{IpAddr, Ipv4Addr};

/// What such a list begins with; the byte after it is the version.
const MAGIC: &[u8; 7] = b"\xff\xff\xff\xffP2B";

/// Whether a list is in this format.
pub(super) fn is_p2b(list: &[u8]) -> bool {
    list.starts_with(MAGIC)
}

/// Gives each range of a list to `take`.
///
/// # Errors
/// When the list ends in the middle, has an unknown version, or `take` has enough.
pub(super) fn read(
    list: &[u8],
    mut take: impl FnMut((IpAddr, IpAddr)) -> Result<(), BlocklistError>,
) -> Result<(), BlocklistError> {
    let mut rest = Reader(list.get(MAGIC.len()..).unwrap_or_default());
    match rest.byte()? {
        1 | 2 => {
            while !rest.0.is_empty() {
                rest.label()?;
                take(rest.range()?)?;
            }
        }
        3 => {
            for _ in 0..rest.number()? {
                rest.label()?;
            }
            for _ in 0..rest.number()? {
                rest.number()?; // which label
                take(rest.range()?)?;
            }
        }
        version => return Err(BlocklistError::P2bVersion(version)),
    }
    Ok(())
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, BlocklistError> {
        let (first, rest) = self.0.split_first().ok_or(BlocklistError::CutShort)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u32, BlocklistError> {
        let (bytes, rest) = self.0.split_first_chunk::<4>().ok_or(BlocklistError::CutShort)?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*bytes))
    }

    fn label(&mut self) -> Result<(), BlocklistError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(BlocklistError::CutShort)?;
        self.0 = &self.0[end + 1..];
        Ok(())
    }

    fn range(&mut self) -> Result<(IpAddr, IpAddr), BlocklistError> {
        let (first, last) = (self.number()?, self.number()?);
        let address = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
        Ok((address(first.min(last)), address(first.max(last))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(list: &[u8]) -> Result<Vec<String>, BlocklistError> {
        let mut found = Vec::new();
        read(list, |(first, last)| {
            found.push(format!("{first}-{last}"));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn the_three_versions_are_read() {
        let expected = ["1.2.3.4-1.2.3.9", "5.0.0.0-5.255.255.255"];
        for version in [1, 2] {
            let list = [
                MAGIC.as_slice(),
                &[version],
                b"one\0\x01\x02\x03\x04\x01\x02\x03\x09",
                b"\0\x05\0\0\0\x05\xff\xff\xff",
            ];
            assert_eq!(ranges(&list.concat()).unwrap(), expected);
        }
        let list = [
            MAGIC.as_slice(),
            &[3],
            b"\0\0\0\x02one\0two\0",
            b"\0\0\0\x02",
            b"\0\0\0\0\x01\x02\x03\x04\x01\x02\x03\x09",
            b"\0\0\0\x01\x05\0\0\0\x05\xff\xff\xff",
        ]
        .concat();
        assert_eq!(ranges(&list).unwrap(), expected);
        for end in MAGIC.len()..list.len() {
            assert!(matches!(ranges(&list[..end]), Err(BlocklistError::CutShort)), "{end}");
        }
        let unknown = ranges(&[MAGIC.as_slice(), &[4]].concat());
        assert!(matches!(unknown, Err(BlocklistError::P2bVersion(4))));
    }

    #[test]
    fn a_count_of_four_thousand_million_ranges_takes_no_memory() {
        let list = [MAGIC.as_slice(), &[3], b"\0\0\0\0\xff\xff\xff\xff"].concat();
        assert!(ranges(&list).is_err());
    }
}
