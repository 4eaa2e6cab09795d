#!/usr/bin/env bash
# Makes the pictures in this folder: the dashboard and the terminal display of a run of the demo.
# Needs what the demo needs, Chromium (apt-get install chromium), curl, and script (bsdutils).
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'kill "$demo" 2>/dev/null || true; rm -rf "$work"' EXIT
address=127.0.0.1:8642

cargo build --release --quiet --manifest-path ../../Cargo.toml
replank=$(cargo metadata --format-version 1 --no-deps --manifest-path ../../Cargo.toml |
  sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release/replank

# A terminal of 120 columns, so that the live line is shown.
script -qfec "stty cols 150 rows 40 </dev/tty; $replank demo --http $address" "$work/typescript" >/dev/null &
demo=$!

status() { curl -sf "http://$address/status" || true; }
copied() { status | sed -n 's/.*"rows_copied":\([0-9]*\).*/\1/p'; }
until [ "$(copied)" ] && [ "$(copied)" -gt 500000 ]; do sleep 0.2; done

picture() {
  chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars \
    --user-data-dir="$work/profile" --screenshot="$PWD/$1" --window-size="$2" --virtual-time-budget="$4" "$3" 2>/dev/null
}
picture dashboard.png 1280,1500 "http://$address/" 8000

# The last state of the live line, and the log lines before it.
{
  printf '<meta charset="utf-8"><body style="margin:0;background:#111;color:#ddd"><pre style="font:14px/1.5 monospace;padding:16px">'
  tr '\r' '\n' < "$work/typescript" | sed 's/\x1b\[[0-9;?]*[A-Za-z]//g' | grep -v '^[[:space:]]*$' |
    awk '/ copy +=/ { if (length($0) >= length(line) - 12) line = $0; next } / INFO / { print } END { print line }' |
    sed 's/&/\&amp;/g; s/</\&lt;/g' | tail -n 14
  printf '</pre>'
} > "$work/terminal.html"
picture terminal.png 1280,400 "file://$work/terminal.html" 1000
