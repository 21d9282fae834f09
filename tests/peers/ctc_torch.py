"""tests/bench/ctc.cpp in PyTorch: the same losses, gradients of the logits, JSON.

needs: pip install numpy torch==2.13.0
usage: python3 tests/peers/ctc_torch.py [--threads 1] [--passes 40]     in turn with build/release/ctc
"""
import argparse
import json
import statistics
import time

import bench
import torch

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--passes", type=int, default=40)
o = parser.parse_args()
torch.set_num_threads(o.threads)
for T, B, C, S in (50, 16, 20, 10), (150, 32, 30, 30), (500, 8, 100, 60), (1000, 16, 5000, 60):
    logits = torch.from_numpy(bench.numbers(bench.input_tensor, (T, B, C), 2)).float().requires_grad_()
    targets = torch.from_numpy(bench.ids(bench.target_tensor, (S, B), C - 1)).T.contiguous().int() + 1
    steps, lengths = torch.full((B,), T, dtype=torch.int32), torch.full((B,), S, dtype=torch.int32)
    ms = []
    while len(ms) < o.passes:
        begin = time.perf_counter()
        logits.grad = None
        loss = torch.nn.functional.ctc_loss(torch.log_softmax(logits, -1), targets, steps, lengths)
        loss.backward()
        ms.append(1e3 * (time.perf_counter() - begin))
    print("result", json.dumps({"T": T, "B": B, "C": C, "S": S, "loss": float(f"{loss.item():.5g}"),
                                "ms": round(statistics.median(ms), 3), "best": round(min(ms), 3)}), flush=True)
