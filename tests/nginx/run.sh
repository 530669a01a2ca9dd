#!/usr/bin/env bash
# nginx as an outside judge: an upstream that limits, refuses, hangs up and reloads as servers do, over HTTP/2 and HTTP/1.1.
#
#     tests/nginx/run.sh [--soproxy BINARY] [--only GROUP]
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

readonly api=/Cust12345/api/v1

main() {
    judge "$@"
    need curl curl python3 python3 openssl openssl nginx nginx-light h2load nghttp2-client
    certificate
    mkdir -p "$work/html$api"
    head -c 10485760 /dev/urandom >"$work/10M"
    head -c 262144 "$work/10M" >"$work/small"
    printf 'a short body' >"$work/short"
    seq 20000 >"$work/html$api/numbers.txt"
    attempt nginx try_nginx
    backstage
    local tls=(SOPROXY_SUPEROFFICE__CA_FILE="$work/ca.pem" SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS="localhost:$origin,127.0.0.1:$sandbox"
        SOPROXY_TENANTS__CUST12345__API_URL="https://localhost:$origin/Cust12345/api")
    proxy http2 "${tls[@]}"
    over_http2="http://127.0.0.1:$port$api"
    proxy http1 "${tls[@]}" SOPROXY_UPSTREAM__HTTP2=never
    over_http1="http://127.0.0.1:$port$api"

    group files
    group refusals
    group hanging_up
    group reloading
    verdict
}

try_nginx() {
    origin="$(free_ports 1)"
    local user=''
    [ "$(id -u)" != 0 ] || user='user root;' # who alone may read the directory
    cat >"$work/nginx.conf" <<CONF
$user
daemon off;
worker_processes 1;
pid $work/nginx.pid;
error_log $work/nginx-error.log;
events { worker_connections 1000; }
http {
    access_log off;
    client_body_temp_path $work/client_body;
    proxy_temp_path $work/proxy;
    fastcgi_temp_path $work/fastcgi;
    uwsgi_temp_path $work/uwsgi;
    scgi_temp_path $work/scgi;
    # Connections end early and often, and HTTP/2 ones take few streams.
    keepalive_requests 50;
    http2_max_concurrent_streams 5;
    gzip on;
    gzip_types text/plain;
    gzip_proxied any; # it looks for Via, and packs nothing for proxies by default
    server {
        listen 127.0.0.1:$origin ssl http2;
        ssl_certificate $work/cert.pem;
        ssl_certificate_key $work/key.pem;
        root $work/html;
        client_max_body_size 1m;
        location $api/version { return 200 "\$server_protocol\n"; }
        # Reads the body before it answers.
        location $api/read { proxy_pass https://127.0.0.1:$origin$api/version; }
    }
}
CONF
    start nginx nginx -c "$work/nginx.conf" -e "$work/nginx-error.log"
    nginx=$started
    until_served listens "$origin"
}

# said URL OPTIONS…: the answer's head in lower case, then a number that identifies its body.
said() {
    local url="$1"
    shift
    curl -sS -D - -o "$work/body" "$@" "$url" | tr -d '\r' | tr '[:upper:]' '[:lower:]'
    digest <"$work/body"
}

files() {
    local to name
    check 'HTTP/2 by ALPN' 'HTTP/2.0' "$(curl -sS "$over_http2/version")"
    check 'HTTP/1.1 when told so' 'HTTP/1.1' "$(curl -sS "$over_http1/version")"
    for to in "$over_http2" "$over_http1"; do
        name="$(curl -sS "$to/version")"
        check "a file, $name" "$(digest <"$work/html$api/numbers.txt")" "$(curl -sS "$to/numbers.txt" | digest)"
        check "… packed, $name" "$(digest <"$work/html$api/numbers.txt")" "$(curl -sS --compressed "$to/numbers.txt" | digest)"
        matches "… its Content-Encoding, $name" '^content-encoding: gzip$' "$(said "$to/numbers.txt" -H 'Accept-Encoding: gzip')"
        matches "a range, $name" '^content-range: bytes 5-9/' "$(said "$to/numbers.txt" -r 5-9)"
        local etag
        etag="$(said "$to/numbers.txt" | sed -n 's/^etag: //p')"
        matches "a condition, $name" '^http/1.1 304' "$(said "$to/numbers.txt" -H "If-None-Match: $etag")"
        matches "HEAD, $name" '^content-length: 108894$' "$(said "$to/numbers.txt" --head)"
        check "an upload, $name" 200 "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Expect:' --data-binary "@$work/small" "$to/read")"
    done
}

# The body is larger than nginx takes, and flows while nginx says so.
refusals() {
    local to name
    for to in "$over_http2" "$over_http1"; do
        name="$(curl -sS "$to/version")"
        check "413 with Expect: 100-continue, $name" 413 "$(curl -sS -o /dev/null -w '%{http_code}' -H 'Expect: 100-continue' --data-binary "@$work/10M" "$to/read")"
        check "413 for a client that first sends it all, $name" 413 "$(blind "$to/read")"
        check "and then all is well, $name" 200 "$(curl -sS -o /dev/null -w '%{http_code}' "$to/version")"
    done
}

# blind URL: sends 10 MB whatever comes, then reads: the status, or what went wrong.
blind() {
    timeout 20 python3 - "$1" <<'PY'
import socket, sys, urllib.parse
url = urllib.parse.urlsplit(sys.argv[1])
peer = socket.create_connection((url.hostname, url.port))
peer.sendall(f"POST {url.path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10485760\r\n\r\n".encode())
try:
    for _ in range(160):
        peer.sendall(b"x" * 65536)
    print(peer.recv(65536).decode().split(" ")[1])
except OSError as error:
    print(error)
PY
}

load() { timeout 60 h2load "$@" 2>&1 | grep -E '^(requests|status codes)' || true; }

# Every connection ends after 50 requests: HTTP/1.1 ones with Connection: close, HTTP/2 ones with GOAWAY.
hanging_up() {
    local to name
    for to in "$over_http2" "$over_http1"; do
        name="$(curl -sS "$to/version")"
        matches "3,000 requests over HTTP/2, $name" '^status codes: 3000 2xx' "$(load -n 3000 -c 10 -m 10 "$to/version")"
        matches "3,000 requests over HTTP/1.1, $name" '^status codes: 3000 2xx' "$(load --h1 -n 3000 -c 20 "$to/version")"
        matches "1,000 with a body, $name" '^status codes: 1000 2xx' "$(load --h1 -n 1000 -c 20 -d "$work/short" "$to/read")"
    done
}

# Old workers say GOAWAY, and end what has begun. (Over HTTP/1.1 they close idle connections at once, and a request that is on its
# way then is lost with or without soproxy.)
reloading() {
    load --h1 -n 4000 -c 8 "$over_http2/version" >"$work/load" &
    local load=$! _
    for _ in 1 2 3; do
        sleep 0.1
        kill -HUP "$nginx"
    done
    wait "$load"
    matches 'nginx reloads three times under load, HTTP/2.0' '^status codes: 4000 2xx' "$(cat "$work/load")"
}

main "$@"
