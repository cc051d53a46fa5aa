//! Encrypted connections with clients of other projects. Both sides insist on what is tried, so that there is no way around it.

use super::clients::{Client, Encryption, Role};
use super::support::content::{Content, assert_same, multi, single};
use super::{Through, ringseed, transfer_with};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const RC4: &[&str] = &["--encryption", "require", "--encryption-methods", "rc4"];
const HANDSHAKE: &[&str] = &["--encryption", "require", "--encryption-methods", "plain"];
const PLAIN: &[&str] = &["--encryption", "disabled"];

fn ours(encryption: Encryption) -> &'static [&'static str] {
    match encryption {
        Encryption::Usual => &[],
        Encryption::Rc4 => RC4,
        Encryption::Handshake => HANDSHAKE,
        Encryption::Plain => PLAIN,
    }
}

fn mixed(dir: &Path, tracker: &str) -> Content {
    multi(dir, "64K", tracker)
}

/// 40 MB: sends are cut where the socket is full.
fn large(dir: &Path, tracker: &str) -> Content {
    single(dir, 40 << 20, "256K", tracker)
}

fn both_ways(client: Client, encryption: Encryption) {
    for ringseed_seeds in [true, false] {
        let make = if ringseed_seeds { large } else { mixed };
        let through = Through::RingseedHttp;
        transfer_with(client, encryption, ours(encryption), ringseed_seeds, through, make);
    }
}

/// A test for each client and kind of encryption that it can be made to insist on.
macro_rules! kinds {
    ($($name:ident: $client:ident, $encryption:ident;)*) => {$(
        #[test]
        fn $name() {
            both_ways(Client::$client, Encryption::$encryption);
        }
    )*};
}

kinds! {
    // 3.00 chooses plaintext after a handshake and then reads what was said in it undeciphered: see below.
    rc4_with_transmission: Transmission, Rc4;
    no_encryption_with_transmission: Transmission, Plain;
    rc4_with_libtorrent: Libtorrent, Rc4;
    plaintext_after_a_handshake_with_libtorrent: Libtorrent, Handshake;
    no_encryption_with_libtorrent: Libtorrent, Plain;
    rc4_with_aria2: Aria2, Rc4;
    plaintext_after_a_handshake_with_aria2: Aria2, Handshake;
    no_encryption_with_aria2: Aria2, Plain;
    // It has no plaintext after a handshake.
    rc4_with_qbittorrent: Qbittorrent, Rc4;
    no_encryption_with_qbittorrent: Qbittorrent, Plain;
    rc4_with_rtorrent: Rtorrent, Rc4;
    plaintext_after_a_handshake_with_rtorrent: Rtorrent, Handshake;
    no_encryption_with_rtorrent: Rtorrent, Plain;
}

/// Clients that want none are reached by an engine that prefers it, and those that insist by one that tolerates it.
#[test]
fn fall_backs_reach_clients_that_insist() {
    for (client, mode, encryption) in [
        (Client::Libtorrent, "prefer", Encryption::Plain),
        (Client::Libtorrent, "tolerate", Encryption::Rc4),
        // It chooses plaintext, and cannot read the handshake then.
        (Client::Transmission, "prefer", Encryption::Handshake),
    ] {
        let ours = ["--encryption", mode];
        transfer_with(client, encryption, &ours, false, Through::RingseedHttp, mixed);
    }
}

/// A SOCKS5 proxy without names and passwords, that counts what it connects.
fn proxy(connected: Arc<AtomicUsize>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let connected = connected.clone();
            std::thread::spawn(move || relay(near, &connected));
        }
    });
    address
}

fn relay(mut near: TcpStream, connected: &AtomicUsize) -> Option<()> {
    let mut hello = [0; 2];
    near.read_exact(&mut hello).ok()?;
    near.read_exact(&mut vec![0; usize::from(hello[1])]).ok()?;
    near.write_all(&[5, 0]).ok()?;
    // CONNECT to an address of IPv4.
    let mut request = [0; 10];
    near.read_exact(&mut request).ok()?;
    assert_eq!(request[..4], [5, 1, 0, 1]);
    let [.., a, b, c, d, high, low] = request;
    let mut far =
        TcpStream::connect(SocketAddr::from(([a, b, c, d], u16::from_be_bytes([high, low])))).ok()?;
    near.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).ok()?;
    connected.fetch_add(1, Ordering::Relaxed);
    let (mut from, mut to) = (far.try_clone().ok()?, near.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from, &mut to));
    std::io::copy(&mut near, &mut far).ok()?;
    Some(())
}

#[test]
fn an_encrypted_transfer_goes_through_a_proxy() {
    let [source, target, first, second] = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let content = mixed(source.path(), "http://127.0.0.1:9/announce");
    let mut seeder = ringseed(Role::Seed, &content, source.path(), first.path(), RC4);
    let line = seeder.wait_for("listening on port");
    seeder.wait_for("seeding");
    let port: u16 = line.rsplit(' ').next().unwrap().parse().unwrap();
    let connected = Arc::new(AtomicUsize::new(0));
    let (proxy, peer) = (format!("socks5://{}", proxy(connected.clone())), format!("127.0.0.1:{port}"));
    let more = [RC4, &["--proxy", &proxy, "--peer", &peer]].concat();
    ringseed(Role::Download, &content, target.path(), second.path(), &more).wait_success();
    assert_same(&content, target.path());
    assert!(connected.load(Ordering::Relaxed) > 0);
}
