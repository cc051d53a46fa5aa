//! An engine that only looks like one: it answers with made-up torrents, as many as wanted, some of which change
//! from one look to the next. For pictures of every state, and for lists that are too long to transfer for real.

use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// The server. Its threads end with the test's process.
pub struct Fake {
    address: String,
    state: Arc<State>,
}

struct State {
    torrents: Mutex<Vec<Value>>,
    /// How many of them move data.
    active: usize,
    looks: AtomicUsize,
    calls: Mutex<Vec<String>>,
    gone: AtomicBool,
}

impl Fake {
    /// Serves these torrents; the first `active` ones change with each look.
    pub fn start(torrents: Vec<Value>, active: usize) -> Fake {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State {
            torrents: Mutex::new(torrents),
            active,
            looks: AtomicUsize::new(0),
            calls: Mutex::default(),
            gone: AtomicBool::new(false),
        });
        let own = state.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = own.clone();
                std::thread::spawn(move || serve(stream, &state));
            }
        });
        Fake { address, state }
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Answers nobody from now on.
    pub fn leave(&self) {
        self.state.gone.store(true, Ordering::Relaxed);
    }

    /// Methods called so far besides those that only read.
    pub fn calls(&self) -> Vec<String> {
        self.state.calls.lock().unwrap().clone()
    }

    /// How often news were asked for.
    pub fn looks(&self) -> usize {
        self.state.looks.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, state: &State) {
    let mut writer = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    loop {
        let (mut length, mut named) = (0usize, false);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let line = line.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            named |= line.starts_with("x-transmission-session-id");
            if let Some(text) = line.strip_prefix("content-length:") {
                length = text.trim().parse().unwrap();
            }
        }
        if state.gone.load(Ordering::Relaxed) {
            return;
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let (status, answer) = if named {
            let request: Value = serde_json::from_slice(&body).unwrap();
            ("200 OK", json!({"result": "success", "arguments": answer(state, &request)}).to_string())
        } else {
            ("409 Conflict", String::new())
        };
        let head = format!(
            "HTTP/1.1 {status}\r\nX-Transmission-Session-Id: fake\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        if writer.write_all(head.as_bytes()).and_then(|()| writer.write_all(answer.as_bytes())).is_err() {
            return;
        }
    }
}

fn answer(state: &State, request: &Value) -> Value {
    let method = request["method"].as_str().unwrap();
    match method {
        "session-get" => json!({
            "version": "4.0.6 (ringseed 0.1.0)", "rpc-version": 17, "download-dir": "/srv/torrents",
            "download-dir-free-space": 1_843_000_000_000u64, "peer-port": 6881, "encryption": "preferred",
            "pex-enabled": true, "dht-enabled": true, "peer-limit-global": 8000, "peer-limit-per-torrent": 200,
            "speed-limit-down": 20_000, "speed-limit-up": 4000, "speed-limit-up-enabled": true,
            "alt-speed-down": 500, "alt-speed-up": 100, "seedRatioLimit": 2.0, "seedRatioLimited": true,
            "download-queue-enabled": true, "download-queue-size": 5, "seed-queue-size": 10, "idle-seeding-limit": 30,
        }),
        "session-stats" => {
            let torrents = state.torrents.lock().unwrap();
            let sum = |name: &str| torrents.iter().filter_map(|torrent| torrent[name].as_u64()).sum::<u64>();
            json!({"downloadSpeed": sum("rateDownload"), "uploadSpeed": sum("rateUpload"), "torrentCount": torrents.len()})
        }
        "torrent-get" => torrents(state, &request["arguments"]),
        other => {
            state.calls.lock().unwrap().push(other.to_owned());
            json!({})
        }
    }
}

fn torrents(state: &State, arguments: &Value) -> Value {
    let mut torrents = state.torrents.lock().unwrap();
    let fields: Vec<&str> =
        arguments["fields"].as_array().unwrap().iter().map(|field| field.as_str().unwrap()).collect();
    let ids = &arguments["ids"];
    if ids == "recently-active" {
        let look = state.looks.fetch_add(1, Ordering::Relaxed) as u64;
        let active = state.active;
        for (number, torrent) in (0u64..).zip(torrents.iter_mut().take(active)) {
            for name in ["rateDownload", "rateUpload"] {
                let base = torrent[format!("base-{name}")].as_u64().unwrap_or(0);
                torrent[name] = json!(base * (90 + (look * 7 + number * 13) % 21) / 100);
            }
        }
    }
    let wanted = |number: usize, torrent: &Value| match ids {
        Value::Null => true,
        Value::String(_) => number < state.active,
        Value::Array(list) => list.contains(&torrent["id"]),
        other => *other == torrent["id"],
    };
    let chosen: Vec<Value> = torrents
        .iter()
        .enumerate()
        .filter(|(number, torrent)| wanted(*number, torrent))
        .map(|(_, torrent)| {
            let pairs = fields.iter().filter(|field| !torrent[**field].is_null());
            Value::Object(pairs.map(|field| ((*field).to_owned(), torrent[*field].clone())).collect())
        })
        .collect();
    json!({"torrents": chosen, "removed": []})
}

/// Name, status, share that is there, rates down and up in B/s, size in bytes, labels.
type Spec = (&'static str, u64, f64, u64, u64, u64, &'static [&'static str]);

/// Torrents for pictures: every state, long names, other scripts.
pub fn gallery() -> Vec<Value> {
    let gib = 1u64 << 30;
    let specs: [Spec; 14] = [
        ("debian-13.1.0-amd64-netinst.iso", 4, 0.62, 8_400_000, 1_200_000, gib * 7 / 10, &["linux"]),
        ("ubuntu-26.04-desktop-amd64.iso", 4, 0.07, 21_300_000, 310_000, gib * 6, &["linux"]),
        (
            "Blender Open Movie Collection 2160p with commentary, subtitles in 34 languages and all of the production \
          files",
            4,
            0.931,
            640_000,
            92_000,
            gib * 84,
            &["films"],
        ),
        ("Архив старых журналов 1961–1989", 6, 1.0, 0, 3_100_000, gib * 12, &["books"]),
        ("日本の民話 朗読全集", 6, 1.0, 0, 420_000, gib * 2, &["books"]),
        ("fedora-workstation-44.iso", 6, 1.0, 0, 12_700_000, gib * 2, &["linux"]),
        ("openstreetmap-planet-2026-11.osm.pbf", 6, 1.0, 0, 54_000_000, gib * 83, &["data"]),
        ("Überraschungsmusik – Größte Hits", 0, 0.345, 0, 0, gib, &[]),
        ("archlinux-2026.11.01-x86_64.iso", 0, 1.0, 0, 0, gib * 13 / 10, &["linux"]),
        ("wikipedia_en_all_maxi_2026-10.zim", 2, 0.48, 0, 0, gib * 111, &["data"]),
        ("common-crawl-sample-0042", 1, 0.0, 0, 0, gib * 40, &["data"]),
        ("gutenberg-everything", 3, 0.21, 0, 0, gib * 60, &["books"]),
        ("lost-disk-backup", 0, 0.77, 0, 0, gib * 9, &[]),
        ("magnet link without metadata yet", 4, 0.0, 0, 0, 0, &[]),
    ];
    let torrent = |(index, spec): (usize, &Spec)| {
        let (name, status, share, down, up, size, labels) = *spec;
        let left = (size as f64 * (1.0 - share)) as u64;
        let magnet = size == 0;
        let mut pieces = vec![0u8; 250];
        for piece in 0..2000usize {
            let here = (piece * 7919 % 2000) < (share * 2000.0) as usize || (piece as f64) < share * 1300.0;
            pieces[piece / 8] |= u8::from(here) << (7 - piece % 8);
        }
        use base64::Engine as _;
        let file = |path: &str, part: u64, done: f64| {
            let length = size / 10 * part;
            json!({"name": format!("{name}/{path}"), "length": length, "bytesCompleted": (length as f64 * done) as u64})
        };
        let peer = |number: u64, client: &str, rate: u64, progress: f64| {
            json!({"address": format!("203.0.113.{number}"), "port": 51413, "clientName": client, "flagStr": "DuE",
                "progress": progress, "rateToClient": rate, "rateToPeer": up / 3})
        };
        json!({
            "id": index + 1, "name": name, "hashString": format!("{:040x}", index * 7919 + 0xabcdef),
            "status": status, "error": if name.starts_with("lost") { 3 } else if index == 2 { 2 } else { 0 },
            "errorString": if name.starts_with("lost") { "cannot read /mnt/usb/lost-disk-backup/part-03.bin: no such device" }
                else if index == 2 { "tracker.example.net: connection timed out" } else { "" },
            "totalSize": size, "sizeWhenDone": size, "leftUntilDone": left, "percentDone": share,
            "metadataPercentComplete": if magnet { 0.0 } else { 1.0 },
            "recheckProgress": if status == 2 { 0.48 } else { 0.0 },
            "rateDownload": down, "rateUpload": up, "base-rateDownload": down, "base-rateUpload": up,
            "downloadedEver": size - left, "uploadedEver": (size - left) / 2 * (index as u64 % 5),
            "uploadRatio": if magnet { -1.0 } else { (index % 5) as f64 / 2.0 },
            "eta": left.checked_div(down).map_or(-2, |eta| eta as i64),
            "peersConnected": (down + up) / 300_000, "peersSendingToUs": down / 900_000, "peersGettingFromUs": up / 500_000,
            "addedDate": 1_795_000_000u64 - index as u64 * 86_000, "doneDate": if left == 0 && !magnet { 1_795_600_000 } else { 0 },
            "labels": labels, "downloadDir": "/srv/torrents", "queuePosition": index, "pieceCount": 2000,
            "pieceSize": 4 << 20, "pieces": base64::engine::general_purpose::STANDARD.encode(&pieces),
            "comment": "Made for pictures.", "creator": "mktorrent 1.1", "dateCreated": 1_790_000_000u64,
            "files": [file("disc 1/part one.mkv", 5, (share * 1.6).min(1.0)), file("disc 1/part two.mkv", 3, share * 0.4),
                file("extras/Übersicht 目次.pdf", 1, 1.0), file("readme.txt", 1, share)],
            "fileStats": [{"wanted": true, "priority": 1}, {"wanted": true, "priority": 0},
                {"wanted": true, "priority": 0}, {"wanted": index % 2 == 1, "priority": -1}],
            "peers": if down + up > 0 { json!([peer(7, "qBittorrent 5.1.4", down / 2, 1.0), peer(21, "Transmission 4.0.6", down / 3, 0.83),
                peer(99, "libtorrent (Rasterbar) 2.0.11", 0, 0.12), peer(140, "", down / 9, 0.5)]) } else { json!([]) },
            "trackerStats": [
                {"announce": "https://tracker.example.org/announce", "host": "https://tracker.example.org", "tier": 0,
                 "seederCount": 48 + index, "leecherCount": 12, "hasAnnounced": true, "lastAnnounceSucceeded": true,
                 "lastAnnouncePeerCount": 50, "announceState": 1, "nextAnnounceTime": 4_000_000_000u64},
                {"announce": "udp://tracker.example.net:6969/announce", "host": "udp://tracker.example.net:6969", "tier": 1,
                 "seederCount": -1, "leecherCount": -1, "hasAnnounced": true, "lastAnnounceSucceeded": false,
                 "lastAnnounceResult": "connection timed out", "announceState": 1, "nextAnnounceTime": 0},
            ],
        })
    };
    specs.iter().enumerate().map(torrent).collect()
}

/// So many torrents, one after the other from the gallery with their number in the name.
pub fn many(count: usize) -> Vec<Value> {
    let gallery = gallery();
    (0..count)
        .map(|index| {
            let mut torrent = gallery[index % gallery.len()].clone();
            torrent["id"] = json!(index + 1);
            torrent["name"] =
                json!(format!("{:05} {}", index * 7919 % count, torrent["name"].as_str().unwrap()));
            torrent
        })
        .collect()
}
