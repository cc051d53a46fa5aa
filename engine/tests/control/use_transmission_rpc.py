"""A session of PyPI's transmission-rpc with a daemon: every method it has, with the values its users expect."""

import sys
import time
from pathlib import Path

from transmission_rpc import Client

port, one, one_dir, many, many_dir, target = sys.argv[1:]
client = Client(host="127.0.0.1", port=int(port))


def until(what, condition):
    for _ in range(600):
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"waited in vain for {what}")


session = client.get_session()
assert session.rpc_version == 17 and session.version.startswith("4.0.6"), session.version

# Adding, and adding again.
added = client.add_torrent(Path(one), download_dir=one_dir, labels=["a", "b"])
again = client.add_torrent(Path(one), download_dir=one_dir)
assert again.id == added.id and again.hashString == added.hashString
paused = client.add_torrent(Path(many), download_dir=many_dir, paused=True, files_unwanted=[0])
until("seeding", lambda: client.get_torrent(added.id).status == "seeding")

# Every field that this version of the client knows.
for torrent in client.get_torrents():
    for name in dir(type(torrent)):
        if not name.startswith("_") and isinstance(getattr(type(torrent), name), property):
            try:
                getattr(torrent, name)
            except (KeyError, AttributeError) as error:
                raise SystemExit(f"{name}: {error!r}")
    assert torrent.get_files() is not None and torrent.percent_done >= 0
torrent = client.get_torrent(added.id)
assert torrent.labels == ["a", "b"] and torrent.left_until_done == 0 and torrent.progress == 100.0
assert torrent.download_dir == one_dir and torrent.is_private is False and torrent.piece_count > 0
assert torrent.trackers[0].announce == "http://127.0.0.1:9/announce"
assert [file.selected for file in client.get_torrent(paused.id).get_files()][0] is False

# Recently active ones, with those that were removed.
active, removed = client.get_recently_active_torrents()
assert {torrent.id for torrent in active} == {added.id, paused.id} and removed == []

# Wishes.
client.change_torrent(added.id, upload_limit=100, upload_limited=True, download_limit=50, download_limited=True)
client.change_torrent(added.id, seed_ratio_limit=3.5, seed_ratio_mode=1, seed_idle_limit=9, seed_idle_mode=1)
client.change_torrent(added.id, labels=["c"], peer_limit=12, group="slow")
client.change_torrent(paused.id, files_wanted=[0], files_unwanted=[1], priority_high=[2], priority_low=[3])
torrent = client.get_torrent(added.id)
assert torrent.upload_limit == 100 and torrent.upload_limited and torrent.download_limit == 50
assert torrent.seed_ratio_limit == 3.5 and torrent.seed_ratio_mode == 1 and torrent.seed_idle_limit == 9
assert torrent.labels == ["c"] and torrent.max_connected_peers == 12 and torrent.group == "slow"
files = client.get_torrent(paused.id).get_files()
assert [file.selected for file in files] == [True, False, True, True, True]
assert [int(file.priority) for file in files] == [0, 0, 1, -1, 0]
client.change_torrent(added.id, tracker_list=[["http://127.0.0.1:9/x"], ["udp://127.0.0.1:9"]])
trackers = client.get_torrent(added.id).trackers
assert [tracker.announce for tracker in trackers] == ["http://127.0.0.1:9/x", "udp://127.0.0.1:9"]
assert [tracker.tier for tracker in trackers] == [0, 1]

# The queue.
assert client.get_torrent(paused.id).queue_position == 1
client.queue_top(paused.id)
assert client.get_torrent(paused.id).queue_position == 0 and client.get_torrent(added.id).queue_position == 1
client.queue_down(paused.id)
assert client.get_torrent(paused.id).queue_position == 1
client.queue_up(paused.id)
client.queue_bottom(paused.id)
assert client.get_torrent(paused.id).queue_position == 1

# Running.
client.stop_torrent(added.id)
until("stopped", lambda: client.get_torrent(added.id).status == "stopped")
client.start_torrent(added.id, bypass_queue=True)
until("seeding", lambda: client.get_torrent(added.id).status == "seeding")
client.reannounce_torrent(added.id)
client.verify_torrent(added.id)
until("seeding again", lambda: client.get_torrent(added.id).status == "seeding")

# Places.
path, name = client.rename_torrent_path(added.id, client.get_torrent(added.id).name, "renamed.bin")
assert name == "renamed.bin"
until("renamed", lambda: client.get_torrent(added.id).name == "renamed.bin")
until("seeding the new name", lambda: client.get_torrent(added.id).status == "seeding")
assert Path(one_dir, "renamed.bin").exists()
client.move_torrent_data(added.id, target)
until("moved", lambda: client.get_torrent(added.id).download_dir == target)
until("seeding from there", lambda: client.get_torrent(added.id).status == "seeding")
assert Path(target, "renamed.bin").exists() and not Path(one_dir, "renamed.bin").exists()

# The session.
client.set_session(speed_limit_up=500, speed_limit_up_enabled=True, seed_ratio_limit=1.5, seed_ratio_limited=True)
client.set_session(download_queue_enabled=True, download_queue_size=7, idle_seeding_limit=11)
session = client.get_session()
assert session.speed_limit_up == 500 and session.speed_limit_up_enabled and session.seed_ratio_limit == 1.5
assert session.download_queue_size == 7 and session.idle_seeding_limit == 11
client.set_session(seed_ratio_limited=False, download_queue_enabled=False)
stats = client.session_stats()
assert stats.torrent_count == 2
assert client.free_space(target) > 0
client.set_group("slow", speed_limit_up=5)
assert client.get_group("slow").name == "slow"

# The end.
client.remove_torrent(paused.id)
client.remove_torrent(added.id, delete_data=True)
until("the file to be gone", lambda: not Path(target, "renamed.bin").exists())
active, removed = client.get_recently_active_torrents()
assert set(removed) == {added.id, paused.id}, removed
assert client.get_torrents() == []
print("done")
