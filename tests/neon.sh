#!/bin/sh
# Compiles the library for ARM and runs the tests of kernels there, by emulation: Highway's NEON. Takes minutes.
# usage: tests/neon.sh [doctest's options]      default: the tests of core/, but for what OpenBLAS does and what qemu cannot:
#   threads in the child of a process that has some (it stops at an assertion of its own), and a limit of address space
# Needs Debian's g++-aarch64-linux-gnu and qemu-user; the libraries for ARM are downloaded to build/neon and not installed.
# The last line is "N passed, N failed, N skipped". Exit: 0 all passed; 1 a failure; 77 what it needs is not there.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 2
build_dir=$root/build/neon
. "$root/tests/setup.sh"
mkdir -p "$build_dir" && cd "$build_dir" || exit 2

for command in aarch64-linux-gnu-g++ qemu-aarch64 meson ninja pkg-config; do
  has_command "$command" || stop 77 "skipped: there is no $command (Debian: g++-aarch64-linux-gnu qemu-user meson pkg-config)"
done

# The packages of another architecture, without apt's knowing: it has lists of its own here, and nothing is installed.
sysroot=$build_dir/sysroot
download() {
  mkdir -p apt/lists/partial apt/archives/partial && cd apt || return
  set -- -q -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$PWD" -o Dir::State::status=/dev/null \
    -o Dir::Cache="$PWD" -o APT::Sandbox::User=root
  apt-get "$@" update && apt-get "$@" download libopenblas-pthread-dev libopenblas0-pthread libgfortran5 libfmt-dev libfmt9 \
    libhwy-dev libhwy1 nlohmann-json3-dev doctest-dev librandom123-dev || return
  for package in *.deb; do dpkg -x "$package" "$sysroot.new" || return; done
  mv "$sysroot.new" "$sysroot"
}
if [ ! -d "$sysroot" ]; then
  say "neon: downloading the libraries for ARM"
  (download) >apt.log 2>&1 || { tail -n 5 apt.log; stop 77 "skipped: apt could not download them"; }
fi

libraries=$sysroot/usr/lib/aarch64-linux-gnu
log=$build_dir/meson.log
if [ ! -e build/build.ninja ]; then
  say "neon: configuring build/neon/build"
  cat >cross.ini <<END
[binaries]
cpp = 'aarch64-linux-gnu-g++'
ar = 'aarch64-linux-gnu-ar'
strip = 'aarch64-linux-gnu-strip'
pkgconfig = 'pkg-config'
[host_machine]
system = 'linux'
cpu_family = 'aarch64'
cpu = 'aarch64'
endian = 'little'
[properties]
sys_root = '$sysroot'
pkg_config_libdir = ['$libraries/pkgconfig', '$libraries/openblas-pthread/pkgconfig', '$sysroot/usr/share/pkgconfig']
[built-in options]
cpp_args = ['-isystem', '$sysroot/usr/include', '-DTAPEGRAD_EMULATED']
cpp_link_args = ['-Wl,-rpath-link,$libraries']
END
  configure meson setup --cross-file cross.ini --buildtype=release -Dexamples=false build "$root"
fi
say "neon: compiling (minutes the first time)"
ninja --quiet -C build tapegrad_tests || stop 1 "neon: failed; the compiler's words are above"

cat >tapegrad_tests <<END
#!/bin/sh
exec qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH='$libraries:$libraries/openblas-pthread' '$PWD/build/tapegrad_tests' "\$@"
END
chmod +x tapegrad_tests

. "$root/tests/count.sh"
cd "$root" || exit 2
say "neon: tests of kernels"
[ $# != 0 ] || set -- --source-file='*/core/*' \
  --test-case-exclude='gemm: OpenBLAS*,threads: a child of fork() has its own*,pool: idle memory goes back before*'
unit_tests "$@"
verdict
