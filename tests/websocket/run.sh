#!/usr/bin/env bash
# The WebSocket package `ws` as an outside judge of the tunnel that an upgrade opens.
#
#     tests/websocket/run.sh [--soproxy BINARY]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

readonly version=8.18.0 checksum=a08221f2851472c944ca0178d89a9888c7f43fbd9998afc8a7ec6fe417c4ca20

main() {
    judge "$@"
    need curl curl python3 python3 node nodejs npm npm
    local suite
    suite="$(package ws $version $checksum)"
    origin="$(free_ports 1)"
    backstage
    proxy soproxy
    timeout 150 node "$(dirname "${BASH_SOURCE[0]}")/judge.mjs" "$suite" "$origin" "$port"
}

main "$@"
