#!/bin/sh
# The long tier: what takes too long for tests/run.sh. Gradients of every op from many random inputs, and of recurrent layers with
# all their options; histories, training runs and repeated failures at their full length, random programs.
# usage: tests/extended.sh [SEEDS]      random inputs for each op, default 200
# The last line is "N passed, N failed". Exit: 0 all passed; 1 a failure; 2 something is missing.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 2
. "$root/tests/setup.sh"

seeds=${1:-200}
case $seeds in *[!0-9]* | 0*) stop 2 "usage: tests/extended.sh [SEEDS]      SEEDS is $seeds: it must be a number of at least 1" ;; esac

install_missing
build tapegrad_tests training_probe search
. "$root/tests/count.sh"
cd "$root" || exit 2

say "extended: gradients of ops, $seeds random inputs each"
TAPEGRAD_SEEDS=$seeds unit_tests --no-skip --test-suite=gradients
say "extended: 20,000 random functions, 2,000 LSTMs, 1,000 in float32"
TAPEGRAD_SEEDS=20 unit_tests --no-skip --test-suite='random functions'
say "extended: gradient table of recurrent layers, all cases"
TAPEGRAD_EXTENDED=1 unit_tests --no-skip --test-suite='gradient table'
say "extended: long histories, long runs, repeated failures"
TAPEGRAD_EXTENDED=1 unit_tests --no-skip --test-suite='long runs'
say "extended: 20,000 random programs against float64"
counted "$build_dir/search" --programs 20000 --seed 1000
say "extended: bits of a training of 1000 steps, 27 times"
counted sh tests/promises/bits.sh 1000 all
say "extended: faults planted in the backward code"
if shown python3 tests/mutants.py; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
skipped=0  # the others are not of this tier
verdict
