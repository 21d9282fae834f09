#!/bin/sh
# Installs tapegrad into a temporary folder and uses it there as others would: pkg-config, CMake, a Meson subproject.
# usage: tests/clients/run.sh [--full] [BUILD_DIR]      default: build/release of this checkout
#   --full: also compiles the library as a subproject, every installed header alone, and a client of LibTorch (minutes)
# A line for each check; the last line is "N passed, N failed" (", N skipped" may follow).
# Exit: 0 all passed; 1 a failure; 2 nothing to install.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 2
full=0
[ "${1:-}" != --full ] || { full=1; shift; }
build=$(CDPATH='' cd -- "${1:-$root/build/release}" && pwd) || exit 2
dir=$(mktemp -d) || exit 2
kind_before=$(meson introspect --buildoptions "$build" |
  python3 -c 'import json, sys; print(*(o["value"] for o in json.load(sys.stdin) if o["name"] == "default_library"))') || exit 2
kind=$kind_before
trap 'cd / && rm -rf "$dir"; [ "$kind_before" = "$kind" ] || meson configure -Ddefault_library="$kind_before" "$build" >/dev/null' EXIT
trap 'exit 1' HUP INT TERM
cd "$dir" || exit 2
passed=0 failed=0 skipped=0
compiler=${CXX:-c++}

skip() { skipped=$((skipped + 1)); printf 'skipped: %s\n' "$1"; }
# check WORDS COMMAND...: counts the check; a failed one shows the end of what the command said.
check() {
  words=$1; shift
  if "$@" >said 2>&1 </dev/null; then
    passed=$((passed + 1)); printf 'passed: %s\n' "$words"
  else
    failed=$((failed + 1)); printf 'FAILED: %s\n' "$words"
    tail -n 15 said | sed 's/^/  | /'
  fi
}

# stage KIND: installs what default_library=KIND means to $dir/KIND. The objects are the same, so this costs a link. From
# where the build was told to install it is moved: everything must work elsewhere too.
stage() {
  kind=$1
  # The defaults of meson.build, which a build folder that is older than they are does not have.
  { meson configure -Ddefault_library="$1" -Dpkgconfig.relocatable=true "$build" &&
    meson compile -C "$build" tapegrad:static_library tapegrad:shared_library gradcheck.hpp &&
    meson install -C "$build" --no-rebuild --destdir "$dir/stage"; } >said 2>&1 </dev/null || { tail -n 15 said >&2; exit 2; }
  pc=$(find stage -name tapegrad.pc)
  prefix=${pc%%/lib*}
  lib=${pc#"$prefix/"}
  lib=${lib%/pkgconfig/tapegrad.pc}
  mv "$prefix" "$1" && rm -rf stage || exit 2
}
stage both
stage static  # the default comes last: seldom is there anything to undo
version=$(sed -n 's/^Version: //p' "both/$lib/pkgconfig/tapegrad.pc")

works() {
  "$@" >output; status=$?
  cat output
  [ "$status" = 0 ] && grep -q "^client: loss .* weights and an op checked, tapegrad $version\$" output
}

check "headers and exported names" python3 "$root/tests/clients/exports.py" both "both/$lib/libtapegrad.so" "both/$lib/libtapegrad.a"
no_paths() { ! grep -rlF -e "$root" -e "$build" both static; }
check "no installed file names the checkout or the build folder" no_paths
soname() { readelf -d "both/$lib/libtapegrad.so" | grep -F "soname: [libtapegrad.so.${version%.*}]"; }
check "the soname is that of the minor version" soname
licence() { cmp "$root/LICENSE" both/share/licenses/tapegrad/LICENSE; }
check "the licence is installed" licence

# --- the gradient checker as one header -------------------------------------------------------------------------------

# Programs of other people: nothing of tapegrad but this file can be found.
mkdir -p single/tapegrad && cp both/include/tapegrad/gradcheck.hpp single/tapegrad/ || exit 2
single='-std=c++20 -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Werror -Isingle'
clients=$root/tests/clients/gradcheck
# shellcheck disable=SC2086
has_header() { printf '#if !__has_include(<%s>)\n#error\n#endif\n' "$1" | $compiler ${2:-} -E -x c++ - >said 2>&1; }
by_one_command() { python3 "$root/autograd/gradcheck/amalgamate.py" - | cmp - single/tapegrad/gradcheck.hpp; }
check "gradcheck.hpp: written by one command" by_one_command
# finds STATUS WORDS PROGRAM: the right gradient passes, the wrong one is reported with its block, the number of its entries and WORDS.
finds() {
  "./$3" >output 2>&1; status=$?
  tr -s ' \n' '  ' <output >line  # Catch2 breaks lines
  cat output
  echo "exit status $status"
  [ "$status" = "$1" ] && grep -q 'gradcheck: FAIL' line && grep -q -e "$2" line
}
wrong_lstm='weight_hh (12, 3): 36 failed, 0 inconclusive of 36 entries'
# shellcheck disable=SC2086  # lists of arguments
{
  # The implementation in one file, a user in another.
  plain() {
    rm -f implementation.o assert
    $1 $single -c "${clients}_implementation.cpp" -o implementation.o && $1 $single -c "${clients}_assert.cpp" -o assert.o &&
      $1 assert.o implementation.o -o assert && finds 134 "^1 passed gradcheck: .*$wrong_lstm.*Assertion" assert
  }
  # What is exported is in a namespace of this version: another one, or the library, may be in the same program.
  versioned() {
    nm -C --defined-only implementation.o >symbols && grep ' [TVW] .*tapegrad' symbols >names && ! grep -v 'tapegrad::v[0-9_]*::' names
  }
  for one in g++ clang++; do
    if ! command -v $one >/dev/null; then skip "gradcheck.hpp: there is no $one"; continue; fi
    check "gradcheck.hpp, $one: strict warnings, two translation units, assert" plain $one
    check "gradcheck.hpp, $one: without exceptions and RTTI" \
      $one $single -fno-exceptions -fno-rtti -fsyntax-only "${clients}_implementation.cpp"
    check "gradcheck.hpp, $one: all names hold the version" versioned
    quick=$one  # the second one takes half the time for Catch2
  done

  # client NAME HEADER STATUS WORDS [COMPILER_FLAGS [LIBRARIES]]
  client() {
    if ! has_header "$2" "${5:-}"; then skip "gradcheck.hpp: $1: there is no $2"; return; fi
    compiled() { ${quick:-$compiler} $single ${5:-} "${clients}_$1.cpp" implementation.o ${6:-} -o "$1" && finds "$3" "$4" "$1"; }
    check "gradcheck.hpp: $1" compiled "$@"
  }
  client doctest doctest/doctest.h 1 "$wrong_lstm.*test cases: 2 | 1 passed | 1 failed"
  client googletest gtest/gtest.h 1 "$wrong_lstm.*PASSED . 1 test.* 1 FAILED TEST" '' '-lgtest_main -lgtest -pthread'
  if has_header catch2/catch_all.hpp; then catch=catch_all.hpp libraries='-lCatch2Main -lCatch2'; else catch=catch.hpp libraries=''; fi
  client catch2 catch2/$catch 1 "$wrong_lstm.*test cases: 2 | 1 passed | 1 failed" '' "$libraries"
  client device vector 0 '^gradcheck: PASS .* W (3, 4): 12 failed'
  client eigen Eigen/Dense 0 '^gradcheck: PASS .* W_ih (12, 2): 6 failed, 0 inconclusive of 24 entries .*: wrong in gate f only.* W_ih.gate f' \
    "$(pkg-config --cflags eigen3 2>/dev/null | sed 's/-I/-isystem /g')"
  if [ $full = 1 ]; then
    torch=$(python3 -c 'import torch; print(torch.__path__[0])' 2>/dev/null)
    client torch torch/torch.h 0 '^gradcheck: PASS .* head.weight (2, 3): 6 failed.* doubled: .* head.bias (2): 2 failed' \
      "-isystem $torch/include -isystem $torch/include/torch/csrc/api/include" \
      "-L$torch/lib -Wl,-rpath,$torch/lib -ltorch -ltorch_cpu -lc10"
  fi
}

# --- pkg-config -------------------------------------------------------------------------------------------------------

pc() { from=$1; shift; PKG_CONFIG_PATH=$dir/$from/$lib/pkgconfig pkg-config "$@" tapegrad; }
inside() { pc "$1" --libs | grep -e openblas -e fmt -e hwy -e json; }
check "pkg-config: the libraries inside are for who links the static library alone" eval 'inside static && ! inside both'
# shellcheck disable=SC2046  # lists of arguments
{
  object() { $compiler -std=c++20 -Wall -Wextra -Werror $(pc both --cflags) -c "$root/tests/clients/client.cpp" -o client.o; }
  check "pkg-config and $compiler: compiled" object
  shared() { $compiler client.o -o client $(pc both --libs) && LD_LIBRARY_PATH="both/$lib" works ./client; }
  check "pkg-config and $compiler: shared library" shared
  static() { $compiler client.o -o client $(pc static --libs) && works ./client; }
  check "pkg-config and $compiler: static library" static
  # As README.md ships it: OpenBLAS inside, fmt and Highway beside, found there and nowhere else.
  # shellcheck disable=SC2016  # $ORIGIN is the loader's
  shipped() {
    mkdir ship && $compiler client.o -o ship/client $(pc static --libs | sed 's/-lopenblas/-l:libopenblas.a/') '-Wl,-rpath,$ORIGIN' &&
      readelf -d ship/client | sed -n 's/.*(NEEDED).*\[\(lib.*\)\]/\1/p' >needed &&
      ! grep -v -e '^libfmt\.' -e '^libhwy\.' -e '^libstdc++\.' -e '^libm\.' -e '^libgcc_s\.' -e '^libc\.' needed &&
      for name in fmt hwy; do cp -L "$(ldd ship/client | sed -n "s/^.*lib$name\.so.* => \([^ ]*\) .*/\1/p")" ship/ || return 1; done &&
      ldd ship/client | grep -q "libhwy.* => $dir/ship/" && works ship/client
  }
  if $compiler -l:libopenblas.a -shared -o none.so 2>said; then check "pkg-config and $compiler: shipped" shipped
  else skip "pkg-config and $compiler: shipped: there is no libopenblas.a"; fi
}

# --- CMake ------------------------------------------------------------------------------------------------------------

mkdir "moved here" && mv both static "moved here/" || exit 2  # a path that wants quotes
with_cmake() { # with_cmake INSTALLED KIND
  cmake -S "$root/tests/clients" -B "cmake-$1-$2" -DVERSION="$version" -DKIND="$2" -DCMAKE_PREFIX_PATH="$dir/moved here/$1" \
    -DCMAKE_CXX_COMPILER="${compiler##* }" && cmake --build "cmake-$1-$2" && works "./cmake-$1-$2/client"
}
if command -v cmake >/dev/null; then
  check "CMake, moved prefix: shared library" with_cmake both ''
  check "CMake, moved prefix: static library beside the shared one" with_cmake both static
  check "CMake, moved prefix: static library alone" with_cmake static ''
  # Whoever asks for it only if it is there must not be stopped by what it needs itself.
  without_needs() {
    mkdir optional && cat >optional/CMakeLists.txt <<'END' &&
cmake_minimum_required(VERSION 3.16)
project(optional CXX)
find_package(tapegrad QUIET)
if(tapegrad_FOUND OR NOT tapegrad_NOT_FOUND_MESSAGE MATCHES "which pkg-config does not find")
  message(FATAL_ERROR "found: ${tapegrad_FOUND}, '${tapegrad_NOT_FOUND_MESSAGE}'")
endif()
END
      PKG_CONFIG_LIBDIR=$dir/nowhere cmake -S optional -B optional/build -DCMAKE_PREFIX_PATH="$dir/moved here/static" \
        -DCMAKE_CXX_COMPILER="${compiler##* }"
  }
  check "CMake: not found, without an error, where its needs are missing" without_needs
else
  skip "CMake, moved prefix: there is no cmake"
fi

# --- Meson subproject -------------------------------------------------------------------------------------------------

mkdir -p super/subprojects
cp "$root/tests/clients/meson.build" "$root/tests/clients/client.cpp" super/
ln -s "$root" super/subprojects/tapegrad
configured() {
  meson setup --wrap-mode=nodownload --force-fallback-for=tapegrad super/build super &&
    meson introspect --targets super/build >targets && grep -q '"client"' targets && ! grep -e tapegrad_tests -e char_lm targets
}
check "Meson subproject: configured, without our tests and examples" configured
subproject() { ninja -C super/build client && works super/build/client; }
alone() { printf '#include <%s>\n' "$1" | $compiler -std=c++20 -Wall -Wextra -Werror -I. -fsyntax-only -x c++ -; }
if [ $full = 1 ]; then
  check "Meson subproject: compiled" subproject
  cd "moved here/both/include" || exit 2
  for header in $(find tapegrad -name '*.h' | sort); do
    check "installed header alone: $header" alone "$header"
  done
fi

if [ "$skipped" = 0 ]; then printf '%s passed, %s failed\n' "$passed" "$failed"
else printf '%s passed, %s failed, %s skipped\n' "$passed" "$failed" "$skipped"; fi
[ "$failed" = 0 ]
