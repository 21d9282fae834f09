# shellcheck shell=sh
# Shared by tests/run.sh, tests/extended.sh and tests/neon.sh, which source it after setup.sh and build: runs test programs and adds up what they say.
# shellcheck disable=SC2154  # root comes from the caller, build_dir from build, in setup.sh

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

# add STATUS PASSED FAILED SKIPPED: a command that failed without saying so (a crash) counts as one failure, and so does one that
# tested nothing.
add() {
  passed=$((passed + $2)) failed=$((failed + $3)) skipped=$((skipped + $4))
  [ "$1" = 0 ] || [ "$3" != 0 ] || { failed=$((failed + 1)); say "ended with status $1 and no failure of its own: counted as one"; }
  [ "$1" != 0 ] || [ "$(($2 + $3))" != 0 ] || { failed=$((failed + 1)); say "nothing was tested: counted as a failure"; }
}

# unit_tests [OPTION...]: the unit tests with doctest's options; doctest counts test cases.
unit_tests() {
  shown sh "$root/tests/side_by_side.sh" "$build_dir/tapegrad_tests" "$@"
  status=$?
  cases='\[doctest\] test cases: *[0-9]* *|'
  add "$status" "$(count "$cases *\\([0-9]*\\) passed")" \
    "$(count "$cases *[0-9]* passed *| *\\([0-9]*\\) failed")" \
    "$(count "$cases *[0-9]* passed *| *[0-9]* failed *| *\\([0-9]*\\) skipped")"
}

# counted COMMAND...: a program whose last line is "N passed, N failed" (", N skipped" may follow).
counted() {
  shown "$@"
  status=$?
  add "$status" "$(count '\([0-9][0-9]*\) passed, [0-9][0-9]* failed')" \
    "$(count '[0-9][0-9]* passed, \([0-9][0-9]*\) failed')" \
    "$(count '[0-9][0-9]* passed, [0-9][0-9]* failed, \([0-9][0-9]*\) skipped')"
}

# beside COMMAND...: starts a command in the background; it ends with this script.
beside() {
  "$@" >"$build_dir/beside_output" 2>&1 </dev/null &
  beside_process=$!
  trap 'kill "$beside_process" 2>/dev/null' EXIT
  trap 'exit 1' HUP INT TERM
}
# counted_beside: waits for it, shows what it said and counts that.
counted_beside() {
  wait "$beside_process"
  beside_status=$?
  counted said_beside
}
said_beside() { cat "$build_dir/beside_output"; return "$beside_status"; }

# verdict: the last line, and the status to end with.
verdict() {
  if [ "$skipped" = 0 ]; then say "$passed passed, $failed failed"; else say "$passed passed, $failed failed, $skipped skipped"; fi
  [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}
