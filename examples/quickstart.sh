#!/bin/sh
# Trains a character language model for at most a minute on two cores and shows its text before and after.
# usage: examples/quickstart.sh [FILE]      FILE: any text; without it, the King James Bible from Debian's package bible-kjv
# Missing Debian packages are installed first (NO_INSTALL=1 forbids that). What is made goes to out/quickstart in the
# checkout, or to the folder OUT_DIR names. Exit: 0 done; 1 the stated bound was missed; 2 something is missing.
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd) || exit 2
. "$root/tests/setup.sh"

case ${1:-} in -h | --help) sed -n '2,5s/^# //p' "$root/examples/quickstart.sh"; exit 0 ;; esac
[ $# -le 1 ] || stop 2 "usage: examples/quickstart.sh [FILE]"
if [ $# = 1 ]; then
  if [ ! -f "$1" ] || [ ! -r "$1" ] || [ ! -s "$1" ]; then stop 2 "$1: not a file with text that can be read"; fi
fi
out=${OUT_DIR:-"$root/out/quickstart"}
mkdir -p -- "$out" || stop 2 "$out: cannot be made; name another folder with OUT_DIR"
kjv=$out/kjv.txt

# Debian's bible is not always on the PATH, and other programs are called bible too.
find_bible() {
  for bible in /usr/bin/bible /usr/games/bible; do [ ! -x "$bible" ] || return 0; done
  return 1
}
# The text is kept, so the program is needed only once.
need_bible() { [ -s "$kjv" ] || need bible-kjv "the text to learn from (or name a file)" find_bible -; }
[ $# = 1 ] || extra_need=need_bible
install_missing

if [ $# = 1 ]; then
  text=$1
else
  text=$kjv
  if [ ! -s "$kjv" ]; then
    find_bible
    say "text: the King James Bible, from $bible"
    # Under a temporary name until the last verse is there: a part is never taken for the whole.
    for left in "$kjv".[0-9]*; do # by runs that were killed
      [ ! -e "$left" ] || kill -0 "${left##*.}" 2>/dev/null || rm -f "$left"
    done
    "$bible" -f gen1:1-rev22:21 </dev/null >"$kjv.$$"
    if ! tail -n 1 "$kjv.$$" | grep -q '^Rev22:21 '; then
      rm -f "$kjv.$$"
      stop 1 "$bible did not give the whole text; name a text file instead: examples/quickstart.sh FILE"
    fi
    mv -f "$kjv.$$" "$kjv"
  fi
fi

build char_lm
exec "$build_dir/char_lm" quickstart "$text" --seconds 60 --threads 2 --out "$out/model.safetensors"
