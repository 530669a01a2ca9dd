#!/usr/bin/env bash
# What a core of the running proxy holds of its secrets: `gcore`, with --allow-core, after some hundred requests, searched for the
# private keys' numbers, the client secrets, the system user tokens and the tickets. Prints how often each is there and fails when it
# is more than SECURITY.md says, "In memory". Needs gdb, curl and Python 3, and to be allowed to trace (root is); judges
# target/release/soproxy.
set -euo pipefail
cd "$(dirname "$0")/../.."
binary=$(realpath "${SOPROXY:-target/release/soproxy}")
for tool in gcore curl python3; do command -v "$tool" >/dev/null || { echo "$tool is needed (Debian: gdb curl python3)" >&2; exit 1; }; done

work=$(mktemp -d)
pids=()
stop() {
  [ ${#pids[@]} = 0 ] || kill "${pids[@]}" 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap stop EXIT

# Waits until a log names an address, and prints it.
address() {
  local found
  for _ in $(seq 100); do
    found=$(grep -oE "$1" "$2" | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1) && { echo "$found"; return; }
    sleep 0.1
  done
  cat "$2" >&2
  exit 1
}

"$binary" sandbox --only --address 127.0.0.1:0 >"$work/sandbox.log" 2>&1 &
pids+=($!)
"$binary" sandbox --write-config "$work/config" --address "$(address '127\.0\.0\.1:[0-9]+' "$work/sandbox.log")" >/dev/null
export SOPROXY_LISTEN__ADDRESS=127.0.0.1:0 SOPROXY_ADMIN__ADDRESS=off SOPROXY_STORE__PATH="$work/store"
"$binary" run --allow-core --config "$work/config/proxy.toml" >"$work/proxy.log" 2>&1 &
proxy=$!
pids+=("$proxy")
listen=$(address 'serves.*' "$work/proxy.log")
for tenant in Cust12345 Cust54321; do
  curl -fsS -o /dev/null "http://$listen/$tenant/api/v1/Contact/1?n=[1-200]"
done
# Idle connections give their buffers back.
sleep 2
gcore -o "$work/core" "$proxy" >/dev/null 2>&1
python3 tests/core/search.py "$work/core.$proxy" "$binary" "$work/config"
