#!/bin/sh
# Time of one node of the tape, forward and backward, on tiny tensors, beside PyTorch's C++ eager mode on the same chain
# in the same run, and instructions a node by callgrind. Prints ratios; on a noisy machine only those mean something.
# usage: tests/bench/node_cost.sh [PAIRS]      default 7 alternating pairs for each size
# needs: meson configure build/release -Dbench=true && ninja -C build/release node_cost; pip install torch==2.13.0; valgrind
set -u
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd) || exit 2
ours=$root/build/release/node_cost peer=$root/build/node_cost_torch pairs=${1:-7}
[ -x "$ours" ] || { echo "$ours is not there: meson configure build/release -Dbench=true && ninja -C build/release node_cost" >&2; exit 2; }

if [ ! -x "$peer" ]; then
  torch=$(python3 -c 'import os, torch; print(os.path.dirname(torch.__file__))') || exit 2
  ${CXX:-c++} -std=c++17 -O3 -D_GLIBCXX_USE_CXX11_ABI=1 "$root/tests/peers/node_cost_torch.cpp" -o "$peer" \
    -isystem "$torch/include" -isystem "$torch/include/torch/csrc/api/include" \
    -L"$torch/lib" -Wl,-rpath,"$torch/lib" -ltorch -ltorch_cpu -lc10 || exit 2
fi

lines=$(mktemp) || exit 2
trap 'rm -f "$lines"' EXIT
for mode in training inference; do
  for size in 1 16 256; do
    : >"$lines"
    for _ in $(seq "$pairs"); do
      for program in "$ours" "$peer"; do "$program" --size "$size" --mode "$mode" | sed 's/^result //' >>"$lines"; done
    done
    python3 - "$lines" "$mode" "$size" <<'PYTHON'
import json, statistics, sys
rows = [json.loads(line) for line in open(sys.argv[1])]
ours, theirs = rows[0::2], rows[1::2]
for what in ("forward_ns", "backward_ns", "whole_ns"):
    a, b = ([r[what] for r in side] for side in (ours, theirs))
    if statistics.median(b) > 1:
        ratio = statistics.median(y / x for x, y in zip(a, b))
        print(f"{sys.argv[2]}, {sys.argv[3]} elements, {what[:-3]}: {statistics.median(a):.0f} ns a node, "
              f"PyTorch {statistics.median(b):.0f} ns, ratio {ratio:.1f}")
PYTHON
  done
done

# Instructions: the difference of a long and a short run, so that start-up cancels.
if command -v valgrind >/dev/null; then
  count() { # count PROGRAM MODE PASSES
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$1" --mode "$2" --passes "$3" 2>&1 >/dev/null |
      sed -n 's/.*Collected : //p'
  }
  for mode in training inference; do
    echo "$mode, 1 element: $((($(count "$ours" $mode 30) - $(count "$ours" $mode 10)) / 20 / 3000)) instructions a node"
  done
fi
