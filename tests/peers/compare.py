"""A benchmark of ours and a peer's, in turn, on this machine: times and their ratio.

usage: python3 tests/peers/compare.py [lstm_step|lm_step|stream_step] [--peer torch] [--cells charrnn,ptb-small|odd]
           [--threads 1,2] [--dtype float64] [--mode forward|composed] [--rounds 9] [--seconds 0.4] [--build build/release]
       with --peer torch-python, and torch of lm_step, also [--layer gru|rnn]; with --peer rtneural or rltools [--layer gru]
needs: meson configure build/release -Dbench=true && ninja -C build/release; numpy, and what the peer needs:
    torch, -fused, -python: pip install torch==2.13.0; -fused is C++ with the faster Adam that Python has
    jax: pip install jax==0.10.2, --python its/bin/python
    dynet: its repository with its library, from cmake, in its folder build, --dynet PATH, and Eigen, --eigen PATH
    rtneural: its repository, --rtneural PATH, and Eigen, --eigen PATH
    rltools: its repository, --rltools PATH, and OpenBLAS; of lm_step --layer gru --cells byte-lm alone
    onnx: a release of ONNX Runtime (1.22 or newer), --onnxruntime PATH with include and lib. It takes a sample a
        call, and so does ours against it: stream_step --samples

First both compute six passes from the same numbers, five steps if they train: their losses must agree to 1e-4.
Then short runs of both alternate, so that both see the same machine. A time is the median of the runs' medians;
of streams it is that of one sample, in ns. A ratio is the peer's time divided by ours; `best` that of the fastest
passes. GFLOP/s are ours. Prints a table, then one line: result {json}.
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
cells = {"lstm_step": bench.lstm_cells, "lm_step": bench.lm_cells, "stream_step": bench.stream_cells}


def compiled(name, source, *flags):
    """A C++ peer; compiled if it is older than its sources."""
    program, peak = (root / "build/peers" / f for f in (name, "peak.o"))
    sources = peers / source, root / "tests/bench/peak.cpp"
    newest = max(f.stat().st_mtime for f in (*sources, root / "tests/bench/bench.h"))
    if not program.exists() or program.stat().st_mtime < newest:
        program.parent.mkdir(parents=True, exist_ok=True)
        compile = [os.environ.get("CXX", "c++"), "-std=c++20", "-O3", f"-I{root}"]
        subprocess.run([*compile, "-c", sources[1], "-o", peak], check=True)  # chooses its instruction set itself
        subprocess.run([*compile, sources[0], peak, "-o", program, *flags, "-lhwy"], check=True)
    return [program]


def torch(name, *flags):
    import torch
    wheel = pathlib.Path(torch.__file__).parent
    headers = ["-isystem", wheel / "include", "-isystem", wheel / "include/torch/csrc/api/include"]
    return compiled(name, "lstm_step_torch.cpp", *flags, *headers, f"-L{wheel}/lib", f"-Wl,-rpath,{wheel}/lib",
                    "-ltorch", "-ltorch_cpu", "-lc10")


def lstm_step_dynet():
    lib = o.dynet.resolve() / "build/dynet"
    return compiled("lstm_step_dynet", "lstm_step_dynet.cpp", "-march=native", "-ffast-math",  # as its own build has
                    "-isystem", o.dynet, "-isystem", o.dynet / "build", "-isystem", o.eigen, f"-L{lib}",
                    f"-Wl,-rpath,{lib}", "-ldynet")


def lm_step_rltools():
    return compiled("lm_step_rltools", "lm_step_rltools.cpp", "-march=native", "-Ofast",  # as its own build has
                    "-DRL_TOOLS_BACKEND_ENABLE_OPENBLAS", "-isystem", o.rltools / "include",
                    *subprocess.run(["pkg-config", "--cflags", "--libs", "openblas"], capture_output=True, check=True,
                                    text=True).stdout.split())


def stream_rtneural():
    return compiled("stream_rtneural", "stream_rtneural.cpp", "-march=native", "-DRTNEURAL_USE_EIGEN=1",
                    "-DRTNEURAL_DEFAULT_ALIGNMENT=32", "-DEIGEN_STACK_ALLOCATION_LIMIT=0",  # H = 512 has 4 MiB
                    "-isystem", o.rtneural, "-isystem", o.rtneural / "modules/json", "-isystem", o.eigen)


def stream_onnx():
    lib = o.onnxruntime.resolve() / "lib"
    return compiled("stream_onnx", "stream_onnx.cpp", "-isystem", o.onnxruntime / "include", f"-L{lib}",
                    f"-Wl,-rpath,{lib}", "-lonnxruntime")


commands = {
    ("lstm_step", "torch"): lambda: torch("lstm_step_torch"),
    ("lstm_step", "torch-fused"): lambda: torch("lstm_step_torch_fused", "-DADAM=FusedAdam"),
    ("lstm_step", "torch-python"): lambda: [o.python, peers / "lstm_step_torch.py"],
    ("lstm_step", "jax"): lambda: [o.python, peers / "lstm_step_jax.py"],
    ("lstm_step", "dynet"): lstm_step_dynet,
    ("lm_step", "torch"): lambda: [o.python, peers / "lm_step_torch.py"],
    ("lm_step", "rltools"): lm_step_rltools,
    ("stream_step", "rtneural"): stream_rtneural,
    ("stream_step", "onnx"): stream_onnx,
}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("bench", nargs="?", default="lstm_step", choices=cells)
parser.add_argument("--peer", help="the first that there is, if not given", choices=sorted({peer for _, peer in commands}))
parser.add_argument("--cells")
parser.add_argument("--threads", default="1")
parser.add_argument("--dtype", default="float32")
parser.add_argument("--layer", default="lstm", choices=["lstm", "gru", "rnn"])
parser.add_argument("--mode", default="train", choices=["train", "forward", "composed"])
parser.add_argument("--rounds", type=int, default=9)
parser.add_argument("--seconds", type=float, default=0.4)
parser.add_argument("--python", default=sys.executable, help="of a Python peer")
parser.add_argument("--rltools", default="../rl-tools", type=pathlib.Path, help="its repository")
parser.add_argument("--rtneural", default="../RTNeural", type=pathlib.Path, help="its repository")
parser.add_argument("--eigen", default="/usr/include/eigen3", type=pathlib.Path)
parser.add_argument("--dynet", default="../dynet", type=pathlib.Path, help="its repository, with its library in build")
parser.add_argument("--onnxruntime", default="../onnxruntime", type=pathlib.Path, help="a release, unpacked")
parser.add_argument("--build", default=root / "build/release", type=pathlib.Path)
o = parser.parse_args()

o.peer = o.peer or next(peer for name, peer in commands if name == o.bench)
programs = [[o.build / o.bench, *(["--samples"] if o.peer == "onnx" else [])], commands[o.bench, o.peer]()]
names = bench.odd_shapes if o.cells == "odd" else o.cells.split(",") if o.cells else [c.name for c in cells[o.bench]]


def run(program, cell, threads, *options):
    mode = [] if o.mode == "train" else ["--" + o.mode]
    shape = ["--shape" if "," in cell else "--cell", cell, *(["--layer", o.layer] if o.layer != "lstm" else [])]
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


print(f"{o.bench} {o.layer} {o.mode} {o.dtype}, peer {o.peer}; {machine()}")
unit, scale = ("ns", 1e6 / 64) if o.bench == "stream_step" else ("ms", 1)
print(f"{'cell':<18} threads {'ours ' + unit:>9} {'peer ' + unit:>9} {'ratio':>6} {'best':>6} {'GFLOP/s':>8} of peak  target",
      flush=True)
rows = []
for threads in map(int, o.threads.split(",")):
    for cell in names:
        check_losses(cell, threads)
        sides = [[], []]
        for _ in range(o.rounds):
            for program, runs in zip(programs, sides):
                runs.append(run(program, cell, threads, "--json", "--seconds", str(o.seconds)))
        ours, theirs = ({key: scale * statistics.median(r["ms_" + key] for r in runs) for key in ("median", "p99")} |
                        {"min": scale * min(r["ms_min"] for r in runs)} for runs in sides)
        gflops, peak = (statistics.median(r[key] for r in sides[0]) for key in ("gflops", "peak"))
        row = {"cell": cell, "threads": threads, "unit": unit, "ours": ours, "peer": theirs, "gflops": gflops,
               "ratio": theirs["median"] / ours["median"], "best": theirs["min"] / ours["min"], "of_peak": gflops / peak,
               "target": sides[0][0]["target"]}
        rows.append(row)
        print(f"{cell:<18} {threads:>7} {ours['median']:>9.4g} {theirs['median']:>9.4g} {row['ratio']:>6.2f} "
              f"{row['best']:>6.2f} {gflops:>8.1f} {row['of_peak']:>7.0%}  {row['target']}", flush=True)
rows = json.loads(json.dumps(rows), parse_float=lambda x: float(f"{float(x):.4g}"))  # digits that mean something
print("result", json.dumps({"bench": o.bench, "layer": o.layer, "mode": o.mode, "dtype": o.dtype, "peer": o.peer,
                            "machine": machine(), "rows": rows}))
