#!/usr/bin/env bash
# Instructions per request of the release build, counted by callgrind and held against tests/bench/instructions.baseline:
# more than 3 % away from it, either way, is a failure. Unlike times, the count does not depend on what else the machine does.
#
#     tests/bench/instructions.sh           # compare
#     tests/bench/instructions.sh --save    # make this the baseline; commit it with what changed it
#
# The embedded SuperOffice Online is login service and upstream, over plain HTTP, and curl is the caller, with one connection.
# Only the proxy runs under callgrind: once with a few requests, once with many; the difference is theirs alone, without start,
# exchange and stop. SOPROXY names another binary.
set -euo pipefail
cd "$(dirname "$0")/../.."

binary=$(realpath "${SOPROXY:-target/release/soproxy}")
baseline=tests/bench/instructions.baseline
few=100 many=5100
# The demo's tenant with the small key: signing takes a number of steps that varies.
tenant=Cust54321

fail() { echo "$*" >&2; exit 1; }
for tool in valgrind curl; do command -v "$tool" >/dev/null || fail "$tool is needed"; done
[ -x "$binary" ] || fail "$binary is not there: cargo build --release"

work=$(mktemp -d)
sandbox='' proxy=''
# shellcheck disable=SC2317 # the trap calls it
stop() {
  # shellcheck disable=SC2086 # none, one or two of them
  kill $proxy $sandbox 2>/dev/null || true
  wait
  rm -rf "$work"
}
trap stop EXIT

# Waits until a log names an address, and prints it.
address() {
  local pattern="$1" log="$2" found
  for _ in $(seq 300); do
    found=$(grep -oE "$pattern" "$log" | grep -oE '127\.0\.0\.1:[0-9]+' | head -n 1) && { echo "$found"; return; }
    sleep 0.1
  done
  cat "$log" >&2
  fail "no address in 30 seconds"
}

"$binary" sandbox --only --address 127.0.0.1:0 >"$work/sandbox.log" 2>&1 &
sandbox=$!
upstream=$(address '127\.0\.0\.1:[0-9]+' "$work/sandbox.log")
"$binary" sandbox --write-config "$work/config" --address "$upstream" >/dev/null

# Nothing that happens by itself, and one thread for all that happens.
export SOPROXY_CONFIG="$work/config/proxy.toml" SOPROXY_LISTEN__ADDRESS=127.0.0.1:0 SOPROXY_ADMIN__ADDRESS=off
export SOPROXY_RENEWAL__PREFETCH=false TOKIO_WORKER_THREADS=1
if SOPROXY_LISTEN__WORKERS=1 "$binary" check >/dev/null 2>&1; then export SOPROXY_LISTEN__WORKERS=1; fi
"$binary" check >"$work/check.log" 2>&1 || { cat "$work/check.log" >&2; exit 1; }

# valgrind writes its counts to a file at exit, which a confined process cannot. (Older binaries have no such options.)
options=()
if "$binary" run --help | grep -q -e --no-confine; then options=(--no-confine --allow-core); fi

# Sets `counted` to the instructions of a whole run with this many requests. (Not in a subshell, so that `stop` knows the proxy.)
count() {
  local requests="$1" listen answers code=0
  valgrind --tool=callgrind --callgrind-out-file="$work/counts" "$binary" run "${options[@]}" >"$work/proxy.log" 2>&1 &
  proxy=$!
  listen=$(address 'serves.*' "$work/proxy.log")
  # A query of one length, so that all requests are alike.
  answers=$(curl --silent --show-error --max-time 120 --user-agent legacy-crm-sync/4.2 \
    --header 'Accept: application/json' --header 'Accept-Encoding: gzip, deflate' --header 'Accept-Language: en-GB' \
    --output /dev/null --write-out '%{http_code} %{num_connects}\n' \
    "http://$listen/$tenant/api/v1/Document/1/Content?size=1024&n=[100001-$((100000 + requests))]" | sort | uniq -c | sed 's/^ *//')
  [ "$answers" = "$((requests - 1)) 200 0"$'\n'"1 200 1" ] || fail "not $requests good answers on one connection, but:"$'\n'"$answers"
  kill -TERM "$proxy"
  wait "$proxy" || code=$?
  proxy=''
  [ "$code" -eq 0 ] || { cat "$work/proxy.log" >&2; fail "the proxy ended with exit code $code"; }
  counted=$(sed -n 's/^totals: //p' "$work/counts")
}

count "$few"
base=$counted
count "$many"
each=$(((counted - base) / (many - few)))

# What else decides the count: whoever compiled, whoever counts, and the routines for memory that this machine's libc chooses.
vectors=$(grep -om1 -w avx2 /proc/cpuinfo || true)
made_with="$(rustc --version); $(valgrind --version); $(getconf GNU_LIBC_VERSION); $(uname -m) $vectors"

if [ "${1:-}" = --save ]; then
  printf '%s instructions per request\n%s\n' "$each" "$made_with" >"$baseline"
  cat "$baseline"
  exit
fi
[ -f "$baseline" ] || fail "$each instructions per request; there is no $baseline to compare with: tests/bench/instructions.sh --save"
expected=$(sed -n '1s/ .*//p' "$baseline")
made_before=$(sed -n 2p "$baseline")
permille=$(((each - expected) * 1000 / expected))
echo "$each instructions per request, $expected in the baseline: $(awk "BEGIN { printf \"%+.1f %%\", $permille / 10 }")"
if [ "$permille" -ge -30 ] && [ "$permille" -le 30 ]; then exit; fi
if [ "$made_with" != "$made_before" ]; then
  echo "no failure, because the baseline was made with $made_before, and this with $made_with"
  exit
fi
if [ "$permille" -lt 0 ]; then
  fail "that is less by more than 3 %: keep it so with tests/bench/instructions.sh --save, and commit the new baseline"
fi
fail "that is more by more than 3 %: find out why; if it is worth it, tests/bench/instructions.sh --save, and say so in the commit"
