"""A libtorrent peer for the interop tests: seed|download TORRENT DIR [usual|rc4|handshake|plain]; prints "listening" and "complete"."""

import sys
import time

import libtorrent as lt

role, torrent, directory = sys.argv[1:4]
encryption = sys.argv[4] if len(sys.argv) > 4 else "usual"
FORCED, ENABLED, DISABLED = 0, 1, 2
PLAINTEXT, RC4, BOTH = 1, 2, 3
policy, level = {
    "usual": (ENABLED, BOTH),
    "rc4": (FORCED, RC4),
    "handshake": (FORCED, PLAINTEXT),
    "plain": (DISABLED, BOTH),
}[encryption]
session = lt.session({
    "out_enc_policy": policy,
    "in_enc_policy": policy,
    "allowed_enc_level": level,
    "listen_interfaces": "0.0.0.0:0,[::]:0",
    "enable_dht": False,
    "enable_lsd": False,
    "enable_upnp": False,
    "enable_natpmp": False,
    "allow_multiple_connections_per_ip": True,
    "alert_mask": lt.alert.category_t.error_notification | lt.alert.category_t.status_notification
    | lt.alert.category_t.tracker_notification,
})
params = lt.add_torrent_params()
params.ti = lt.torrent_info(torrent)
params.save_path = directory
if role == "seed":
    params.flags |= lt.torrent_flags.seed_mode
handle = session.add_torrent(params)
print("listening", session.listen_port(), flush=True)
complete = False
while True:
    session.wait_for_alert(200)
    for alert in session.pop_alerts():
        print(type(alert).__name__, alert.message(), flush=True)
    status = handle.status()
    if status.is_seeding and not complete:
        complete = True
        # Everything must be in the files before the test compares them.
        handle.flush_cache()
        time.sleep(0.1)
        print("complete", flush=True)
