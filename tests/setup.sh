# shellcheck shell=sh
# Shared by tests/run.sh and examples/quickstart.sh, which source it: finds or installs what the build needs, then builds.
# The caller has set $root, the checkout. Nothing here needs the network once everything is there.

say() { printf '%s\n' "$*"; }
stop() { status=$1; shift; printf '%s\n' "$*" >&2; exit "$status"; }  # stop EXIT_STATUS WORDS...

# Looks for the things themselves, so that hand-installed libraries and systems without dpkg are fine too.
has_command() { command -v "$1" >/dev/null 2>&1; }
has_package() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
has_header() {
  # shellcheck disable=SC2086  # CXX may hold a command with arguments, as for Meson
  [ -e "/usr/include/$1" ] ||
    printf '#if !__has_include(<%s>)\n#error missing\n#endif\n' "$1" | ${CXX:-c++} -x c++ -E - >/dev/null 2>&1
}

# need PACKAGE WHAT_FOR COMMAND [ARGUMENT]: notes Debian's PACKAGE as missing if COMMAND says so.
need() {
  "$3" "$4" || { missing="$missing $1"; reasons="$reasons
  $1: $2"; }
}
# need_library PACKAGE WHAT_FOR NAME_FOR_PKG_CONFIG HEADER
need_library() {
  has_package "$1" || pkg-config --exists "$3" 2>/dev/null || need "$1" "$2" has_header "$4"
}
compiler=${CXX:-c++}

look() {
  missing='' reasons=''
  need g++ "a C++20 compiler (\"$compiler\"; another one: set CXX)" has_command "${compiler%% *}"
  need meson "configures the build" has_command meson
  need ninja-build "runs the build" has_command ninja
  need pkg-config "finds the libraries" has_command pkg-config
  need python3 "build steps" has_command python3
  need_library libopenblas-dev "matrix products (OpenBLAS)" openblas openblas_config.h
  need_library libfmt-dev "text (fmt)" fmt fmt/core.h
  need_library libhwy-dev "SIMD (Google Highway)" libhwy hwy/highway.h
  need_library nlohmann-json3-dev "JSON (nlohmann)" nlohmann_json nlohmann/json.hpp
  need_library libcli11-dev "command lines (CLI11)" CLI11 CLI/CLI.hpp
  need doctest-dev "tests (doctest)" has_header doctest/doctest.h
  need librandom123-dev "random bits (Random123)" has_header Random123/philox.h
  if [ -n "${extra_need:-}" ]; then "$extra_need"; fi  # a function of the caller with further needs
}

# Installs what is missing with apt, or says what it is and exits 2.
install_missing() {
  look
  [ -n "$missing" ] || return 0
  list="Missing (named as in Debian):$reasons"
  by_hand="By hand, as root: apt-get install --no-install-recommends$missing"
  [ "${NO_INSTALL:-0}" = 0 ] || stop 2 "$list
NO_INSTALL is set, so nothing was installed. $by_hand"
  has_command apt-get || stop 2 "$list
There is no apt here: install these with your system's package manager, then run this again."
  as_root=''
  if [ "$(id -u)" != 0 ]; then
    has_command sudo || stop 2 "$list
You are not root and there is no sudo. $by_hand"
    as_root=sudo
  fi
  say "setup: installing with apt what the build needs and does not find:$missing"
  # shellcheck disable=SC2154  # root comes from the caller
  mkdir -p "$root/build"
  log=$root/build/apt.log
  # A failed update is no reason to stop: the lists may be there already. The lock may be held by a system that has just started.
  if ! {
    $as_root apt-get -q update || true
    # shellcheck disable=SC2086  # a list of packages
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
      install --no-install-recommends $missing
  } </dev/null >"$log" 2>&1; then
    tail -n 15 "$log" >&2
    stop 2 "setup: apt could not install them (all of its output: $log). $by_hand"
  fi
  look
  [ -z "$missing" ] || stop 2 "apt has finished, but still not found:$reasons"
}

# build TARGET...: configures build/release if need be and builds the targets (none named: everything).
# MESON_ARGS="-Dwerror=true ..." is passed to Meson.
build() {
  build_dir=$root/build/release
  log=$root/build/release.log
  # Meson writes absolute paths down: a checkout that has been moved or copied starts afresh.
  if [ -e "$build_dir/checkout" ] && [ "$(cat "$build_dir/checkout")" != "$root" ]; then
    say "build: the checkout has moved; starting build/release afresh"
    rm -rf "$build_dir"
  fi
  mkdir -p "$build_dir"
  if [ ! -e "$build_dir/build.ninja" ]; then
    say "build: configuring build/release"
    # shellcheck disable=SC2086  # a list of arguments
    configure meson setup --buildtype=release ${MESON_ARGS:-} "$build_dir" "$root"
    printf '%s\n' "$root" >"$build_dir/checkout"
  elif [ -n "${MESON_ARGS:-}" ]; then
    # shellcheck disable=SC2086
    configure meson configure $MESON_ARGS "$build_dir"
  fi
  say "build: compiling ${*:-everything} (minutes the first time, seconds later)"
  quiet=--quiet
  [ ! -t 1 ] || quiet=''  # on a terminal ninja shows its progress in one line
  # shellcheck disable=SC2086
  ninja $quiet -C "$build_dir" "$@" || stop 1 "build: failed; the compiler's words are above"
}
configure() {
  "$@" </dev/null >"$log" 2>&1 || { tail -n 30 "$log" >&2; stop 1 "build: Meson failed (all of its output: $log)"; }
}
