#!/bin/sh
# Applies the usual seedbox variables (PUID, PGID, UMASK, secrets in files), then runs the program.
set -eu

fail() {
    echo "entrypoint: $1" >&2
    exit 2
}

number() {
    case "$2" in
    '' | *[!0-9]*) fail "$1 is '$2', and must be a number" ;;
    esac
}

# FILE__RINGSEED_RPC_AUTH=/run/secrets/x sets RINGSEED_RPC_AUTH to the content of that file.
for name in $(env | sed -n 's/^FILE__\(RINGSEED_[A-Z0-9_]*\)=.*/\1/p'); do
    eval "file=\$FILE__$name"
    [ -r "$file" ] || fail "FILE__$name names $file, which cannot be read"
    value=$(cat "$file")
    export "$name=$value"
    unset "FILE__$name"
done

case "${UMASK:=022}" in
*[!0-7]* | ?????*) fail "UMASK is '$UMASK', and must be octal such as 022 or 002" ;;
esac
umask "$UMASK"

# Use a settings file if it exists.
if [ -z "${RINGSEED_CONFIG:-}" ] && [ -f /config/ringseed.toml ]; then
    export RINGSEED_CONFIG=/config/ringseed.toml
fi
if [ -z "${RINGSEED_TRACKER_CONFIG:-}" ] && [ -f /config/tracker.toml ]; then
    export RINGSEED_TRACKER_CONFIG=/config/tracker.toml
fi

# Started with --user or by Kubernetes: the user is already chosen.
if [ "$(id -u)" -ne 0 ]; then
    exec "$@"
fi

number PUID "${PUID:=1000}"
number PGID "${PGID:=1000}"
# The state is small and belongs to Ringseed. Downloads may be millions of files: change only the top of a new volume.
if [ -d /config ]; then
    find /config -xdev \( ! -user "$PUID" -o ! -group "$PGID" \) -exec chown -h "$PUID:$PGID" {} + ||
        echo "entrypoint: /config cannot be given to $PUID:$PGID" >&2
fi
if [ -d /downloads ] && { [ "$(stat -c %u /downloads)" -eq 0 ] || [ -z "$(ls -A /downloads)" ]; }; then
    chown "$PUID:$PGID" /downloads || echo "entrypoint: /downloads cannot be given to $PUID:$PGID" >&2
fi
exec setpriv --reuid "$PUID" --regid "$PGID" --clear-groups --no-new-privs "$@"
