#!/bin/sh
# Trains the same model on other numbers of threads, with other kernels of OpenBLAS, with other numbers of its threads: all weights
# must have the same bits.
# usage: tests/promises/bits.sh STEPS [all]      all: every combination of them, 27 runs; else 9
# A line for each run; the last line is "N passed, N failed". Exit: 0 all passed; 1 a failure; 2 the program is missing.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 2
program=$root/build/release/training_probe
[ -x "$program" ] || { printf '%s\n' "$program is not there; build it first" >&2; exit 2; }
steps=$1 passed=0 failed=0 first=''

# Not the kernels that this processor cannot run.
cores=Prescott
! grep -qw avx2 /proc/cpuinfo || cores="$cores Haswell"
! grep -qw avx512f /proc/cpuinfo || cores="$cores SkylakeX"

# run THREADS VARIABLE=VALUE...
run() {
  threads=$1; shift
  hash=$(env "$@" "$program" "$steps" "$threads") || hash=none
  [ -n "$first" ] || first=$hash
  if [ "$hash" = "$first" ] && [ "$hash" != none ]; then
    passed=$((passed + 1)); word=passed
  else
    failed=$((failed + 1)); word=FAILED
  fi
  printf '%s: %s after %s steps, %s threads, %s\n' "$word" "$hash" "$steps" "$threads" "$*"
}

if [ "${2:-}" = all ]; then
  for core in $cores; do
    for own in 1 2 8; do
      for threads in 1 2 3; do run $threads OPENBLAS_CORETYPE="$core" OPENBLAS_NUM_THREADS=$own; done
    done
  done
else
  for threads in 1 2 3; do run $threads LC_ALL=C; done
  for core in $cores; do run 2 OPENBLAS_CORETYPE="$core"; done
  for own in 1 2 8; do run 2 OPENBLAS_NUM_THREADS=$own; done
fi
# One step more gives other bits, or the hash would tell nothing.
if [ "$("$program" $((steps + 1)) 1)" != "$first" ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
