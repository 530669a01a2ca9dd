#!/usr/bin/env bash
# nghttp2 as an outside judge of HTTP/2: its clients of cleartext HTTP/2 by prior knowledge (nghttp shows frames, h2load makes many
# streams), its server, nghttpd, of HTTP/2 over TLS towards upstream.
#
#     tests/nghttp2/run.sh [--soproxy BINARY] [--only GROUP]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

main() {
    judge "$@"
    need curl curl python3 python3 openssl openssl nghttp nghttp2-client nghttpd nghttp2-server
    start_origin
    backstage
    proxy soproxy
    to="http://127.0.0.1:$port/Cust12345/api/v1"
    head -c 10485760 /dev/urandom >"$work/10M"
    printf 'a short body' >"$work/short"

    group requests
    group trailers
    group flow_control
    group many_streams
    group early_answers
    group broken_off
    group what_is_refused
    group drain
    group upstream
    verdict
}

# frames OPTIONS…: what nghttp says and hears, without the bodies' bytes mattering.
frames() { timeout 30 nghttp -v "$@" 2>&1 | tr -d '\0' || true; }

# said OPTIONS…: the answer's head alone, "name: value" lines.
said() { frames "$@" | sed -nE 's/^.* recv \(stream_id=[0-9]+\) //p'; }

requests() {
    local answer
    answer="$(said "$to/file/get")"
    matches 'GET' '^:status: 200$' "$answer"
    matches '… with its length' '^content-length: 100000$' "$answer"
    lacks '… and nothing that HTTP/2 forbids' '^(connection|keep-alive|transfer-encoding|upgrade|proxy-connection):' "$answer"
    answer="$(said -H ':method: HEAD' "$to/file/head")"
    matches 'HEAD' '^content-length: 100000$' "$answer"
    answer="$(frames -H ':method: HEAD' "$to/file/head")"
    lacks '… has no DATA' 'recv DATA frame <length=[1-9]' "$answer"
    matches 'conditional GET' '^:status: 304$' "$(said -H 'if-none-match: "v1-abc"' "$to/file/cond")"
    matches 'a range' '^content-range: bytes 5-9/100000$' "$(said -H 'range: bytes=5-9' "$to/file/range")"
    matches '204' '^:status: 204$' "$(said "$to/status/x?204+No")"
    matches 'POST with a body' '^:status: 200$' "$(said -d "$work/short" "$to/echo/post")"
    matches '… arrives' '^body-length: 12$' "$(seen post)"
    matches '… and has one length' '^1$' "$(grep -ciE '^header: (content-length|transfer-encoding):' "$work/seen/post")"
    said --no-content-length -d "$work/short" "$to/echo/nolength" >/dev/null
    matches 'a body without a length is chunked upstream' '^header: transfer-encoding: chunked$' "$(seen nolength | tr '[:upper:]' '[:lower:]')"
    said -H ':method: MERGE' -d "$work/short" "$to/echo/merge" >/dev/null
    matches 'MERGE' '^MERGE ' "$(seen merge)"
    said -H 'cookie: a=1' -H 'cookie: b=2' "$to/echo/cookies" >/dev/null
    matches 'split cookies become one line' '^header: cookie: a=1; b=2$' "$(seen cookies | sed -E 's/^header: [^:]*/\L&/')"
    # nghttp makes a head here that does not fit into one frame.
    said --continuation -H "x-long: $(printf 'a%.0s' {1..3000})" "$to/echo/long" >/dev/null
    matches 'CONTINUATION' '^header: x-long: a{3000}$' "$(seen long | sed -E 's/^header: [^:]*/\L&/')"
    said -b 200 -d "$work/short" "$to/echo/padded" >/dev/null
    matches 'padding is left behind' '^body-length: 12$' "$(seen padded)"
    matches 'an offer to upgrade from HTTP/1.1 is passed over' '^HTTP/1.1 200' "$(frames -u "$to/file/x")"
    said --expect-continue -d "$work/short" "$to/echo/expect" >/dev/null
    matches 'Expect: 100-continue: the body arrives' '^body-length: 12$' "$(seen expect)"
    answer="$(said --expect-continue -d "$work/10M" "$to/refuse/refuse")"
    matches '… or the refusal does' '^:status: 413$' "$answer"
    matches '… and the body stays at home' '^body-length: 0$' "$(seen refuse)"
    matches 'interim answers do not stand in the way' '^:status: 200$' "$(said "$to/interim/x")"
    # One connection for all of it.
    frames "$to/file/a" "$to/file/b" "$to/file/c" "$to/slow/d?0.3" >"$work/several"
    check 'several requests at once, on one connection' '4 1' \
        "$(grep -caE 'recv \(stream_id=[0-9]+\) :status: 200' "$work/several") $(grep -caE '\] Connected' "$work/several")"
}

trailers() {
    local answer
    answer="$(said -H 'te: trailers' "$to/chunked/trailers")"
    matches 'trailers of an answer' '^x-checksum: [0-9a-f]{64}$' "$answer"
    check '… each of them, in order' 'x-again: a x-again: b' "$(grep '^x-again' <<<"$answer" | xargs)"
    # HTTP/1.1 has room for trailers behind chunks, not behind a length.
    said --no-content-length -d "$work/short" --trailer 'x-sum: 7' --trailer 'x-again: 1' --trailer 'x-again: 2' "$to/echo/trailers" >/dev/null
    answer="$(seen trailers | sed -E 's/^trailer: [^:]*/\L&/')"
    matches 'trailers of a request' '^trailer: x-sum: ?7$' "$answer"
    check '… each of them, in order' 'trailer:x-again:1 trailer:x-again:2' "$(grep '^trailer: x-again' <<<"$answer" | tr -d ' ' | xargs)"
    matches '… behind the whole body' '^body-length: 12$' "$answer"
    said -d "$work/short" --trailer 'x-sum: 7' "$to/echo/length" >/dev/null
    matches 'a body with a length and trailers arrives whole' '^body-length: 12$' "$(seen length)"
}

# Windows from tiny to larger than the body, and the checksums of 10 MB each way.
flow_control() {
    local bits expected
    expected="$(curl -sS "http://127.0.0.1:$origin/Cust12345/api/v1/big/x" | digest)"
    for bits in 10 16 20 30; do
        check "10 MB down with windows of 2^$bits" "$expected" "$(timeout 60 nghttp -w $bits -W $bits "$to/big/x" | digest)"
    done
    check '10 MB down on four streams that share a window' "$(for _ in 1 2 3 4; do curl -sS "http://127.0.0.1:$origin/Cust12345/api/v1/big/x"; done | wc -c)" \
        "$(timeout 60 nghttp -w 14 -W 16 -m 4 "$to/big/x" | wc -c)"
    said -d "$work/10M" "$to/echo/up" >/dev/null
    matches '10 MB up' "^body-sha256: $(digest <"$work/10M")\$" "$(seen up)"
    said --no-content-length -d "$work/10M" "$to/echo/up2" >/dev/null
    matches '10 MB up, of unknown length' "^body-sha256: $(digest <"$work/10M")\$" "$(seen up2)"
    # A stream that nobody reads for must not stop the others: 1 MB waits behind its window while 50 requests pass.
    matches 'a slow upstream does not hold up other streams' ', 20 succeeded, 0 failed' "$(load -n 20 -c 1 -m 20 "$to/slow/x?0.5")"
}

load() { timeout 60 h2load "$@" 2>&1 | grep -E '^(requests|status codes|finished)' || true; }

many_streams() {
    matches '1,000 streams over one connection' ', 1000 succeeded, 0 failed, 0 errored' "$(load -n 1000 -c 1 -m 100 "$to/file/x")"
    matches '1,000 streams over four' ', 1000 succeeded, 0 failed, 0 errored' "$(load -n 1000 -c 4 -m 32 "$to/echo/x")"
    matches '… all of them 2xx' '1000 2xx' "$(load -n 1000 -c 4 -m 32 "$to/echo/x")"
    matches '1,000 with bodies' ', 1000 succeeded, 0 failed, 0 errored' "$(load -n 1000 -c 4 -m 32 -d "$work/short" "$to/echo/x")"
    matches '100 x 1 MB up' ', 100 succeeded, 0 failed, 0 errored' "$(head -c 1048576 "$work/10M" >"$work/1M"; load -n 100 -c 4 -m 8 -d "$work/1M" "$to/echo/x")"
    matches 'answers without a body' '200 3xx|0 2xx, 200 3xx' "$(load -n 200 -c 2 -m 16 -H 'if-none-match: "v1-abc"' "$to/file/x")"
    matches '1,000 over HTTP/1.1, pipelined' ', 1000 succeeded, 0 failed, 0 errored' "$(load --h1 -n 1000 -c 4 -m 4 "$to/file/x")"
    # More streams than the server allows at once: they wait for their turn.
    matches '2,000 streams, 500 at once' ', 2000 succeeded, 0 failed, 0 errored' "$(load -n 2000 -c 1 -m 500 "$to/echo/x")"
}

early_answers() {
    local kind status answer
    for kind in early early-close; do
        for status in 413+Content+Too+Large 401+Unauthorized; do
            answer="$(frames -d "$work/10M" "$to/$kind/early?$status")"
            matches "$kind ${status%%+*} arrives" ":status: ${status%%+*}" "$answer"
            matches '… with its body' '^enough' "$answer"
            lacks '… and no error' 'recv RST_STREAM frame[^>]*> *\(error_code=(INTERNAL|PROTOCOL|CANCEL)' "$(tr '\n' ' ' <<<"$answer")"
        done
    done
    # The connection goes on: the refused upload takes only its own stream with it.
    frames "$to/early-close/first?413+No" -d "$work/10M" "$to/file/second" >"$work/both"
    lacks 'the connection survives an early answer' 'recv GOAWAY' "$(cat "$work/both")"
}

broken_off() {
    local how answer
    for how in length chunked close; do
        answer="$(frames "$to/break/x?$how" "$to/file/other")"
        matches "an answer that breaks off ($how) resets its stream" 'recv RST_STREAM frame' "$answer"
        check '… and no other' 1 "$(grep -caE 'recv RST_STREAM' <<<"$answer")"
        lacks '… nor the connection' 'recv GOAWAY' "$answer"
    done
}

what_is_refused() {
    matches 'another authority' '^x-soproxy-error: forbidden_origin$' "$(said -H ':authority: evil.example' "$to/file/x")"
    matches 'Origin' '^x-soproxy-error: forbidden_origin$' "$(said -H 'origin: http://evil.example' "$to/file/x")"
    matches 'a dot segment' '^x-soproxy-error: bad_target$' "$(said -H ':path: /Cust12345/api/../x' "$to/file/x")"
    matches 'an unknown tenant' '^x-soproxy-error: unknown_tenant$' "$(said -H ':path: /Nobody/api/v1/x' "$to/file/x")"
    # A head that is too large is answered, or its stream reset; the connection goes on.
    local answer
    answer="$(frames -H "x-long: $(printf 'a%.0s' {1..60000})" "$to/file/x")"
    matches 'a head of 60 KB gets an answer of its own' ':status: (431|200)' "$answer"
    lacks '… and leaves the connection alone' 'recv GOAWAY' "$answer"
}

# SIGTERM: GOAWAY, and what has begun ends well; what comes later is refused.
drain() {
    local draining answer code
    proxy drained
    draining=$started
    timeout 30 nghttp -v "http://127.0.0.1:$port/Cust12345/api/v1/slow/drain?1.5" >"$work/drain" 2>&1 &
    local client=$!
    pids+=("$client")
    until_true grep -qa 'send HEADERS' "$work/drain"
    sleep 0.3
    kill -TERM "$draining"
    wait "$client" || true
    answer="$(cat "$work/drain")"
    matches 'a drain says GOAWAY' 'recv GOAWAY' "$answer"
    matches '… without an error' 'error_code=NO_ERROR' "$(grep -aA2 'recv GOAWAY' <<<"$answer")"
    matches '… and answers what has begun' ':status: 200' "$answer"
    matches '… to its end' '^slow but sure' "$answer"
    code=0
    wait "$draining" || code=$?
    check '… and ends with exit code 0' 0 "$code"
}

# nghttpd as upstream, over TLS, with HTTP/2 by ALPN.
upstream() {
    certificate
    mkdir -p "$work/htdocs/Cust12345/api/v1"
    cp "$work/10M" "$work/short" "$work/htdocs/Cust12345/api/v1"
    local version sum usual="$origin" log="$work/nghttpd.log"
    sum="$(digest <"$work/10M")"
    attempt nghttpd try_nghttpd --echo-upload --trailer 'x-checksum: 7' --max-concurrent-streams=5
    proxy over_tls SOPROXY_SUPEROFFICE__CA_FILE="$work/ca.pem" SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS="localhost:$origin,127.0.0.1:$sandbox" \
        SOPROXY_TENANTS__CUST12345__API_URL="https://localhost:$origin/Cust12345/api"
    to="http://127.0.0.1:$port/Cust12345/api/v1"
    for version in --http1.0 --http1.1 --http2-prior-knowledge; do
        check "10 MB down from HTTP/2 over TLS, ${version#--}" "$sum" "$(curl -sS $version "$to/10M" | digest)"
        check "10 MB up and down again, ${version#--}" "$sum" "$(curl -sS $version -H 'Expect:' --data-binary "@$work/10M" "$to/x" | digest)"
        matches "HEAD, ${version#--}" '^content-length: 12$' "$(curl -sS $version --head "$to/short" | tr -d '\r' | tr '[:upper:]' '[:lower:]')"
        check "404, ${version#--}" 404 "$(curl -sS $version -o /dev/null -w '%{http_code}' "$to/nothing")"
    done
    check '10 MB of unknown length up and down again' "$sum" "$(curl -sS --http1.1 -H 'Expect:' -T - "$to/x" <"$work/10M" | digest)"
    matches 'trailers stay trailers' '^x-checksum: 7$' "$(said -H 'te: trailers' "$to/short")"
    matches '500 requests, though upstream takes 5 streams at once' ', 500 succeeded, 0 failed, 0 errored' "$(load -n 500 -c 10 -m 10 "$to/short")"
    matches 'the authority is upstream'\''s' "^:authority: localhost:$origin\$" "$(heard)"
    matches 'the scheme is https' '^:scheme: https$' "$(heard)"
    matches 'the ticket is there' '^authorization: SOTicket ' "$(heard)"
    curl -sS --http1.1 -o /dev/null -H 'Connection: x-mine, keep-alive' -H 'X-Mine: 1' -H 'Keep-Alive: 5' -H 'TE: gzip' -H 'Upgrade: foo' "$to/short"
    lacks 'nothing that HTTP/2 forbids goes upstream' '^(host|connection|keep-alive|transfer-encoding|upgrade|proxy-connection|x-mine|te: gzip)' "$(heard)"
    # Upstream restarts: the next request opens a connection of its own.
    kill -TERM "$nghttpd"
    wait "$nghttpd" || true
    check 'no upstream' 502 "$(curl -sS -o /dev/null -w '%{http_code}' "$to/short")"
    try_nghttpd_again --early-response --window-bits=14 --connection-window-bits=14
    check '… and it is back' 200 "$(curl -sS -o /dev/null -w '%{http_code}' "$to/short")"
    check 'an upstream with a window of 16 KB' 200 "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Expect:' --data-binary "@$work/10M" "$to/short")"
    check 'an early answer of upstream' 'a short body' "$(curl -sS --http1.1 -H 'Expect:' --limit-rate 2M --data-binary "@$work/10M" "$to/short")"
    origin="$usual"
}

try_nghttpd() {
    origin="$(free_ports 1)"
    try_nghttpd_again "$@"
}

try_nghttpd_again() {
    start nghttpd nghttpd -v --address=127.0.0.1 --htdocs="$work/htdocs" "$@" "$origin" "$work/key.pem" "$work/cert.pem"
    nghttpd=$started
    until_served listens "$origin"
}

# heard: the last request's head as nghttpd saw it.
heard() {
    awk '/recv \(stream_id=[0-9]+\) :method/ { head = "" } sub(/^.*recv \(stream_id=[0-9]+(, sensitive)?\) /, "") { head = head $0 "\n" } END { printf "%s", head }' "$log"
}

main "$@"
