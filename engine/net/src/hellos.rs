//! How an address is talked to first: in plaintext or with an exchange of keys, and what was learnt of it.
//!
//! An address that answers one of both is dialled with that the next time. One that does not answer the first is dialled with
//! the other at once; when both have failed they take turns, with the waits of other failed dials. Where an exchange is
//! required it is tried twice: one in 256 fails with some clients for want of a zero.

use crate::opening::Hello;
use ringseed_proto::mse::Mode;

/// What was tried on an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hellos {
    /// It answered this one last.
    answered: Option<Hello>,
    /// It did not answer this one, which was the last that was tried.
    failed: Option<Hello>,
    /// The dial after `failed` is the second of two that count as one.
    again: bool,
}

impl Hellos {
    /// How it is talked to next.
    pub fn next(&self, mode: Mode) -> Hello {
        let first = match mode {
            Mode::Disabled => return Hello::Plain,
            Mode::Require => return Hello::Hidden,
            Mode::Tolerate => Hello::Plain,
            Mode::Prefer => Hello::Hidden,
        };
        match (self.failed, self.answered) {
            (Some(failed), _) => other(failed),
            (None, Some(answered)) => answered,
            (None, None) => first,
        }
    }

    /// It answered.
    pub fn answered(&mut self, hello: Hello) {
        *self = Hellos { answered: Some(hello), failed: None, again: false };
    }

    /// There was a connection, but no handshake came. Whether it is to be dialled again at once.
    pub fn failed(&mut self, hello: Hello, mode: Mode) -> bool {
        let again = !self.again && mode != Mode::Disabled;
        *self = Hellos { answered: None, failed: Some(hello), again };
        again
    }
}

fn other(hello: Hello) -> Hello {
    match hello {
        Hello::Plain => Hello::Hidden,
        Hello::Hidden => Hello::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is tried in turn on an address that answers `answers` only, until it does or the fifth dial has failed, with
    /// whether each but the first came at once.
    fn dials(mode: Mode, hellos: &mut Hellos, answers: Option<Hello>) -> Vec<(Hello, bool)> {
        let (mut dials, mut at_once) = (Vec::new(), false);
        while dials.len() < 5 {
            let hello = hellos.next(mode);
            dials.push((hello, at_once));
            if answers == Some(hello) {
                hellos.answered(hello);
                break;
            }
            at_once = hellos.failed(hello, mode);
        }
        dials
    }

    #[test]
    fn every_address_is_reached_with_two_dials_at_most_and_with_one_the_next_time() {
        for mode in [Mode::Prefer, Mode::Tolerate] {
            for answers in [Hello::Plain, Hello::Hidden] {
                let mut hellos = Hellos::default();
                let first = dials(mode, &mut hellos, Some(answers));
                assert!(first.len() <= 2 && first.iter().skip(1).all(|(_, at_once)| *at_once));
                assert_eq!(dials(mode, &mut hellos, Some(answers)), [(answers, false)]);
                // It is another client now.
                assert_eq!(dials(mode, &mut hellos, Some(other(answers))).len(), 2);
            }
        }
        assert_eq!(Hellos::default().next(Mode::Prefer), Hello::Hidden);
        assert_eq!(Hellos::default().next(Mode::Tolerate), Hello::Plain);
    }

    #[test]
    fn both_take_turns_on_one_that_answers_neither_and_every_second_dial_waits() {
        use Hello::{Hidden, Plain};
        let dials = dials(Mode::Prefer, &mut Hellos::default(), None);
        assert_eq!(dials, [(Hidden, false), (Plain, true), (Hidden, false), (Plain, true), (Hidden, false)]);
    }

    #[test]
    fn rule_20_what_is_required_is_tried_twice_at_once_and_what_is_disabled_never() {
        let required = dials(Mode::Require, &mut Hellos::default(), None);
        assert!(required.iter().all(|(hello, _)| *hello == Hello::Hidden));
        assert_eq!(
            required.iter().map(|(_, at_once)| *at_once).collect::<Vec<_>>(),
            [false, true, false, true, false]
        );
        let disabled = dials(Mode::Disabled, &mut Hellos::default(), None);
        assert!(disabled.iter().all(|dial| *dial == (Hello::Plain, false)));
        // What was learnt under another setting does not count.
        let mut hellos = Hellos::default();
        hellos.answered(Hello::Plain);
        assert_eq!(hellos.next(Mode::Require), Hello::Hidden);
    }
}
