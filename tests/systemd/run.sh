#!/usr/bin/env bash
# Judges the units: how systemd rates the service, whether it can read both, and whether the program serves within the system calls
# that the service leaves it, at a socket that is handed over, telling what a service manager wants to hear. No systemd has to run.
set -euo pipefail
cd "$(dirname "$0")/../.."

soproxy=target/release/soproxy
case "${1-}" in
  "") ;;
  --soproxy) soproxy=${2:?} ;;
  *) echo "usage: ${0##*/} [--soproxy BINARY]" >&2; exit 2 ;;
esac
[ -x "$soproxy" ] || { echo "no $soproxy: cargo build --release, or --soproxy BINARY" >&2; exit 2; }
soproxy=$(realpath "$soproxy")
missing=()
for tool in systemd-analyze systemd-socket-activate python3 mandoc; do command -v "$tool" >/dev/null || missing+=("$tool"); done
/usr/bin/python3 -c 'import seccomp' 2>/dev/null || missing+=(python3-seccomp)
[ ${#missing[@]} -eq 0 ] || { echo "needed from Debian: ${missing[*]} (systemd python3 mandoc)" >&2; exit 2; }

work=$(mktemp -d)
pids=()
end() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  rm -rf "$work"
}
trap end EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
until_there() { # what, command …
  local what=$1
  shift
  for _ in $(seq 200); do "$@" >/dev/null 2>&1 && return; sleep 0.1; done
  cat "$work"/*.log >&2 || true
  fail "$what"
}

echo "== the rating"
rating=$(systemd-analyze security --offline=true deploy/systemd/soproxy.service | sed -n 's/.*Overall exposure level for soproxy.service: \([0-9.]*\).*/\1/p')
echo "soproxy.service: $rating"
awk "BEGIN { exit !($rating < 2.0) }" || fail "it has to be below 2.0"

echo "== the units"
# The program need not be installed, nor its pages; systemd before 253 does not know notify-reload.
said=$(systemd-analyze verify --man=no deploy/systemd/soproxy.service deploy/systemd/soproxy.socket 2>&1 |
  grep -v -e 'ignoring: notify-reload' -e '/usr/bin/soproxy is not executable' || true)
[ -z "$said" ] || fail "$said"

echo "== the manual"
"$soproxy" man --dir "$work/man"
mandoc -T lint -W warning "$work"/man/* || fail "mandoc has something to say"
ls "$work/man" | wc -l

echo "== the program"
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
login=$(port) here=$(port) admin=$(port)
"$soproxy" sandbox --write-config "$work/home" --address "127.0.0.1:$login" >/dev/null
"$soproxy" sandbox --only --address "127.0.0.1:$login" >"$work/sandbox.log" 2>&1 &
pids+=($!)
python3 tests/systemd/manager.py "$work/notify" >"$work/heard.log" &
pids+=($!)
until_there "the manager does not listen" test -S "$work/notify"
export SOPROXY_LISTEN__ADDRESS=127.0.0.1:$here SOPROXY_ADMIN__ADDRESS=127.0.0.1:$admin SOPROXY_CONFIG=$work/home/proxy.toml
# It connects the first caller to the program's socket, and starts the program.
systemd-socket-activate -l "127.0.0.1:$here" -E SOPROXY_LISTEN__ADDRESS -E SOPROXY_ADMIN__ADDRESS -E SOPROXY_CONFIG \
  -E "NOTIFY_SOCKET=$work/notify" -E WATCHDOG_USEC=3000000 \
  /usr/bin/python3 tests/systemd/filtered.py deploy/systemd/soproxy.service "$soproxy" run >"$work/run.log" 2>&1 &
run=$!
pids+=("$run")
ask() { curl -fsS -o /dev/null "http://127.0.0.1:$here/Cust12345/api/v1/User/currentPrincipal"; }
until_there "nobody serves" ask
grep -q 'confined: no_new_privs, Landlock' "$work/run.log" || { cat "$work/run.log"; fail "it could not confine itself within the unit's filter"; }
grep -q 'seccomp' "$work/run.log" || fail "no seccomp"
until_there "no READY" grep -q '^READY=1' "$work/heard.log"
until_there "no status" grep -q '^STATUS=2 of 2 tenants can be served' "$work/heard.log"
until_there "no watchdog" grep -q '^WATCHDOG=1' "$work/heard.log"
kill -HUP "$run"
until_there "no RELOADING" grep -q '^RELOADING=1' "$work/heard.log"
until_there "reloaded, but not said so" grep -q 'configuration reloaded' "$work/run.log"
ask
kill -TERM "$run"
code=0
wait "$run" || code=$?
[ "$code" -eq 0 ] || { cat "$work/run.log"; fail "exit code $code"; }
until_there "no STOPPING" grep -q '^STOPPING=1' "$work/heard.log"
sort "$work/heard.log" | sed 's/=[0-9]\{4,\}/=…/' | uniq -c
echo "all is well"
