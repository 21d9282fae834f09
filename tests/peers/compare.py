"""A benchmark of ours and a peer's, in turn, on this machine: times and their ratio.

usage: python3 tests/peers/compare.py [lstm_step|lm_step] [--peer torch] [--cells charrnn,ptb-small|odd] [--threads 1,2]
           [--dtype float64] [--mode forward|composed] [--rounds 9] [--seconds 0.4] [--python venv/bin/python] [--build build/release]
needs: meson configure build/release -Dbench=true && ninja -C build/release lstm_step lm_step; what the peer needs

First both train five steps from the same numbers: their losses must agree to 1e-4. Then short runs of
both alternate, so that both see the same machine; a time is the median of the runs' medians, `best` the
ratio of the fastest passes. A ratio is the peer's time divided by ours. GFLOP/s are ours.
Prints a table, then one line: result {json}.
"""
import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import bench

root = pathlib.Path(__file__).resolve().parents[2]
peers = root / "tests/peers"
cells = {"lstm_step": bench.lstm_cells, "lm_step": bench.lm_cells}


def torch_cpp():
    """The C++ peer, compiled against the wheel that this Python imports."""
    program, sources = root / "build/peers/lstm_step_torch", [peers / "lstm_step_torch.cpp", root / "tests/bench/peak.cpp"]
    headers = [root / "tests/bench/bench.h"]
    if not program.exists() or program.stat().st_mtime < max(f.stat().st_mtime for f in sources + headers):
        import torch
        wheel = pathlib.Path(torch.__file__).parent
        program.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([os.environ.get("CXX", "c++"), "-std=c++20", "-O3", f"-I{root}", "-isystem", wheel / "include",
                        "-isystem", wheel / "include/torch/csrc/api/include", *sources, "-o", program, f"-L{wheel}/lib",
                        f"-Wl,-rpath,{wheel}/lib", "-ltorch", "-ltorch_cpu", "-lc10", "-lhwy"], check=True)
    return [program]


def python(script):
    return lambda: [o.python, peers / script]


commands = {("lstm_step", "torch"): torch_cpp, ("lm_step", "torch"): python("lm_step_torch.py")}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("bench", nargs="?", default="lstm_step", choices=cells)
parser.add_argument("--peer", default="torch", choices=sorted({peer for _, peer in commands}))
parser.add_argument("--cells")
parser.add_argument("--threads", default="1")
parser.add_argument("--dtype", default="float32")
parser.add_argument("--mode", default="train", choices=["train", "forward", "composed"])
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--seconds", type=float, default=0.4)
parser.add_argument("--python", default=sys.executable, help="of a Python peer")
parser.add_argument("--build", default=root / "build/release", type=pathlib.Path)
o = parser.parse_args()

programs = [[o.build / o.bench], commands[o.bench, o.peer]()]
names = bench.odd_shapes if o.cells == "odd" else o.cells.split(",") if o.cells else [c.name for c in cells[o.bench]]


def run(program, cell, threads, *options):
    mode = [] if o.mode == "train" else ["--" + o.mode]
    shape = ["--shape" if "," in cell else "--cell", cell]
    lines = subprocess.run([*program, *shape, "--threads", str(threads), "--dtype", o.dtype, *mode, *options],
                           check=True, capture_output=True, text=True).stdout
    return json.loads(lines)


def check_losses(cell, threads):
    ours, theirs = (run(p, cell, threads, "--losses")["losses"] for p in programs)
    if not all(abs(a - b) <= 1e-4 * abs(b) for a, b in zip(ours, theirs, strict=True)):
        sys.exit(f"{cell}: the losses differ, so times mean nothing: {ours} {theirs}")


def machine():
    info = {k.strip(): v.strip() for k, _, v in
            (line.partition(":") for line in subprocess.run(["lscpu"], capture_output=True, text=True).stdout.splitlines())}
    core = os.environ.get("OPENBLAS_CORETYPE")
    return (f"{info.get('Model name', platform.processor())} (family {info.get('CPU family')}, model {info.get('Model')}), "
            f"{os.cpu_count()} cores" + (f", OPENBLAS_CORETYPE={core}" if core else ""))


print(f"{o.bench} {o.mode} {o.dtype}, peer {o.peer}; {machine()}")
head = f"{'cell':<18} threads {'ours ms':>9} {'peer ms':>9} {'ratio':>6} {'best':>6} {'GFLOP/s':>8} of peak  target"
print(head, flush=True)
rows = []
for threads in map(int, o.threads.split(",")):
    for cell in names:
        check_losses(cell, threads)
        sides = [[], []]
        for _ in range(o.rounds):
            for program, results in zip(programs, sides):
                results.append(run(program, cell, threads, "--json", "--seconds", str(o.seconds)))
        ours, theirs = (statistics.median(r["ms_median"] for r in side) for side in sides)
        best = [min(r["ms_min"] for r in side) for side in sides]
        gflops, peak = (statistics.median(r[key] for r in sides[0]) for key in ("gflops", "peak"))
        row = {"cell": cell, "threads": threads, "ours_ms": ours, "peer_ms": theirs, "ratio": round(theirs / ours, 3),
               "best": round(best[1] / best[0], 3), "gflops": gflops, "of_peak": round(gflops / peak, 3),
               "target": sides[0][0]["target"]}
        rows.append(row)
        print(f"{cell:<18} {threads:>7} {row['ours_ms']:>9.4g} {row['peer_ms']:>9.4g} {row['ratio']:>6.2f} {row['best']:>6.2f} "
              f"{row['gflops']:>8.1f} {row['of_peak']:>7.0%}  {row['target']}", flush=True)
print("result", json.dumps({"bench": o.bench, "mode": o.mode, "dtype": o.dtype, "peer": o.peer, "machine": machine(), "rows": rows}))
