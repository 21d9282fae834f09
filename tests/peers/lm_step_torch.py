"""tests/bench/lm_step.cpp in PyTorch: the same cells, numbers, options and JSON. See compare.py.

needs: pip install numpy torch==2.13.0
"""
import bench
import torch
from torch import nn


class LanguageModel(nn.Module):
    def __init__(self, layer, c):
        super().__init__()
        self.embed = nn.Embedding(c.head, c.I)
        self.layers = getattr(nn, layer.upper())(c.I, c.H, c.L)
        self.head = nn.Linear(c.H, c.head)

    def forward(self, ids):
        return self.head(self.layers(self.embed(ids))[0])


def measure(o, c):
    model = LanguageModel(o.layer, c).to(getattr(torch, o.dtype))
    with torch.no_grad():
        for n, p in enumerate(model.parameters(), bench.first_parameter):
            p.copy_(torch.from_numpy(bench.numbers(n, p.shape, c.H**-0.5)))
    x, target = (torch.from_numpy(bench.ids(n, (c.T, c.B), c.head)) for n in (bench.input_tensor, bench.target_tensor))
    optimizer = (torch.optim.Adam(model.parameters(), lr=1e-3, fused=True) if c.head < 1000 else
                 torch.optim.SGD(model.parameters(), lr=1, fused=True))

    @torch.inference_mode()
    def infer():
        model(x)

    def train():
        loss = nn.functional.cross_entropy(model(x).view(-1, c.head), target.view(-1))
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5, foreach=True)
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    bench.measure(o, c, infer, train)


options = bench.options(bench.lm_cells, layers=("lstm", "gru", "rnn"))
torch.set_num_threads(options.threads)
torch.set_flush_denormal(True)
for cell in options.cells:
    measure(options, cell)
