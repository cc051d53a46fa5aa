//! The key exchange of Diffie and Hellman with numbers of 768 bits.

use super::RANDOM_EXPONENT_BYTES;
use crypto_bigint::modular::ConstMontyForm;
use crypto_bigint::{Encoding, U192, U768, const_monty_params};
use sha1::{Digest, Sha1};

/// Bytes of a public key and of the shared secret.
pub const KEY_LEN: usize = 96;

/// Bits of an exponent: more would not make RC4 any better.
const EXPONENT_BITS: u32 = 160;

/// Length of the text by which plaintext handshakes are known by clients that look at one byte only.
const PLAINTEXT_FIRST: u8 = 0x13;

const_monty_params!(
    Prime,
    U768,
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A63A36210000000000090563",
    "The prime that both sides count by."
);

type Residue = ConstMontyForm<Prime, { U768::LIMBS }>;

/// An exponent and the public key that belongs to it. For one connection.
#[derive(Clone)]
pub(super) struct KeyPair {
    exponent: U192,
    pub(super) public: [u8; KEY_LEN],
}

impl KeyPair {
    /// The pair of an exponent. Clients tell plaintext by its first byte, so a public key with that one is replaced.
    pub(super) fn new(mut random: [u8; RANDOM_EXPONENT_BYTES]) -> KeyPair {
        loop {
            let mut bytes = [0; U192::BYTES];
            bytes[U192::BYTES - random.len()..].copy_from_slice(&random);
            let exponent = U192::from_be_bytes(bytes.into());
            let public = to_bytes(power_of_two(&random));
            if public[0] != PLAINTEXT_FIRST {
                return KeyPair { exponent, public };
            }
            random = Sha1::digest(random).into();
        }
    }

    /// What only both sides know: the other's public key to the power of the exponent, in constant time.
    pub(super) fn agree(&self, theirs: &[u8; KEY_LEN]) -> [u8; KEY_LEN] {
        let theirs = Residue::new(&U768::from_be_slice(theirs));
        to_bytes(theirs.pow_bounded_exp(&self.exponent, EXPONENT_BITS))
    }
}

/// 2 to the power of a number of big-endian bytes. To multiply by two is an addition, so this takes half the time of
/// another base. The time depends on the bits of the exponent, by some nanoseconds each.
fn power_of_two(exponent: &[u8]) -> Residue {
    let bits = exponent.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1));
    bits.fold(Residue::ONE, |power, bit| match bit {
        true => power.square().double(),
        false => power.square(),
    })
}

fn to_bytes(number: Residue) -> [u8; KEY_LEN] {
    let mut bytes = [0; KEY_LEN];
    bytes.copy_from_slice(number.retrieve().to_be_bytes().as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crypto_bigint::modular::ConstMontyParams;

    #[test]
    fn both_sides_find_the_same_secret() {
        for seed in 0..20u8 {
            let (one, other) = (KeyPair::new([seed; 20]), KeyPair::new([seed ^ 0x5a; 20]));
            assert_eq!(one.agree(&other.public), other.agree(&one.public));
        }
    }

    #[test]
    fn powers_of_two_are_what_the_general_power_gives() {
        let mut two = [0; KEY_LEN];
        two[KEY_LEN - 1] = 2;
        for seed in 1..20u8 {
            let pair = KeyPair::new([seed.wrapping_mul(41); 20]);
            assert_eq!(pair.agree(&two), pair.public);
        }
        // Small ones are known by heart, and left-padded.
        let mut exponent = [0; 20];
        exponent[19] = 9;
        let mut expected = [0; KEY_LEN];
        expected[94] = 2;
        assert_eq!(KeyPair::new(exponent).public, expected);
    }

    #[test]
    fn a_public_key_never_begins_like_plaintext() {
        let found = (0..u32::MAX).find(|number| {
            let mut exponent = [0; 20];
            exponent[..4].copy_from_slice(&number.to_be_bytes());
            to_bytes(power_of_two(&exponent))[0] == PLAINTEXT_FIRST
        });
        let mut exponent = [0; 20];
        exponent[..4].copy_from_slice(&found.unwrap().to_be_bytes());
        assert_ne!(KeyPair::new(exponent).public[0], PLAINTEXT_FIRST);
    }

    #[test]
    fn any_number_is_taken_for_a_public_key() {
        let pair = KeyPair::new([3; 20]);
        assert_eq!(pair.agree(&[0; KEY_LEN]), [0; KEY_LEN]);
        // The prime itself is zero.
        assert_eq!(pair.agree(&to_be(&Prime::PARAMS.modulus().get())), [0; KEY_LEN]);
        pair.agree(&[0xff; KEY_LEN]);
    }

    fn to_be(number: &U768) -> [u8; KEY_LEN] {
        let mut bytes = [0; KEY_LEN];
        bytes.copy_from_slice(number.to_be_bytes().as_ref());
        bytes
    }
}
