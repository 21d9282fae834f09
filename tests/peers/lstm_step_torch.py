"""tests/bench/lstm_step.cpp in PyTorch: the same cells, numbers, options and JSON. See compare.py.

needs: pip install numpy torch==2.13.0
"""
import bench
import torch
from torch import nn


class Stack(nn.Module):
    """A loop over cells."""

    def __init__(self, layer, c):
        super().__init__()
        cell = getattr(nn, layer.upper() + "Cell")
        self.cells = nn.ModuleList(cell(c.I if k == 0 else c.H, c.H) for k in range(c.L))

    def forward(self, x):
        for cell in self.cells:
            state, h = None, []
            for step in x.unbind():
                state = cell(step, state)
                h.append(state[0] if isinstance(state, tuple) else state)
            x = torch.stack(h)
        return x, state


class Model(nn.Module):
    def __init__(self, layer, c, composed):
        super().__init__()
        self.layers = Stack(layer, c) if composed else getattr(nn, layer.upper())(c.I, c.H, c.L)
        self.head = nn.Linear(c.H, c.head)

    def forward(self, x):
        return self.head(self.layers(x)[0])


def measure(o, c):
    dtype = getattr(torch, o.dtype)
    model = Model(o.layer, c, o.mode == "composed").to(dtype)
    with torch.no_grad():
        for n, p in enumerate(model.parameters(), bench.first_parameter):
            p.copy_(torch.from_numpy(bench.numbers(n, p.shape, c.H**-0.5)))
    x = torch.from_numpy(bench.numbers(bench.input_tensor, (c.T, c.B, c.I), 1)).to(dtype)
    if c.head > 1:
        ids = torch.from_numpy(bench.ids(bench.target_tensor, (c.T * c.B,), c.head))
    else:
        target = torch.from_numpy(bench.numbers(bench.target_tensor, (c.T, c.B, 1), 1)).to(dtype)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)

    @torch.inference_mode()
    def infer():
        model(x)

    def train():
        y = model(x)
        loss = nn.functional.cross_entropy(y.view(-1, c.head), ids) if c.head > 1 else nn.functional.mse_loss(y, target)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5, foreach=True)
        adam.step()
        adam.zero_grad()
        return loss.item()

    bench.measure(o, c, infer, train)


options = bench.options(bench.lstm_cells, ("train", "forward", "composed"), ("lstm", "gru", "rnn"))
torch.set_num_threads(options.threads)
torch.set_flush_denormal(True)
for cell in options.cells:
    measure(options, cell)
