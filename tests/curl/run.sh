#!/usr/bin/env bash
# curl as an outside judge: what it gets through soproxy, over HTTP/1.0, HTTP/1.1 and HTTP/2, is held against what it gets from
# the origin directly, and so is what the origin sees.
#
#     tests/curl/run.sh [--soproxy BINARY] [--only GROUP]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
readonly here versions=(1.0 1.1 2) api=/Cust12345/api/v1

main() {
    judge "$@"
    need curl curl python3 python3 nc netcat-openbsd
    start_origin
    backstage
    proxy soproxy
    direct="http://127.0.0.1:$origin" through="http://127.0.0.1:$port"
    proxy limited SOPROXY_LISTEN__MAX_BODY=1MB
    limited="http://127.0.0.1:$port"
    head -c 10485760 /dev/urandom >"$work/10M"
    head -c 4194304 "$work/10M" >"$work/4M"
    sum="$(digest <"$work/10M")"

    group answers
    group statuses
    group requests
    group uploads
    group framing
    group expect_continue
    group early_answers
    group broken_off
    group connections
    group refusals
    group without_curl
    verdict
}

option() { if [ "$1" = 2 ]; then echo --http2-prior-knowledge; else echo "--http$1"; fi; }

# fetch NAME BASE PATH VERSION OPTIONS…: into $work/NAME.{head,body,code,errors}; what -w asks for is printed.
fetch() {
    local name="$work/$1" base="$2" path="$3" version="$4" code=0
    shift 4
    rm -f "$name".*
    curl -sS --path-as-is --globoff --max-time 20 "$(option "$version")" -D "$name.head" -o "$name.body" "$@" "$base$api$path" 2>"$name.errors" || code=$?
    echo "$code" >"$name.code"
    touch "$name.head" "$name.body"
    # With --head curl writes the head there.
    [[ " $* " != *' --head '* ]] || : >"$name.body"
}

lower() { tr '[:upper:]' '[:lower:]'; }

# same NAME PATH OPTIONS…: three times the same answer as the origin's own.
same() {
    local name="$1" path="$2" version
    shift 2
    fetch direct "$direct" "$path" 1.1 "$@"
    for version in "${versions[@]}"; do fetch "$version" "$through" "$path" "$version" "$@"; done
    judge_differences answers "$name"
}

judge_differences() {
    local version
    "$here/compare.py" "$1" "$work" "${versions[@]}"
    for version in "${versions[@]}"; do
        if [ -s "$work/$version.difference" ]; then
            not_ok "$2, HTTP/$version" "$(cat "$work/$version.difference")"
        else
            ok "$2, HTTP/$version"
        fi
    done
}

answers() {
    same 'GET' /file/get
    same 'HEAD' /file/head --head
    same 'HEAD of a chunked answer' /chunked/head --head
    same 'a range' /file/range -r 10-19
    same 'the last bytes' /file/range -r -100
    same 'several ranges' /file/range -r 0-9,100-199,-1
    same 'a range that cannot be had' /file/range -r 200000-
    same 'HEAD of a range' /file/range --head -r 10-19
    same 'If-Range' /file/range -r 10-19 -H 'If-Range: "v1-abc"'
    same 'If-Range of another version' /file/range -r 10-19 -H 'If-Range: "v0"'
    same 'If-None-Match' /file/cond -H 'If-None-Match: "v1-abc"'
    same 'HEAD with If-None-Match' /file/cond --head -H 'If-None-Match: "v1-abc"'
    same 'If-Modified-Since' /file/cond -H 'If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT'
    same 'If-Match that does not' /file/cond -H 'If-Match: "v0"' -X PUT -d x
    same 'a packed body as it is' /packed/gzip -H 'Accept-Encoding: gzip'
    same 'a packed body, unpacked by curl' /packed/gzip --compressed
    same 'no packing without Accept-Encoding' /packed/plain
    same 'chunks and trailers' /chunked/trailers -H 'TE: trailers'
    same 'an answer that ends with its connection' /until-close/x
    same 'an answer of HTTP/1.0' /http10/x
    same '10 MB' /big/x
    same 'names, repetitions and bytes of headers' /headers/x
    same '90 header lines' '/many/x?90'
    same 'a header of 48 KB' '/long/x?48000'
    same 'interim answers before the final one' /interim/x
    fetch through "$through" /no-date/x 1.1
    matches 'an answer without Date gets one, as RFC 9110 6.6.1 wants' '^[Dd]ate: ' "$(cat "$work/through.head")"
}

statuses() {
    local status
    for status in 200+Fine 201+Created 202+Accepted 204+No+Content 205+Reset+Content 299+Whatever 300+Choices 302+Found 304+Not+Modified \
        307+Temporary+Redirect 400+Bad+Request 403+Verboten 404+Not+Found 409+Conflict 412+Precondition+Failed 418+Teapot \
        429+Too+Many+Requests 500+Internal+Server+Error 501+Not+Implemented 503+Service+Unavailable 599+Own 999+Strange; do
        same "status $status" "/status/x?$status"
    done
    same 'a status without a reason' '/status/x?200+'
}

# same_request NAME PATH OPTIONS…: the origin sees the same request, directly and through soproxy.
same_request() {
    local name="$1" path="$2" tag version
    shift 2
    tag="$(cut -d/ -f3 <<<"${path%%\?*}")"
    rm -f "$work"/*.seen
    fetch direct "$direct" "$path" 1.1 "$@"
    note "$tag" direct
    for version in "${versions[@]}"; do
        fetch "$version" "$through" "$path" "$version" "$@"
        note "$tag" "$version"
    done
    judge_differences requests "$name"
}

# What the origin echoed was noted before; what did not come as far is not waited for.
note() { [ ! -f "$work/seen/$1" ] || mv "$work/seen/$1" "$work/$2.seen"; }

requests() {
    local version method lines
    same_request 'a plain GET' /echo/plain
    same_request 'names, repetitions and bytes of headers' /echo/headers -H 'X-MiXed: 1' -H 'x-lower: 2' -H 'X-Multi: b' -H 'X-Multi: a' \
        -H 'X-Empty;' -H $'X-Latin: \xe9' -H $'X-Utf8: \xc3\xa9' -H 'SOAPAction: "x"' -H 'Accept: a' -H 'Accept: b' -H 'Cookie: a=1; b=2'
    same_request 'Range and conditions' /echo/range -r 1-2 -H 'If-None-Match: W/"x", "y"' -H 'If-Modified-Since: yesterday'
    same_request 'a query with whatever clients forget to encode' "/echo/query?\$filter=name%20eq%20'x'&a=b|c&d={e}&f=%2F%00&g=[h]&k=^&l=\\m"
    same_request 'a query in raw UTF-8' $'/echo/utf8?q=\xc3\xa5ngstr\xc3\xb6m'
    same_request 'a path with whatever clients forget to encode' "/echo/path/a//b;c=d/(e)/f%20g/'h'/\$i/j@k/l,m/n!o/p*q/~r/%C3%A5/{s}/t|u"
    same_request 'a URI of 8 KB' "/echo/uri?$(printf 'a%.0s' {1..8000})"
    mapfile -t lines < <(printf -- '-HX-Line-%d:v\n' {1..90})
    same_request '90 header lines' /echo/many "${lines[@]}"
    same_request 'a header of 48 KB' /echo/long -H "X-Long: $(printf 'a%.0s' {1..48000})"
    for method in MERGE PROPFIND PATCH PUT DELETE OPTIONS FROBNICATE merge M-SEARCH; do
        same_request "$method with a body" /echo/method -X "$method" --data-binary 'abc'
    done
    same_request 'GET with a body' /echo/get -X GET -d abc
    same_request 'DELETE without a body' /echo/delete -X DELETE
    for version in "${versions[@]}"; do
        rm -f "$work/seen/te"
        fetch through "$through" /echo/te "$version" -H 'TE: trailers' -H 'Connection: TE'
        matches "TE: trailers goes on, HTTP/$version" '^header: te: trailers$' "$(seen te | lower)"
        fetch through "$through" /echo/none "$version" -X POST
        matches "POST without a body has a length, as IIS wants, HTTP/$version" '^header: content-length: 0$' "$(seen none | lower)"
    done
}

uploads() {
    local version seen
    for version in "${versions[@]}"; do
        fetch through "$through" /echo/post "$version" --data-binary "@$work/10M" -H 'Expect:' -H 'Content-Encoding: gzip'
        seen="$(seen post | lower)"
        matches "10 MB with a length, HTTP/$version" "^body-sha256: $sum\$" "$seen"
        matches "… have it upstream, too, HTTP/$version" '^header: content-length: 10485760$' "$seen"
        matches "… and their Content-Encoding, HTTP/$version" '^header: content-encoding: gzip$' "$seen"
        rm -f "$work"/seen/{post,half}
        # A caller that goes away half-way: upstream must not take the half for the whole.
        fetch through "$through" /echo/half "$version" -T "$work/10M" -H 'Expect:' --limit-rate 1M --max-time 1
        matches "an upload that breaks off, breaks off upstream, HTTP/$version" '^body-ended: no$' "$(seen half)"
    done
    for version in 1.1 2; do # HTTP/1.0 has no bodies of unknown length
        fetch through "$through" /echo/pipe "$version" -T - -H 'Expect:' <"$work/10M"
        seen="$(seen pipe | lower)"
        matches "10 MB without a length, HTTP/$version" "^body-sha256: $sum\$" "$seen"
        matches "… are chunked upstream, HTTP/$version" '^header: transfer-encoding: chunked$' "$seen"
        lacks "… and have no length, HTTP/$version" '^header: content-length' "$seen"
        rm -f "$work/seen/pipe"
    done
}

framing() {
    local version status head whole
    whole="$(curl -sS "$direct$api/chunked/x" | digest)"
    head="$(curl -sS --http1.1 -D - -o /dev/null "$through$api/chunked/x" | lower)"
    matches 'chunks stay chunks, HTTP/1.1' '^transfer-encoding: chunked' "$head"
    lacks '… and have no length besides' '^content-length' "$head"
    curl -sS --http1.1 --raw -o "$work/raw" "$through$api/chunked/raw"
    check '… and are well-formed' "$whole" "$(unchunk <"$work/raw" | digest)"
    curl -sS --http1.0 -D "$work/head" -o "$work/body" "$through$api/chunked/x"
    lacks 'HTTP/1.0 gets no chunks' '^transfer-encoding' "$(lower <"$work/head")"
    check '… but the whole body' "$whole" "$(digest <"$work/body")"
    for status in 204+No+Content 304+Not+Modified; do
        head="$(curl -sS --http1.1 -D - "$through$api/status/x?$status" | lower)"
        lacks "${status%%+*} has no framing" '^(transfer-encoding|content-length)' "$head"
    done
    for version in "${versions[@]}"; do
        head="$(curl -sS "$(option "$version")" -D - -o /dev/null "$through$api/file/x" | lower)"
        matches "Via names us, HTTP/$version" '^via: 1\.1 soproxy' "$head"
        matches "X-Request-Id is there, HTTP/$version" '^x-request-id: ' "$head"
        check "Date is there once, HTTP/$version" 1 "$(grep -c '^date:' <<<"$head")"
    done
    check 'what upstream has said arrives before it says more' first "$(timeout 5 curl -sSN "$through$api/drip/x" 2>/dev/null | head -n 1 || true)"
}

unchunk() {
    python3 -c '
import sys
data, out = sys.stdin.buffer, sys.stdout.buffer
while size := int(data.readline().split(b";")[0], 16):
    out.write(data.read(size))
    assert data.read(2) == b"\r\n"'
}

# Over HTTP/2 curl does not wait for 100 Continue; nghttp judges that.
expect_continue() {
    local trace
    trace="$(expecting /echo/continue)"
    matches '100 Continue is said' 'HTTP/1.1 100' "$trace"
    matches '… and the body comes' "^body-sha256: $sum\$" "$(seen continue)"
    trace="$(expecting /refuse/refuse)"
    matches 'a refusal instead of 100 Continue arrives' 'HTTP/1.1 413' "$trace"
    lacks '… without a 100 Continue before it' 'HTTP/1.1 100' "$trace"
    lacks '… and no body was sent' '^=> Send data' "$trace"
    matches '… and upstream had seen the expectation' '^header: had-expect: 100-continue' "$(seen refuse | lower)"
    # RFC 9110 10.1.1 forbids it.
    lacks 'HTTP/1.0 is not told to continue' '^HTTP/1.. 100' \
        "$(printf 'POST %s/echo/x HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc' $api | timeout 5 nc -N 127.0.0.1 "$port")"
}

expecting() {
    curl -sS --http1.1 --expect100-timeout 8 --max-time 20 --trace-ascii - -o "$work/body" -H 'Expect: 100-continue' -T "$work/10M" "$through$api$1" || true
}

early_answers() {
    local version status kind took
    for version in 1.0 1.1; do # curl 7.88 takes the RST_STREAM that ends its upload for an error; nghttp judges that
        for kind in early early-close; do
            for status in '413+Content+Too+Large' '401+Unauthorized'; do
                # 4 MB at 1 MB/s: an answer that waits for the upload's end comes after 4 s.
                took="$(fetch through "$through" "/$kind/early?$status" "$version" -T "$work/4M" --limit-rate 1M -H 'Expect:' -w '%{http_code} %{time_starttransfer}')"
                check "$kind ${status%%+*} arrives, HTTP/$version" "${status%%+*}" "${took% *}"
                check "… while the body still flows (after ${took#* } s), HTTP/$version" yes "$(awk -v t="${took#* }" 'BEGIN { print t < 3 ? "yes" : "no" }')"
                check "… with its body, HTTP/$version" enough "$(cat "$work/through.body")"
            done
        done
    done
    # Blocking clients do not read while they send: their bytes have to be taken, or a reset overtakes the answer.
    for version in 1.0 1.1; do
        check "early 413 for a client that first sends 10 MB, HTTP/$version" '413' "$(blind "${through##*:}" '/early/x?413+No' "$version")"
        check "… and upstream closes, HTTP/$version" '413' "$(blind "${through##*:}" '/early-close/x?413+No' "$version")"
        check "… and of soproxy's own, HTTP/$version" '413' "$(blind "${limited##*:}" '/echo/x' "$version")"
    done
    # What was left of the body would be read as a request.
    rm -f "$work"/seen/early*
    fetch through "$through" '/early/early1?413+No' 1.1 -T "$work/10M" -H 'Expect:'
    fetch through "$through" /echo/early2 1.1
    local first
    first="$(seen early1 | grep -oE '^connection: [0-9]+')"
    lacks 'the upstream connection of an early answer is not used again' "^$first " "$(seen early2)"
    fetch through "$through" '/early/early3?413+No' 1.1 --data-binary abc
    matches 'an answer whose request was all there is no early one' '^HTTP/1.1 413' "$(head -n 1 "$work/through.head")"
}

# blind PORT PATH VERSION: sends 10 MB whatever comes, then reads: the status, or what went wrong.
blind() {
    timeout 20 python3 - "$1" "PUT $api$2 HTTP/$3" <<'PY'
import socket, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
peer.sendall(sys.argv[2].encode() + b"\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n")
try:
    for _ in range(160):
        peer.sendall(b"x" * 65536)
    print(peer.recv(65536).decode().split(" ")[1])
except OSError as error:
    print(error)
PY
}

broken_off() {
    same 'an answer with a length that breaks off' '/break/x?length'
    same 'a chunked answer that breaks off' '/break/x?chunked'
    same 'an answer until close that is reset' '/break/x?close'
}

# connects OPTIONS…: whether a connection was made, for each of three requests.
connects() { curl -sS "$@" -o /dev/null -o /dev/null -o /dev/null -w '%{num_connects}' "$through$api/file/"{a,b,c}; }

connections() {
    local version
    check 'HTTP/1.1 connections are kept' 100 "$(connects --http1.1)"
    check '… after 304, too' 100 "$(connects --http1.1 -H 'If-None-Match: "v1-abc"')"
    check '… and after HEAD' 100 "$(connects --http1.1 --head)"
    check 'HTTP/1.0 connections are kept when asked for' 100 "$(connects --http1.0 -H 'Connection: keep-alive')"
    matches 'Connection: close is answered so' '^connection: close' "$(curl -sS --http1.1 -H 'Connection: close' -D - -o /dev/null "$through$api/file/a" | lower)"
    local urls=()
    for _ in {1..40}; do urls+=(-o /dev/null "$through$api/file/x"); done
    check '40 at once' '40 200' "$(curl -sS --parallel --parallel-max 20 --http1.1 -w '%{http_code}\n' "${urls[@]}" | sort | uniq -c | xargs)"
    matches 'an offer to upgrade to h2c is passed over' '^HTTP/1.1 200' "$(curl -sS --http2 -D - -o /dev/null "$through$api/file/x")"
    matches 'absolute-form that names us is carried' '^HTTP/1.1 200' "$(curl -sS -x "$through" -D - -o /dev/null "$through$api/file/x")"
    for version in "${versions[@]}"; do
        # curl's FIN alone might be a half-close: it is the failed write that tells.
        rm -f "$work/seen/gone"
        fetch through "$through" /drip/gone "$version" --max-time 1
        matches "a caller that goes away cancels upstream, HTTP/$version" 'cancelled: yes' "$(seen gone)"
    done
    rm -f "$work/seen/gone"
    reset_after_the_first_line
    matches "a caller's reset does so at once, though upstream is silent" 'cancelled: yes' "$(seen gone)"
}

reset_after_the_first_line() {
    python3 - "${through##*:}" "$api" <<'PY'
import socket, struct, sys
peer = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10)
peer.sendall(f"GET {sys.argv[2]}/drip/gone?silent HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
got = b""
while b"first" not in got:
    got += peer.recv(1000)
peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
peer.close()
PY
}

# refused NAME CODE: what fetch saw is that refusal.
refused() {
    local head
    head="$(lower <"$work/through.head" | tr -d '\r')"
    check "$1" "$2" "$(sed -nE 's/^http.* ([2-9][0-9]{2}).*/\1/p' <<<"$head") $(sed -n 's/^x-soproxy-error: //p' <<<"$head")"
}

refusals() {
    local version path
    for version in "${versions[@]}"; do
        for path in /../x /./x /a/%2e%2e/b /a%2fb /a%5cb '/a\b' /%00 /%c0%ae/; do
            fetch through "$through" "$path" "$version"
            refused "$path is refused, HTTP/$version" '400 bad_target'
        done
        fetch through "$through" /x "$version" -H 'Host: evil.example'
        refused "another Host is refused, HTTP/$version" '403 forbidden_origin'
        fetch through "$through" /x "$version" -H 'Origin: http://evil.example'
        refused "Origin is refused, HTTP/$version" '403 forbidden_origin'
        fetch through "$through" /x "$version" -X TRACE
        refused "TRACE is refused, HTTP/$version" '405 method_not_allowed'
        fetch through "$through/Nobody" /x "$version"
        refused "an unknown tenant is refused, HTTP/$version" '404 unknown_tenant'
    done
    for version in 1.0 1.1; do # curl 7.88 gives up too early over HTTP/2, as above
        fetch through "$limited" /echo/large "$version" -T "$work/4M" --limit-rate 2M -H 'Expect:'
        refused "4 MB with a length are too large, HTTP/$version" '413 body_too_large'
    done
    fetch through "$limited" /echo/large 1.1 -T - --limit-rate 2M -H 'Expect:' <"$work/4M"
    refused '4 MB without a length are too large, HTTP/1.1' '413 body_too_large'
}

# raw TEXT: the bytes of a request as they are, with the caller's FIN right behind them.
raw() { printf '%b' "$1" | timeout 10 nc -N 127.0.0.1 "${through##*:}" | tr -d '\r\0'; }

without_curl() {
    local answer get="GET $api" host='HTTP/1.1\r\nHost: localhost\r\n' framing
    matches 'HTTP/1.0 without Host, and FIN behind the request' '^HTTP/1\.[01] 200 OK' "$(raw "$get/headers/x HTTP/1.0\r\n\r\n")"
    answer="$(exec 3<>"/dev/tcp/127.0.0.1/${through##*:}"; printf '%s/headers/x HTTP/1.0\r\n\r\n' "$get" >&3; timeout 5 cat <&3 | tr -d '\0')"
    matches 'HTTP/1.0 without keep-alive: the answer ends with the connection' '^ok' "$answer"
    matches 'POST over HTTP/1.0' '^body-length: 3' "$(raw "POST $api/echo/x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc")"
    matches 'FIN is a half-close: a slow answer still arrives' '^slow but sure' "$(raw "$get/slow/x?1 $host\r\n")"
    matches '… over HTTP/1.0, too' '^slow but sure' "$(raw "$get/slow/x?1 HTTP/1.0\r\n\r\n")"
    answer="$(raw "$get/echo/p1 $host\r\nPOST $api/echo/p2 ${host}Content-Length: 3\r\n\r\nabc$get/echo/p3 $host\r\n")"
    check 'pipelined requests are answered in order' 'p1 p2 p3' "$(sed -nE 's,^(GET|POST) .*/(p.) .*,\2,p' <<<"$answer" | xargs)"
    matches 'lines that end in LF alone' '^HTTP/1\.1 200' "$(raw "$get/echo/x HTTP/1.1\nHost: localhost\n\n")"
    matches 'an empty line before the request' '^HTTP/1\.1 200' "$(raw "\r\n$get/echo/x $host\r\n")"
    # What a server must not guess about: no second request may come of it.
    for framing in 'Content-Length: 3\r\nContent-Length: 4' 'Content-Length: 3\r\nTransfer-Encoding: chunked' 'Transfer-Encoding: gzip' \
        'Content-Length: +3' 'Content-Length: 3, 4' 'Transfer-Encoding: chunked, identity'; do
        rm -f "$work/seen/smuggled"
        raw "POST $api/echo/x $host$framing\r\n\r\n0\r\n\r\n$get/echo/smuggled $host\r\n" >/dev/null
        check "${framing//\\r\\n/ and } smuggles nothing" '' "$(cat "$work/seen/smuggled" 2>/dev/null || true)"
    done
}

main "$@"
