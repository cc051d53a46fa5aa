#!/bin/sh
# gluetun's hook: has the engine listen on the port that the VPN's provider forwards.
#
#   gluetun-port.sh PORT[,PORT...] [RPC]
#
# It runs inside gluetun, whose network the engine shares, so that the RPC asks for no credentials. The engine may still be
# starting: it is asked again for a minute.
set -u

port=${1%%,*}
rpc=${2:-http://127.0.0.1:9091}
case $port in
'' | *[!0-9]*)
    echo "gluetun-port.sh: '$port' is no port" >&2
    exit 2
    ;;
esac
tries=0
until said=$(wget -q -O- --post-data "json={\"listen_port\":$port}" "$rpc/api/v2/app/setPreferences" 2>&1); do
    tries=$((tries + 1))
    if [ "$tries" -ge 60 ]; then
        echo "gluetun-port.sh: the engine at $rpc does not take port $port: $said" >&2
        exit 1
    fi
    sleep 1
done
echo "gluetun-port.sh: the engine listens on port $port"
