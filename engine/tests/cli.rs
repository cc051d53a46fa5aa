//! The program as its users meet it: exit codes, what it prints, and files that other programs read.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use tempfile::TempDir;

/// A home directory of its own for the program, and files to work on.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("home")).expect("made");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        std::fs::write(&path, bytes).expect("written");
        path
    }

    /// The program, with nothing of the user's environment.
    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringseed"));
        command.args(args).env_clear().current_dir(self.dir.path());
        command.env("HOME", self.path("home")).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Output {
        self.command(args).output().expect("the program starts")
    }

    /// Runs the program and gives what it printed; it must succeed.
    fn ok<S: AsRef<OsStr>>(&self, args: &[S]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("utf-8")
    }

    /// Runs the program and gives its error; it must fail with `code`, and with one line of error.
    fn fails<S: AsRef<OsStr>>(&self, args: &[S], code: i32) -> String {
        let output = self.run(args);
        let error = String::from_utf8(output.stderr).expect("utf-8");
        assert_eq!(output.status.code(), Some(code), "{error}");
        assert!(!error.contains("panicked"), "{error}");
        let lines: Vec<_> = error.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(lines.len(), 1, "{error}");
        lines[0].to_owned()
    }

    /// A directory with nested, empty and non-ASCII files whose edges lie inside pieces.
    fn tree(&self) -> PathBuf {
        self.write("tree/sub/größe.bin", &pattern(100_000, 1));
        self.write("tree/a", &pattern(5, 2));
        self.write("tree/empty", b"");
        self.write("tree/z.bin", &pattern(70_001, 3));
        self.path("tree")
    }

    fn create(&self, extra: &[&str]) -> PathBuf {
        let mut args =
            vec!["create", "tree", "-o", "t.torrent", "--tracker", "http://127.0.0.1:6969/announce"];
        args.extend(extra);
        self.ok(&args);
        self.path("t.torrent")
    }

    fn show(&self, torrent: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["show", torrent, "--json"])).expect("JSON")
    }
}

/// Bytes that differ from piece to piece.
fn pattern(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn exit_codes_of_help_and_wrong_usage() {
    let place = Place::new();
    assert!(place.ok(&["--help"]).contains("Exit codes: 0 success, 1 failure, 2 wrong usage"));
    assert!(place.ok(&["--version"]).starts_with("ringseed "));
    for command in ["get", "seed", "serve", "create", "show", "verify", "demo", "completions", "man"] {
        assert!(place.ok(&[command, "--help"]).contains("Usage: ringseed"), "{command}");
    }
    for wrong in [
        &["frobnicate"][..],
        &["get"],
        &["get", "a.torrent", "--upload-limit", "fast"],
        &["get", "a.torrent", "--upload-slots", "0"],
        &["get", "a.torrent", "--port", "70000"],
        &["get", "a.torrent", "--shards", "0"],
        &["get", "a.torrent", "--seed-ratio", "NaN"],
        &["get", "a.torrent", "--peer", "localhost"],
        &["get", "magnet:?xt=urn:btih:0123456789012345678901234567890123456789"],
        &["seed", "a.torrent"],
        &["create", "tree", "--tracker", "http://a/announce"],
        &["create", "tree", "-o", "t", "--tracker", "tracker.example"],
    ] {
        place.fails(wrong, 2);
    }
    assert_eq!(place.run::<&str>(&[]).status.code(), Some(2), "without a command there is nothing to do");
}

#[test]
fn completions_and_manual() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = place.ok(&["completions", shell]);
        assert!(script.contains("ringseed") && script.contains("seed-ratio"), "{shell}");
    }
    let bash = place.write("ringseed.bash", place.ok(&["completions", "bash"]).as_bytes());
    assert!(Command::new("bash").arg("-n").arg(bash).status().expect("bash").success());
    let page = place.ok(&["man"]);
    assert!(page.contains(".TH ringseed"), "{}", &page[..300.min(page.len())]);
    for command in ["GET", "SEED", "SERVE", "CREATE", "SHOW", "VERIFY", "DEMO"] {
        assert!(page.contains(&format!(".SH \"RINGSEED {command}\"")), "{command}");
    }
}

#[test]
fn a_created_torrent_says_what_was_asked() {
    let place = Place::new();
    place.tree();
    let torrent = place.create(&[
        "--tracker",
        "udp://127.0.0.1:1/announce,http://127.0.0.1:2/announce",
        "--piece-size",
        "32K",
        "--private",
        "--web-seed",
        "http://127.0.0.1:8080/",
        "--comment",
        "a comment",
        "--creation-date",
        "1700000000",
    ]);
    let json = place.show("t.torrent");
    assert_eq!(json["name"], "tree");
    assert_eq!(json["total_length"], 170_006);
    assert_eq!(json["piece_length"], 32_768);
    assert_eq!(json["piece_count"], 6);
    assert_eq!(json["private"], true);
    assert_eq!(json["comment"], "a comment");
    assert_eq!(json["creation_date"], 1_700_000_000);
    assert_eq!(json["web_seeds"], serde_json::json!(["http://127.0.0.1:8080/"]));
    assert_eq!(
        json["trackers"],
        serde_json::json!([
            ["http://127.0.0.1:6969/announce"],
            ["udp://127.0.0.1:1/announce", "http://127.0.0.1:2/announce"]
        ])
    );
    let paths: Vec<_> =
        json["files"].as_array().expect("files").iter().map(|file| file["path"].clone()).collect();
    assert_eq!(paths, ["tree/a", "tree/empty", "tree/sub/größe.bin", "tree/z.bin"]);
    let text = place.ok(&["show", torrent.to_str().expect("utf-8")]);
    assert!(text.contains("2023-11-14 22:13:20 UTC") && text.contains("größe.bin"), "{text}");
    assert!(text.contains("magnet:?xt=urn:btih:"), "{text}");
}

#[test]
fn the_same_content_gives_the_same_bytes() {
    let place = Place::new();
    place.tree();
    let first = std::fs::read(place.create(&["--creation-date", "0"])).expect("read");
    let mut again = place.command(&["create", "tree", "-o", "t.torrent", "--force"]);
    again.args(["--tracker", "http://127.0.0.1:6969/announce"]).env("SOURCE_DATE_EPOCH", "0");
    assert!(again.status().expect("runs").success());
    assert_eq!(std::fs::read(place.path("t.torrent")).expect("read"), first);
    assert!(place.show("t.torrent")["creation_date"].is_null());
}

#[test]
fn create_does_not_overwrite_or_include_its_output() {
    let place = Place::new();
    place.tree();
    let torrent = place.create(&[]);
    let before = std::fs::read(&torrent).expect("read");
    let args = ["create", "tree", "-o", "t.torrent", "--tracker", "http://a/announce"];
    assert!(place.fails(&args, 1).contains("--force"));
    assert_eq!(std::fs::read(&torrent).expect("read"), before);
    place.write("tree/inside.torrent", b"old");
    let args = ["create", "tree", "-o", "tree/inside.torrent", "--force", "--tracker", "http://a/announce"];
    assert!(place.fails(&args, 1).contains("inside.torrent"));
    let args = ["create", "nothing", "-o", "n.torrent", "--tracker", "http://a/announce"];
    assert!(place.fails(&args, 1).contains("nothing"));
    let args =
        ["create", "tree", "-o", "n.torrent", "--tracker", "http://a/announce", "--piece-size", "100K"];
    assert!(place.fails(&args, 2).contains("powers of two"));
}

#[test]
fn transmission_reads_a_created_torrent() {
    let place = Place::new();
    place.tree();
    let torrent = place.create(&["--private", "--piece-size", "16K", "--comment", "hello"]);
    let output = Command::new("transmission-show")
        .arg(&torrent)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .expect("transmission-show is installed (Debian: transmission-cli)");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    let json = place.show("t.torrent");
    for part in [
        json["info_hash"].as_str().expect("hash"),
        "Piece Count: 11",
        "Private torrent",
        "hello",
        "größe.bin",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn libtorrent_reads_a_created_torrent_and_we_read_libtorrents() {
    let place = Place::new();
    place.tree();
    place.create(&["--piece-size", "32K"]);
    let script = r#"
import sys, libtorrent as lt
t = lt.torrent_info("t.torrent")
assert t.num_files() == 4 and t.total_size() == 170006 and t.piece_length() == 32768, t.num_files()
assert [f.path for f in t.files()] == ["tree/a", "tree/empty", "tree/sub/größe.bin", "tree/z.bin"]
assert [x.url for x in t.trackers()] == ["http://127.0.0.1:6969/announce"]
# The same content hashed by libtorrent gives the same hashes.
fs = lt.file_storage()
for f in t.files(): fs.add_file(f.path, f.size)
c = lt.create_torrent(fs, 32768, lt.create_torrent.v1_only)
lt.set_piece_hashes(c, ".")
made = lt.torrent_info(lt.bdecode(lt.bencode(c.generate())))
assert [made.hash_for_piece(i) for i in range(6)] == [t.hash_for_piece(i) for i in range(6)]
c.add_tracker("udp://127.0.0.1:9/announce")
open("lt.torrent", "wb").write(lt.bencode(c.generate()))
print(t.info_hash(), lt.torrent_info("lt.torrent").info_hash())
"#;
    let output = Command::new("/usr/bin/python3")
        .args(["-c", script])
        .current_dir(place.dir.path())
        .env("PYTHONUTF8", "1")
        .output()
        .expect("python3 is installed");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let hashes: Vec<_> = text.split_whitespace().collect();
    assert_eq!(place.show("t.torrent")["info_hash"], hashes[0]);
    assert_eq!(place.show("lt.torrent")["info_hash"], hashes[1]);
}

#[test]
fn verify_tells_which_file_is_wrong() {
    let place = Place::new();
    place.tree();
    place.create(&["--piece-size", "16K"]);
    let here = place.dir.path().to_str().expect("utf-8").to_owned();
    let args = ["verify", "t.torrent", "--data", &here];
    let text = place.ok(&args);
    assert!(text.contains("tree: 11 of 11 pieces ok, 0 bad"), "{text}");

    let mut bytes = std::fs::read(place.path("tree/z.bin")).expect("read");
    bytes[40_000] ^= 1;
    place.write("tree/z.bin", &bytes);
    let output = place.run(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("tree: 10 of 11 pieces ok, 1 bad"), "{text}");
    assert!(text.lines().any(|line| line.starts_with("bad") && line.contains("tree/z.bin")), "{text}");
    assert!(text.lines().any(|line| line.starts_with("ok") && line.contains("größe.bin")), "{text}");

    std::fs::remove_file(place.path("tree/sub/größe.bin")).expect("removed");
    std::fs::remove_file(place.path("tree/empty")).expect("removed");
    let output = place.run(&args);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.lines().any(|line| line.starts_with("bad") && line.contains("größe.bin")), "{text}");
    assert!(text.contains("missing tree/empty"), "{text}");
    assert!(place.fails(&["verify", "t.torrent", "--data", "/nonexistent"], 1).contains("/nonexistent"));
}

#[test]
fn a_missing_empty_file_alone_is_not_complete() {
    let place = Place::new();
    place.tree();
    place.create(&[]);
    std::fs::remove_file(place.path("tree/empty")).expect("removed");
    let error = place.fails(&["verify", "t.torrent", "--data", "."], 1);
    assert!(error.contains("not complete"), "{error}");
}

#[test]
fn what_is_no_torrent_is_named() {
    let place = Place::new();
    place.write("junk.torrent", b"this is no torrent");
    for (source, word) in
        [("junk.torrent", "junk.torrent"), ("gone.torrent", "does not exist"), ("home", "directory")]
    {
        let error = place.fails(&["show", source], 1);
        assert!(error.contains(source) && error.contains(word), "{error}");
        place.fails(&["verify", source, "--data", "."], 1);
    }
}

#[test]
fn a_torrents_texts_cannot_steer_the_terminal() {
    let place = Place::new();
    let name = "n\u{1b}]0;owned\u{7}";
    let comment = "\u{1b}[2J";
    let mut bytes =
        format!("d7:comment{}:{comment}4:infod6:lengthi1e4:name{}:{name}", comment.len(), name.len());
    bytes.push_str("12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee");
    place.write("evil.torrent", bytes.as_bytes());
    let text = place.ok(&["show", "evil.torrent"]);
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let place = Place::new();
    let mut child = place
        .command(&["man"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut error).expect("read");
    assert_eq!((child.wait().expect("ends").code(), error.as_str()), (Some(0), ""));
}

/// Answers one request per entry, in order, and ends.
fn http_server(answers: Vec<Vec<u8>>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let url = format!("http://{}", listener.local_addr().expect("address"));
    let serve = move || {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut request = Vec::new();
            let mut byte = [0];
            while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                request.push(byte[0]);
            }
            requests.push(String::from_utf8_lossy(&request).into_owned());
            // The client may hang up when it has read too much.
            let _ = stream.write_all(&answer);
        }
        requests
    };
    (url, std::thread::spawn(serve))
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[test]
fn torrents_come_from_urls_over_redirects() {
    let place = Place::new();
    place.tree();
    let torrent = std::fs::read(place.create(&[])).expect("read");
    let (url, server) = http_server(vec![
        answer("302 Found", "Location: /files/t.torrent?key=1\r\n", b""),
        answer("200 OK", "Content-Type: application/x-bittorrent\r\n", &torrent),
    ]);
    let text = place.ok(&["show", &format!("{url}/old"), "--json"]);
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(json["name"], "tree");
    let requests = server.join().expect("served");
    assert!(requests[0].starts_with("GET /old HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[1].starts_with("GET /files/t.torrent?key=1 HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[1].to_lowercase().contains("user-agent: ringseed/"), "{requests:?}");
}

#[test]
fn a_failing_url_is_named_with_its_reason() {
    let place = Place::new();
    let (url, server) = http_server(vec![answer("404 Not Found", "", b"")]);
    let error = place.fails(&["show", &format!("{url}/x.torrent")], 1);
    assert!(error.contains("404") && error.contains("/x.torrent"), "{error}");
    server.join().expect("served");

    let loops = (0..6).map(|_| answer("302 Found", "Location: /again\r\n", b"")).collect();
    let (url, server) = http_server(loops);
    let error = place.fails(&["show", &url], 1);
    assert!(error.contains("more than 5 redirects"), "{error}");
    server.join().expect("served");

    // Says that it is endless, so that the bound and not the length header is what stops it.
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
    let (url, server) = http_server(vec![[head, vec![b'x'; 40 << 20]].concat()]);
    let error = place.fails(&["show", &url], 1);
    assert!(error.contains("larger than 32.0 MiB"), "{error}");
    server.join().expect("served");

    let free = TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address");
    let error = place.fails(&["show", &format!("http://{free}/")], 1);
    assert!(error.to_lowercase().contains("refused"), "{error}");
}

#[test]
fn environment_variables_are_checked_like_flags() {
    let place = Place::new();
    let mut command = place.command(&["get", "x.torrent"]);
    let output = command.env("RINGSEED_UPLOAD_LIMIT", "fast").output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("'fast'"));
}

#[test]
fn an_unknown_configuration_key_is_named_with_its_file() {
    let place = Place::new();
    place.tree();
    place.create(&[]);
    let config = place.write("ringseed.toml", b"shards = 1\nuplaod-limit = \"1M\"\n");
    let shown = config.to_str().expect("utf-8");
    for command in [
        &["get", "t.torrent", "--config", shown][..],
        &["seed", "t.torrent", "--data", ".", "--config", shown],
        &["serve", "--config", shown],
    ] {
        let error = place.fails(command, 2);
        assert!(error.contains("uplaod-limit") && error.contains("ringseed.toml, line 2"), "{error}");
    }
    let mut by_variable = place.command(&["serve"]);
    let output = by_variable.env("RINGSEED_CONFIG", "/nonexistent.toml").output().expect("runs");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent.toml"));
    // The daemon reads the one in its place without being told.
    place.write("home/.config/ringseed/config.toml", b"frobnicate = 1\n");
    assert!(place.fails(&["serve"], 2).contains("frobnicate"));
}

#[test]
fn data_that_is_not_the_torrents_is_not_seeded() {
    let place = Place::new();
    place.tree();
    place.create(&[]);
    let error = place.fails(&["seed", "t.torrent", "--data", "home", "--port", "0"], 1);
    assert!(
        error.contains("tree/a") && error.contains("--data names the directory that holds 'tree'"),
        "{error}"
    );
    place.write("tree/a", b"longer than it was");
    let error = place.fails(&["seed", "t.torrent", "--data", ".", "--port", "0"], 1);
    assert!(error.contains("tree/a") && error.contains("18 B") && error.contains("5 B"), "{error}");
}
