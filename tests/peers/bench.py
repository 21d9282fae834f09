"""What the Python peers share: the sizes, numbers, options, timing and output of tests/bench/bench.h."""
import argparse
import dataclasses
import json
import statistics
import time

import numpy as np


@dataclasses.dataclass
class Cell:
    name: str
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    L: int
    head: int  # columns; 1: mean squared error, else cross entropy


lstm_cells = [Cell("tiny-b1", 32, 1, 32, 32, 1, 32), Cell("tiny-b8", 64, 8, 64, 64, 1, 64),
              Cell("charrnn", 50, 50, 65, 128, 2, 65), Cell("ptb-small", 20, 20, 200, 200, 2, 1),
              Cell("ptb-med", 35, 20, 650, 650, 2, 1), Cell("large", 35, 64, 1024, 1024, 1, 1),
              Cell("long", 1000, 16, 128, 128, 1, 1)]
lm_cells = [Cell("char-lm", 50, 50, 64, 128, 2, 65), Cell("byte-lm", 64, 32, 32, 64, 1, 256),
            Cell("ptb-lm-100", 35, 20, 100, 100, 1, 10000), Cell("ptb-lm-small", 20, 20, 200, 200, 2, 10000),
            Cell("ptb-lm-medium", 35, 20, 650, 650, 2, 10000)]
stream_cells = [Cell(f"stream-{H}", 64, 1, 1, H, 1, 1) for H in (8, 16, 24, 32, 40, 64, 512)]
odd_shapes = ("7,5,17,17,1 1,33,96,96,1 500,1,300,300,1 50,128,96,300,1 20,5,300,300,2 100,33,17,96,1 "
              "7,128,300,300,1 500,5,96,96,1 20,1,1500,1500,1 10,33,1500,1500,1 50,1,96,17,2 20,128,17,300,1").split()


def options(cells, modes=("train", "forward"), layers=("lstm",)):
    parser = argparse.ArgumentParser()
    parser.add_argument("--cell", choices=[c.name for c in cells])
    parser.add_argument("--shape", help="T,B,I,H,L")
    parser.add_argument("--layer", default="lstm", choices=layers)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    for mode in modes[1:]:
        parser.add_argument("--" + mode, dest="mode", action="store_const", const=mode, default=modes[0])
    parser.add_argument("--repeat", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--json", action="store_true", help="as always")
    parser.add_argument("--losses", action="store_true")
    o = parser.parse_args()
    o.cells = [c for c in cells if o.cell in (None, c.name)]
    if o.shape:
        o.cells = [Cell(o.shape, *map(int, o.shape.split(",")), cells[-1].head)]
    return o


def bits(n, count):
    h = np.arange(count, dtype=np.uint32) + np.uint32(n * 0x9E3779B9 % 2**32)
    h = (h ^ (h >> 16)) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> 13)) * np.uint32(0xC2B2AE35)
    return h ^ (h >> 16)


input_tensor, target_tensor, first_parameter = 0, 1, 2


def numbers(n, shape, scale):
    return (scale * (bits(n, int(np.prod(shape))) * 2.0**-31 - 1)).reshape(shape)


def ids(n, shape, classes):
    return (bits(n, int(np.prod(shape))) % np.uint32(classes)).astype(np.int64).reshape(shape)


def measure(o, c, infer, train):
    """Prints a line of JSON: times of one of both, or losses of train()."""
    call = infer if o.mode == "forward" and not o.losses else train
    if o.losses:
        print(json.dumps({"cell": c.name, "losses": [float(call()) for _ in range(6)]}))
        return
    for _ in range(2):
        call()
    ms, end = [], time.perf_counter() + o.seconds
    while len(ms) < o.repeat if o.repeat else len(ms) < 3 or time.perf_counter() < end:
        begin = time.perf_counter()
        call()
        ms.append(1e3 * (time.perf_counter() - begin))
    print(json.dumps({"cell": c.name, "T": c.T, "B": c.B, "I": c.I, "H": c.H, "L": c.L, "dtype": o.dtype,
                      "threads": o.threads, "ms_min": min(ms), "ms_median": statistics.median(ms),
                      "ms_p99": sorted(ms)[len(ms) * 99 // 100], "mode": o.mode}), flush=True)
