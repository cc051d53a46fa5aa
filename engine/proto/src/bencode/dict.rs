//! Dictionaries read key by key, the way other clients read them.
//!
//! A derived `Deserialize` refuses repeated keys and keys that are not UTF-8. Torrents have both, and their
//! info-hash is fixed: here the first of repeated keys counts and unknown keys are skipped, whatever they are.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Declares a struct whose fields are `Option`s of dictionary values, with `Default` and `Deserialize`.
macro_rules! dict {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident { $($key:literal => $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Default)]
        $visibility struct $name { $($field: Option<$kind>,)* }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                struct Keys;
                impl<'de> serde::de::Visitor<'de> for Keys {
                    type Value = $name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a dictionary")
                    }

                    fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<$name, M::Error> {
                        let mut fields = $name::default();
                        while let Some(key) = map.next_key::<serde_bytes::ByteBuf>()? {
                            match key.as_slice() {
                                $($key if fields.$field.is_none() => fields.$field = Some(map.next_value()?),)*
                                _ => { map.next_value::<serde::de::IgnoredAny>()?; }
                            }
                        }
                        Ok(fields)
                    }
                }
                deserializer.deserialize_map(Keys)
            }
        }
    };
}
pub(crate) use dict;

/// A value of any type, for keys where other clients overlook a wrong type.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Loose {
    Integer(i64),
    Bytes(Vec<u8>),
    /// Elements beyond [`Loose::ELEMENTS_MAX`] are left out.
    List(Vec<Loose>),
    Dictionary,
}

impl Loose {
    /// Far more trackers or web seeds than any torrent has; bounds memory.
    pub const ELEMENTS_MAX: usize = 1024;

    /// The text of a string; bytes that are not UTF-8 are replaced.
    pub fn into_text(self) -> Option<String> {
        match self {
            Loose::Bytes(bytes) => Some(match String::from_utf8(bytes) {
                Ok(text) => text,
                Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
            }),
            _ => None,
        }
    }

    /// The integer, when it is one and not negative.
    pub fn as_unsigned(&self) -> Option<u64> {
        match self {
            Loose::Integer(value) => u64::try_from(*value).ok(),
            _ => None,
        }
    }

    /// The elements of a list, or the single value itself.
    pub fn into_elements(self) -> Vec<Loose> {
        match self {
            Loose::List(elements) => elements,
            single => vec![single],
        }
    }
}

impl<'de> Deserialize<'de> for Loose {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Loose, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = Loose;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Loose, E> {
                Ok(Loose::Integer(value))
            }

            fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Loose, E> {
                Ok(Loose::Bytes(value.to_vec()))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Loose, S::Error> {
                let mut elements = Vec::new();
                while elements.len() < Loose::ELEMENTS_MAX {
                    match list.next_element()? {
                        Some(element) => elements.push(element),
                        None => return Ok(Loose::List(elements)),
                    }
                }
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Loose::List(elements))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Loose, M::Error> {
                while map.next_key::<IgnoredAny>()?.is_some() {
                    map.next_value::<IgnoredAny>()?;
                }
                Ok(Loose::Dictionary)
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

/// A list of at most `MAX` elements; a longer one is an error before it is memory.
#[derive(Debug)]
pub(crate) struct Bounded<T, const MAX: usize>(pub Vec<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for Bounded<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Elements<T, MAX> {
            type Value = Bounded<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Self::Value, S::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    if elements.len() == MAX {
                        return Err(S::Error::custom(format_args!("a list of more than {MAX} elements")));
                    }
                    elements.push(element);
                }
                Ok(Bounded(elements))
            }
        }
        deserializer.deserialize_seq(Elements(PhantomData))
    }
}
