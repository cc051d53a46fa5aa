//! What the desktop knows of the window: the entry, the icon, and what it opens.

use std::path::Path;
use std::process::Command;

#[test]
fn the_installed_entry_opens_torrents_and_magnet_links() {
    let home = tempfile::tempdir().unwrap();
    let programs = home.path().join("built");
    std::fs::create_dir_all(&programs).unwrap();
    for name in ["ringseed", "ringseed-gui"] {
        std::fs::write(programs.join(name), "#!/bin/sh\n").unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("desktop/install.sh");
    let output = Command::new("bash")
        .arg(script)
        .arg(&programs)
        .env("HOME", home.path())
        .env_remove("XDG_DATA_HOME")
        .env_remove("XDG_CONFIG_HOME")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let data = home.path().join(".local/share");
    let entry = std::fs::read_to_string(data.join("applications/ringseed.desktop")).unwrap();
    let value = |key: &str| {
        let line = entry.lines().find_map(|line| line.strip_prefix(&format!("{key}=")));
        line.unwrap_or_else(|| panic!("{key} is missing")).to_owned()
    };
    assert_eq!(entry.lines().next(), Some("[Desktop Entry]"));
    assert_eq!((value("Type").as_str(), value("Exec").as_str()), ("Application", "ringseed-gui %U"));
    let opens = value("MimeType");
    assert!(opens.split(';').any(|kind| kind == "application/x-bittorrent"), "{opens}");
    assert!(opens.split(';').any(|kind| kind == "x-scheme-handler/magnet"), "{opens}");
    let icon = data.join(format!("icons/hicolor/scalable/apps/{}.svg", value("Icon")));
    assert!(std::fs::read_to_string(icon).unwrap().contains("<svg"));
    assert!(home.path().join(".local/bin/ringseed-gui").exists());
}
