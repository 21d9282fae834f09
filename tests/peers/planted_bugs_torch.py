"""How many of the planted bugs (tests/gradcheck/planted_bugs.h) others' rules find: torch.autograd.gradcheck, its
fast mode, and DyNet's rule.

usage: python3 tests/peers/planted_bugs_torch.py
needs: a C++20 compiler as c++ (or CXX), pip install numpy torch==2.13.0

The models' own losses and wrong gradients are called, as a torch.autograd.Function in float64. (The fast
mode's random direction has a fixed seed.) DyNet's rule is its grad-check.cc as we read
it: central differences in float32 with a step of 5e-3, an entry is wrong if it differs by more than 0.01
absolutely and relatively; here only the loss is rounded to float32, which flatters it. A bug is found if
any entry is; rules that fail a model without a bug are told.
Prints what each rule misses, then one line: result {json}.
"""
import argparse
import ctypes
import json
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import torch

argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()

tests = pathlib.Path(__file__).resolve().parent.parent
folder = tempfile.TemporaryDirectory()
library = pathlib.Path(folder.name) / "planted.so"
subprocess.run([os.environ.get("CXX", "c++"), "-std=c++20", "-O1", "-shared", "-fPIC", "-o", library,
                tests / "bench/planted_bugs.cpp", *sorted(tests.glob("gradcheck/planted_*.cpp"))], check=True)
c = ctypes.CDLL(str(library))
c.planted_bug_model.restype = c.planted_bug_name.restype = ctypes.c_char_p
c.planted_loss.restype = ctypes.c_double
for f in (c.planted_bug_count, c.planted_array_count, c.planted_array_size):
    f.restype = ctypes.c_size_t
c.planted_bug_model.argtypes = c.planted_bug_name.argtypes = [ctypes.c_size_t]
c.planted_array_size.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def pointer(x):
    return x.ctypes.data_as(ctypes.c_void_p)


def joined(arrays):
    return np.concatenate([a.detach().numpy() for a in arrays])


def gradient(model, bug, x):
    g = np.empty_like(x)
    c.planted_gradient(model, bug, pointer(x), pointer(g))
    return g


class Planted(torch.autograd.Function):
    @staticmethod
    def forward(ctx, model, bug, *arrays):
        ctx.model, ctx.bug = model, bug
        ctx.save_for_backward(*arrays)
        return torch.tensor(c.planted_loss(model, pointer(joined(arrays))), dtype=torch.float64)

    @staticmethod
    def backward(ctx, dy):
        arrays = ctx.saved_tensors
        g = torch.from_numpy(gradient(ctx.model, ctx.bug, joined(arrays))) * dy
        return None, None, *g.split([a.numel() for a in arrays])


def inputs(model):
    sizes = [c.planted_array_size(model, k) for k in range(c.planted_array_count(model))]
    x = np.empty(sum(sizes))
    c.planted_values(model, pointer(x))
    return [a.clone().requires_grad_() for a in torch.from_numpy(x).split(sizes)]


def torch_finds(model, bug, fast):
    return not torch.autograd.gradcheck(lambda *a: Planted.apply(model, bug, *a), inputs(model),
                                        fast_mode=fast, raise_exception=False)


def dynet_finds(model, bug):
    x, h = joined(inputs(model)), 5e-3
    for k, analytic in enumerate(gradient(model, bug, x)):
        shifted = x.copy()
        shifted[k] = x[k] + h
        above = np.float32(c.planted_loss(model, pointer(shifted)))
        shifted[k] = x[k] - h
        below = np.float32(c.planted_loss(model, pointer(shifted)))
        numeric = float(above - below) / (2 * h)
        error, larger = abs(analytic - numeric), max(abs(analytic), abs(numeric))
        if error > 0.01 and error / larger > 0.01:
            return True
    return False


bugs = [(c.planted_bug_model(k), c.planted_bug_name(k)) for k in range(c.planted_bug_count())]
models = sorted({model for model, _ in bugs})
found = {}
false_alarms = {}
for name, rule in {"torch": lambda m, b: torch_finds(m, b, fast=False),
                   "torch fast": lambda m, b: torch_finds(m, b, fast=True),
                   "dynet": dynet_finds}.items():
    missed = [(m, b) for m, b in bugs if not rule(m, b)]
    for model, bug in missed:
        print(f"{name} misses: {model.decode()}, {bug.decode()}")
    found[name] = len(bugs) - len(missed)
    false_alarms[name] = sum(rule(m, b"") for m in models)
print("result", json.dumps({"bugs": len(bugs), "torch": torch.__version__, "found": found,
                            "rate": {name: round(n / len(bugs), 3) for name, n in found.items()},
                            "false_alarms": false_alarms}))
