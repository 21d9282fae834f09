"""PyTorch's same model and training as examples/short/ptb.cpp, for a comparison in the same minutes.

usage: python3 tests/peers/word_lm_torch.py FOLDER [--seconds 120 --threads 2]
needs: pip install torch==2.13.0
Ours, in turn with it, two minutes each: build/release/short_ptb TRAIN TEST
Prints one line: result {json} with the test perplexity and the number of steps.
"""
import argparse
import json
import math
import time
from collections import Counter

import torch
from torch import nn

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--seconds", type=float, default=120)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--lr", type=float, default=4e-3)
o = parser.parse_args()

torch.set_num_threads(o.threads)
torch.set_flush_denormal(True)
torch.manual_seed(1)
H, B, T = 200, 20, 20


def words(name):
    with open(f"{o.folder}/{name}", encoding="utf-8") as lines:
        return [word for line in lines for word in line.split() + ["<eos>"]]


train = words("ptb.train.txt")
ids = {word: k + 2 for k, (word, _) in enumerate(Counter(train).most_common()) if word != "<unk>"}


def encode(text):
    return torch.tensor([ids.get(word, 1) for word in text])


def streams(text, batch):
    length = (len(text) - 1) // batch
    x = text[: length * batch].view(batch, length).t().contiguous()
    y = text[1 : length * batch + 1].view(batch, length).t().contiguous()
    return x, y


V = max(ids.values()) + 1


class WordLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.lstm, self.head = nn.Embedding(V, H), nn.LSTM(H, H), nn.Linear(H, V)

    def forward(self, x, state):
        h, state = self.lstm(self.embed(x), state)
        return self.head(h), state


model = WordLM()
adam = torch.optim.Adam(model.parameters(), lr=o.lr, fused=True)
x, y = streams(encode(train), B)
start, steps = time.perf_counter(), 0
while time.perf_counter() - start < o.seconds:
    state = None
    for t in range(0, len(x), T):
        logits, state = model(x[t : t + T], state)
        loss = nn.functional.cross_entropy(logits.view(-1, V), y[t : t + T].reshape(-1))
        adam.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=True)
        used = (time.perf_counter() - start) / o.seconds
        adam.param_groups[0]["lr"] = o.lr * max(0.0, 1 - used)
        adam.step()
        state = tuple(s.detach() for s in state)
        steps += 1
        if used >= 1:
            break

x, y = streams(encode(words("ptb.test.txt")), 1)
loss, state = 0.0, None
with torch.inference_mode():
    for t in range(0, len(x), 1000):
        logits, state = model(x[t : t + 1000], state)
        loss += nn.functional.cross_entropy(logits.view(-1, V), y[t : t + 1000].reshape(-1), reduction="sum").item()
print("result", json.dumps({"perplexity": math.exp(loss / len(x)), "steps": steps, "threads": o.threads, "torch": torch.__version__}))
