#!/bin/sh
# Builds everything and runs all tests. Missing Debian packages are installed first (NO_INSTALL=1 forbids that).
# usage: tests/run.sh [doctest's options]      e.g.  tests/run.sh --test-case='*lstm*'
# The last line is "N passed, N failed" (", N skipped" may follow). Exit: 0 all passed; 1 a failure; 2 something is missing.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 2
. "$root/tests/setup.sh"

install_missing
# shellcheck disable=SC2119  # this script's arguments are doctest's, not build's
build

passed=0 failed=0 skipped=0
status_file=$build_dir/test_status
output=$build_dir/test_output
esc=$(printf '\033')

# Runs a command, shows its output while it comes, keeps it in $output (without colours), and returns the command's status.
shown() {
  rm -f "$status_file"
  { "$@"; printf '%s\n' "$?" >"$status_file"; } 2>&1 | tee "$output.raw"
  sed "s/$esc\[[0-9;]*m//g" "$output.raw" >"$output"
  return "$(cat "$status_file" 2>/dev/null || echo 1)"
}

# count PATTERN: the number that the sed group \1 of PATTERN finds in the last such line of the output, else 0.
count() { n=$(sed -n "s/^$1.*/\\1/p" "$output" | tail -n 1); printf '%s\n' "${n:-0}"; }

# add STATUS PASSED FAILED SKIPPED: a command that failed without saying so (a crash) counts as one failure.
add() {
  passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
  [ "$1" = 0 ] || [ "$3" != 0 ] || { failed=$((failed + 1)); say "ended with status $1 and no failure of its own: counted as one"; }
}

say "tests: unit tests"
# From the checkout, so that tests find their fixtures; doctest counts test cases.
cd "$root" || exit 2
shown "$build_dir/tapegrad_tests" "$@"
status=$?
cases='\[doctest\] test cases: *[0-9]* *|'
add "$status" "$(count "$cases *\\([0-9]*\\) passed")" \
  "$(count "$cases *[0-9]* passed *| *\\([0-9]*\\) failed")" \
  "$(count "$cases *[0-9]* passed *| *[0-9]* failed *| *\\([0-9]*\\) skipped")"

for script in examples clients/run; do
  [ -e "tests/$script.sh" ] || continue
  say "tests: ${script%/run}"
  shown sh "tests/$script.sh"
  status=$?
  add "$status" "$(count '\([0-9][0-9]*\) passed, [0-9][0-9]* failed')" \
    "$(count '[0-9][0-9]* passed, \([0-9][0-9]*\) failed')" \
    "$(count '[0-9][0-9]* passed, [0-9][0-9]* failed, \([0-9][0-9]*\) skipped')"
done

if [ "$skipped" = 0 ]; then say "$passed passed, $failed failed"; else say "$passed passed, $failed failed, $skipped skipped"; fi
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
