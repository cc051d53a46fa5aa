//! Lists of addresses that peers may not have: CIDR (`10.0.0.0/8`), P2P (`name:1.2.3.4-1.2.3.9`), eMule's DAT
//! (`001.002.003.000 - 001.002.003.255 , 000 , name`) and single addresses, a rule a line, plain or in gzip.

use std::io::Read;
use std::net::IpAddr;

/// Bytes of a list after unpacking: the largest ones in use have 30 MB.
const TEXT_BYTES_MAX: u64 = 256 << 20;
/// Rules of one list.
const RULES_MAX: usize = 4_000_000;

/// Ranges of addresses, ascending, none touching another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Blocklist {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
    rules: usize,
}

impl Blocklist {
    /// Reads a list. Lines that are no rule are left out.
    ///
    /// # Errors
    /// When nothing in it is a rule, it is too large, or its gzip is damaged.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut unpacked = Vec::new();
        let text = if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(bytes)
                .take(TEXT_BYTES_MAX)
                .read_to_end(&mut unpacked)
                .map_err(|error| format!("the list cannot be unpacked: {error}"))?;
            &unpacked
        } else {
            bytes
        };
        let mut list = Self::default();
        for line in text.split(|byte| *byte == b'\n') {
            let Some((first, last)) = rule(&String::from_utf8_lossy(line)) else { continue };
            if list.rules >= RULES_MAX {
                return Err(format!("the list has more than {RULES_MAX} rules"));
            }
            match (first, last) {
                (IpAddr::V4(first), IpAddr::V4(last)) => list.v4.push((first.to_bits(), last.to_bits())),
                (IpAddr::V6(first), IpAddr::V6(last)) => list.v6.push((first.to_bits(), last.to_bits())),
                _ => continue,
            }
            list.rules += 1;
        }
        if list.rules == 0 {
            return Err("nothing in it is a rule of a blocklist".to_owned());
        }
        list.v4 = merged(list.v4);
        list.v6 = merged(list.v6);
        Ok(list)
    }

    /// Whether an address may not be a peer's.
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

/// First and last address of a line.
fn rule(line: &str) -> Option<(IpAddr, IpAddr)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//") {
        return None;
    }
    if let Some((network, bits)) = line.split_once('/')
        && let (Some(network), Ok(bits)) = (address(network), bits.trim().parse::<u32>())
    {
        return cidr(network, bits);
    }
    if let Some(single) = address(line) {
        return Some((single, single));
    }
    // DAT has its range first, P2P has it behind the last colon of the name.
    let dat = line.split(',').next().unwrap_or_default();
    range(dat).or_else(|| {
        // The colons of IPv6 addresses are behind the name's, too: the first that leaves a range is it.
        line.match_indices(':').find_map(|(at, _)| range(&line[at + 1..]))
    })
}

fn range(text: &str) -> Option<(IpAddr, IpAddr)> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (address(first)?, address(last)?);
    (first.is_ipv4() == last.is_ipv4() && first <= last).then_some((first, last))
}

fn cidr(network: IpAddr, bits: u32) -> Option<(IpAddr, IpAddr)> {
    match network {
        IpAddr::V4(v4) if bits <= 32 => {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let first = v4.to_bits() & mask;
            Some((IpAddr::V4(first.into()), IpAddr::V4((first | !mask).into())))
        }
        IpAddr::V6(v6) if bits <= 128 => {
            let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
            let first = v6.to_bits() & mask;
            Some((IpAddr::V6(first.into()), IpAddr::V6((first | !mask).into())))
        }
        _ => None,
    }
}

/// An address; numbers of IPv4 may have leading zeros, as DAT writes them.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *octet = part.parse().ok()?;
    }
    parts.next().is_none().then(|| IpAddr::from(octets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LIST: &str = "# a comment\n\
        10.0.0.0/8\n\
        Some Corp, Inc: the one:1.2.3.4-1.2.3.9\n\
        005.006.007.000 - 005.006.007.255 , 000 , a name\n\
        9.9.9.9\n\
        2001:db8::/32\n\
        v6 name:fd00::1-fd00::ff\n\
        nonsense\n\
        4.4.4.4-3.3.3.3\n";

    fn blocked(list: &Blocklist, address: &str) -> bool {
        list.contains(address.parse().unwrap())
    }

    #[test]
    fn all_forms_are_read() {
        let list = Blocklist::parse(LIST.as_bytes()).unwrap();
        assert_eq!(list.rules(), 6);
        for address in [
            "10.0.0.0",
            "10.255.255.255",
            "1.2.3.4",
            "1.2.3.9",
            "5.6.7.8",
            "9.9.9.9",
            "2001:db8::1",
            "fd00::80",
            "::ffff:10.1.1.1",
        ] {
            assert!(blocked(&list, address), "{address}");
        }
        for address in [
            "11.0.0.0",
            "9.255.255.255",
            "1.2.3.3",
            "1.2.3.10",
            "5.6.8.0",
            "9.9.9.8",
            "2001:db9::1",
            "fd00::100",
            "3.5.5.5",
        ] {
            assert!(!blocked(&list, address), "{address}");
        }
    }

    #[test]
    fn gzip_is_unpacked_and_damage_is_told() {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(LIST.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        assert_eq!(Blocklist::parse(&packed).unwrap(), Blocklist::parse(LIST.as_bytes()).unwrap());
        assert!(Blocklist::parse(&packed[..packed.len() / 2]).is_err());
        assert!(Blocklist::parse(b"<html>not found</html>").is_err() && Blocklist::parse(b"").is_err());
    }

    #[test]
    fn overlapping_ranges_become_one() {
        let list = Blocklist::parse(b"1.0.0.0/8\n1.2.0.0/16\n0.0.0.0-1.1.1.1\n").unwrap();
        assert_eq!(list.v4, [(0, 0x01ff_ffff)]);
        assert_eq!(Blocklist::parse(b"0.0.0.0/0\n").unwrap().v4, [(0, u32::MAX)]);
    }
}
