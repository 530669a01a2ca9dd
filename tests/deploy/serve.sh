#!/usr/bin/env bash
# Whether a program that was built for some system serves there: `sandbox` and one call through it; then `run`, with a store, against
# `sandbox --only`. Ports are whatever is free.
#
#     tests/deploy/serve.sh PROGRAM            tests/deploy/serve.sh wine64 soproxy.exe
set -euo pipefail

[ $# -gt 0 ] || { echo "usage: $0 PROGRAM…" >&2; exit 2; }
program=()
for word in "$@"; do
  # Files by their whole names: this goes to another directory.
  if [ -f "$word" ]; then word="$(realpath "$word")"; fi
  program+=("$word")
done
work="$(mktemp -d)"
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$work"' EXIT

# Starts one in the background; what it says goes to a file of that name.
start() {
  local name="$1"
  shift
  "${program[@]}" "$@" >"$work/$name" 2>&1 &
  pids+=($!)
}

# Waits until a file has a match of a pattern, and prints what its first group holds.
await() {
  local found
  for _ in $(seq 300); do
    found="$(sed -nE "s|.*$2.*|\1|p" "$work/$1" | head -n 1)"
    [ -z "$found" ] || { printf '%s\n' "$found"; return; }
    sleep 0.1
  done
  echo "$1 did not say $2:" >&2
  cat "$work/$1" >&2
  return 1
}

# One call of the web API has to be answered with the tenant's name.
call() {
  local answer
  answer="$(curl -fsS --noproxy '*' --retry 20 --retry-delay 1 --retry-connrefused "$1/Cust12345/api/v1/User/currentPrincipal")"
  grep -q '"DatabaseContextIdentifier":"Cust12345"' <<<"$answer" || { echo "$answer" >&2; return 1; }
  echo "answered through $1"
}

"${program[@]}" --version
start sandbox sandbox --address 127.0.0.1:0 --listen 127.0.0.1:0 --admin 127.0.0.1:0
call "$(await sandbox 'in front of it at (http://[0-9.:]+[0-9])')"

start only sandbox --only --address 127.0.0.1:0
address="$(await only 'is at http://([0-9.]+:[0-9]+)')"
cd "$work" # relative paths are the same on both sides of a translation
"${program[@]}" sandbox --write-config conf --address "$address" >/dev/null
export SOPROXY_LISTEN__ADDRESS=127.0.0.1:0 SOPROXY_ADMIN__ADDRESS=127.0.0.1:0 SOPROXY_STORE__PATH=store SOPROXY_LOG__FORMAT=text
"${program[@]}" check --online --config conf/proxy.toml
start run run --config conf/proxy.toml
call "http://$(await run '[a]ddresses=\[([0-9.:]+)\]')"
"${program[@]}" healthcheck --address "$(await run '[a]dmin=\[([0-9.:]+)\]')"
for _ in $(seq 100); do ls conf/store/*.sealed >/dev/null 2>&1 && break; sleep 0.1; done
ls conf/store
