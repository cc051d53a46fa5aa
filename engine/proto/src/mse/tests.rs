//! Both roles against each other and against hand-made sides; the rules that other clients taught us.

use super::exchange::KeyPair;
use super::keys::sync_hash;
use super::*;

const HASH: SwarmHash = SwarmHash([0x42; 20]);

/// Random bytes for tests: a keystream of its own for each seed.
fn random(seed: u64) -> Random {
    let mut bytes = [0; Random::LEN];
    Rc4::new(&seed.to_le_bytes()).apply(&mut bytes);
    Random::new(bytes)
}

/// Random bytes with a padding of `length`.
fn with_pad(seed: u64, length: u16) -> Random {
    let Random(mut bytes) = random(seed);
    bytes[20..22].copy_from_slice(&length.to_le_bytes());
    Random::new(bytes)
}

fn known(hash: &LookupHash) -> Option<SwarmHash> {
    (*hash == LookupHash::of(&HASH)).then_some(HASH)
}

/// One side, and what is on its way to it.
struct Side<T> {
    machine: T,
    inbox: Vec<u8>,
    done: Option<Done>,
    computed: usize,
    random: u64,
}

impl<T> Side<T> {
    fn new(machine: T, random: u64) -> Side<T> {
        Side { machine, inbox: Vec::new(), done: None, computed: 0, random }
    }

    /// Hands over up to `count` bytes and does what follows; what is to be sent is returned.
    fn step(
        &mut self,
        count: usize,
        receive: impl Fn(&mut T, &[u8]),
        next: impl Fn(&mut T) -> Result<Step, MseError>,
        compute: impl Fn(&mut T, &Random),
    ) -> Result<Vec<u8>, MseError> {
        let part: Vec<u8> = self.inbox.drain(..count.min(self.inbox.len())).collect();
        receive(&mut self.machine, &part);
        let mut sent = Vec::new();
        loop {
            match next(&mut self.machine)? {
                Step::Wait => return Ok(sent),
                Step::Send(bytes) => sent.extend(bytes),
                Step::Compute => {
                    self.computed += 1;
                    compute(&mut self.machine, &random(self.random + self.computed as u64));
                }
                Step::Done(done) => {
                    self.done = Some(*done);
                    return Ok(sent);
                }
            }
        }
    }
}

/// Runs both sides with parts of the given lengths; the ends of the exchange on both.
fn run(
    initiator: Initiator,
    responder: Responder,
    seed: u64,
    mut cut: impl FnMut() -> usize,
) -> Result<(Done, Done), MseError> {
    let mut a = Side::new(initiator, seed * 7919);
    let mut b = Side::new(responder, seed * 104_729 + 500_000);
    while a.done.is_none() || b.done.is_none() {
        let before = (a.inbox.len(), b.inbox.len(), a.computed, b.computed);
        if a.done.is_none() {
            let sent = a.step(cut(), Initiator::receive, Initiator::step, Initiator::compute)?;
            b.inbox.extend(sent);
        }
        if b.done.is_none() {
            let sent = b.step(cut(), Responder::receive, |b| b.step(&known), Responder::compute)?;
            a.inbox.extend(sent);
        }
        assert_ne!(before, (a.inbox.len(), b.inbox.len(), a.computed, b.computed), "it stands still");
    }
    assert_eq!((a.computed, b.computed), (2, 2));
    Ok((a.done.unwrap(), b.done.unwrap()))
}

/// What one side says after the exchange is what the other hears.
fn assert_connected(a: Done, b: Done) {
    assert_eq!((a.swarm, b.swarm, a.method()), (HASH, HASH, b.method()));
    let (Some(mut a), Some(mut b)) = (a.ciphers, b.ciphers) else { return };
    let mut text = *b"what is said afterwards";
    a.outgoing.apply(&mut text);
    b.incoming.apply(&mut text);
    b.outgoing.apply(&mut text);
    a.incoming.apply(&mut text);
    assert_eq!(&text, b"what is said afterwards");
}

#[test]
fn both_roles_agree_on_every_pair_of_methods_under_random_splits() {
    let all = [Methods::Plain, Methods::Rc4, Methods::Both];
    for (number, (offer, allowed)) in
        all.into_iter().flat_map(|one| all.map(|other| (one, other))).cycle().take(90).enumerate()
    {
        let expected = allowed.choose(offer.bits());
        let mut state = number as u64 | 1;
        let initial = b"said first";
        let end = run(Initiator::new(HASH, offer, initial), Responder::new(allowed), number as u64, || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            match number % 3 {
                0 => 1 + (state >> 60) as usize,
                1 => 1 + (state >> 33) as usize % 300,
                _ => usize::MAX,
            }
        });
        match (end, expected) {
            (Ok((a, b)), Some(method)) => {
                assert_eq!(b.stream, initial, "{number}");
                assert_eq!((a.stream.len(), a.method()), (0, method), "{number}");
                assert_connected(a, b);
            }
            (Err(error), None) => assert_eq!(error, MseError::NothingInCommon),
            (end, expected) => panic!("{end:?} where {expected:?} was expected"),
        }
    }
}

/// A responder that has told its key and has the other's: what it waits for next.
fn told(seed: u64, first: &[u8; KEY_LEN]) -> Responder {
    told_of(Methods::Both, seed, first)
}

fn told_of(allowed: Methods, seed: u64, first: &[u8; KEY_LEN]) -> Responder {
    let mut responder = Responder::new(allowed);
    responder.receive(first);
    assert!(matches!(responder.step(&known), Ok(Step::Compute)));
    responder.compute(&random(seed));
    responder
}

/// The responder's public key.
fn told_key(responder: &mut Responder) -> [u8; KEY_LEN] {
    let Ok(Step::Send(bytes)) = responder.step(&known) else { panic!("no key") };
    *bytes.first_chunk().unwrap()
}

/// The third message as a hand-made initiator says it, and the keystreams it then has.
fn third(secret: &[u8], bits: u32, pad: u16, initial: &[u8]) -> (Vec<u8>, Ciphers) {
    let mut ciphers = Ciphers::of_initiator(secret, &HASH);
    let mut message = [sync_hash(secret), LookupHash::of(&HASH).masked(secret).0].concat();
    let clear = message.len();
    message.extend([0; 8]);
    message.extend(bits.to_be_bytes());
    message.extend(pad.to_be_bytes());
    message.resize(message.len() + usize::from(pad), 0);
    message.extend((initial.len() as u16).to_be_bytes());
    message.extend(initial);
    ciphers.outgoing.apply(&mut message[clear..]);
    (message, ciphers)
}

/// Drives a responder to its next wait or end.
fn drive(responder: &mut Responder) -> Result<(Vec<u8>, Option<Done>), MseError> {
    let mut sent = Vec::new();
    loop {
        match responder.step(&known)? {
            Step::Wait => return Ok((sent, None)),
            Step::Compute => responder.compute(&random(9)),
            Step::Send(bytes) => sent.extend(bytes),
            Step::Done(done) => return Ok((sent, Some(*done))),
        }
    }
}

#[test]
fn rule_20_a_secret_with_a_zero_in_front_is_padded_and_taken_unpadded_too() {
    let mut seed = 0;
    // One in 256 secrets begins with a zero.
    let (mut responder, secret) = loop {
        seed += 1;
        let pair = KeyPair::new(random(seed).exponent());
        let mut responder = told(1_000_000 + seed, &pair.public);
        let secret = pair.agree(&told_key(&mut responder));
        if secret[0] == 0 {
            break (responder, secret);
        }
    };
    // As rTorrent and older libtorrents hash it.
    let (message, _) = third(without_leading_zeros(&secret), 2, 0, b"hello");
    responder.receive(&message);
    let (_, done) = drive(&mut responder).unwrap();
    assert_eq!(done.unwrap().stream, b"hello");

    // The exchange of our own two roles with such a secret.
    let pair = KeyPair::new(random(seed).exponent());
    let mut responder = told(1_000_000 + seed, &pair.public);
    assert_eq!(pair.agree(&told_key(&mut responder)), secret);
    let (message, _) = third(&secret, 2, 0, b"hello");
    responder.receive(&message);
    let (_, done) = drive(&mut responder).unwrap();
    assert_eq!(done.unwrap().stream, b"hello");
}

#[test]
fn rule_21_a_pad_of_513_is_refused_and_0_and_512_are_taken() {
    let pair = KeyPair::new([5; 20]);
    // The padding in the clear, of the initiator; each byte by itself.
    for (length, fits) in [(0, true), (512, true), (513, false)] {
        let mut responder = told(3, &pair.public);
        let secret = pair.agree(&told_key(&mut responder));
        let (message, _) = third(&secret, 2, 0, b"");
        let bytes = [vec![0xaa; length], message].concat();
        let mut end = Ok(None);
        for byte in bytes {
            responder.receive(&[byte]);
            end = drive(&mut responder).map(|(_, done)| done);
            if !matches!(end, Ok(None)) {
                break;
            }
        }
        match fits {
            true => assert!(end.unwrap().is_some(), "{length}"),
            false => assert_eq!(end.unwrap_err(), MseError::OutOfStep),
        }
    }
    // The enciphered one, of the initiator.
    for (pad, fits) in [(0, true), (512, true), (513, false), (u16::MAX, false)] {
        let mut responder = told(3, &pair.public);
        let secret = pair.agree(&told_key(&mut responder));
        responder.receive(&third(&secret, 2, pad, b"x").0);
        match (drive(&mut responder), fits) {
            (Ok((_, Some(done))), true) => assert_eq!(done.stream, b"x"),
            (end, fits) => assert_eq!((end.err(), fits), (Some(MseError::PadTooLong), false)),
        }
    }
    // Those of the responder, in the clear and enciphered.
    for (clear, hidden, expected) in [
        (0, 0, None),
        (512, 512, None),
        (513, 0, Some(MseError::OutOfStep)),
        (0, 513, Some(MseError::PadTooLong)),
    ] {
        let (mut initiator, _, mut theirs) = answered(clear);
        let end = answer(&mut initiator, &mut theirs, 2, hidden, b"");
        assert_eq!(end.as_ref().err().copied(), expected, "{clear} {hidden}");
        assert_eq!(end.is_ok_and(|end| end.is_some()), expected.is_none());
    }
}

/// An initiator that offers both methods and has said all, what it said last, and the keystreams of the other side, which
/// has sent its key and `pad` bytes.
fn answered(pad: usize) -> (Initiator, Vec<u8>, Ciphers) {
    let mut initiator = Initiator::new(HASH, Methods::Both, b"first");
    assert!(matches!(initiator.step(), Ok(Step::Compute)));
    initiator.compute(&random(77));
    let Ok(Step::Send(bytes)) = initiator.step() else { panic!("no key") };
    let pair = KeyPair::new([8; 20]);
    let secret = pair.agree(bytes.first_chunk().unwrap());
    initiator.receive(&pair.public);
    initiator.receive(&vec![0x55; pad]);
    assert!(matches!(initiator.step(), Ok(Step::Compute)));
    initiator.compute(&random(78));
    let Ok(Step::Send(said)) = initiator.step() else { panic!("nothing was said") };
    (initiator, said, Ciphers::of_responder(&secret, &HASH))
}

/// The fourth message of a hand-made responder, byte by byte; then `after`, as it is.
fn answer(
    initiator: &mut Initiator,
    theirs: &mut Ciphers,
    bits: u32,
    pad: u16,
    after: &[u8],
) -> Result<Option<Done>, MseError> {
    let mut message = vec![0; 8];
    message.extend(bits.to_be_bytes());
    message.extend(pad.to_be_bytes());
    message.resize(message.len() + usize::from(pad), 0);
    theirs.outgoing.apply(&mut message);
    let last = message.pop().unwrap();
    for byte in message {
        initiator.receive(&[byte]);
        let step = initiator.step()?;
        assert!(matches!(step, Step::Wait), "{step:?}");
    }
    initiator.receive(&[&[last], after].concat());
    match initiator.step()? {
        Step::Done(done) => Ok(Some(*done)),
        _ => Ok(None),
    }
}

#[test]
fn rule_22_after_a_choice_of_plaintext_the_first_words_are_deciphered_and_the_next_byte_is_plain() {
    let pair = KeyPair::new([5; 20]);
    let mut responder = told(3, &pair.public);
    let secret = pair.agree(&told_key(&mut responder));
    let (message, _) = third(&secret, 1, 7, b"said first");
    responder.receive(&[&message, b" and in the clear".as_slice()].concat());
    let (_, done) = drive(&mut responder).unwrap();
    let done = done.unwrap();
    assert_eq!(
        (done.method(), done.stream.as_slice()),
        (Method::Plain, b"said first and in the clear".as_slice())
    );

    let (mut initiator, said, mut theirs) = answered(20);
    let mut tail = said[said.len() - 5..].to_vec();
    assert_ne!(tail, b"first");
    theirs.incoming.skip(said.len() - 40 - 5);
    theirs.incoming.apply(&mut tail);
    assert_eq!(tail, b"first");
    let done = answer(&mut initiator, &mut theirs, 1, 3, b"plain").unwrap().unwrap();
    assert_eq!((done.method(), done.stream.as_slice()), (Method::Plain, b"plain".as_slice()));
}

#[test]
fn rule_23_a_choice_that_was_not_offered_or_is_no_single_method_ends_it() {
    for bits in [0, 3, 4, 6, 0x8000_0002] {
        let (mut initiator, _, mut theirs) = answered(0);
        let end = answer(&mut initiator, &mut theirs, bits, 0, b"");
        assert_eq!(end.unwrap_err(), MseError::NotOffered, "{bits}");
    }
    let pair = KeyPair::new([5; 20]);
    for (allowed, bits) in [(Methods::Both, 0), (Methods::Rc4, 1), (Methods::Plain, 2), (Methods::Both, 12)] {
        let mut responder = told_of(allowed, 3, &pair.public);
        let secret = pair.agree(&told_key(&mut responder));
        responder.receive(&third(&secret, bits, 0, b"").0);
        assert_eq!(drive(&mut responder).unwrap_err(), MseError::NothingInCommon);
    }
    // Unknown bits beside one that is known are ignored, and one is chosen.
    let mut responder = told(3, &pair.public);
    let secret = pair.agree(&told_key(&mut responder));
    responder.receive(&third(&secret, 0xff00_0002, 0, b"").0);
    assert_eq!(drive(&mut responder).unwrap().1.unwrap().method(), Method::Rc4);
}

#[test]
fn rule_23_a_retry_uses_fresh_keys() {
    let first = |seed| {
        let mut initiator = Initiator::new(HASH, Methods::Both, b"");
        initiator.compute(&random(seed));
        match initiator.step() {
            Ok(Step::Send(bytes)) => *bytes.first_chunk::<KEY_LEN>().unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(first(1), first(2));
}

#[test]
fn no_exponentiation_before_the_other_side_has_sent_what_it_needs() {
    let pair = KeyPair::new([5; 20]);
    let mut responder = Responder::new(Methods::Both);
    for byte in &pair.public[..KEY_LEN - 1] {
        responder.receive(&[*byte]);
        assert!(matches!(responder.step(&known), Ok(Step::Wait)));
    }
    responder.receive(&pair.public[KEY_LEN - 1..]);
    assert!(matches!(responder.step(&known), Ok(Step::Compute)));
    responder.compute(&random(1));
    assert!(matches!(responder.step(&known), Ok(Step::Send(_))));
    responder.receive(&[0; 39]);
    assert!(matches!(responder.step(&known), Ok(Step::Wait)));
    responder.receive(&[0]);
    assert!(matches!(responder.step(&known), Ok(Step::Compute)));

    let mut initiator = Initiator::new(HASH, Methods::Both, b"");
    initiator.compute(&random(1));
    assert!(matches!(initiator.step(), Ok(Step::Send(_))));
    initiator.receive(&[1; KEY_LEN - 1]);
    assert!(matches!(initiator.step(), Ok(Step::Wait)));
    initiator.receive(&[1]);
    assert!(matches!(initiator.step(), Ok(Step::Compute)));
}

#[test]
fn strangers_are_told_from_the_mark_that_does_not_come() {
    let mut responder = told(3, &[0x77; KEY_LEN]);
    responder.receive(&[0x77; PAD_MAX + 19]);
    assert!(drive(&mut responder).unwrap().1.is_none());
    responder.receive(&[0x77]);
    assert_eq!(drive(&mut responder).unwrap_err(), MseError::OutOfStep);

    let (mut initiator, _, _) = answered(0);
    initiator.receive(&[1; PAD_MAX + 7]);
    assert!(matches!(initiator.step(), Ok(Step::Wait)));
    assert!(!initiator.is_understood());
    initiator.receive(&[1]);
    assert_eq!(initiator.step().unwrap_err(), MseError::OutOfStep);
}

#[test]
fn a_torrent_that_is_not_here_ends_it_and_both_hashes_of_a_hybrid_are_found() {
    let pair = KeyPair::new([5; 20]);
    let mut responder = told(3, &pair.public);
    let secret = pair.agree(&told_key(&mut responder));
    responder.receive(&third(&secret, 2, 0, b"").0);
    responder.compute(&random(1));
    assert_eq!(responder.step(&|_: &LookupHash| None).unwrap_err(), MseError::UnknownTorrent);

    // Who has two hashes has two rows in the table; the exchange says which one was meant.
    let table = [SwarmHash([1; 20]), SwarmHash([2; 20])].map(|hash| (LookupHash::of(&hash), hash));
    let find = |hash: &LookupHash| table.iter().find(|(row, _)| row == hash).map(|(_, hash)| *hash);
    for (_, swarm) in table {
        let mut a = Side::new(Initiator::new(swarm, Methods::Rc4, b"x"), 1);
        let mut b = Side::new(Responder::new(Methods::Both), 2);
        while b.done.is_none() {
            let sent = a.step(9999, Initiator::receive, Initiator::step, Initiator::compute).unwrap();
            b.inbox.extend(sent);
            let sent = b.step(9999, Responder::receive, |b| b.step(&find), Responder::compute).unwrap();
            a.inbox.extend(sent);
        }
        assert_eq!(b.done.unwrap().swarm, swarm);
    }
}

#[test]
fn what_is_said_first_is_bounded() {
    let pair = KeyPair::new([5; 20]);
    for (length, fits) in [(0, true), (68, true), (INITIAL_MAX, true), (INITIAL_MAX + 1, false)] {
        let mut responder = told(3, &pair.public);
        let secret = pair.agree(&told_key(&mut responder));
        responder.receive(&third(&secret, 2, 0, &vec![7; length]).0);
        match drive(&mut responder) {
            Ok((_, done)) => assert!(fits && done.unwrap().stream == vec![7; length]),
            Err(error) => assert_eq!((error, fits), (MseError::InitialTooLong, false)),
        }
    }
}

#[test]
fn paddings_have_every_length() {
    assert_eq!(with_pad(1, 0).pad().len(), 0);
    assert_eq!(with_pad(1, 512).pad().len(), 512);
    assert_eq!(with_pad(1, 513).pad().len(), 0);
    assert_eq!(with_pad(1, u16::MAX).pad().len(), 65_535 % 513);
}
