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
. "$root/tests/count.sh"

# From the checkout, so that tests find their fixtures. The clients mostly wait for one compiler: beside the unit tests.
cd "$root" || exit 2
beside sh tests/clients/run.sh
say "tests: unit tests"
unit_tests "$@"
say "tests: examples"
counted sh tests/programs/examples.sh
say "tests: clients"
counted_beside
say "tests: bits of a training"
counted sh tests/promises/bits.sh 60
say "tests: search"
counted "$build_dir/search" --programs 200
say "tests: memory"
if [ -x "$build_dir/heap_probe" ]; then
  counted "$build_dir/heap_probe"
  counted sh tests/promises/little_memory.sh
else
  say "skipped: heap_probe was not built: a sanitizer, or a C library without __libc_memalign"
  skipped=$((skipped + 2))
fi
verdict
