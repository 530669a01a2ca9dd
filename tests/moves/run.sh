#!/usr/bin/env bash
# A tenant that moves 20 times and is in maintenance twice during 10,000 mixed requests of 16 callers; and the same once more with
# all links rewritten and SuperOffice's notifications on. Each answer is judged; the numbers are printed.
#
#     tests/moves/run.sh [--soproxy BINARY] [--only known|all]
#
# The callers are tests/it/moving.rs, which cargo builds; REQUESTS, MOVES and OUTAGES in the environment make it another run.
set -euo pipefail
# shellcheck source-path=SCRIPTDIR source=../judge/judge.sh
. "$(dirname "${BASH_SOURCE[0]}")/../judge/judge.sh"

readonly min_interval=200

main() {
    judge "$@"
    need curl curl python3 python3
    command -v cargo >/dev/null || { echo 'needed: cargo' >&2; exit 2; }
    (cd "$repo" && cargo test --quiet --locked --test it --no-run)
    # Without notifications a short validity, so that maintenance is noticed; with them they have to do.
    pass known 500
    pass all 600000
    verdict
}

# pass LINKS VALIDITY: the whole run, milliseconds.
pass() {
    [[ "$1" == *"$only"* ]] || return 0
    links="$1" validity="$2"
    conf="$work/conf-$1"
    attempt "sandbox-$links" try_sandbox
    attempt "proxy-$links" try_proxy
    if drive; then ok "links: $links"; else not_ok "links: $links" "$(grep -E ' (WARN|ERROR) ' "$work/proxy-$links.log" | tail -n 5)"; fi
}

try_sandbox() {
    read -r sandbox one two three < <(free_ports 4)
    places="127.0.0.1:$one,localhost:$two,127.0.0.1:$three"
    rm -rf "$conf"
    "$soproxy" sandbox --address "127.0.0.1:$sandbox" --write-config "$conf" >/dev/null
    start "sandbox-$links" "$soproxy" sandbox --only --address "127.0.0.1:$sandbox" --fault "moved.Cust12345=http://127.0.0.1:$one" \
        --fault "valid_for=${validity}ms"
    until_served listens "$sandbox"
}

try_proxy() {
    read -r port door admin push < <(free_ports 4)
    [ "$links" = all ] || push=off
    cp "$conf/proxy.toml" "$conf/moves.toml"
    printf '\n[[listeners]]\naddress = "127.0.0.1:%s"\ntenant = "Cust12345"\n' "$door" >>"$conf/moves.toml"
    start "proxy-$links" env RUST_BACKTRACE=1 SOPROXY_LISTEN__ADDRESS="127.0.0.1:$port" SOPROXY_ADMIN__ADDRESS="127.0.0.1:$admin" \
        SOPROXY_LISTEN__DEFAULT_TENANT=Cust12345 SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS="$places" SOPROXY_STATE__MIN_INTERVAL="${min_interval}ms" \
        SOPROXY_STATE__PUSH_ADDRESS="$(address "$push")" SOPROXY_UPSTREAM__REWRITE_LINKS="$links" "$soproxy" run --config "$conf/moves.toml"
    until_served curl -fs -o /dev/null "http://127.0.0.1:$admin/readyz"
}

address() { if [ "$1" = off ]; then echo off; else echo "127.0.0.1:$1"; fi; }

drive() {
    local title="rewrite_links = \"$links\", "
    if [ "$push" = off ]; then title+="no notifications, a state is valid for $validity ms"; else title+='SuperOffice notifies'; fi
    (cd "$repo" && env MOVES_TITLE="$title" MOVES_LINKS="$links" MOVES_SANDBOX="$sandbox" MOVES_PROXY="$port" MOVES_DOOR="$door" \
        MOVES_ADMIN="$admin" MOVES_PUSH="$push" MOVES_PLACES="$places" MOVES_VALIDITY="$validity" MOVES_MIN_INTERVAL="$min_interval" \
        MOVES_REQUESTS="${REQUESTS:-10000}" MOVES_MOVES="${MOVES:-20}" MOVES_OUTAGES="${OUTAGES:-2}" RUST_BACKTRACE=0 \
        timeout 300 cargo test --quiet --locked --test it -- --ignored --exact --nocapture moving::the_whole_run) >"$work/numbers" 2>&1 || {
        cat "$work/numbers"
        return 1
    }
    # Without what cargo says of itself.
    sed -n '/^# /,/^answered wrongly/p' "$work/numbers"
}

main "$@"
