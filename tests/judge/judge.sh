# shellcheck shell=bash
# What the outside judges share: a sandbox (the login service), an origin of their own, soproxy between; ok and not ok.
# Sourced. Everything is loopback, lives in one temporary directory, and ends with the script.

repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
soproxy="$repo/target/release/soproxy"
cache="${SOPROXY_JUDGES:-${XDG_CACHE_HOME:-$HOME/.cache}/soproxy-judges}" # what comes from registries
export LC_ALL=C # bytes are bytes
work=''
pids=()
passed=0 failed=0
only=''

# judge "$@": the arguments that every judge takes.
judge() {
    while [ $# -gt 0 ]; do
        case "$1" in
            --soproxy) soproxy="$(realpath "$2")"; shift 2 ;;
            --only) only="$2"; shift 2 ;;
            *) echo "usage: ${0##*/} [--soproxy BINARY] [--only PART-OF-A-NAME]" >&2; exit 2 ;;
        esac
    done
    [ -x "$soproxy" ] || { echo "no $soproxy: cargo build --release, or --soproxy BINARY" >&2; exit 2; }
    work="$(mktemp -d)"
    trap clean_up EXIT
    trap 'exit 130' INT TERM
}

clean_up() {
    local pid
    for pid in "${pids[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    [ -z "${JUDGE_LOGS:-}" ] || cp "$work"/*.log "$JUDGE_LOGS" # to look at afterwards
    [ -z "$work" ] || rm -rf "$work"
}

# need TOOL PACKAGE …: says what to install, all at once.
need() {
    local missing=()
    while [ $# -gt 0 ]; do
        command -v "$1" >/dev/null || missing+=("$2")
        shift 2
    done
    [ ${#missing[@]} -eq 0 ] || { echo "needed from Debian: ${missing[*]}" >&2; exit 2; }
}

# free_ports N: that many ports, all different, and none that the system gives to outgoing connections.
free_ports() {
    python3 -c '
import random, socket, sys
held = {}
while len(held) < int(sys.argv[1]):
    one, port = socket.socket(), random.randrange(20000, 32000)
    try: one.bind(("127.0.0.1", port))
    except OSError: continue
    held[port] = one
print(*held)' "$1"
}

# package NAME VERSION SHA256: an npm package's directory, kept outside the repository.
package() {
    local dir="$cache/$1-$2"
    if [ ! -d "$dir/package" ]; then
        mkdir -p "$dir"
        (cd "$dir" && npm pack --silent "$1@$2" >/dev/null)
        sha256sum --quiet -c - <<<"$3  $dir/$1-$2.tgz" >&2
        tar -xzf "$dir/$1-$2.tgz" -C "$dir"
    fi
    echo "$dir/package"
}

# start NAME COMMAND…: in the background, its output in $work/NAME.log, its pid in $started.
start() {
    local name="$1"
    shift
    "$@" >"$work/$name.log" 2>&1 &
    started=$!
    pids+=("$started")
}

# until_true COMMAND…: tries for $patience tenths of a second.
patience=100
until_true() {
    local _
    for _ in $(seq $((patience * 2))); do
        "$@" && return
        sleep 0.05
    done
    return 1
}

listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# attempt NAME FUNCTION…: runs a function that starts NAME, three times if need be: ports that were free may be taken since.
attempt() {
    local name="$1" _
    shift
    for _ in 1 2 3; do
        "$@" && return
        grep -qi 'address already in use' "$work/$name.log" || break
    done
    cat "$work/$name.log" >&2
    exit 1
}

# start_origin: the judges' own; $origin is its port, and $work/seen/TAG what it saw.
start_origin() {
    mkdir -p "$work/seen"
    attempt origin try_origin
}

try_origin() {
    origin="$(free_ports 1)"
    start origin python3 "$repo/tests/judge/origin.py" "$origin" "$work/seen"
    until_served listens "$origin"
}

# seen TAG: the request with this tag, as the origin noted it.
seen() { patience=30 until_true [ -f "$work/seen/$1" ] && cat "$work/seen/$1"; }

digest() { sha256sum | cut -d' ' -f1; }

# backstage: the login service; $sandbox is its port.
backstage() { attempt sandbox try_sandbox; }

try_sandbox() {
    sandbox="$(free_ports 1)"
    "$soproxy" sandbox --address "127.0.0.1:$sandbox" --write-config "$work/conf" >/dev/null
    start sandbox "$soproxy" sandbox --only --address "127.0.0.1:$sandbox"
    until_served listens "$sandbox"
}

# proxy NAME [SETTING=VALUE…]: one soproxy; its port in $port, its pid in $started. Cust12345's calls go to $origin.
proxy() { attempt "$1" try_proxy "$@"; }

try_proxy() {
    local name="$1" admin
    shift
    read -r port admin < <(free_ports 2)
    start "$name" env RUST_BACKTRACE=1 SOPROXY_LISTEN__ADDRESS="127.0.0.1:$port" SOPROXY_ADMIN__ADDRESS="127.0.0.1:$admin" \
        SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS="127.0.0.1:$origin,127.0.0.1:$sandbox" \
        SOPROXY_TENANTS__CUST12345__API_URL="http://127.0.0.1:$origin/Cust12345/api" "$@" \
        "$soproxy" run --config "$work/conf/proxy.toml"
    until_served curl -fs -o /dev/null "http://127.0.0.1:$admin/readyz"
}

# until_served COMMAND…: until it succeeds, or what was started last has ended.
until_served() {
    local _
    for _ in $(seq 200); do
        kill -0 "$started" 2>/dev/null || return 1
        "$@" && return
        sleep 0.05
    done
    return 1
}

# certificate: $work/cert.pem and key.pem for localhost, of the authority $work/ca.pem.
certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj '/CN=a judge' -keyout "$work/ca.key" -out "$work/ca.pem" 2>/dev/null
    openssl req -newkey rsa:2048 -nodes -subj '/CN=localhost' -keyout "$work/key.pem" -out "$work/request.pem" 2>/dev/null
    openssl x509 -req -in "$work/request.pem" -CA "$work/ca.pem" -CAkey "$work/ca.key" -CAcreateserial -days 2 \
        -extfile <(echo 'subjectAltName=DNS:localhost') -out "$work/cert.pem" 2>/dev/null
}

# check NAME EXPECTED SEEN: the two are the same.
check() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1" "expected: $2" "seen:     $3"; fi
}

# matches NAME PATTERN SEEN: SEEN has a line that matches the extended regular expression.
matches() {
    if grep -qE -- "$2" <<<"$3"; then ok "$1"; else not_ok "$1" "no line matches: $2" "seen: $3"; fi
}

# lacks NAME PATTERN SEEN: the opposite.
lacks() {
    if grep -qE -- "$2" <<<"$3"; then not_ok "$1" "a line matches: $2" "seen: $3"; else ok "$1"; fi
}

ok() {
    passed=$((passed + 1))
    printf 'ok - %s\n' "$1"
}

not_ok() {
    failed=$((failed + 1))
    printf 'not ok - %s\n' "$1"
    shift
    # Long answers are cut: what matters stands at their beginning.
    printf '%s\n' "$@" | tr -d '\r' | awk 'NF && ++n <= 40 { print "    " substr($0, 1, 300) }'
}

# group FUNCTION: runs a group of checks, unless --only asks for others.
group() {
    [[ "$1" == *"$only"* ]] || return 0
    printf '# %s\n' "${1//_/ }"
    "$1"
}

verdict() {
    printf '# %d ok, %d not ok\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}
