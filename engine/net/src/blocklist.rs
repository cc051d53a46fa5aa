//! Lists of addresses that peers may not have.
//!
//! Text, one rule a line: PeerGuardian's P2P (`name:1.2.3.4-1.2.3.9`), eMule's DAT (`001.002.003.000 - 001.002.003.255 ,
//! 000 , name`, where a level above 127 blocks nothing), CIDR (`10.0.0.0/8`) and single addresses, of IPv4 and IPv6.
//! Binary: PeerGuardian's P2B, versions 1 to 3. Plain, in gzip or as the first file of a zip archive.

mod line;
mod p2b;
mod packing;

use line::Line;
pub use packing::PackingError;
use std::net::IpAddr;

/// Rules of one list.
const RULES_MAX: usize = 4_000_000;

/// What UTF-8 text may begin with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Why a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BlocklistError {
    /// No line is a rule, so it is likely something else, such as a page that says why there is no list.
    #[error("nothing in it is a rule of a blocklist")]
    NoRules,
    /// More rules than are kept in memory.
    #[error("the list has more than {RULES_MAX} rules")]
    TooManyRules,
    /// A binary list ends in the middle.
    #[error("the P2B list is cut short: fetch it again")]
    CutShort,
    /// A binary list of a version that is not known.
    #[error("the list is a P2B list of version {0}; 1 to 3 can be read")]
    P2bVersion(u8),
    /// It cannot be unpacked.
    #[error("the list cannot be unpacked: {0}")]
    Packing(#[from] PackingError),
    /// It is larger than any list in use.
    #[error("the list is larger than {} MiB", packing::BYTES_MAX >> 20)]
    TooLarge,
}

/// Ranges of addresses, ascending, none overlapping another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    rules: usize,
    malformed: Malformed,
}

/// Lines of a list that are in no known format, and were left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Malformed {
    /// How many.
    pub lines: usize,
    /// Number of the first one, from 1; 0 when there is none.
    pub first: usize,
}

impl Blocklist {
    /// Reads a list. Malformed lines are left out and counted.
    ///
    /// # Errors
    /// When nothing in it is a rule, it is too large, or what it is packed in is damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, BlocklistError> {
        let bytes = packing::unpacked(bytes)?;
        let mut list = Self::default();
        let mut permitted = false;
        if p2b::is_p2b(&bytes) {
            p2b::read(&bytes, |range| list.add(range))?;
        } else {
            // Names may be in any encoding that leaves ASCII alone; nothing of them is used.
            let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&bytes);
            for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
                match Line::parse(&String::from_utf8_lossy(line)) {
                    Line::Empty => {}
                    Line::Blocked(range) => list.add(range)?,
                    Line::Permitted => permitted = true,
                    Line::Malformed => list.malformed.count(number),
                }
            }
        }
        if list.rules == 0 && !permitted {
            return Err(BlocklistError::NoRules);
        }
        list.v4 = merged(list.v4);
        list.v6 = merged(list.v6);
        Ok(list)
    }

    fn add(&mut self, range: (IpAddr, IpAddr)) -> Result<(), BlocklistError> {
        if self.rules >= RULES_MAX {
            return Err(BlocklistError::TooManyRules);
        }
        match range {
            (IpAddr::V4(first), IpAddr::V4(last)) => self.v4.push((first.to_bits(), last.to_bits())),
            (IpAddr::V6(first), IpAddr::V6(last)) => self.v6.push((first.to_bits(), last.to_bits())),
            _ => return Ok(()), // both ends of a range are of one family
        }
        self.rules += 1;
        Ok(())
    }

    /// Whether an address may not be a peer's. An IPv4-mapped address is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) => within(&self.v4, v4.to_bits()),
            IpAddr::V6(v6) => within(&self.v6, v6.to_bits()),
        }
    }

    /// How many rules were read.
    pub fn rules(&self) -> usize {
        self.rules
    }

    /// What could not be read.
    pub fn malformed(&self) -> Malformed {
        self.malformed
    }
}

impl Malformed {
    fn count(&mut self, number: usize) {
        if self.lines == 0 {
            self.first = number;
        }
        self.lines += 1;
    }
}

fn within<T: Ord + Copy>(ranges: &[(T, T)], value: T) -> bool {
    let after = ranges.partition_point(|(first, _)| *first <= value);
    after > 0 && ranges[after - 1].1 >= value
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut out: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some(before) if before.1 >= first => before.1 = before.1.max(last),
            _ => out.push((first, last)),
        }
    }
    out.shrink_to_fit();
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(list: &Blocklist, address: &str) -> bool {
        list.contains(address.parse().unwrap())
    }

    #[test]
    fn one_list_may_mix_formats_and_malformed_lines_are_counted() {
        let list = b"\xef\xbb\xbf10.0.0.0/8\r\n\
            Soci\xe9t\xe9 \x80: the one:1.2.3.4-1.2.3.9\r\n\
            005.006.007.000 - 005.006.007.255 , 000 , a name\r\n\
            nonsense\r\n\
            005.006.008.000 - 005.006.008.255 , 200 , permitted\r\n\
            # a comment\r\n\
            2001:db8::/32\r\n\
            more nonsense";
        let list = Blocklist::parse(list).unwrap();
        assert_eq!(list.rules(), 4);
        assert_eq!(list.malformed(), Malformed { lines: 2, first: 4 });
        for address in ["10.0.0.0", "10.255.255.255", "1.2.3.4", "1.2.3.9", "5.6.7.8", "2001:db8::1"] {
            assert!(blocked(&list, address), "{address}");
        }
        assert!(blocked(&list, "::ffff:10.1.1.1"), "an IPv4-mapped address passed by the rules of IPv4");
        for address in ["11.0.0.0", "9.255.255.255", "1.2.3.3", "1.2.3.10", "5.6.8.0", "2001:db9::1"] {
            assert!(!blocked(&list, address), "{address}");
        }
    }

    #[test]
    fn what_holds_no_rule_is_no_list() {
        assert!(Blocklist::parse(b"<html>not found</html>").is_err());
        assert!(Blocklist::parse(b"").is_err() && Blocklist::parse(b"# nothing\n").is_err());
        // Every rule of it permits: there is nothing to block, and it is a list.
        assert_eq!(Blocklist::parse(b"1.2.3.4 - 1.2.3.9 , 200 , x\n").unwrap().rules(), 0);
    }

    #[test]
    fn a_binary_list_is_read_too() {
        let list = Blocklist::parse(b"\xff\xff\xff\xffP2B\x02one\0\x01\x02\x03\x04\x01\x02\x03\x09").unwrap();
        assert!(blocked(&list, "1.2.3.5") && !blocked(&list, "1.2.3.10"));
        assert!(Blocklist::parse(b"\xff\xff\xff\xffP2B\x02one\0\x01\x02").is_err());
    }

    #[test]
    fn overlapping_ranges_become_one() {
        let list = Blocklist::parse(b"1.0.0.0/8\n1.2.0.0/16\n0.0.0.0-1.1.1.1\n").unwrap();
        assert_eq!(list.v4, [(0, 0x01ff_ffff)]);
        assert_eq!(Blocklist::parse(b"0.0.0.0/0\n").unwrap().v4, [(0, u32::MAX)]);
    }
}
