#!/usr/bin/env bash
# Builds docker/Dockerfile where no image registry is reachable, and tries the image without a container engine.
#
#     sudo docker/try.sh
#
# The stand-in for the build image is a Debian made by debootstrap, with this machine's Rust toolchain in it; buildah builds
# with chroot isolation and the vfs storage driver, which need no kernel feature but root. Then the image's root file system
# is mounted read-only in a network namespace of its own, which plays the pod of docker/compose.yml: the same commands in
# the same order, by hand. What this cannot show is the default build image: the binary made here is a static glibc one.
#
# Debian's packages come from the mirror this machine uses (or MIRROR=…), crates through this machine's cargo. Everything
# lives in one directory under TMPDIR (about 3 GB) and is gone at the end; the repository is only read.
#
# LTO=fat builds exactly what the Dockerfile builds by default, and takes longer.
set -euo pipefail

readonly SUITE=bookworm LTO="${LTO:-thin}"
# Looked up here, because in the container's environment there may be no PATH to find it by.
chroot="$(command -v chroot)"
readonly BASE=localhost/soproxy-build-base IMAGE=localhost/soproxy:try
repo="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
work='' root='' pod='' status=''
pids=()                              # whatever was started and may still run
declare -A pid=()                    # the same by name
env=() run=() healthcheck=() user='' # what the image's configuration says
command=()                           # see container_command

main() {
    [ "$(id -u)" = 0 ] || fail 'needs root: debootstrap and chroot do'
    need buildah debootstrap cargo rustc curl readelf unshare nsenter ip
    work="$(mktemp -d "${TMPDIR:-/tmp}/soproxy-try.XXXXXX")"
    trap clean_up EXIT
    trap 'exit 130' INT TERM
    mkdir "$work/tmp"
    export TMPDIR="$work/tmp" # buildah's layers in transit

    make_base
    vendor_crates
    build
    describe
    open_pod
    serve
    drain
    say "done in $SECONDS s: everything above held"
}

make_base() {
    local mirror container base sysroot host
    mirror="${MIRROR:-$(mirror_of_this_machine)}"
    say "a stand-in build image: Debian $SUITE and $(rustc --version)"
    container="$(store from scratch)"
    base="$(store mount "$container")"
    debootstrap --variant=minbase "$SUITE" "$base" "$mirror" >"$work/debootstrap.log" 2>&1 \
        || { tail -n 20 "$work/debootstrap.log" >&2; fail 'debootstrap failed'; }
    # The Dockerfile's own apt-get is to reach what this machine's reaches: through the same proxy, if there is one.
    apt-config dump | grep -E '^Acquire::(http|https|Check-)' >"$base/etc/apt/apt.conf.d/90host" || true
    rm -rf "$base"/var/cache/apt/archives/*.deb

    # rustc finds its libraries relative to itself, so the toolchain works wherever it lies; of its 1.4 GB this is what
    # compiles.
    cd "$repo"
    sysroot="$(rustc --print sysroot)"
    host="$(rustc -vV | sed -n 's/^host: //p')"
    [ -x "$sysroot/bin/cargo" ] || fail "no cargo in the toolchain $sysroot"
    mkdir -p "$base"/usr/local/{bin,lib/rustlib}
    cp -a "$sysroot"/bin/{cargo,rustc} "$base/usr/local/bin/"
    cp -a "$sysroot"/lib/*.so* "$base/usr/local/lib/"
    cp -a "$sysroot/lib/rustlib/$host" "$base/usr/local/lib/rustlib/"

    store config --env CARGO_HOME=/usr/local/cargo "$container"
    store commit --quiet --rm "$container" "$BASE" >/dev/null
}

# As a source in a cargo home of its own, which the build sees as a volume: the Dockerfile knows nothing of it.
vendor_crates() {
    say 'the crates of Cargo.lock'
    mkdir "$work/cargo-home"
    # Not --quiet: that would keep the configuration back, too.
    cargo vendor --locked --versioned-dirs "$work/cargo-home/vendor" >"$work/config.toml" 2>"$work/vendor.log" \
        || { tail -n 20 "$work/vendor.log" >&2; fail 'cargo vendor failed'; }
    sed "s|$work/cargo-home|/usr/local/cargo|" "$work/config.toml" >"$work/cargo-home/config.toml"
    printf '\n[net]\noffline = true\n' >>"$work/cargo-home/config.toml"
}

build() {
    say "docker/Dockerfile, LTO $LTO"
    # The docker format, because OCI's has no HEALTHCHECK.
    store build --isolation chroot --format docker --pull-never --file "$repo/docker/Dockerfile" --tag "$IMAGE" \
        --volume "$work/cargo-home:/usr/local/cargo" \
        --build-arg BUILD_IMAGE="$BASE" --build-arg CARGO_PROFILE_RELEASE_LTO="$LTO" --build-arg PGO=0 \
        --build-arg VERSION="$(cargo pkgid | sed 's/.*[#@]//')" \
        --build-arg REVISION="$(git -C "$repo" describe --always --dirty 2>/dev/null || echo unknown)" \
        "$repo" >"$work/build.log" 2>&1 || { tail -n 40 "$work/build.log" >&2; fail 'the build failed'; }
    grep -E '^(STEP|\[)|Finished' "$work/build.log" | cut -c 1-140
}

describe() {
    say 'the image'
    local key value container
    for key in User Entrypoint Cmd Env ExposedPorts StopSignal Healthcheck Labels; do
        value="$(setting "printf \"%+v\" .$key")"
        printf '%-12s %s\n' "$key" "$value"
    done
    mapfile -t env < <(words .Env)
    mapfile -t run < <(words .Entrypoint && words .Cmd)
    mapfile -t healthcheck < <(words .Healthcheck.Test | tail -n +2) # its first word is CMD
    user="$(setting .User)"

    container="$(store from --pull-never "$IMAGE")"
    root="$(store mount "$container")"
    (cd "$root" && find . -type f -printf '%10s %M %U:%G /%P\n')
    printf 'trusted roots: %s\n' "$(grep -c 'BEGIN CERTIFICATE' "$root/etc/ssl/certs/ca-certificates.crt")"
    ldd "$root/soproxy" 2>&1 | grep -Eq 'statically linked|not a dynamic executable' || fail 'soproxy is not static'
    echo 'static: ldd finds nothing to load'
}

# Namespaces in place of an engine's: a network of loopback alone, the image read-only, and what engines add to any image:
# /etc/hosts, /dev (a static glibc binary takes its random numbers from there), and a volume at /etc/soproxy. They end with
# the last process in them, and their mounts too.
open_pod() {
    say 'the pod'
    mkdir "$work/volume"
    # As engines do: a new volume takes its owner from the image's directory.
    chown --reference="$root/etc/soproxy" "$work/volume"
    echo '127.0.0.1 localhost' >"$root/etc/hosts"
    mkdir "$root/dev"
    # shellcheck disable=SC2016 # these are its own $1 to $3
    unshare --net --mount bash -euc '
        ip link set lo up
        mount --bind "$1" "$1"
        mount --bind "$2" "$1/etc/soproxy"
        mount -o remount,bind,ro "$1"
        mount -t tmpfs -o mode=755 tmpfs "$1/dev"
        for device in null zero random urandom; do
            touch "$1/dev/$device"
            mount --bind "/dev/$device" "$1/dev/$device"
        done
        touch "$3"
        exec sleep infinity' pod "$root" "$work/volume" "$work/pod-is-open" &
    pod=$!
    pids+=("$pod")
    wait_for 'the pod' test -e "$work/pod-is-open"
    if in_pod touch "$root/file" 2>"$work/touch.log"; then fail 'the root file system is not read-only'; fi
    echo 'root file system read-only, network loopback only'
}

serve() {
    say 'config: soproxy sandbox --write-config /etc/soproxy'
    in_container "${run[0]}" sandbox --write-config /etc/soproxy
    find "$work/volume" -type f -printf '%m %U:%G %P\n'

    say 'proxy and sandbox; the legacy application is a curl from outside of the root'
    in_background proxy "${run[@]}"
    in_background sandbox "${run[0]}" sandbox --only
    # The proxy was there first, as in the compose file; it tries again a second after its first exchange failed.
    wait_for 'a first answer' answers 200 /Cust12345/api/v1/User/currentPrincipal
    expect 200 /Cust12345/api/v1/User/currentPrincipal
    expect 200 "/Cust12345/api/v1/Contact?\$top=1"
    expect 404 /Cust99999/api/v1/User/currentPrincipal

    say "inside: ${healthcheck[*]}, and an exchange with a host that has to be resolved"
    in_container "${healthcheck[@]}"
    in_container "${run[0]}" healthcheck --ready
    # The sandbox calls itself by address all the same, hence the second variable.
    # shellcheck disable=SC2030,SC2031 # for this command alone
    (env+=(SOPROXY_SUPEROFFICE__LOGIN_URL=http://localhost:8090 SOPROXY_SUPEROFFICE__UPSTREAM_HOSTS=127.0.0.1:8090)
        in_container "${run[0]}" ticket Cust12345) >"$work/ticket" || fail 'no ticket by way of http://localhost:8090'
    echo "a ticket of $(wc -c <"$work/ticket") bytes by way of http://localhost:8090"
}

# SIGTERM is the image's STOPSIGNAL.
drain() {
    say 'stopping'
    local name code
    for name in proxy sandbox; do
        code=0
        kill -TERM "${pid[$name]}"
        wait "${pid[$name]}" || code=$?
        echo "$name: SIGTERM, exit code $code; its log:"
        sed 's/^/    /' "$work/$name.log"
        [ "$code" = 0 ] || fail "$name did not drain"
    done
    if in_container "${healthcheck[@]}" >"$work/healthcheck.log" 2>&1; then
        fail 'the healthcheck is content with a proxy that has ended'
    fi
    echo "healthcheck now: $(cat "$work/healthcheck.log")"
}

in_pod() { nsenter --net="/proc/$pod/ns/net" --mount="/proc/$pod/ns/mnt" -- "$@"; }

# COMMAND…: as the image says, in its root, as its user, with its environment and no other variable.
in_container() {
    container_command "$@"
    "${command[@]}"
}

# NAME COMMAND…: the same in the background. nsenter, env and chroot each turn into the next, so the id is the command's own.
in_background() {
    container_command "${@:2}"
    "${command[@]}" >"$work/$1.log" 2>&1 &
    pid[$1]=$!
    pids+=($!)
}

# shellcheck disable=SC2031 # a subshell may have more in env
container_command() {
    command=(nsenter --net="/proc/$pod/ns/net" --mount="/proc/$pod/ns/mnt" --
        env -i "${env[@]}" "$chroot" --userspec="$user" --groups= "$root" "$@")
}

# STATUS PATH: whether that is the answer to an application in the proxy's pod.
answers() {
    status="$(in_pod curl -s --max-time 10 -o "$work/answer" -w '%{http_code}' "http://127.0.0.1:8080$2")"
    [ "$status" = "$1" ]
}

expect() {
    answers "$@" || { logs >&2; fail "$2 was answered $status instead of $1"; }
    echo "$status $2: $(head -c 110 "$work/answer" | tr '\n' ' ')…"
}

# WHAT COMMAND…: until the command succeeds, for 15 s at most.
wait_for() {
    local what="$1" tries=0
    shift
    until "$@" >"$work/wait.log" 2>&1; do
        tries=$((tries + 1))
        [ "$tries" -lt 75 ] || { logs >&2; fail "waited in vain for $what"; }
        sleep 0.2
    done
}

logs() { tail -n 40 "$work"/{wait,proxy,sandbox}.log; }

# buildah with a storage of its own, so that nothing of this is left on the machine.
store() { buildah --root "$work/storage" --runroot "$work/runroot" --storage-driver vfs "$@"; }

# EXPRESSION: of Go's templates, on the image's configuration.
setting() { store inspect --type image --format "{{with .Docker.Config}}{{$1}}{{end}}" "$IMAGE"; }

# KEY: a list's words, one a line.
words() { setting "range $1}}{{println .}}{{end" | sed '/^$/d'; }

# The archive that apt takes this suite's packages from.
mirror_of_this_machine() {
    local mirror=''
    if command -v apt-get >/dev/null; then
        # shellcheck disable=SC2016 # apt's own $(…)
        mirror="$(apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(ORIGIN) $(REPO_URI)' 'Created-By: Packages' \
            | sed -n "s|^$SUITE main Debian ||p" | head -n 1)"
    fi
    [ -n "$mirror" ] || fail "apt on this machine knows no mirror of Debian $SUITE: say MIRROR=…"
    echo "$mirror"
}

need() {
    local name missing=()
    for name in "$@"; do
        command -v "$name" >/dev/null || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] || fail "missing: ${missing[*]} (Debian: apt-get install buildah debootstrap binutils curl iproute2 util-linux)"
}

clean_up() {
    local code=$? id
    for id in "${pids[@]}"; do
        kill "$id" 2>/dev/null || true
        wait "$id" 2>/dev/null || true
    done
    rm -rf "$work"
    return "$code"
}

say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

fail() {
    echo "try.sh: $1" >&2
    exit 1
}

main "$@"
