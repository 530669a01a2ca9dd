#!/usr/bin/env bash
# http-cache-tests as an outside judge: the suite runs against its own origin directly, through soproxy, and through soproxy over
# HTTP/2, and whatever differs is shown: verdicts, requests as the origin saw them, answers as the client saw them. soproxy is no
# cache, so most verdicts are "not from a cache", and have to be the same ones.
#
#     tests/http-cache-tests/run.sh [--soproxy BINARY]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

readonly version=0.4.5 api=/Cust12345/api/v1
readonly checksum=bde099a69b357a8779a797573906ff2b4c1912c394d1908dc4fbe78ac79de1fb
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

main() {
    judge "$@"
    need curl curl python3 python3 node nodejs npm npm
    suite="$(package http-cache-tests $version $checksum)"
    attempt origin try_suite
    backstage
    proxy soproxy

    local runs=()
    run direct "$origin" 1.1
    run http1 "$port" 1.1
    run http2 "$port" 2
    local one
    for one in "${runs[@]}"; do
        wait "$one" || { echo 'not ok - a run of the suite did not end well'; cat "$work"/run-*.log >&2; exit 1; }
    done
    local code=0
    for one in http1 http2; do
        node "$here/compare.mjs" "$work/direct.json" "$work/$one.json" "$work/record" "$here/expected.txt" $one || code=1
    done
    return $code
}

try_suite() {
    origin="$(free_ports 1)"
    start origin node "$here/origin.mjs" "$suite" "$origin" "$work/record"
    until_served listens "$origin"
}

run() {
    start "run-$1" timeout 120 node "$here/client.mjs" "$suite" "http://127.0.0.1:$2$api" "$3" "$work/$1.json"
    runs+=("$started")
}

main "$@"
