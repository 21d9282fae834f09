#!/bin/sh
# How much of the library its tests reach: lines and branches of each room, then the lines that are not reached and those
# whose branches are not all taken. Needs gcovr. usage: tests/coverage.sh [doctest's options]
set -eu
cd "$(dirname -- "$0")/.."
build=build/coverage
[ -e $build/build.ninja ] || meson setup $build -Dbuildtype=debug -Db_coverage=true -Dexamples=false >/dev/null
ninja --quiet -C $build tapegrad_tests
find $build -name '*.gcda' -delete
$build/tapegrad_tests "$@" >$build/tests.log || { tail -n 30 $build/tests.log; exit 1; }
# Branches of exceptions thrown by what is called are the compiler's, not ours.
gcovr --root . --object-directory $build --filter '(core|autograd|layers|optim)/' --exclude-throw-branches \
  --exclude-unreachable-branches --json $build/coverage.json
python3 - $build/coverage.json <<'END'
import json
import sys
from collections import defaultdict

rooms = defaultdict(lambda: [0, 0, 0, 0])
left = []
for file in json.load(open(sys.argv[1]))["files"]:
    name = file["file"]
    unreached, partly = [], []
    for line in file["lines"]:
        if line.get("gcovr/noncode"):
            continue
        branches = [b["count"] > 0 for b in line["branches"]]
        for total in rooms[name.split("/")[0]], rooms["all"]:
            for k, n in enumerate((line["count"] > 0, 1, sum(branches), len(branches))):
                total[k] += n
        if not line["count"]:
            unreached.append(line["line_number"])
        elif not all(branches):
            partly.append(line["line_number"])
    left.append((name, unreached, partly))
print(f"{'room':<10}{'lines':>22}{'branches':>22}")
for room in sorted(rooms, key=lambda r: (r == "all", r)):
    a, b, c, d = rooms[room]
    print(f"{room:<10}{f'{a} of {b}':>14}{a / b:>8.1%}{f'{c} of {d}':>14}{c / max(d, 1):>8.1%}")
for what, k in ("not reached", 1), ("not all branches taken", 2):
    print(f"\n{what}:")
    for entry in sorted(left):
        if entry[k]:
            print(f"  {entry[0]}: {', '.join(map(str, entry[k]))}")
END
