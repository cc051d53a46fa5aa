//! Links over loopback, in plaintext and enciphered.

use super::*;
use ringseed_proto::hashes::SwarmHash;
use ringseed_proto::mse::{Initiator, LookupHash, Mode, Rc4, Responder, Step};
use ringseed_proto::units::PeerId;
use ringseed_ring::RingConfig;
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

const TOKEN: u64 = 7;

struct Pair {
    ring: Ring,
    link: Link,
    peer: TcpStream,
    completions: VecDeque<Completion>,
    computed: u8,
}

impl Pair {
    fn new() -> Pair {
        Pair::with(Encryption::default())
    }

    fn with(encryption: Encryption) -> Pair {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, _) = listener.accept().unwrap();
        let ring = Ring::new(&RingConfig::default()).unwrap();
        let mut link = Link::accepted(socket.into(), encryption, Time::ZERO).unwrap();
        assert_eq!(link.address(), peer.local_addr().unwrap());
        link.receive(&ring, TOKEN);
        Pair { ring, link, peer, completions: VecDeque::new(), computed: 0 }
    }

    /// The next thing that happens.
    fn next(&mut self) -> LinkEvent {
        let completion = loop {
            if let Some(completion) = self.completions.pop_front() {
                break completion;
            }
            self.ring.submit_and_wait(Some(Duration::from_secs(10))).unwrap();
            let mut drained = Vec::new();
            self.ring.drain(&mut drained);
            self.completions.extend(drained);
        };
        let mut event = self.link.handle(&self.ring, completion, &known);
        while matches!(event, LinkEvent::Compute) {
            self.computed += 1;
            event = self.link.compute(&random(self.computed), &known);
        }
        self.link.receive(&self.ring, TOKEN);
        event
    }

    /// The next thing that is no part of the opening.
    fn after_opening(&mut self) -> LinkEvent {
        loop {
            match self.next() {
                LinkEvent::Nothing => {}
                event => return event,
            }
        }
    }
}

fn known(hash: &LookupHash) -> Option<SwarmHash> {
    (*hash == LookupHash::of(&SwarmHash([7; 20]))).then_some(SwarmHash([7; 20]))
}

fn random(seed: u8) -> Random {
    let mut bytes = [0; Random::LEN];
    Rc4::new(&[seed, 1]).apply(&mut bytes);
    Random::new(bytes)
}

/// The keystreams of a peer that has opened a link with RC4, and what else it has read.
fn open_hidden(pair: &mut Pair, methods: Methods) -> Option<Ciphers> {
    let mut peer = pair.peer.try_clone().unwrap();
    let talk = std::thread::spawn(move || {
        let mut initiator = Initiator::new(SwarmHash([7; 20]), methods, &handshake().encode());
        let mut computed = 100;
        loop {
            match initiator.step().unwrap() {
                Step::Wait => {
                    let mut byte = [0];
                    peer.read_exact(&mut byte).unwrap();
                    initiator.receive(&byte);
                }
                Step::Compute => {
                    computed += 1;
                    initiator.compute(&random(computed));
                }
                // In parts that have nothing to do with those of the exchange.
                Step::Send(bytes) => bytes.chunks(61).for_each(|part| peer.write_all(part).unwrap()),
                Step::Done(done) => return done.ciphers,
            }
        }
    });
    let event = pair.after_opening();
    let LinkEvent::Opened { handshake: theirs, leftover } = event else { panic!("{event:?}") };
    assert_eq!((theirs, leftover.len()), (handshake(), 0));
    talk.join().unwrap()
}

fn handshake() -> Handshake {
    Handshake::new(SwarmHash([7; 20]), PeerId([9; 20]))
}

#[test]
fn a_link_opens_with_the_handshake_and_gives_what_follows() {
    let mut pair = Pair::new();
    let bytes = handshake().encode();
    pair.peer.write_all(&bytes[..30]).unwrap();
    assert!(matches!(pair.next(), LinkEvent::Nothing));
    pair.peer.write_all(&[&bytes[30..], b"more"].concat()).unwrap();
    let LinkEvent::Opened { handshake: theirs, leftover } = pair.next() else { panic!("not opened") };
    assert_eq!((theirs, leftover.as_slice()), (handshake(), b"more".as_slice()));
    pair.peer.write_all(b"again").unwrap();
    let event = pair.next();
    let LinkEvent::Bytes(buffer) = event else { panic!("{event:?}") };
    assert_eq!(*buffer, *b"again");
    drop(buffer);
    drop(pair.peer.try_clone().unwrap());
    pair.peer.shutdown(std::net::Shutdown::Both).unwrap();
    assert!(matches!(pair.next(), LinkEvent::Closed(None)));
}

#[test]
fn a_stranger_is_known_by_its_first_bytes() {
    let mut pair = Pair::with(Encryption::DISABLED);
    pair.peer.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert!(matches!(pair.next(), LinkEvent::Foreign(OpeningError::Handshake(_))));
}

#[test]
fn a_handshake_has_its_time() {
    let mut pair = Pair::new();
    let at = |seconds| Time::after_epoch(Duration::from_secs(seconds));
    assert!(!pair.link.is_late(at(9)) && pair.link.is_late(at(10)));
    pair.peer.write_all(&handshake().encode()).unwrap();
    assert!(matches!(pair.next(), LinkEvent::Opened { .. }));
    assert!(!pair.link.is_late(at(1000)));
}

#[test]
fn a_large_send_is_told_once_when_all_of_it_has_left() {
    let mut pair = Pair::new();
    let bytes: Vec<u8> = (0..12_000_000_u32).map(|at| (at >> 5) as u8).collect();
    let mut list = SendList::default();
    list.push_bytes(&bytes);
    let cargo = Cargo { payload: bytes.len() as u64 - 13, protocol: 13 };
    pair.link.send(&pair.ring, TOKEN, list, cargo);
    let mut peer = pair.peer.try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; 12_000_000];
        peer.read_exact(&mut read).unwrap();
        read
    });
    let mut parts = 0;
    let told = loop {
        match pair.next() {
            LinkEvent::SentPart { with_payload: true } => parts += 1,
            LinkEvent::Sent(told, list) => {
                assert!(list.is_empty());
                break told;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(told, cargo);
    assert!(parts > 0, "12 MB went into a socket at once");
    assert_eq!(reader.join().unwrap(), bytes);
    assert!(!pair.link.is_sending());
}

#[test]
fn what_was_in_flight_comes_back_from_a_closed_link() {
    let mut pair = Pair::new();
    let mut list = SendList::default();
    list.push_bytes(&vec![1; 32 << 20]);
    pair.link.send(&pair.ring, TOKEN, list, Cargo { payload: 0, protocol: 32 << 20 });
    assert!(matches!(pair.next(), LinkEvent::SentPart { with_payload: false }));
    pair.link.close(&pair.ring);
    let mut returned = 0;
    while !pair.link.is_idle() {
        returned += usize::from(matches!(pair.next(), LinkEvent::Returned(_)));
    }
    assert_eq!(returned, 1);
}

#[test]
fn an_accepted_link_opens_behind_an_exchange_and_deciphers_in_place() {
    let mut pair = Pair::new();
    let mut ciphers = open_hidden(&mut pair, Methods::Rc4).unwrap();
    assert!(pair.link.is_enciphered());
    assert_eq!(pair.link.obfuscation(), Obfuscation::Stream);
    let mut text = *b"what is said afterwards";
    ciphers.outgoing.apply(&mut text);
    pair.peer.write_all(&text).unwrap();
    let event = pair.next();
    let LinkEvent::Bytes(buffer) = event else { panic!("{event:?}") };
    assert_eq!(*buffer, *b"what is said afterwards");
    // A list of own bytes is enciphered where it lies.
    let mut list = SendList::default();
    list.push_bytes(b"what is ");
    list.push_bytes(b"answered");
    pair.link.send(&pair.ring, TOKEN, list, Cargo { payload: 0, protocol: 16 });
    assert!(matches!(pair.next(), LinkEvent::Sent(..)));
    let mut answer = [0; 16];
    pair.peer.read_exact(&mut answer).unwrap();
    ciphers.incoming.apply(&mut answer);
    assert_eq!(&answer, b"what is answered");
}

#[test]
fn rule_22_an_accepted_link_on_which_plaintext_is_chosen_goes_on_in_plaintext() {
    let mut pair = Pair::new();
    assert!(open_hidden(&mut pair, Methods::Both).is_none());
    assert!(!pair.link.is_enciphered());
    assert_eq!(pair.link.obfuscation(), Obfuscation::Handshake);
    pair.peer.write_all(b"plain").unwrap();
    let event = pair.next();
    let LinkEvent::Bytes(buffer) = event else { panic!("{event:?}") };
    assert_eq!(*buffer, *b"plain");
}

#[test]
fn rule_24_a_part_of_an_enciphered_send_resumes_exactly() {
    let mut pair = Pair::new();
    let mut ciphers = open_hidden(&mut pair, Methods::Rc4).unwrap();
    let plain: Vec<u8> = (0..12_000_000_u32).map(|at| (at >> 5) as u8).collect();
    let mut peer = pair.peer.try_clone().unwrap();
    // Before anybody reads, so that the socket is full.
    let mut bytes = plain.clone();
    let cargo = Cargo { payload: bytes.len() as u64 - 13, protocol: 13 };
    let ring = pair.ring.clone();
    let sent = pair.link.send_enciphered(&ring, TOKEN, &mut bytes, SendList::default(), cargo);
    assert!(matches!(sent, SentNow::Part), "{sent:?}");
    // The memory is somebody else's now.
    bytes.fill(0xee);
    let reader = std::thread::spawn(move || {
        let mut read = vec![0; 12_000_003];
        peer.read_exact(&mut read).unwrap();
        read
    });
    let mut parts = 0;
    loop {
        match pair.next() {
            LinkEvent::SentPart { with_payload: true } => parts += 1,
            LinkEvent::Sent(told, list) => {
                assert_eq!((told, list.is_empty()), (cargo, true));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(parts > 0, "12 MB went into a socket at once");
    let sent = pair.link.send_enciphered(&ring, TOKEN, &mut b"end".to_vec(), SendList::default(), cargo);
    assert!(matches!(sent, SentNow::All(_)), "{sent:?}");
    let mut read = reader.join().unwrap();
    ciphers.incoming.apply(&mut read);
    assert!(read[..12_000_000] == plain, "the stream is another one");
    assert_eq!(read[12_000_000..], *b"end");
}

#[test]
fn a_dialled_link_hides_its_handshake_and_tries_nothing_before_it_may_compute() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, address) = listener.accept().unwrap();
    let hash = SwarmHash([7; 20]);
    let link =
        Link::dialled_hidden(ours.into(), address, hash, Methods::Rc4, &handshake().encode(), Time::ZERO);
    let ring = Ring::new(&RingConfig::default()).unwrap();
    let mut pair =
        Pair { ring, link, peer: peer.try_clone().unwrap(), completions: VecDeque::new(), computed: 0 };
    pair.link.receive(&pair.ring, TOKEN);
    assert!(pair.link.is_idle());
    let talk = std::thread::spawn(move || {
        let (mut responder, mut computed) = (Responder::new(Methods::Both), 200);
        let mut done = loop {
            match responder.step(&known).unwrap() {
                Step::Wait => {
                    let mut byte = [0];
                    peer.read_exact(&mut byte).unwrap();
                    responder.receive(&byte);
                }
                Step::Compute => {
                    computed += 1;
                    responder.compute(&random(computed));
                }
                Step::Send(bytes) => peer.write_all(&bytes).unwrap(),
                Step::Done(done) => break done,
            }
        };
        assert_eq!(done.stream, handshake().encode());
        let mut answer = [handshake().encode().as_slice(), b"more"].concat();
        done.ciphers.as_mut().unwrap().outgoing.apply(&mut answer);
        peer.write_all(&answer).unwrap();
    });
    assert!(matches!(pair.link.compute(&random(1), &known), LinkEvent::Nothing));
    pair.link.receive(&pair.ring, TOKEN);
    let event = pair.after_opening();
    let LinkEvent::Opened { handshake: theirs, mut leftover } = event else { panic!("{event:?}") };
    assert_eq!(theirs, handshake());
    while leftover.len() < 4 {
        let LinkEvent::Bytes(buffer) = pair.next() else { panic!("no bytes") };
        leftover.extend_from_slice(&buffer);
    }
    assert_eq!(leftover, b"more");
    talk.join().unwrap();
}

#[test]
fn what_is_required_is_not_done_without_and_what_is_disabled_not_with() {
    let mut pair = Pair::with(Encryption { mode: Mode::Require, methods: Methods::Both });
    pair.peer.write_all(&handshake().encode()).unwrap();
    assert!(matches!(pair.next(), LinkEvent::Foreign(OpeningError::NotEncrypted)));
    let mut pair = Pair::with(Encryption::DISABLED);
    pair.peer.write_all(&[0x55; 96]).unwrap();
    assert!(matches!(pair.next(), LinkEvent::Foreign(OpeningError::Handshake(_))));
    // The first byte alone does not tell plaintext from a key.
    let mut pair = Pair::with(Encryption::default());
    pair.peer.write_all(b"\x13Bit").unwrap();
    assert!(matches!(pair.next(), LinkEvent::Nothing));
    pair.peer.write_all(&[0x55; 200]).unwrap();
    assert!(matches!(pair.next(), LinkEvent::Nothing));
    assert_eq!(pair.computed, 2);
}
