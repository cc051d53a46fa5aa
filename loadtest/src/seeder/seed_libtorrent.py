"""Seeds one torrent with libtorrent, tuned for upload: argv = torrent file, data directory, port, plain|encrypted."""
import signal
import sys
import time

import libtorrent as lt

torrent, data, port = sys.argv[1], sys.argv[2], sys.argv[3]
policy = lt.enc_policy.enabled if sys.argv[4] == "encrypted" else lt.enc_policy.disabled
session = lt.session({
    "listen_interfaces": f"127.0.0.1:{port}",
    "alert_mask": 0,
    # Nothing but serving.
    "enable_upnp": False, "enable_natpmp": False, "enable_lsd": False, "enable_dht": False,
    "enable_incoming_utp": False, "enable_outgoing_utp": False,
    "in_enc_policy": policy, "out_enc_policy": policy,
    # Everybody is served, whatever the address.
    "unchoke_slots_limit": -1,
    "choking_algorithm": lt.choking_algorithm_t.fixed_slots_choker,
    "connections_limit": 20000, "listen_queue_size": 2000, "connection_speed": 0,
    "allow_multiple_connections_per_ip": True,
    "upload_rate_limit": 0, "download_rate_limit": 0, "rate_limit_ip_overhead": False,
    # Deep send queues.
    "send_buffer_watermark": 4 * 1024 * 1024,
    "send_buffer_low_watermark": 1024 * 1024,
    "send_buffer_watermark_factor": 150,
    "max_allowed_in_request_queue": 5000,
    "send_socket_buffer_size": 0,
    # Disk: mapped files with the page cache, as 2.0 does by default on 64 bits.
    "aio_threads": 4, "hashing_threads": 1, "file_pool_size": 500,
    "disk_io_read_mode": lt.io_buffer_mode_t.enable_os_cache,
    "suggest_mode": lt.suggest_mode_t.no_piece_suggestions,
    "tick_interval": 500,
})
params = lt.add_torrent_params()
params.ti = lt.torrent_info(torrent)
params.save_path = data
params.flags &= ~(lt.torrent_flags.auto_managed | lt.torrent_flags.paused)
handle = session.add_torrent(params)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
while True:
    time.sleep(3600)
