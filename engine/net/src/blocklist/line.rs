//! One line of a text blocklist.

use std::net::IpAddr;

/// Highest access level of a DAT line that is blocked; a line above it permits its addresses.
const LEVEL_BLOCKED_MAX: u32 = 127;

/// First and last address of a range, both of one family.
pub(super) type Range = (IpAddr, IpAddr);

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    /// Nothing: it is empty or a comment.
    Empty,
    /// These addresses are blocked.
    Blocked(Range),
    /// A DAT line with an access level above [`LEVEL_BLOCKED_MAX`]: it blocks nothing.
    Permitted,
    /// It is in none of the formats.
    Malformed,
}

impl Line {
    /// Reads a line, with or without its line end.
    pub(super) fn parse(line: &str) -> Line {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) || line.starts_with("//") {
            return Line::Empty;
        }
        // DAT: `first - last , level , description`. The level and the description may be missing.
        let mut fields = line.split(',');
        if let Some(range) = fields.next().and_then(span) {
            let level = fields.next().and_then(|level| level.trim().parse::<u32>().ok());
            return match level {
                Some(level) if level > LEVEL_BLOCKED_MAX => Line::Permitted,
                _ => Line::Blocked(range),
            };
        }
        let single = || address(without_comment(line)).map(|address| (address, address));
        match cidr(line).or_else(single).or_else(|| named(line)) {
            Some(range) => Line::Blocked(range),
            None => Line::Malformed,
        }
    }
}

/// P2P: `name:first-last`. The name may hold colons, and so does an IPv6 address: where several readings are possible
/// the smallest range is meant, for a part of the name that looks like the beginning of an address makes a huge one.
fn named(line: &str) -> Option<Range> {
    let readings = line.match_indices(':').filter_map(|(at, _)| {
        let rest = &line[at + 1..];
        span(rest).or_else(|| cidr(rest))
    });
    readings.min_by_key(|range| match range {
        (IpAddr::V4(first), IpAddr::V4(last)) => u128::from(last.to_bits() - first.to_bits()),
        (IpAddr::V6(first), IpAddr::V6(last)) => last.to_bits() - first.to_bits(),
        _ => u128::MAX,
    })
}

/// `first-last`. Ends in the wrong order are put right, as Transmission does.
fn span(text: &str) -> Option<Range> {
    let (first, last) = text.split_once('-')?;
    let (first, last) = (address(first)?, address(without_comment(last))?);
    (first.is_ipv4() == last.is_ipv4()).then(|| (first.min(last), first.max(last)))
}

/// `network/bits`. Bits of the address behind the prefix are ignored.
fn cidr(text: &str) -> Option<Range> {
    let (network, bits) = text.split_once('/')?;
    let network: IpAddr = plain_address(network)?;
    let mut bits: u32 = without_comment(bits).trim().parse().ok()?;
    // A prefix of IPv4-mapped addresses is one of IPv4.
    if network.is_ipv6() && network.to_canonical().is_ipv4() && bits >= 96 {
        bits -= 96;
        return prefix(network.to_canonical(), bits);
    }
    prefix(network, bits)
}

fn prefix(network: IpAddr, bits: u32) -> Option<Range> {
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

fn without_comment(text: &str) -> &str {
    text.split(['#', ';']).next().unwrap_or_default()
}

/// An address in canonical form: an IPv4-mapped one is its IPv4 address.
fn address(text: &str) -> Option<IpAddr> {
    plain_address(text).map(|address| address.to_canonical())
}

/// An address; numbers of IPv4 may have leading zeros, as DAT writes them, and are decimal.
fn plain_address(text: &str) -> Option<IpAddr> {
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

    fn blocked(line: &str) -> (String, String) {
        match Line::parse(line) {
            Line::Blocked((first, last)) => (first.to_string(), last.to_string()),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn ranges_are_read_in_every_format() {
        for (line, first, last) in [
            // P2P
            ("Some organization:1.0.0.0-1.255.255.255", "1.0.0.0", "1.255.255.255"),
            ("Corp, Inc: a-b: the one:1.2.3.4 - 1.2.3.9\r", "1.2.3.4", "1.2.3.9"),
            ("Corp #7; old:1.2.3.4-1.2.3.9", "1.2.3.4", "1.2.3.9"),
            (":1.2.3.4-1.2.3.9", "1.2.3.4", "1.2.3.9"),
            ("v6:fd00::1-fd00::ff", "fd00::1", "fd00::ff"),
            ("Corp:bad:2001:db8::1-2001:db8::5", "2001:db8::1", "2001:db8::5"),
            ("named network:10.1.2.3/16", "10.1.0.0", "10.1.255.255"),
            // DAT
            ("001.009.096.105 - 001.009.096.105 , 000 , Some organization", "1.9.96.105", "1.9.96.105"),
            ("000.000.000.000 - 000.255.255.255 , 127 , invalid, ip", "0.0.0.0", "0.255.255.255"),
            ("1.2.3.4-1.2.3.9", "1.2.3.4", "1.2.3.9"),
            ("2001:db8:: - 2001:db8::ff , 0 , v6", "2001:db8::", "2001:db8::ff"),
            ("1.2.3.4 - 1.2.3.9 , unknown level", "1.2.3.4", "1.2.3.9"),
            // CIDR and single addresses, with the comments of lists made for firewalls
            ("10.1.2.3/8", "10.0.0.0", "10.255.255.255"),
            ("0.0.0.0/0", "0.0.0.0", "255.255.255.255"),
            ("1.10.16.0/20 ; SBL256894", "1.10.16.0", "1.10.31.255"),
            ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
            ("9.9.9.9 # a resolver", "9.9.9.9", "9.9.9.9"),
            // IPv4-mapped addresses are those of IPv4, ends in the wrong order are put right
            ("::ffff:1.2.3.4", "1.2.3.4", "1.2.3.4"),
            ("::ffff:10.0.0.0/104", "10.0.0.0", "10.255.255.255"),
            ("::ffff:1.2.3.4-1.2.3.9", "1.2.3.4", "1.2.3.9"),
            ("4.4.4.4-3.3.3.3", "3.3.3.3", "4.4.4.4"),
        ] {
            assert_eq!(blocked(line), (first.into(), last.into()), "{line}");
        }
    }

    #[test]
    fn a_dat_line_with_a_high_access_level_blocks_nothing() {
        for line in [
            "064.094.089.000 - 064.094.089.255 , 128 , permitted",
            "1.2.3.4 - 1.2.3.9,200",
            "1.2.3.4-1.2.3.9 , 0255 , x",
        ] {
            assert_eq!(Line::parse(line), Line::Permitted, "{line}");
        }
    }

    #[test]
    fn comments_and_malformed_lines_are_told_apart() {
        for line in ["", "  \r", "# 1.2.3.4", "; 1.2.3.4", "// 1.2.3.4", " # x"] {
            assert_eq!(Line::parse(line), Line::Empty, "{line}");
        }
        for line in [
            "nonsense",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.256",
            "1.2.3.4-",
            "1.2.3.4-::1",
            "name:1.2.3.4-x",
            "1.2.3.4/33",
            "::/129",
            "1.2.3.0004",
            "0x1.2.3.4",
            "<html>",
        ] {
            assert_eq!(Line::parse(line), Line::Malformed, "{line}");
        }
    }
}
