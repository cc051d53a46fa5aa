//! An engine that a task plays, behind a real server, and clients of it.

use super::*;
use ringseed_handle::{Failures, FileWork, StorageError, TorrentCommand, TorrentSettings};
use ringseed_proto::hashes::InfoHashes;

/// A torrent file of one file with one piece.
pub(super) fn torrent_file(name: &str) -> Vec<u8> {
    let mut info =
        format!("d6:lengthi5e4:name{}:{name}12:piece lengthi16384e6:pieces20:", name.len()).into_bytes();
    info.extend_from_slice(&[7; 20]);
    info.push(b'e');
    [b"d8:announce24:http://t.example:80/anno4:info".as_slice(), &info, b"e"].concat()
}

/// The second is before the first in the queue.
fn place_of(id: u32) -> i64 {
    [5, 2, 1].get(id as usize).copied().unwrap_or(i64::from(id))
}

/// Two files over three pieces, of which the first is here.
pub(super) fn status(id: u32, state: TorrentState) -> TorrentStatus {
    let file = |name: &str, length| FileSpec { path: format!("films/{name}").into(), length, padding: false };
    let layout = Layout::new(16384, vec![file("a.mkv", 20_000), file("b.mkv", 20_000)]).unwrap();
    let info = Info::new("films".to_owned(), layout, vec![[1; 20]; 3], false).unwrap();
    let mut have = Bitfield::new(3);
    have.set(0);
    let mut hash = [0xab; 20];
    hash[19] = id as u8;
    let metainfo = Metainfo {
        hashes: InfoHashes::from_v1(hash),
        info: Arc::new(info),
        info_bytes: Arc::from(&b"de"[..]),
        tiers: vec![vec!["http://tracker.example.org:8080/announce".to_owned()]],
        web_seeds: Vec::new(),
        comment: Some("a comment".to_owned()),
        created_by: None,
        creation_date: Some(1_700_000_000),
    };
    let peer = PeerStatus {
        address: "192.0.2.7:6881".parse().unwrap(),
        client: "qBittorrent 5.1".to_owned(),
        progress: 0.5,
        download_rate: 2000,
        upload_rate: 0,
        incoming: true,
        am_choking: true,
        am_interested: true,
        peer_choking: false,
        peer_interested: false,
        obfuscation: ringseed_net::opening::Obfuscation::Stream,
    };
    let tracker = TrackerStatus {
        url: "http://tracker.example.org:8080/announce".to_owned(),
        tier: 0,
        last_result: "Success".to_owned(),
        ok: true,
        seeders: Some(12),
        leechers: Some(3),
        peers: Some(7),
        next_announce: Some(SystemTime::now() + Duration::from_secs(600)),
        last_announce: Some(SystemTime::now()),
    };
    TorrentStatus {
        id,
        metainfo: Arc::new(metainfo),
        data_dir: "/srv/data".into(),
        state,
        have: Arc::new(have),
        left: 23_616,
        wanted: 40_000,
        downloaded: 16_384,
        uploaded: 32_768,
        download_rate: 2000,
        upload_rate: 0,
        banned: Vec::new(),
        waits_for_memory: false,
        wasted: 0,
        added_at: SystemTime::now(),
        finished_at: None,
        seeds: 1,
        // More than are listed.
        connected: 700,
        peers: vec![peer],
        trackers: vec![tracker],
        warning: None,
        settings: Arc::new(TorrentSettings { queue: place_of(id), ..TorrentSettings::default() }),
        forced: false,
        active_at: 0,
        running_since: None,
        changed_at: std::time::Instant::now(),
        upload_limit: SpeedLimit { rate: 300_000, on: false },
        download_limit: SpeedLimit::default(),
        sequential: false,
    }
}

/// An engine that does as it is told, and remembers it.
pub(super) struct Played {
    pub(super) snapshot: Arc<ArcSwap<EngineSnapshot>>,
    pub(super) done: RefCell<Vec<String>>,
    pub(super) removed: RefCell<Vec<u32>>,
}

impl Played {
    fn remove(&self, torrent: TorrentId) -> Result<(), EngineError> {
        let mut snapshot = (**self.snapshot.load()).clone();
        let id = snapshot.torrents.find(&torrent).ok_or(EngineError::UnknownTorrent(torrent))?.id;
        snapshot.torrents.remove(id);
        Arc::make_mut(&mut snapshot.removed).push((std::time::Instant::now(), id));
        self.removed.borrow_mut().push(id);
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    fn alter(&self, torrent: TorrentId, with: impl FnOnce(&mut TorrentStatus)) -> Result<(), EngineError> {
        let mut snapshot = (**self.snapshot.load()).clone();
        let status = snapshot.torrents.find(&torrent).ok_or(EngineError::UnknownTorrent(torrent))?;
        let mut status = TorrentStatus::clone(status);
        with(&mut status);
        snapshot.torrents.insert(Arc::new(status));
        self.snapshot.store(Arc::new(snapshot));
        Ok(())
    }

    /// Does something to one torrent of a list.
    fn carry_out(&self, torrent: TorrentId, command: &TorrentCommand) -> Result<(), EngineError> {
        let state = |state| self.alter(torrent, |status| status.state = state);
        match command {
            TorrentCommand::Pause => state(TorrentState::Paused),
            TorrentCommand::Resume { .. } => state(TorrentState::Downloading),
            TorrentCommand::Remove { .. } => self.remove(torrent),
            TorrentCommand::Verify => state(TorrentState::Checking(0.25)),
            TorrentCommand::Change(change) => self.alter(torrent, |status| {
                status.upload_limit = change.upload.of(status.upload_limit);
                status.download_limit = change.download.of(status.download_limit);
                status.sequential = change.sequential.unwrap_or(status.sequential);
                if let Some(settings) = &change.settings {
                    settings(Arc::make_mut(&mut status.settings), &status.metainfo);
                }
            }),
            TorrentCommand::Handle(FileWork::Move(to)) if to.ends_with("full") && torrent.0[19] == 3 => {
                Err(StorageError::DiskFull { path: to.clone() }.into())
            }
            _ => Ok(()),
        }
    }

    async fn play(self: Rc<Self>, mut commands: mpsc::Receiver<Command>) {
        while let Some(command) = commands.recv().await {
            let mut done = self.done.borrow_mut();
            match command {
                Command::Add(torrent, reply) => {
                    done.push(format!(
                        "add {} {:?} {}",
                        torrent.metainfo.info.name, torrent.data_dir, torrent.paused
                    ));
                    let mut snapshot = (**self.snapshot.load()).clone();
                    let hash = torrent.metainfo.id();
                    let outcome = match snapshot.torrents.find(&hash) {
                        Some(known) => AddOutcome::Duplicate(known.id),
                        None => {
                            let mut new = status(40, TorrentState::Paused);
                            new.metainfo = torrent.metainfo;
                            new.have = Arc::new(Bitfield::new(1));
                            snapshot.torrents.insert(Arc::new(new));
                            self.snapshot.store(Arc::new(snapshot));
                            AddOutcome::Added(40)
                        }
                    };
                    let _ = reply.send(Ok(outcome));
                }
                Command::Torrents(torrents, command, reply) => {
                    done.push(match &command {
                        TorrentCommand::Pause => "pause".to_owned(),
                        TorrentCommand::Resume { now } => {
                            if *now { "resume now" } else { "resume" }.to_owned()
                        }
                        TorrentCommand::Remove { delete } => {
                            if *delete { "remove with data" } else { "remove" }.to_owned()
                        }
                        TorrentCommand::Handle(work) => format!("{work:?}"),
                        TorrentCommand::CancelMove => format!("cancel the move of {}", torrents[0]),
                        TorrentCommand::MoveInQueue(to) => format!("{to:?} {}", torrents.len()),
                        TorrentCommand::Verify => "verify".to_owned(),
                        TorrentCommand::Reannounce => "reannounce".to_owned(),
                        TorrentCommand::AddPeers(_) => "peers".to_owned(),
                        TorrentCommand::Change(_) => "set".to_owned(),
                    });
                    let results =
                        torrents.iter().map(|torrent| (*torrent, self.carry_out(*torrent, &command)));
                    let failed = results.filter_map(|(torrent, result)| Some((torrent, result.err()?)));
                    let _ = reply.send(Ok(Failures::new(failed.collect())));
                }
                Command::ChangeEngine(change, reply) => {
                    done.push("set all".to_owned());
                    let mut snapshot = (**self.snapshot.load()).clone();
                    snapshot.limits.upload = change.upload.of(snapshot.limits.upload);
                    snapshot.limits.download = change.download.of(snapshot.limits.download);
                    if let Some(settings) = change.settings {
                        settings(Arc::make_mut(&mut snapshot.settings));
                    }
                    self.snapshot.store(Arc::new(snapshot));
                    let _ = reply.send(Ok(()));
                }
                Command::SetBlocklist(list, reply) => {
                    done.push(format!("blocklist {}", list.rules()));
                    let _ = reply.send(Ok(()));
                }
                Command::Shutdown(reply) => {
                    done.push("shutdown".to_owned());
                    let _ = reply.send(());
                    return;
                }
            }
        }
    }
}

pub(super) struct Bench {
    pub(super) address: SocketAddr,
    pub(super) engine: Rc<Played>,
    pub(super) played: tokio::task::JoinHandle<()>,
}

/// Runs a test against a server with a seeding, a downloading and a failed torrent (1, 2, 3).
pub(super) fn bench<F: Future<Output = ()>>(test: impl FnOnce(Bench) -> F) {
    bench_with(|_| {}, test);
}

/// [`bench`] with other settings of the server.
pub(super) fn bench_with<F: Future<Output = ()>>(
    change: impl FnOnce(&mut RpcInfo),
    test: impl FnOnce(Bench) -> F,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let torrents = [
            status(1, TorrentState::Seeding),
            status(2, TorrentState::Downloading),
            status(3, TorrentState::Failed("the disk is full".to_owned())),
        ];
        let snapshot = EngineSnapshot {
            torrents: torrents.into_iter().map(Arc::new).collect(),
            connections: 3,
            run: ringseed_handle::Totals { uploaded: 98_304, runs: 1, ..Default::default() },
            all_runs: ringseed_handle::Totals { uploaded: 200_000, runs: 4, ..Default::default() },
            ready: true,
            trouble: None,
            store_trouble: None,
            limits: EngineLimits { upload: Some(5_000_000).into(), download: None.into() },
            blocklist_rules: 0,
            settings: Arc::default(),
            queue: [1, 2, 3].into_iter().map(|id| (place_of(id), id)).collect(),
            removed: Arc::default(),
            shards: vec![Default::default(); 2],
            storage: Default::default(),
        };
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let (commands, receiver) = mpsc::channel(8);
        let (_changes, changed) = watch::channel(0);
        let handle = EngineHandle::new(commands, snapshot.clone(), changed, Arc::new(6881.into()));
        let engine = Rc::new(Played { snapshot, done: RefCell::default(), removed: RefCell::default() });
        let played = tokio::task::spawn_local(engine.clone().play(receiver));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut info = RpcInfo {
            version: "0.1.0".to_owned(),
            download_dir: "/tmp".into(),
            state_dir: None,
            sockets_max: 256,
            connections_max: 500,
            torrent_connections_max: 50,
            allowed_hosts: vec!["seedbox.lan".to_owned()],
            credentials: Credentials { token: Some("t0ken".to_owned()), ..Credentials::default() },
            fetch_local: false,
            create_dirs: vec!["/tmp".into()],
            route: ringseed_net::route::Route::default(),
            trust: Default::default(),
            started: SystemTime::now() - Duration::from_secs(5),
        };
        change(&mut info);
        let server = tokio::task::spawn_local(serve(
            RpcListeners { tcp: Some((listener, None)), unix: None },
            handle,
            info,
        ));
        tokio::time::timeout(Duration::from_secs(60), test(Bench { address, engine, played })).await.unwrap();
        server.abort();
    });
}

impl Bench {
    /// Sends raw bytes and reads until the server closes.
    pub(super) async fn raw(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        String::from_utf8(answer).unwrap()
    }

    pub(super) async fn request(&self, line: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        let request = format!(
            "{line} HTTP/1.1\r\n{headers}Connection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.raw(request.as_bytes()).await
    }

    pub(super) async fn session_id(&self) -> String {
        let answer = self.request("GET /transmission/rpc", "Host: localhost\r\n", "").await;
        assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
        let header = SESSION_ID_HEADER.to_ascii_lowercase();
        let line = answer.lines().find_map(|line| line.strip_prefix(&format!("{header}: "))).unwrap();
        line.to_owned()
    }

    pub(super) async fn post(&self, body: &str) -> Response {
        let headers = format!("Host: localhost\r\n{SESSION_ID_HEADER}: {}\r\n", self.session_id().await);
        let answer = self.request("POST /transmission/rpc", &headers, body).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    pub(super) async fn call(&self, method: &str, arguments: Value) -> Response {
        self.post(&json!({"method": method, "arguments": arguments, "tag": 7}).to_string()).await
    }

    /// Runs `transmission-remote` and returns what it prints.
    pub(super) async fn remote(&self, arguments: &[&str]) -> String {
        let address = self.address.to_string();
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let output = tokio::task::spawn_blocking(move || {
            std::process::Command::new("transmission-remote").arg(address).args(arguments).output()
        });
        let output = output.await.unwrap().expect("transmission-remote is installed");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

pub(super) fn status_of(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}
