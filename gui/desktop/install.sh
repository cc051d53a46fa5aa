#!/usr/bin/env bash
# Installs the window's program, icon and desktop entry for this user, and makes it open torrents and magnet links:
#   bash gui/desktop/install.sh [DIRECTORY WITH THE BUILT PROGRAMS]
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
programs="${1:-$here/../../target/release}"
data="${XDG_DATA_HOME:-$HOME/.local/share}"
install -Dm755 -t "$HOME/.local/bin" "$programs/ringseed-gui" "$programs/ringseed"
install -Dm644 "$here/../ui/icons/ringseed.svg" "$data/icons/hicolor/scalable/apps/ringseed.svg"
install -Dm644 -t "$data/applications" "$here/ringseed.desktop"
# Both are there on a desktop; without them the entry is found later.
command -v update-desktop-database >/dev/null && update-desktop-database "$data/applications"
command -v xdg-mime >/dev/null && xdg-mime default ringseed.desktop application/x-bittorrent x-scheme-handler/magnet
echo "installed ringseed-gui in $HOME/.local/bin"
