"""Downloads one torrent with libtorrent: argv = torrent file, directory, port of the seeder. Ends when all is there."""
import os
import sys

import libtorrent as lt

torrent, directory, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
session = lt.session({
    "listen_interfaces": "127.0.0.1:0",
    "alert_mask": lt.alert.category_t.status_notification | lt.alert.category_t.storage_notification,
    # Nothing but this download.
    "enable_upnp": False, "enable_natpmp": False, "enable_lsd": False, "enable_dht": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "in_enc_policy": lt.enc_policy.disabled, "out_enc_policy": lt.enc_policy.disabled,
    "allow_multiple_connections_per_ip": True,
    # What its documentation suggests for fast downloads.
    "max_out_request_queue": 1500, "request_queue_time": 3,
    "aio_threads": 4, "hashing_threads": 1, "max_queued_disk_bytes": 64 * 1024 * 1024,
})
params = lt.add_torrent_params()
params.ti = lt.torrent_info(torrent)
params.save_path = directory
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
handle = session.add_torrent(params)
handle.connect_peer(("127.0.0.1", port))
flushing = False
while True:
    session.wait_for_alert(1000)
    for alert in session.pop_alerts():
        if isinstance(alert, lt.torrent_finished_alert) and not flushing:
            flushing = True
            handle.flush_cache()
        elif isinstance(alert, lt.cache_flushed_alert) and flushing:
            print("complete", flush=True)
            os._exit(0)
