//! Peers that take places and give nothing: they make room, and what trackers and users name is dialled all the same.

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{AddTorrent, EngineHandle, TorrentState};
use ringseed_proto::bitfield::Bitfield;
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::PeerId;
use ringseed_proto::wire::{HANDSHAKE_LEN, Handshake};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;

#[path = "support/mod.rs"]
mod support;
use support::content::{assert_same, single};
use support::engines::{self, block_on, load};
use support::{PATIENCE, until};

/// The address of the crowd, and of the engines that it crowds.
const CROWD: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// The address of somebody honest.
const HONEST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

fn engine(address: Ipv4Addr, change: impl FnOnce(&mut EngineConfig)) -> Engine {
    let mut config = EngineConfig { listen_addresses: vec![address.into()], ..engines::config() };
    change(&mut config);
    Engine::start(config).unwrap()
}

fn address(engine: &Engine, ip: Ipv4Addr) -> SocketAddr {
    SocketAddr::from((ip, engine.handle().listen_port()))
}

fn add(engine: &Engine, metainfo: &Arc<Metainfo>, dir: &Path, peers: Vec<SocketAddr>) {
    let torrent =
        AddTorrent { data_dir: Some(dir.to_path_buf()), peers, ..AddTorrent::new(metainfo.clone()) };
    block_on(engine.handle().add(torrent)).unwrap();
}

fn wait(handle: &EngineHandle, wanted: &TorrentState) {
    until(&format!("{wanted:?}"), || {
        handle.snapshot().torrents.first().is_some_and(|torrent| torrent.state == *wanted).then_some(())
    });
}

fn connected(handle: &EngineHandle) -> usize {
    handle.snapshot().torrents.first().map_or(0, |torrent| torrent.peers.len())
}

/// A connection that has shaken hands.
fn connect(metainfo: &Metainfo, to: SocketAddr, name: u8) -> TcpStream {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(&Handshake::new(metainfo.hashes.swarm_hash(), PeerId([name; 20])).encode()).unwrap();
    let mut theirs = [0; HANDSHAKE_LEN];
    stream.read_exact(&mut theirs).unwrap();
    stream
}

fn message(id: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32 + 1).to_be_bytes().to_vec();
    bytes.push(id);
    bytes.extend(payload);
    bytes
}

#[test]
fn silent_seeds_that_fill_a_download_make_room_for_one_that_delivers() {
    let [source, target] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let content = single(source.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let metainfo = load(&content);
    let seed = engine(HONEST, |_| {});
    add(&seed, &metainfo, source.path(), Vec::new());
    wait(&seed.handle(), &TorrentState::Seeding);

    let leech = engine(CROWD, |config| config.torrent_connections_max = 20);
    add(&leech, &metainfo, target.path(), Vec::new());
    wait(&leech.handle(), &TorrentState::Downloading);
    let all = Bitfield::full(metainfo.info.layout.piece_count());
    let silent: Vec<TcpStream> = (1..=20)
        .map(|name| {
            let mut stream = connect(&metainfo, address(&leech, CROWD), name);
            stream.write_all(&message(5, all.as_bytes())).unwrap();
            stream
        })
        .collect();
    until("the crowd", || (connected(&leech.handle()) == silent.len()).then_some(()));
    block_on(leech.handle().add_peers(metainfo.id(), vec![address(&seed, HONEST)])).unwrap();
    wait(&leech.handle(), &TorrentState::Seeding);
    assert_same(&content, target.path());
}

#[test]
fn idle_connections_that_fill_an_engine_make_room_for_a_leecher() {
    let [source, target] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let content = single(source.path(), 1 << 20, "64K", "http://127.0.0.1:9/announce");
    let metainfo = load(&content);
    let seed = engine(CROWD, |config| config.connections_max = 20);
    add(&seed, &metainfo, source.path(), Vec::new());
    wait(&seed.handle(), &TorrentState::Seeding);
    // Half of them shake hands and want nothing, half do not even do that.
    let to = address(&seed, CROWD);
    let idle: Vec<TcpStream> = (1..=20)
        .map(
            |name| if name % 2 == 0 { connect(&metainfo, to, name) } else { TcpStream::connect(to).unwrap() },
        )
        .collect();
    until("the crowd", || (seed.handle().snapshot().connections >= 20).then_some(()));
    let leech = engine(HONEST, |_| {});
    add(&leech, &metainfo, target.path(), vec![to]);
    wait(&leech.handle(), &TorrentState::Seeding);
    assert_same(&content, target.path());
    drop(idle);
}

/// A tracker that answers its first announce when it is told to, with one peer.
fn tracker(answer: std::sync::mpsc::Receiver<SocketAddr>) -> String {
    let listener = TcpListener::bind((CROWD, 0)).unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            request.push(byte[0]);
        }
        let SocketAddr::V4(peer) = answer.recv().unwrap() else { unreachable!() };
        let body =
            [b"d8:intervali1800e5:peers6:", peer.ip().octets().as_slice(), &peer.port().to_be_bytes(), b"e"]
                .concat();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), &body].concat()).unwrap();
    });
    url
}

#[test]
fn thousands_of_addresses_that_one_peer_tells_do_not_keep_a_trackers_seed_from_being_dialled() {
    let [source, target] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (names, answer) = std::sync::mpsc::channel();
    let content = single(source.path(), 1 << 20, "64K", &tracker(answer));
    let metainfo = load(&content);
    let seed = engine(HONEST, |_| {});
    let untracked = Arc::new(Metainfo { tiers: Vec::new(), ..Metainfo::clone(&metainfo) });
    add(&seed, &untracked, source.path(), Vec::new());
    wait(&seed.handle(), &TorrentState::Seeding);

    let leech = engine(CROWD, |_| {});
    add(&leech, &metainfo, target.path(), Vec::new());
    wait(&leech.handle(), &TorrentState::Downloading);
    for liar in 1..=22 {
        let mut stream = connect(&metainfo, address(&leech, CROWD), liar);
        let mut junk = Vec::new();
        for last in 1..=100 {
            junk.extend([127, 100, liar, last, 0, 9]);
        }
        let told = [format!("\u{1}d5:added{}:", junk.len()).into_bytes(), junk, b"e".to_vec()].concat();
        // A second bitfield that does not fit ends the connection, when everything before it was read.
        stream.write_all(&[message(20, &told), message(5, &[0; 9])].concat()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    names.send(address(&seed, HONEST)).unwrap();
    wait(&leech.handle(), &TorrentState::Seeding);
    assert_same(&content, target.path());
}
