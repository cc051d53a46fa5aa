//! Tokens of ring operations: whom a completion is for.

use super::connections::ConnKey;
use slotmap::{Key, KeyData};

/// Keys of the slot map hold a version, never 0, in their upper half: they are never below this.
const CONNECTIONS: u64 = 1 << 32;

/// Whom a completion is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Target {
    /// A listener, whose number it is.
    Listener,
    /// A connection.
    Connection(ConnKey),
}

/// The token of a connection's operations.
pub fn connection(key: ConnKey) -> u64 {
    key.data().as_ffi()
}

/// Whom a token belongs to.
pub fn target(token: u64) -> Target {
    match token {
        CONNECTIONS.. => Target::Connection(ConnKey::from(KeyData::from_ffi(token))),
        _ => Target::Listener,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_lead_back_to_their_owners() {
        let mut map = slotmap::SlotMap::<ConnKey, ()>::with_key();
        let key = map.insert(());
        assert_eq!(target(connection(key)), Target::Connection(key));
        assert_eq!(target(3), Target::Listener);
    }
}
