#!/bin/sh
# Installs tapegrad into a temporary folder and uses it there as others would: pkg-config, CMake, a Meson subproject.
# usage: tests/clients/run.sh [--full] [BUILD_DIR]      default: build/release of this checkout
#   --full: also compiles the library as a subproject, and every installed header alone (minutes)
# A line for each check; the last line is "N passed, N failed" (", N skipped" may follow).
# Exit: 0 all passed; 1 a failure; 2 nothing to install.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 2
full=0
[ "${1:-}" != --full ] || { full=1; shift; }
build=$(CDPATH='' cd -- "${1:-$root/build/release}" && pwd) || exit 2
dir=$(mktemp -d) || exit 2
trap 'rm -rf "$dir"' EXIT
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
  # The defaults of meson.build, which a build folder that is older than they are does not have.
  { meson configure -Ddefault_library="$1" -Dpkgconfig.relocatable=true "$build" &&
    meson compile -C "$build" tapegrad:static_library tapegrad:shared_library &&
    meson install -C "$build" --no-rebuild --destdir "$dir/stage"; } >said 2>&1 </dev/null || { tail -n 15 said >&2; exit 2; }
  pc=$(find stage -name tapegrad.pc)
  prefix=${pc%%/lib*}
  lib=${pc#"$prefix/"}
  lib=${lib%/pkgconfig/tapegrad.pc}
  mv "$prefix" "$1" && rm -rf stage || exit 2
}
stage both
stage static  # the default comes last: the build is left with it
version=$(sed -n 's/^Version: //p' "both/$lib/pkgconfig/tapegrad.pc")

works() { "$@" | tee output && grep -q "^client: loss .* weights and an op checked, tapegrad $version\$" output; }

check "headers and exported names" python3 "$root/tests/clients/exports.py" both "both/$lib/libtapegrad.so" "both/$lib/libtapegrad.a"
no_paths() { ! grep -rlF -e "$root" -e "$build" both static; }
check "no installed file names the checkout or the build folder" no_paths
soname() { readelf -d "both/$lib/libtapegrad.so" | grep -F "soname: [libtapegrad.so.${version%.*}]"; }
check "the soname is that of the minor version" soname
licence() { cmp "$root/LICENSE" both/share/licenses/tapegrad/LICENSE; }
check "the licence is installed" licence

# --- pkg-config -------------------------------------------------------------------------------------------------------

pc() { kind=$1; shift; PKG_CONFIG_PATH=$dir/$kind/$lib/pkgconfig pkg-config "$@" tapegrad; }
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
else
  skip "CMake, moved prefix: there is no cmake"
fi

# --- Meson subproject -------------------------------------------------------------------------------------------------

mkdir -p super/subprojects
cp "$root/tests/clients/meson.build" "$root/tests/clients/client.cpp" super/
ln -s "$root" super/subprojects/tapegrad
configured() {
  meson setup --wrap-mode=nodownload --force-fallback-for=tapegrad super/build super &&
    ! meson introspect --targets super/build | grep -e tapegrad_tests -e char_lm
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
