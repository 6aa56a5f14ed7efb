#!/bin/sh
# Cargo takes a source file for changed that is younger than what was built of it, and a fresh checkout has none that
# is older. So the files of another checkout than the last one get the times back that those had which they equal.
#
#   checkout.sh begin    before anything is built in this checkout
#   checkout.sh built    all of it has been built: keeps what was built, and when its files were written
#
# What was built since by cargo alone isn't known, so that then all files count as changed.
set -eu
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:?}
# Whose artifacts the folder holds, and its files as they were built: checksum, time, path.
checkout=$target/checkout
built=$target/built
begun=$target/begun

# Also those that git doesn't know yet.
sources() {
    git ls-files -z --cached --others --exclude-standard
}

files() {
    sources | xargs -0 sha256sum --zero 2>/dev/null | tr '\0' '\n'
}

# What cargo has built of the project after it was kept.
built_since() {
    find "$target" -path '*/.fingerprint/*' -name invoked.timestamp -newer "$built" 2>/dev/null |
        grep -qE '/(instar|kubectl-instar|xtask)[^/]*/invoked.timestamp$'
}

case $1 in
begin)
    mkdir -p "$target"
    if [ "$(cat "$checkout" 2>/dev/null)" = "$PWD" ]; then
        touch "$begun"
        exit 0
    fi
    if [ -e .git ]; then
        sources | xargs -0 touch -c
    else
        find crates webhooks e2e demo benches fuzz -type f -exec touch {} +
    fi
    if [ -e "$built" ] && [ -e .git ] && ! built_since; then
        # A folder's path is part of what these are built to.
        files | awk -v built="$built" '
            BEGIN { while ((getline line < built) > 0) { split(line, was, "\t"); times[was[1] "\t" was[3]] = was[2] } }
            {
                key = substr($0, 1, 64) "\t" substr($0, 67)
                if (key in times) print times[key] "\t" substr($0, 67)
            }' | while IFS="$(printf '\t')" read -r time path; do
            grep -qE 'CARGO_MANIFEST_DIR|assert_[a-z]*_?snapshot!' "$path" || touch -d "@$time" "$path"
        done
    fi
    echo "$PWD" >"$checkout"
    touch "$begun"
    ;;
built)
    # Another checkout may have begun meanwhile, and built what this one takes for its own.
    [ -e .git ] && [ "$(cat "$checkout" 2>/dev/null)" = "$PWD" ] || exit 0
    files | while read -r line; do
        path=${line#*  }
        # What was edited meanwhile may not be what was built.
        [ "$path" -ot "$begun" ] || continue
        printf '%s\t%s\t%s\n' "${line%%  *}" "$(stat -c %.9Y "$path")" "$path"
    done >"$built.new"
    mv "$built.new" "$built"
    ;;
*)
    echo "checkout.sh: no command $1" >&2
    exit 2
    ;;
esac
