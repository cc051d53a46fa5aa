#!/bin/sh
# gluetun's hook: makes the engine listen on the port that the VPN provider forwards.
#
#   gluetun-port.sh PORT[,PORT...] [RPC]
#
# It runs inside gluetun. The engine shares gluetun's network, so the RPC needs no credentials. The engine may still be
# starting: the hook retries for a minute.
set -u

port=${1%%,*}
rpc=${2:-http://127.0.0.1:9091}
case $port in
'' | *[!0-9]*)
    echo "gluetun-port.sh: '$port' is not a port" >&2
    exit 2
    ;;
esac
tries=0
until said=$(wget -q -O- --post-data "json={\"listen_port\":$port}" "$rpc/api/v2/app/setPreferences" 2>&1); do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
        echo "gluetun-port.sh: the engine at $rpc did not accept port $port: $said" >&2
        exit 1
    fi
    sleep 1
done
echo "gluetun-port.sh: the engine listens on port $port"
