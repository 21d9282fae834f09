#!/bin/sh
# Runs the test cases of a doctest program in parts, as many side by side as there are cores; no case is lost.
# usage: tests/side_by_side.sh COMMAND...      e.g.  tests/side_by_side.sh build/release/tapegrad_tests --test-case='*lstm*'
# What the parts say, one after another; then doctest's line of test cases, for all of them.
# Exit: 0 all passed; 1 a failure, or cases that no part has run.
set -u
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

cores=$(nproc)
cases=$("$@" --count --no-colors=true | sed -n 's/^\[doctest\] unskipped .*: //p')
case $cases in '' | *[!0-9]*) printf '%s\n' "$1 does not count its test cases" >&2; exit 1 ;; esac
parts=$((cases < 8 * cores ? cases : 8 * cores))  # several a core, so that none waits long for another
export dir cases parts

# shellcheck disable=SC2016  # for the inner shell
seq "$parts" | xargs -P "$cores" -I @part@ sh -c '
  part=$1; shift
  "$@" --no-colors=true --duration=true --first=$(((part - 1) * cases / parts + 1)) --last=$((part * cases / parts)) \
    >"$dir/$part" 2>&1 </dev/null
' part @part@ "$@"
status=$?

# doctest counts the cases of all parts in each of them; but who has run says how long.
for part in $(seq "$parts"); do cat "$dir/$part"; done | awk -v cases="$cases" -v status="$status" '
  /^\[doctest\] test cases:/ { failed += $9; all = $4 + $12 }
  /^\[doctest\]/ { next }
  /^[0-9.]+ s: / { ++run; next }
  /^=+$/ { heading = "" }
  /^=+$|^TEST |^$|^[^ ]*:[0-9]+:$/ { heading = heading $0 "\n"; next }  # of a case that says nothing, it may be
  { printf "%s%s\n", heading, $0; heading = "" }
  END {
    if (run != cases) printf "of %d test cases %d were run\n", cases, run
    printf "[doctest] test cases: %d | %d passed | %d failed | %d skipped\n", run, run - failed, failed, all - run
    exit status != 0 || failed != 0 || run != cases
  }'
