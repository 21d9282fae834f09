"""PyTorch's same model and training step as examples/char_lm, for a comparison in the same minute.

usage: python3 tests/peers/char_lm_torch.py TEXT [--hidden 256 --layers 1 --embed 64 --batch 32 --seq 64 --steps 200 --threads 2]
needs: pip install torch==2.13.0
Ours, in turn with it: build/release/char_lm train TEXT --batch 32 --seq 64 --steps 150 --lr 2e-3 --schedule constant --threads 2
Prints one line: result {json} with steps per second (median of windows of 20 steps) and the loss.
"""
import argparse
import json
import statistics
import time

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("text")
for name, value in dict(hidden=256, layers=1, embed=64, batch=32, seq=64, steps=200, threads=2).items():
    parser.add_argument("--" + name, type=int, default=value)
parser.add_argument("--lr", type=float, default=2e-3)
parser.add_argument("--clip", type=float, default=5.0)
parser.add_argument("--dropout", type=float, default=0.0)
o = parser.parse_args()

torch.set_num_threads(o.threads)
torch.set_flush_denormal(True)
torch.manual_seed(1)
text = open(o.text, encoding="utf-8").read()
vocabulary = {c: i for i, c in enumerate(sorted(set(text)))}
ids = torch.tensor([vocabulary[c] for c in text])
ids = ids[: len(ids) * 9 // 10]
length = (len(ids) - 1) // o.batch
x = ids[: length * o.batch].view(o.batch, length).t().contiguous()
y = ids[1 : length * o.batch + 1].view(o.batch, length).t().contiguous()


class CharLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(len(vocabulary), o.embed)
        self.lstm = nn.LSTM(o.embed, o.hidden, o.layers, dropout=o.dropout if o.layers > 1 else 0.0)
        self.drop = nn.Dropout(o.dropout)
        self.head = nn.Linear(o.hidden, len(vocabulary))

    def forward(self, ids, state):
        h, state = self.lstm(self.drop(self.embed(ids)), state)
        return self.head(self.drop(h)), state


model = CharLM()
adam = torch.optim.Adam(model.parameters(), lr=o.lr, fused=True)
state = None
rates, start = [], time.perf_counter()
windows = (length - 1) // o.seq
for step in range(o.steps + 20):
    t = step % windows * o.seq
    logits, state = model(x[t : t + o.seq], state)
    loss = nn.functional.cross_entropy(logits.reshape(-1, len(vocabulary)), y[t : t + o.seq].reshape(-1))
    adam.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), o.clip, foreach=True)
    adam.step()
    state = tuple(s.detach() for s in state)
    if step % 20 == 19:
        now = time.perf_counter()
        rates.append(20 / (now - start))
        start = now
print("result", json.dumps({"steps_per_second": statistics.median(rates[1:]), "loss": loss.item(), "threads": o.threads,
                            "torch": torch.__version__}))
