//! What a user wants of encryption, and what two sides can agree on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How the stream goes on after an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// As it is: only the beginning was hidden.
    Plain,
    /// Enciphered with RC4.
    Rc4,
}

impl Method {
    /// Its bit on the wire.
    pub(super) fn bit(self) -> u32 {
        match self {
            Method::Plain => 1,
            Method::Rc4 => 2,
        }
    }
}

/// The methods that a side takes part in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Methods {
    /// Only [`Method::Plain`].
    Plain,
    /// Only [`Method::Rc4`].
    Rc4,
    /// Either.
    #[default]
    Both,
}

impl Methods {
    /// Their bits on the wire.
    pub(super) fn bits(self) -> u32 {
        match self {
            Methods::Plain => Method::Plain.bit(),
            Methods::Rc4 => Method::Rc4.bit(),
            Methods::Both => Method::Plain.bit() | Method::Rc4.bit(),
        }
    }

    /// The one of these to be chosen when the other side offers `bits`. Plain when both are possible: it costs nothing.
    pub(super) fn choose(self, bits: u32) -> Option<Method> {
        [Method::Plain, Method::Rc4].into_iter().find(|method| self.bits() & bits & method.bit() != 0)
    }

    /// The method that another side has chosen among these; `None` unless it is exactly one.
    pub(super) fn chosen(self, bits: u32) -> Option<Method> {
        [Method::Plain, Method::Rc4]
            .into_iter()
            .find(|method| method.bit() == bits && self.bits() & bits != 0)
    }
}

/// When connections begin with an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Never: connections that begin with one are refused.
    Disabled,
    /// When the other side begins with one, or does not talk without.
    Tolerate,
    /// First with one; without when the other side has none.
    #[default]
    Prefer,
    /// Always: others are refused.
    Require,
}

/// What a user wants of encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Encryption {
    /// When connections begin with an exchange.
    pub mode: Mode,
    /// How they go on after one.
    pub methods: Methods,
}

impl Encryption {
    /// Nothing but plaintext.
    pub const DISABLED: Encryption = Encryption { mode: Mode::Disabled, methods: Methods::Both };

    /// In one number, for atomics.
    pub fn to_bits(self) -> u8 {
        (self.mode as u8) << 4 | self.methods as u8
    }

    /// What [`Encryption::to_bits`] gave.
    pub fn from_bits(bits: u8) -> Encryption {
        let mode = MODES.into_iter().map(|(mode, _)| mode).find(|mode| *mode as u8 == bits >> 4);
        let methods = METHODS.into_iter().map(|(methods, _)| methods).find(|one| *one as u8 == bits & 15);
        Encryption { mode: mode.unwrap_or_default(), methods: methods.unwrap_or_default() }
    }

    /// Whether a connection that begins without an exchange is taken.
    pub fn takes_plaintext(self) -> bool {
        self.mode != Mode::Require
    }

    /// Whether a connection that begins with an exchange is taken.
    pub fn takes_exchange(self) -> bool {
        self.mode != Mode::Disabled
    }
}

const MODES: [(Mode, &str); 4] = [
    (Mode::Disabled, "disabled"),
    (Mode::Tolerate, "tolerate"),
    (Mode::Prefer, "prefer"),
    (Mode::Require, "require"),
];

const METHODS: [(Methods, &str); 3] =
    [(Methods::Plain, "plain"), (Methods::Rc4, "rc4"), (Methods::Both, "both")];

/// A text that is no setting of encryption.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownEncryption {
    /// No [`Mode`].
    #[error("encryption is disabled, tolerate, prefer or require")]
    Mode,
    /// No [`Methods`].
    #[error("methods of encryption are plain, rc4 or both")]
    Methods,
}

impl FromStr for Mode {
    type Err = UnknownEncryption;

    fn from_str(text: &str) -> Result<Mode, UnknownEncryption> {
        let found = MODES.into_iter().find(|(_, name)| *name == text);
        found.map(|(mode, _)| mode).ok_or(UnknownEncryption::Mode)
    }
}

impl FromStr for Methods {
    type Err = UnknownEncryption;

    fn from_str(text: &str) -> Result<Methods, UnknownEncryption> {
        let found = METHODS.into_iter().find(|(_, name)| *name == text);
        found.map(|(methods, _)| methods).ok_or(UnknownEncryption::Methods)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(MODES.iter().find(|(mode, _)| mode == self).map_or("", |(_, name)| name))
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(METHODS.iter().find(|(methods, _)| methods == self).map_or("", |(_, name)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_from_bits_and_texts() {
        for (mode, text) in MODES {
            assert_eq!(text.parse(), Ok(mode));
            assert_eq!(mode.to_string(), text);
            for (methods, text) in METHODS {
                assert_eq!(text.parse(), Ok(methods));
                let setting = Encryption { mode, methods };
                assert_eq!(Encryption::from_bits(setting.to_bits()), setting);
            }
        }
        assert_eq!("on".parse::<Mode>(), Err(UnknownEncryption::Mode));
        assert_eq!(Encryption::from_bits(0xff), Encryption::default());
    }

    #[test]
    fn what_is_chosen_was_offered() {
        assert_eq!(Methods::Both.choose(3), Some(Method::Plain));
        assert_eq!(Methods::Rc4.choose(3), Some(Method::Rc4));
        // Bits that nobody knows are left alone.
        assert_eq!(Methods::Both.choose(0xffff_fff2), Some(Method::Rc4));
        assert_eq!(Methods::Plain.choose(2), None);
        assert_eq!(Methods::Both.choose(4), None);
        assert_eq!(Methods::Both.chosen(2), Some(Method::Rc4));
        for (offered, bits) in
            [(Methods::Rc4, 1), (Methods::Plain, 2), (Methods::Both, 3), (Methods::Both, 0)]
        {
            assert_eq!(offered.chosen(bits), None);
        }
        assert_eq!(Methods::Both.chosen(6), None);
    }
}
