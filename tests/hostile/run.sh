#!/usr/bin/env bash
# Outside judges of what hostile input gets: smugglex (two readers, two requests), slowhttptest (callers that are slow on purpose),
# testssl.sh (the listener's TLS), h2load (many streams, many connections).
#
#     tests/hostile/run.sh [--soproxy BINARY] [--only GROUP]
#
# smugglex is installed by cargo (some minutes, once; it stays outside of the repository), the others from Debian.
#
# Results of 2026-11-24 (a debug build, on a busy machine):
#   smugglex 0.4.0        cl-te, te-cl, te-te, h2c, h2, cl-edge, cl-0, 0-cl, parser-discrepancy: nothing found. What it took for a
#                         difference is a 400 where an ordinary request gets 200: refused.
#   slowhttptest 1.8.2    300 slow heads, bodies, readers: "service available: YES" at all times; slow heads and bodies are all closed
#                         within 5 and 6 seconds, with limits of 2.
#   testssl.sh 3.0.8      TLS 1.2 and 1.3 only, forward secrecy only, no vulnerability. One remark, not taken as a finding: the caller
#                         chooses among the ciphers.
#   h2load, nghttp 1.52   200 connections at a proxy for 50, 2,000 streams at once: bounded, and served on.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

readonly smugglex_version=0.4.0

main() {
    judge "$@"
    need curl curl python3 python3 openssl openssl slowhttptest slowhttptest testssl testssl.sh h2load nghttp2-client nghttp nghttp2-client
    start_origin
    backstage
    group smuggling
    group slowness
    group many
    group encryption
    verdict
}

# smugglex's binary, built once.
smugglex() {
    local root="$cache/smugglex-$smugglex_version"
    [ -x "$root/bin/smugglex" ] || cargo install --quiet --locked --version "$smugglex_version" --root "$root" smugglex >&2
    timeout 600 "$root/bin/smugglex" "$@"
}

# Whether the proxy that is on $port answers an ordinary request.
serves() { [ "$(curl -s -o /dev/null -m 5 -w '%{http_code}' "http://127.0.0.1:$port/Cust12345/api/v1/file/x")" = 200 ]; }

# All of smugglex's checks, at an address that is carried upstream. What it finds is a JSON object with "vulnerable": true.
smuggling() {
    proxy guarded
    local all=cl-te,te-cl,te-te,h2c,h2,cl-edge,cl-0,0-cl,parser-discrepancy check found
    for check in ${all//,/ }; do
        smugglex_json "$check" >"$work/smugglex-$check.json" 2>"$work/smugglex-$check.log" || true
        found="$(python3 -c '
import json, sys
def walk(node):
    if isinstance(node, dict):
        if node.get("vulnerable") is True: yield node
        for value in node.values(): yield from walk(value)
    elif isinstance(node, list):
        for value in node: yield from walk(value)
text = open(sys.argv[1]).read().strip()
if not text: sys.exit("nothing was said")
told = json.loads(text)
if not told["summary"]["total_checks"]: sys.exit("nothing was checked")
for node in walk(told): print(json.dumps(node)[:250])' "$work/smugglex-$check.json" 2>&1)" || true
        check "smugglex finds nothing: $check" '' "$found"
    done
    if serves; then ok 'and all is as before'; else not_ok 'it does not serve any more'; fi
    # A request that was smuggled in would have come to the origin.
    check 'nothing was seen upstream that nobody was answered for' '' "$(grep -lE '^(GET|POST) /(admin|robots|404|smuggl)' "$work"/seen/* 2>/dev/null || true)"
}

smugglex_json() { smugglex --json --timeout 5 --checks "$1" "http://127.0.0.1:$port/Cust12345/api/v1/echo/smuggled"; }

# Three attacks of slowhttptest's, each with 300 connections, at a proxy that waits for two seconds. It probes all the time.
slowness() {
    proxy impatient SOPROXY_LISTEN__HEADER_READ_TIMEOUT=2s SOPROXY_LISTEN__BODY_TIMEOUT=2s
    local url="http://127.0.0.1:$port/Cust12345/api/v1" answer
    answer="$(slow -H -u "$url/file/x")"
    matches 'slow heads: it is there for others all the time' 'service available: *YES' "$answer"
    matches '… and the attackers are gone before the end' 'Exit status: *No open connections left' "$answer"
    answer="$(slow -B -s 100000 -i 4 -u "$url/echo/slow")"
    matches 'slow bodies: it is there for others all the time' 'service available: *YES' "$answer"
    matches '… and the attackers are gone before the end' 'Exit status: *No open connections left' "$answer"
    answer="$(slow -X -w 1 -y 2 -n 3 -z 1 -k 1 -u "$url/big/x")"
    matches 'slow readers: it is there for others all the time' 'service available: *YES' "$answer"
    if serves; then ok 'and all is as before'; else not_ok 'it does not serve any more'; fi
}

# slow OPTIONS…: for at most 25 seconds; what it said last, without colours.
slow() { timeout 60 slowhttptest -c 300 -r 150 -l 25 -i 1 -p 3 "$@" 2>&1 | sed 's/\x1b\[[0-9;]*m//g' | tail -n 25 || true; }

# More connections and more streams than there may be.
many() {
    proxy small SOPROXY_LISTEN__MAX_CONNECTIONS=50 SOPROXY_LISTEN__MAX_REQUESTS=20
    local to="http://127.0.0.1:$port/Cust12345/api/v1" answer
    answer="$(timeout 60 h2load -n 2000 -c 200 -m 100 -t 1 "$to/file/x" 2>&1 || true)"
    matches '200 connections at a proxy for 50' '^status codes: [0-9]+ 2xx' "$answer"
    if serves; then ok '… and it serves'; else not_ok '… and it does not serve'; fi
    answer="$(timeout 60 h2load -n 2000 -c 1 -m 2000 "$to/file/x" 2>&1 || true)"
    matches '2,000 streams at once, of which 200 may be' ' 0 timeout' "$answer"
    answer="$(timeout 20 nghttp -v "$to/file/x" 2>&1 | tr -d '\0' || true)"
    matches 'the caller is told how many there may be' 'SETTINGS_MAX_CONCURRENT_STREAMS\(0x03\):200' "$answer"
    if serves; then ok 'and all is as before'; else not_ok 'it does not serve any more'; fi
}

# testssl.sh's protocols, ciphers, forward secrecy and vulnerabilities; what it rates MEDIUM or worse is a finding.
encryption() {
    certificate
    attempt over_tls try_tls
    timeout 900 testssl --quiet --color 0 --warnings batch --ip one --protocols --std --fs --server-preference --vulnerable \
        --jsonfile "$work/testssl.json" "127.0.0.1:$tls_port" >"$work/testssl.log" 2>&1 || true
    local findings
    findings="$(python3 -c '
import json, sys
found = json.load(open(sys.argv[1]))
assert len(found) > 20, "too little was tested"
for one in found:
    # Every cipher that is offered is a good one: the caller may choose which is fastest on its machine.
    if one["id"] != "cipher_order" and one["severity"] in ("MEDIUM", "HIGH", "CRITICAL", "FATAL"): print(one["id"], one["severity"], one["finding"])' "$work/testssl.json" 2>&1 || true)"
    check 'testssl.sh finds nothing that it rates MEDIUM or worse' '' "$findings"
    local log
    log="$(cat "$work/testssl.log")"
    matches 'TLS 1.2 is offered' 'TLS 1\.2 +offered' "$log"
    matches 'TLS 1.3 is offered' 'TLS 1\.3 +offered' "$log"
    lacks 'nothing older is' '(SSLv2|SSLv3|TLS 1|TLS 1\.1) +offered' "$log"
    check 'and it serves' 200 "$(curl -s -o /dev/null -m 5 --cacert "$work/ca.pem" -w '%{http_code}' "https://localhost:$tls_port/Cust12345/api/v1/file/x")"
}

# A proxy whose listener speaks TLS; its port in $tls_port.
try_tls() {
    local admin
    read -r tls_port admin < <(free_ports 2)
    start over_tls env SOPROXY_LISTEN__ADDRESS="127.0.0.1:$tls_port" SOPROXY_ADMIN__ADDRESS="127.0.0.1:$admin" \
        SOPROXY_LISTEN__TLS_CERTIFICATE="$work/cert.pem" SOPROXY_LISTEN__TLS_KEY="$(cat "$work/key.pem")" \
        SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS="127.0.0.1:$origin,127.0.0.1:$sandbox" \
        SOPROXY_TENANTS__CUST12345__API_URL="http://127.0.0.1:$origin/Cust12345/api" \
        "$soproxy" run --config "$work/conf/proxy.toml"
    until_served curl -fs -o /dev/null "http://127.0.0.1:$admin/readyz"
}

main "$@"
