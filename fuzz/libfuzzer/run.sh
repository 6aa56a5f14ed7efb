#!/bin/sh
# run.sh SECONDS TARGET...: builds the programs with libFuzzer's instrumentation and runs each for that
# long, from the seeds and from what earlier runs found. Fails where one crashes, hangs or grows.
#
# The flags are all that cargo-fuzz would add, and a stable compiler takes them. They are given for a
# target and not for the host, so that build scripts and macros stay as they are.
set -eu
seconds=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
kept=${INSTAR_CACHE:?}/fuzz

command -v c++ >/dev/null || {
    echo "fuzz: no \`c++\` in PATH (libFuzzer is built with it): apt-get install g++" >&2
    exit 1
}

host=$(cd "$here" && rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module"
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage="$coverage -Cllvm-args=-sanitizer-coverage-$option"
done
(cd "$here" && CARGO_TARGET_DIR=$kept/target RUSTFLAGS=$coverage cargo build --quiet --target "$host")

failed=0
for target in "$@"; do
    corpus=$kept/corpus/$target crashes=$kept/crashes/$target log=$kept/$target.log
    mkdir -p "$corpus" "$crashes"
    # Only what this run finds counts.
    before=$(find "$crashes" -type f | wc -l)
    dictionary=$here/$target.dict
    [ -f "$dictionary" ] && dictionary=-dict=$dictionary || dictionary=
    code=0
    "$kept/target/$host/debug/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=1024 -max_len=65536 \
        -print_final_stats=1 -artifact_prefix="$crashes/" $dictionary \
        "$corpus" "$here/../seeds/$target" >"$log" 2>&1 || code=$?
    found=$(($(find "$crashes" -type f | wc -l) - before))
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    took=$(sed -n 's/^Done .* runs in \([0-9]*\) second.*/\1/p' "$log")
    if [ "$code" -ne 0 ] || [ "$found" -ne 0 ] || [ -z "$runs" ]; then
        tail -n 40 "$log" >&2
        echo "fuzz: $target failed (exit $code); what it was given is in $crashes, the whole log is $log" >&2
        [ "$found" -ne 0 ] || found=1
        failed=1
    fi
    echo "fuzz target=$target runs=${runs:-?} seconds=${took:-?} crashes=$found"
done
exit $failed
