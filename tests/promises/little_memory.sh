#!/bin/sh
# Trains, and makes a large product, in little address space: that works or ends with std::bad_alloc; it does not hang or crash.
# usage: tests/promises/little_memory.sh
# A line for each run; the last line is "N passed, N failed". Exit: 0 all passed; 1 a failure; 2 the program is missing.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 2
program=$root/build/release/training_probe
[ -x "$program" ] || { printf '%s\n' "$program is not there; build it first" >&2; exit 2; }
passed=0 failed=0 worked=0 refused=0

# OpenBLAS starts threads of its own when it is loaded, before main(): each one wants 128 MiB, and waits for them for ever.
export OPENBLAS_NUM_THREADS=1
for megabytes in 60 80 100 120 140 160 180 200 220 240 260 280 300 320 340 360; do
  for threads in 1 2; do
    # shellcheck disable=SC3045  # not of POSIX, but dash, bash and busybox have it
    said=$( (ulimit -v $((megabytes * 1024)) && exec timeout -k 1 20 "$program" 2 $threads) 2>&1)
    status=$?
    case $status in
      0) word=passed worked=1 ;;
      3) word=passed refused=1 ;;
      *) word=FAILED ;;
    esac
    if [ $word = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    printf '%s: %s MiB of addresses, %s threads: exit status %s, %s\n' $word "$megabytes" $threads $status "$said"
  done
done
# Both have happened, or the limits were none.
if [ $worked$refused = 11 ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
printf '%s passed, %s failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
