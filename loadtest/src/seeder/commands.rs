//! The command line and the configuration with which each make serves whoever asks.

use std::{ffi::OsString, fs, io, path::Path};

use super::{Launch, Maker};
use crate::{data::TestTorrent, ports::free_address};

/// The command that says the version.
pub(super) fn version(maker: Maker, launch: &Launch) -> Vec<OsString> {
    // Debian's module belongs to Debian's Python.
    match maker {
        Maker::Ringseed => vec![launch.ringseed.clone().into(), "--version".into()],
        Maker::Libtorrent => {
            words(&["/usr/bin/python3", "-c", "import libtorrent; print(libtorrent.version)"])
        }
        Maker::Rtorrent => words(&["rtorrent", "-h"]),
        Maker::Transmission => words(&["transmission-daemon", "--version"]),
        Maker::Qbittorrent => words(&["qbittorrent-nox", "--version"]),
        Maker::Aria2 => words(&["aria2c", "--version"]),
    }
}

/// The command that seeds `torrent` at `port`; files that it needs are written to `state`.
pub(super) fn seed(
    maker: Maker,
    torrent: &TestTorrent,
    launch: &Launch,
    port: u16,
    state: &Path,
) -> io::Result<Vec<OsString>> {
    Ok(match maker {
        Maker::Ringseed => {
            let mut command = vec![launch.ringseed.clone().into_os_string()];
            command.extend(launch.ringseed_args.iter().map(|arg| {
                arg.replace("{torrent}", &torrent.metainfo.to_string_lossy())
                    .replace("{data}", &torrent.dir.to_string_lossy())
                    .replace("{port}", &port.to_string())
                    .replace("{state}", &state.to_string_lossy())
                    .into()
            }));
            command
        }
        Maker::Libtorrent => {
            let script = state.join("seed.py");
            fs::write(&script, include_str!("seed_libtorrent.py"))?;
            let (metainfo, dir) = (torrent.metainfo.clone().into(), torrent.dir.clone().into());
            let encryption = if launch.encrypted { "encrypted" } else { "plain" };
            let port = port.to_string().into();
            vec!["/usr/bin/python3".into(), script.into(), metainfo, dir, port, encryption.into()]
        }
        Maker::Rtorrent => {
            let config = state.join("rtorrent.rc");
            fs::write(&config, rtorrent(torrent, port, launch.encrypted))?;
            words(&["rtorrent", "-n", "-o", &format!("import={}", config.display())])
        }
        Maker::Transmission => transmission(torrent, port, state)?,
        Maker::Qbittorrent => qbittorrent(torrent, port, state)?,
        Maker::Aria2 => aria2(torrent, port, state),
    })
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// rTorrent without a terminal, one port, every peer served.
fn rtorrent(torrent: &TestTorrent, port: u16, encrypted: bool) -> String {
    let encryption = if encrypted { "allow_incoming" } else { "none" };
    format!(
        "system.daemon.set = true\n\
         network.bind_address.set = 127.0.0.1\n\
         network.local_address.set = 127.0.0.1\n\
         network.port_range.set = {port}-{port}\n\
         network.port_random.set = no\n\
         network.max_open_sockets.set = 4096\n\
         network.listen.backlog.set = 1024\n\
         protocol.encryption.set = {encryption}\n\
         protocol.pex.set = no\n\
         dht.mode.set = disable\n\
         trackers.use_udp.set = no\n\
         throttle.global_up.max_rate.set_kb = 0\n\
         throttle.max_uploads.set = 10000\n\
         throttle.max_uploads.global.set = 10000\n\
         throttle.max_peers.normal.set = 10000\n\
         throttle.max_peers.seed.set = 10000\n\
         network.send_buffer.size.set = 4M\n\
         pieces.memory.max.set = 6G\n\
         directory.default.set = {}\n\
         schedule2 = load, 0, 0, \"load.start={}\"\n",
        torrent.dir.display(),
        torrent.metainfo.display()
    )
}

/// transmission takes the torrent from a watched folder.
fn transmission(torrent: &TestTorrent, port: u16, state: &Path) -> io::Result<Vec<OsString>> {
    let watched = state.join("watched");
    fs::create_dir_all(&watched)?;
    fs::copy(&torrent.metainfo, watched.join("a.torrent"))?;
    let settings = serde_json::json!({
        "rpc-port": free_address()?.port(), "rpc-bind-address": "127.0.0.1", "rpc-authentication-required": false,
        "peer-port": port, "port-forwarding-enabled": false, "dht-enabled": false, "lpd-enabled": false,
        "utp-enabled": false, "pex-enabled": false, "encryption": 0, "preallocation": 0,
        "download-dir": torrent.dir, "watch-dir": watched, "watch-dir-enabled": true,
        "trash-original-torrent-files": false, "ratio-limit-enabled": false,
        "peer-limit-global": 10_000, "peer-limit-per-torrent": 10_000, "upload-slots-per-torrent": 10_000,
        "queue-stalled-enabled": false, "seed-queue-enabled": false, "cache-size-mb": 64,
    });
    fs::write(state.join("settings.json"), settings.to_string())?;
    let mut command = words(&["transmission-daemon", "--foreground", "--log-error", "--config-dir"]);
    command.push(state.into());
    Ok(command)
}

fn qbittorrent(torrent: &TestTorrent, port: u16, state: &Path) -> io::Result<Vec<OsString>> {
    let config = state.join("qBittorrent/config");
    fs::create_dir_all(&config)?;
    let control = free_address()?.port();
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n\n[BitTorrent]\nSession\\Port={port}\nSession\\DHTEnabled=false\n\
         Session\\LSDEnabled=false\nSession\\PeXEnabled=false\nSession\\Encryption=2\nSession\\BTProtocol=TCP\n\
         Session\\MultiConnectionsPerIp=true\nSession\\Preallocation=false\nSession\\QueueingSystemEnabled=false\n\
         Session\\MaxConnections=-1\nSession\\MaxConnectionsPerTorrent=-1\nSession\\MaxUploads=-1\n\
         Session\\MaxUploadsPerTorrent=-1\nSession\\SendBufferWatermark=4096\n\
         Session\\SendBufferLowWatermark=1024\n\n[Network]\nPortForwardingEnabled=false\n\n\
         [Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port={control}\nWebUI\\LocalHostAuth=false\n"
    );
    fs::write(config.join("qBittorrent.conf"), settings)?;
    let mut command = words(&["qbittorrent-nox"]);
    command.push(format!("--profile={}", state.display()).into());
    command.push(format!("--save-path={}", torrent.dir.display()).into());
    command.extend(words(&["--add-paused=false", "--skip-dialog=true"]));
    command.push(torrent.metainfo.clone().into());
    Ok(command)
}

fn aria2(torrent: &TestTorrent, port: u16, state: &Path) -> Vec<OsString> {
    let mut command = words(&[
        "aria2c",
        "--no-conf",
        "--enable-dht=false",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--file-allocation=none",
        "--console-log-level=notice",
        "--summary-interval=0",
        "--bt-detach-seed-only=false",
        "--seed-ratio=0.0",
        "--check-integrity=true",
        "--bt-hash-check-seed=true",
        "--bt-max-peers=0",
        "--follow-torrent=mem",
    ]);
    command.push(format!("--listen-port={port}").into());
    command.push(format!("--dir={}", torrent.dir.display()).into());
    command.push(format!("--save-session={}", state.join("session").display()).into());
    command.push(torrent.metainfo.clone().into());
    command
}
