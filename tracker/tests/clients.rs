//! Clients that people use find each other through the tracker, and one downloads from the other.

mod harness;
#[path = "../../loadtest/src/ports.rs"]
mod ports;

use std::fs;
use std::net::IpAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::{PATIENCE, V4, V6, tracker_with};
use ringseed_tracker::{Tracker, TrackerStats};
use tempfile::TempDir;

const NAME: &str = "some content.bin";
const PIECE: usize = 16384;

/// A program of a package; the test fails when it is not there.
fn installed(program: &str, package: &str) -> Command {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).any(|folder| folder.join(program).exists());
    assert!(found, "{program} is not installed: apt-get install {package}");
    let mut command = Command::new(program);
    command.stdin(Stdio::null());
    command
}

/// Ends with the test, whatever its outcome.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A tracker and a torrent that names it, with the content in one folder and room for a copy in another.
struct Scene {
    tracker: Tracker,
    folder: TempDir,
    content: Vec<u8>,
}

impl Scene {
    fn new(ip: IpAddr, udp: bool) -> Scene {
        // Clients come back soon: whoever announced first would otherwise wait half an hour to learn of others.
        let tracker = tracker_with(ip, |config| {
            *config = config.clone().with_interval(Duration::from_secs(2));
        });
        let url = match udp {
            true => format!("udp://{}/announce", tracker.udp_addr().unwrap()),
            false => format!("http://{}/announce", tracker.http_addr().unwrap()),
        };
        let content: Vec<u8> = (0..PIECE * 20 + 1234).map(|n| (n * 7 + n / 251) as u8).collect();
        let pieces: Vec<u8> = content.chunks(PIECE).flat_map(ringseed_proto::hash::digest).collect();
        let mut torrent = format!("d8:announce{}:{url}4:infod6:lengthi{}e", url.len(), content.len());
        torrent += &format!("4:name{}:{NAME}12:piece lengthi{PIECE}e6:pieces{}:", NAME.len(), pieces.len());
        let torrent = [torrent.as_bytes(), &pieces, b"ee"].concat();
        let folder = TempDir::new().unwrap();
        for name in ["seed", "leech", "config", "watch"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("seed").join(NAME), &content).unwrap();
        fs::write(folder.path().join("the.torrent"), torrent).unwrap();
        Scene { tracker, folder, content }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The seed is known and the copy is right.
    fn check(self) -> TrackerStats {
        assert!(fs::read(self.path("leech").join(NAME)).unwrap() == self.content, "the copy differs");
        let stats = self.tracker.stats();
        assert!(stats.announces >= 2 && stats.seeders >= 1, "{stats:?}");
        stats
    }
}

/// A port that is free, for programs that cannot take any.
fn free_port() -> String {
    ports::free_address().unwrap().port().to_string()
}

fn log(folder: &Path, name: &str) -> Stdio {
    fs::File::create(folder.join(name)).unwrap().into()
}

fn transmission_seeds(scene: &Scene) -> Running {
    // It takes torrents from a watched folder, and looks for the data before it announces.
    fs::copy(scene.path("the.torrent"), scene.path("watch/the.torrent")).unwrap();
    let mut command = installed("transmission-daemon", "transmission-daemon");
    command.args(["--foreground", "--no-auth", "--no-dht", "--no-lpd", "--no-portmap", "--no-utp"]);
    command.arg("--config-dir").arg(scene.path("config")).arg("--watch-dir").arg(scene.path("watch"));
    command.arg("--download-dir").arg(scene.path("seed"));
    command.args(["--port", &free_port(), "--peerport", &free_port()]);
    let errors = log(scene.folder.path(), "transmission.log");
    Running(command.stdout(Stdio::null()).stderr(errors).spawn().unwrap())
}

/// aria2 speaks to UDP trackers only through the socket of its DHT; without entry points that knows nobody.
fn aria2_downloads(scene: &Scene, dht: bool) {
    let mut command = installed("aria2c", "aria2");
    command.args(["--no-conf", "--seed-time=0", "--enable-dht6=false"]).arg(format!("--enable-dht={dht}"));
    command.arg("--dht-file-path").arg(scene.path("dht.dat"));
    command.args(["--bt-enable-lpd=false", "--enable-peer-exchange=false", "--bt-stop-timeout=60"]);
    command.arg(format!("--listen-port={}", free_port())).arg(format!("--dht-listen-port={}", free_port()));
    command
        .arg("--bt-tracker-interval=1")
        .arg("--dir")
        .arg(scene.path("leech"))
        .arg(scene.path("the.torrent"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn aria2_finds_transmission_over_http() {
    let scene = Scene::new(V4, false);
    let _seed = transmission_seeds(&scene);
    aria2_downloads(&scene, false);
    scene.check();
}

#[test]
fn aria2_finds_transmission_over_udp() {
    let scene = Scene::new(V4, true);
    let _seed = transmission_seeds(&scene);
    aria2_downloads(&scene, true);
    scene.check();
}

/// Seeds, or downloads and ends when done. Everything by which peers find each other without a tracker is off.
const LIBTORRENT: &str = r#"
import sys, libtorrent as lt
mode, ip, torrent, folder = sys.argv[1:]
host = f'[{ip}]' if ':' in ip else ip
session = lt.session({
    'listen_interfaces': f'{host}:0', 'enable_dht': False, 'enable_lsd': False, 'enable_upnp': False,
    'enable_natpmp': False, 'allow_multiple_connections_per_ip': True, 'min_announce_interval': 1,
    'min_reconnect_time': 1, 'peer_timeout': 20,
    'alert_mask': lt.alert.category_t.error_notification | lt.alert.category_t.status_notification
        | lt.alert.category_t.tracker_notification})
params = lt.add_torrent_params()
params.ti = lt.torrent_info(torrent)
params.save_path = folder
handle = session.add_torrent(params)
while not (mode == 'leech' and handle.status().is_seeding):
    session.wait_for_alert(500)
    for alert in session.pop_alerts():
        print(alert.message(), flush=True)
"#;

fn libtorrent(scene: &Scene, mode: &str, ip: IpAddr) -> Running {
    // Debian's module belongs to Debian's Python, which need not be the first in the path.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", LIBTORRENT, mode, &ip.to_string()]);
    command.arg(scene.path("the.torrent")).arg(scene.path(mode));
    let out = log(scene.folder.path(), &format!("{mode}.log"));
    let child = command.stdin(Stdio::null()).stdout(out).spawn();
    Running(child.expect("/usr/bin/python3 is not there: apt-get install python3-libtorrent"))
}

/// Python with libtorrent 2.0.8 crashes once in some hundred starts: then it starts again.
fn libtorrent_downloads(scene: &Scene, ip: IpAddr) {
    let deadline = Instant::now() + 3 * PATIENCE;
    let mut leech = libtorrent(scene, "leech", ip);
    loop {
        let said = || fs::read_to_string(scene.path("leech.log")).unwrap();
        match leech.0.try_wait().unwrap() {
            Some(status) if status.success() => return,
            Some(status) => {
                assert!(status.signal().is_some(), "{status}: {}", said());
                eprintln!("libtorrent crashed, {status}: {}", said());
                leech = libtorrent(scene, "leech", ip);
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
        assert!(Instant::now() < deadline, "{:?}: {}", scene.tracker.stats(), said());
    }
}

fn libtorrent_finds_libtorrent(ip: IpAddr, udp: bool) {
    let module = Command::new("/usr/bin/python3").args(["-c", "import libtorrent"]).output();
    let there = module.is_ok_and(|output| output.status.success());
    assert!(there, "python3-libtorrent is not installed: apt-get install python3-libtorrent");
    let scene = Scene::new(ip, udp);
    let _seed = libtorrent(&scene, "seed", ip);
    libtorrent_downloads(&scene, ip);
    scene.check();
}

#[test]
fn libtorrent_finds_libtorrent_over_http_and_ipv4() {
    libtorrent_finds_libtorrent(V4, false);
}

#[test]
fn libtorrent_finds_libtorrent_over_udp_and_ipv4() {
    libtorrent_finds_libtorrent(V4, true);
}

#[test]
fn libtorrent_finds_libtorrent_over_http_and_ipv6() {
    libtorrent_finds_libtorrent(V6, false);
}

#[test]
fn libtorrent_finds_libtorrent_over_udp_and_ipv6() {
    libtorrent_finds_libtorrent(V6, true);
}

fn qbittorrent_seeds(scene: &Scene) -> Running {
    let config = scene.path("config/qBittorrent/config");
    fs::create_dir_all(&config).unwrap();
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n\n[BitTorrent]\nSession\\Port={}\nSession\\DHTEnabled=false\n\
         Session\\LSDEnabled=false\nSession\\MultiConnectionsPerIp=true\n\n\
         [Network]\nPortForwardingEnabled=false\n\n[Preferences]\nWebUI\\Address=127.0.0.1\nWebUI\\Port={}\n",
        free_port(),
        free_port()
    );
    fs::write(config.join("qBittorrent.conf"), settings).unwrap();
    let mut command = installed("qbittorrent-nox", "qbittorrent-nox");
    command.arg(format!("--profile={}", scene.path("config").display()));
    command.arg(format!("--save-path={}", scene.path("seed").display()));
    command.args(["--add-paused=false", "--skip-dialog=true"]).arg(scene.path("the.torrent"));
    command.env("HOME", scene.path("config")).env("LC_ALL", "C.UTF-8");
    let out = log(scene.folder.path(), "qbittorrent.log");
    Running(command.stdout(out).spawn().unwrap())
}

fn rtorrent_seeds(scene: &Scene) -> Running {
    let port = free_port();
    let config = format!(
        "system.daemon.set = true\nnetwork.bind_address.set = 127.0.0.1\nnetwork.local_address.set = 127.0.0.1\n\
         network.port_range.set = {port}-{port}\nnetwork.port_random.set = no\nprotocol.pex.set = no\n\
         dht.mode.set = disable\ntrackers.use_udp.set = yes\ndirectory.default.set = \"{}\"\n\
         schedule2 = load, 0, 0, \"load.start=\\\"{}\\\"\"\n",
        scene.path("seed").display(),
        scene.path("the.torrent").display()
    );
    fs::write(scene.path("rtorrent.rc"), config).unwrap();
    let mut command = installed("rtorrent", "rtorrent");
    command.args(["-n", "-o"]).arg(format!("import={}", scene.path("rtorrent.rc").display()));
    let out = log(scene.folder.path(), "rtorrent.log");
    Running(command.env("HOME", scene.path("config")).stdout(out).spawn().unwrap())
}

/// A client seeds, libtorrent finds it and has the whole content in the end.
fn libtorrent_finds(seeds: impl FnOnce(&Scene) -> Running, ip: IpAddr, udp: bool) {
    let scene = Scene::new(ip, udp);
    let _seed = seeds(&scene);
    libtorrent_downloads(&scene, ip);
    scene.check();
}

#[test]
fn libtorrent_finds_qbittorrent_over_http() {
    libtorrent_finds(qbittorrent_seeds, V4, false);
}

#[test]
fn libtorrent_finds_qbittorrent_over_udp() {
    libtorrent_finds(qbittorrent_seeds, V4, true);
}

#[test]
fn libtorrent_finds_qbittorrent_over_http_and_ipv6() {
    libtorrent_finds(qbittorrent_seeds, V6, false);
}

#[test]
fn libtorrent_finds_qbittorrent_over_udp_and_ipv6() {
    libtorrent_finds(qbittorrent_seeds, V6, true);
}

#[test]
fn libtorrent_finds_transmission_over_http_and_ipv6() {
    libtorrent_finds(transmission_seeds, V6, false);
}

// Transmission 3.00 asks UDP trackers over IPv4 only.

/// rTorrent 0.9 speaks to trackers over IPv4 only.
#[test]
fn libtorrent_finds_rtorrent_over_http() {
    libtorrent_finds(rtorrent_seeds, V4, false);
}

#[test]
fn libtorrent_finds_rtorrent_over_udp() {
    libtorrent_finds(rtorrent_seeds, V4, true);
}

/// aria2 speaks to UDP trackers over IPv4 only.
#[test]
fn aria2_finds_libtorrent_over_http_and_ipv6() {
    let scene = Scene::new(V6, false);
    let _seed = libtorrent(&scene, "seed", V6);
    aria2_downloads(&scene, false);
    scene.check();
}
