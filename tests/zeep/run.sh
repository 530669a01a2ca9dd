#!/usr/bin/env bash
# The SOAP client library zeep as an outside judge: the same calls directly, with credentials, and through soproxy, with none.
# WSDL=DIR takes SuperOffice's own descriptions from there (Wcf{Contact,Person,SoPrincipal}.wsdl) instead of the sandbox's.
#
#     tests/zeep/run.sh [--soproxy BINARY]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

readonly version=4.3.3
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

main() {
    judge "$@"
    need curl curl python3 python3
    python3 -c 'import ensurepip' 2>/dev/null || { echo 'needed from Debian: python3-venv' >&2; exit 2; }
    local library="$cache/zeep-$version" own=()
    if ! "$library/bin/python" -c 'import zeep' 2>/dev/null; then
        python3 -m venv "$library"
        "$library/bin/pip" --quiet install "zeep==$version"
    fi
    [ -z "${WSDL:-}" ] || own=(--wsdl "$WSDL")
    backstage
    # The origin is the sandbox itself.
    origin="$sandbox"
    proxy soproxy

    local ticket code=0
    ticket="$("$soproxy" ticket Cust12345 --config "$work/conf/proxy.toml")"
    echo '# directly'
    calls "$sandbox" --credentials "$(cat "$work/conf/secrets/client_secret")" "$ticket" || code=1
    echo '# through soproxy'
    calls "$port" || code=1
    return $code
}

calls() {
    local at="$1"
    shift
    timeout 120 "$library/bin/python" "$here/calls.py" "http://127.0.0.1:$at/Cust12345" --sandbox "http://127.0.0.1:$sandbox" "${own[@]}" "$@"
}

main "$@"
