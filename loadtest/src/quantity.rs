//! Sizes as people write them: `256M`, `16K`, `1048576`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of bytes; K, M and G are powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Bytes(pub u64);

const UNITS: [(char, u32); 3] = [('K', 10), ('M', 20), ('G', 30)];

/// A text that does not say how many bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no size such as 512, 16K, 256M or 1G")]
pub struct NotASize(String);

impl FromStr for Bytes {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Bytes, NotASize> {
        let wrong = || NotASize(text.to_owned());
        let trimmed = text.trim();
        let unit = UNITS.iter().find(|(letter, _)| trimmed.to_ascii_uppercase().ends_with(*letter));
        let (digits, shift) = match unit {
            Some((_, shift)) => (&trimmed[..trimmed.len() - 1], *shift),
            None => (trimmed, 0),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Bytes).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().rev().find(|(_, shift)| self.0 > 0 && self.0.trailing_zeros() >= *shift);
        match unit {
            Some((letter, shift)) => write!(f, "{}{letter}", self.0 >> shift),
            None => write!(f, "{}", self.0),
        }
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "a size such as 1048576 or \"256M\" is needed")]
        enum Value {
            Number(u64),
            Text(String),
        }
        match Value::deserialize(deserializer)? {
            Value::Number(number) => Ok(Bytes(number)),
            Value::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written_back() {
        for (text, bytes) in
            [("0", 0), ("1000", 1000), ("16K", 16 << 10), ("256M", 256 << 20), ("3G", 3 << 30)]
        {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
            assert_eq!(Bytes(bytes).to_string(), text);
        }
        assert_eq!("5m".parse(), Ok(Bytes(5 << 20)));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "M", "-1", "1.5G", "99999999999G", "10 apples"] {
            assert!(text.parse::<Bytes>().is_err_and(|error| error.to_string().contains("256M")), "{text}");
        }
    }
}
