//! Torrents that were complete when the engine started: their hashes and metadata are in the resume store only.

#[path = "support/mod.rs"]
mod support;

use ringseed::Engine;
use ringseed::config::EngineConfig;
use ringseed_handle::{AddTorrent, EngineHandle, TorrentState};
use ringseed_proto::hashes::{SwarmHash, TorrentId};
use ringseed_proto::metainfo::Metainfo;
use ringseed_proto::units::PeerId;
use ringseed_proto::wire::extension::{ExtensionHandshake, MetadataMessage};
use ringseed_proto::wire::{Decoder, Frame, HANDSHAKE_LEN, Handshake, Message};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use support::content::single;
use support::engines::{self, block_on};
use support::until;

fn start(state: &Path, shards: usize) -> Engine {
    Engine::start(EngineConfig { shards: Some(shards), ..engines::stored(state) }).unwrap()
}

fn wait(handle: &EngineHandle, what: &str, state: &TorrentState) {
    until(what, || (handle.snapshot().torrents.first()?.state == *state).then_some(()));
}

/// What a peer with nothing but the info-hash gets over `ut_metadata`.
fn metadata(handle: &EngineHandle, info_hash: TorrentId) -> Vec<u8> {
    const OUR_ID: u8 = 7;
    // A second connection of one client is refused while the first is not quite gone.
    static PEERS: AtomicU8 = AtomicU8::new(0);
    let peer_id = PeerId([PEERS.fetch_add(1, Ordering::Relaxed); 20]);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, handle.listen_port())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let mut hello = Handshake::new(SwarmHash(info_hash.0), peer_id).encode().to_vec();
    let mut payload = Vec::new();
    ExtensionHandshake { ut_metadata: Some(OUR_ID), ..ExtensionHandshake::default() }.encode(&mut payload);
    Message::Extended { id: 0, payload: &payload }.encode(&mut hello);
    stream.write_all(&hello).unwrap();
    stream.read_exact(&mut [0; HANDSHAKE_LEN]).unwrap();
    let (mut decoder, mut bytes, mut buffer) = (Decoder::default(), Vec::new(), vec![0; 64 << 10]);
    loop {
        let read = stream.read(&mut buffer).unwrap();
        assert_ne!(read, 0, "the engine closed the connection");
        let mut input = &buffer[..read];
        while let Some(frame) = decoder.next(&mut input).unwrap() {
            let mut request = Vec::new();
            match frame {
                Frame::Message(Message::Extended { id: 0, payload }) => {
                    let theirs = ExtensionHandshake::parse(payload).unwrap();
                    let pieces = theirs.metadata_size.unwrap().div_ceil(16 << 10);
                    for piece in 0..pieces {
                        let mut payload = Vec::new();
                        MetadataMessage::Request { piece }.encode(&mut payload);
                        let id = theirs.ut_metadata.unwrap();
                        Message::Extended { id, payload: &payload }.encode(&mut request);
                    }
                }
                Frame::Message(Message::Extended { id: OUR_ID, payload }) => {
                    let Some(MetadataMessage::Data { total_size, data, .. }) =
                        MetadataMessage::parse(payload)
                    else {
                        panic!("no metadata")
                    };
                    bytes.extend_from_slice(data);
                    if bytes.len() == total_size as usize {
                        return bytes;
                    }
                }
                _ => {}
            }
            stream.write_all(&request).unwrap();
        }
    }
}

#[test]
fn a_torrent_that_was_complete_at_the_start_serves_its_metadata_and_can_be_checked_and_changed() {
    let [disk, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    // More pieces than one message of metadata has hashes of.
    let content = single(disk.path(), 40 << 20, "32K", "http://127.0.0.1:9/announce");
    let metainfo = Arc::new(Metainfo::parse(&fs::read(&content.torrent).unwrap()).unwrap());
    let info_hash = metainfo.id();
    let engine = start(state.path(), 1);
    let torrent = AddTorrent { data_dir: Some(content.dir.clone()), ..AddTorrent::new(metainfo.clone()) };
    block_on(engine.handle().add(torrent)).unwrap();
    wait(&engine.handle(), "the first check", &TorrentState::Seeding);
    engine.stop();

    for round in 0..2 {
        let engine = start(state.path(), 2);
        let handle = engine.handle();
        wait(&handle, "the seed", &TorrentState::Seeding);
        assert!(handle.snapshot().torrents[0].metainfo.is_stub());
        for _ in 0..4 {
            assert_eq!(metadata(&handle, info_hash), &metainfo.info_bytes[..]);
        }
        // What is entered of it now must not lose its torrent file.
        block_on(handle.pause(info_hash)).unwrap();
        wait(&handle, "the pause", &TorrentState::Paused);
        block_on(handle.resume(info_hash)).unwrap();
        wait(&handle, "the seed", &TorrentState::Seeding);
        if round == 1 {
            block_on(handle.verify(info_hash)).unwrap();
            let checked = || {
                let snapshot = handle.snapshot();
                let torrent = snapshot.torrents.first()?;
                (!torrent.metainfo.is_stub() && torrent.state == TorrentState::Seeding).then(|| torrent.left)
            };
            assert_eq!(until("the check", checked), 0);
            assert_eq!(metadata(&handle, info_hash), &metainfo.info_bytes[..]);
        }
        engine.stop();
    }
}

/// Commands that came while torrents were loaded found none of them.
#[test]
fn a_command_that_comes_while_torrents_are_loaded_finds_them() {
    let [disk, state] = std::array::from_fn(|_| tempfile::tempdir().unwrap());
    let content = single(disk.path(), 1 << 20, "32K", "http://127.0.0.1:9/announce");
    let metainfo = Arc::new(Metainfo::parse(&fs::read(&content.torrent).unwrap()).unwrap());
    let engine = start(state.path(), 1);
    let torrent = AddTorrent { data_dir: Some(content.dir.clone()), ..AddTorrent::new(metainfo.clone()) };
    block_on(engine.handle().add(torrent)).unwrap();
    engine.stop();
    for _ in 0..20 {
        let engine = start(state.path(), 1);
        block_on(engine.handle().pause(metainfo.id())).unwrap();
        engine.stop();
    }
}
