#!/bin/sh
# What must be there before the first line of Rust can be built. Each failure is one line that
# says what to do; what comes later is checked by `mgmt` itself (src/prerequisites.rs).
set -eu
cd "$(dirname "$0")/.."

cache=${INSTAR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/instar}
rust=1.95
go=1.26
disk=12

fail() {
    echo "prerequisites: $*" >&2
    exit 1
}

# newer FOUND WANTED: compares MAJOR.MINOR of two versions.
newer() {
    found_major=${1%%.*} found_minor=${1#*.} wanted_major=${2%%.*} wanted_minor=${2#*.}
    found_minor=${found_minor%%[!0-9]*}
    [ "$found_major" -gt "$wanted_major" ] ||
        { [ "$found_major" -eq "$wanted_major" ] && [ "$found_minor" -ge "$wanted_minor" ]; }
}

[ "$(uname -s)" = Linux ] || fail "this is $(uname -s): the management cluster needs Linux, a virtual machine will do"

command -v cargo >/dev/null || fail "no \`cargo\` in PATH: install Rust $rust or newer (https://rustup.rs)"
# Where rustup is, this fetches the toolchain that rust-toolchain.toml pins.
found=$(rustc --version) || fail "rustc does not start: \`rustup toolchain install\` in this directory fetches the pinned toolchain"
found=$(echo "$found" | cut -d' ' -f2)
newer "$found" "$rust" || fail "Rust $found is too old: install $rust or newer (https://rustup.rs)"

command -v go >/dev/null || fail "no \`go\` in PATH: install Go $go or newer (https://go.dev/dl/)"
found=$(GOTOOLCHAIN=local go env GOVERSION) || fail "go does not start: install Go $go or newer (https://go.dev/dl/)"
newer "${found#go}" "$go" || fail "Go ${found#go} is too old: install $go or newer (https://go.dev/dl/)"

command -v git >/dev/null || fail "no \`git\` in PATH: apt-get install git"
command -v cc >/dev/null || fail "no \`cc\` in PATH (Rust links with it): apt-get install gcc libc6-dev"

mkdir -p "$cache" || fail "cannot make $cache: set INSTAR_CACHE to a writable directory"
# Only a first build takes much room.
if [ ! -d "$cache/bin" ]; then
    free=$(df -Pk "$cache" | awk 'NR == 2 { print int($4 / 1048576) }')
    [ "$free" -ge "$disk" ] ||
        fail "only $free GiB are free at $cache, and a first build takes up to $disk GiB: free some, or set INSTAR_CACHE to a directory on a larger disk"
fi
