"""A session of PyPI's qbittorrent-api with a daemon: what Sonarr, Flood and cross-seed call."""

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import qbittorrentapi

port, one, one_dir, many, many_dir, target = sys.argv[1:]
client = qbittorrentapi.Client(host=f"http://127.0.0.1:{port}", username="any", password="thing")


def until(what, condition):
    for _ in range(600):
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"waited in vain for {what}")


def torrent(hash):
    return client.torrents_info(torrent_hashes=hash)[0]


client.auth_log_in()
assert client.app_version() == "v5.1.4" and client.app_web_api_version() == "2.11.4"
preferences = client.app_preferences()
assert preferences["max_ratio_enabled"] is False and "save_path" in preferences and preferences["listen_port"] > 0

# Categories and adding.
client.torrents_create_category("tv", save_path=one_dir)
client.torrents_edit_category("tv", save_path=one_dir)
assert client.torrents_categories()["tv"]["savePath"] == one_dir
data = Path(one).read_bytes()
assert client.torrents_add(torrent_files=data, category="tv", tags="a,b") == "Ok."
assert client.torrents_add(torrent_files=data, category="tv") == "Fails."
assert client.torrents_add(torrent_files=Path(many).read_bytes(), save_path=many_dir, is_stopped=True) == "Ok."
first = until("the first", lambda: client.torrents_info(category="tv"))[0].hash
second = next(t.hash for t in client.torrents_info() if t.hash != first)
until("seeding", lambda: torrent(first).state in ("stalledUP", "uploading"))
# It has data, which is looked at first.
until("the second to be checked", lambda: torrent(second).state.startswith("stopped"))

# What is told.
info = torrent(first)
assert info.save_path == one_dir and info.content_path != info.save_path and info.progress == 1
assert info.tags == "a, b" and info.amount_left == 0 and info.ratio_limit == -2
assert client.torrents_properties(first)["pieces_num"] > 0
assert client.torrents_files(first)[0]["progress"] == 1
assert any(t["url"] == "http://127.0.0.1:9/announce" for t in client.torrents_trackers(first))
assert client.transfer_info()["connection_status"] == "connected"
data = client.sync_maindata(rid=0)
assert first in data["torrents"] and data["full_update"] and data["server_state"]
assert "peers" in client.sync_torrent_peers(torrent_hash=first, rid=0)
assert {t.hash for t in client.torrents_info(status_filter="completed")} >= {first}

# Running.
client.torrents_stop(torrent_hashes=first)
until("stopped", lambda: torrent(first).state == "stoppedUP")
client.torrents_start(torrent_hashes=first)
until("started", lambda: torrent(first).state in ("stalledUP", "uploading"))
client.torrents_set_force_start(enable=True, torrent_hashes=first)
until("forced", lambda: torrent(first).state == "forcedUP")
client.torrents_recheck(torrent_hashes=first)
until("checked", lambda: torrent(first).state == "forcedUP")
client.torrents_reannounce(torrent_hashes=first)
client.torrents_set_force_start(enable=False, torrent_hashes=first)
until("in its turn", lambda: torrent(first).state in ("stalledUP", "uploading"))

# Wishes.
client.torrents_set_share_limits(ratio_limit=1.5, seeding_time_limit=90, inactive_seeding_time_limit=-2, torrent_hashes=first)
info = torrent(first)
assert info.ratio_limit == 1.5 and info.seeding_time_limit == 90, info
client.torrents_set_upload_limit(limit=1000, torrent_hashes=first)
client.torrents_set_download_limit(limit=2000, torrent_hashes=first)
assert torrent(first).up_limit == 1000 and torrent(first).dl_limit == 2000
client.torrents_add_tags(tags="c", torrent_hashes=first)
client.torrents_remove_tags(tags="a", torrent_hashes=first)
assert torrent(first).tags == "b, c" and "c" in client.torrents_tags()
client.torrents_create_category("films")
client.torrents_set_category(category="films", torrent_hashes=first)
assert torrent(first).category == "films"
client.torrents_bottom_priority(torrent_hashes=first)
assert torrent(first).priority == 2
client.torrents_top_priority(torrent_hashes=first)
assert torrent(first).priority == 1
client.torrents_file_priority(torrent_hash=second, file_ids=[0], priority=0)
assert client.torrents_files(second)[0]["priority"] == 0
client.torrents_add_trackers(torrent_hash=first, urls="udp://127.0.0.1:9")
client.torrents_remove_trackers(torrent_hash=first, urls="http://127.0.0.1:9/announce")
urls = [t["url"] for t in client.torrents_trackers(first)]
assert "udp://127.0.0.1:9" in urls and "http://127.0.0.1:9/announce" not in urls
client.torrents_toggle_sequential_download(torrent_hashes=second)
assert torrent(second).seq_dl

client.torrents_create_tags(tags="fresh")
assert "fresh" in client.torrents_tags()
client.torrents_set_super_seeding(enable=False, torrent_hashes=first)
try:
    client.torrents_set_super_seeding(enable=True, torrent_hashes=first)
    raise SystemExit("super seeding was accepted")
except qbittorrentapi.Conflict409Error:
    pass

# Names of older versions, which Flood uses; reads by either method, changes by POST only.
def ask(method, form=None):
    data = urllib.parse.urlencode(form).encode() if form is not None else None
    return urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v2/{method}", data=data).read().decode()


ask("torrents/pause", {"hashes": first})
until("paused", lambda: torrent(first).state == "stoppedUP")
ask("torrents/resume", {"hashes": first})
until("resumed", lambda: torrent(first).state in ("stalledUP", "uploading"))
assert ask("app/version") == ask("app/version", {}) == "v5.1.4"
assert json.loads(ask(f"torrents/info?hashes={first}"))[0]["hash"] == json.loads(ask("torrents/info", {"hashes": first}))[0]["hash"]
try:
    ask(f"torrents/pause?hashes={first}")
    raise SystemExit("a GET changed something")
except urllib.error.HTTPError as error:
    assert error.code == 405

# Preferences.
client.app_set_preferences({"max_ratio_enabled": True, "max_ratio": 2.5, "up_limit": 5000, "queueing_enabled": True, "incomplete_files_ext": True})
preferences = client.app_preferences()
assert preferences["max_ratio"] == 2.5 and preferences["up_limit"] == 5000 and preferences["queueing_enabled"] and preferences["incomplete_files_ext"]
try:
    client.app_set_preferences({"autorun_enabled": True})
    raise SystemExit("a hook was accepted")
except qbittorrentapi.Conflict409Error:
    pass

# Places and the end.
client.torrents_set_location(location=target, torrent_hashes=first)
until("moved", lambda: torrent(first).save_path == target)
until("seeding there", lambda: torrent(first).state in ("stalledUP", "uploading", "forcedUP"))
client.torrents_delete(delete_files=False, torrent_hashes=second)
client.torrents_delete(delete_files=True, torrent_hashes=first)
until("gone", lambda: not client.torrents_info())
until("the file to be gone", lambda: not any(Path(target).iterdir()))
client.torrents_remove_categories("films")
assert "films" not in client.torrents_categories()
client.auth_log_out()
print("done")
