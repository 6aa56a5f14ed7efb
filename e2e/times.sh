#!/bin/sh
# How long each step of `make test` takes, and which failed. Kept in `results` in the cache, where each
# program of journeys writes how long its journeys took.
#
#   times.sh begin              forgets the last run
#   times.sh run STEP COMMAND   runs a command as a step
#   times.sh beside STEP COMMAND
#                               the same beside others: each line begins with the last word of the step
#   times.sh end                all steps have run: shows where the time went
set -eu

results=${INSTAR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/instar}/results
tab=$(printf '\t')

case $1 in
begin)
    rm -rf "$results"
    mkdir -p "$results"
    date +%s >"$results/began"
    ;;
run)
    step=$2
    shift 2
    echo "==> $step"
    began=$(date +%s) status=0
    "$@" || status=$?
    printf '%s\t%s\t%s\n' "$status" "$(($(date +%s) - began))" "$step" >>"$results/steps"
    exit "$status"
    ;;
beside)
    step=$2
    shift 2
    # The status of a pipe is that of its last command, so the first one's is kept beside it.
    failed=$results/failed.$$
    { "$0" run "$step" "$@" 2>&1 || touch "$failed"; } | sed -u "s/^/${step##* }: /"
    [ ! -e "$failed" ]
    ;;
end)
    touch "$results/complete"
    echo "==> where the time went"
    awk -F "$tab" '
        function line(seconds, what) { printf "  %3d:%02d  %s\n", seconds / 60, seconds % 60, what }
        { line($2, $3 ($1 == 0 ? "" : " (FAILED)")) }
        END { line(all, "in all, some of it beside each other") }' all="$(($(date +%s) - $(cat "$results/began")))" "$results/steps"
    echo "==> the slowest journeys"
    awk -F "$tab" 'NF == 3 { n = split(FILENAME, path, "/"); printf "%s\t%s %s\n", $2, path[n], $3 }' "$results"/journeys/* |
        sort -rn | head -n 12 |
        awk -F "$tab" '{ printf "  %3d:%02d  %s\n", $1 / 60, $1 % 60, $2 }'
    ;;
*)
    echo "times.sh: no command $1" >&2
    exit 2
    ;;
esac
