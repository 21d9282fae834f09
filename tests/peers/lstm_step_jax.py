"""tests/bench/lstm_step.cpp in JAX, one compiled step with a scan a layer: the same cells, numbers, options and
JSON. See compare.py.

needs: pip install jax (0.10), best in an environment of its own: compare.py --python its/bin/python
"""
import os

import bench

options = bench.options(bench.lstm_cells)
cores = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, cores[: options.threads])  # XLA starts as many threads as it sees cores

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_enable_x64", options.dtype == "float64")


def layer(weights, x):
    """y (T, B, H) of x (T, B, I); weights under torch's names and layout."""
    weight_ih, weight_hh, bias_ih, bias_hh = weights

    def step(state, from_input):
        h, c = state
        i, f, g, o = jnp.split(from_input + h @ weight_hh.T, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros((x.shape[1], weight_hh.shape[1]), x.dtype)
    return jax.lax.scan(step, (zero, zero), x @ weight_ih.T + (bias_ih + bias_hh))[1]


def forward(parameters, x):
    *layers, (weight, bias) = parameters
    for weights in layers:
        x = layer(weights, x)
    return x @ weight.T + bias


def loss_of(parameters, x, target):
    y = forward(parameters, x)
    if y.shape[-1] == 1:
        return jnp.mean((y - target) ** 2)
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(y), target[..., None], axis=-1))


def train_step(state, x, target):
    """Clip by the global norm 5, Adam."""
    parameters, m, v, t = state
    loss, gradients = jax.value_and_grad(loss_of)(parameters, x, target)
    tree = jax.tree.map
    norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradients)))
    gradients = tree(lambda g: g * jnp.minimum(1, 5 / (norm + 1e-6)), gradients)
    t = t + 1
    m = tree(lambda m, g: 0.9 * m + 0.1 * g, m, gradients)
    v = tree(lambda v, g: 0.999 * v + 0.001 * g * g, v, gradients)
    parameters = tree(lambda p, m, v: p - 1e-3 / (1 - 0.9**t) * m / (jnp.sqrt(v / (1 - 0.999**t)) + 1e-8), parameters, m, v)
    return (parameters, m, v, t), loss


def measure(o, c):
    shapes = [[(4 * c.H, c.H if k else c.I), (4 * c.H, c.H), (4 * c.H,), (4 * c.H,)] for k in range(c.L)]
    shapes.append([(c.head, c.H), (c.head,)])
    n = iter(range(bench.first_parameter, 1000))
    parameters = [[jnp.asarray(bench.numbers(next(n), s, c.H**-0.5), o.dtype) for s in group] for group in shapes]
    x = jnp.asarray(bench.numbers(bench.input_tensor, (c.T, c.B, c.I), 1), o.dtype)
    if c.head > 1:
        target = jnp.asarray(bench.ids(bench.target_tensor, (c.T, c.B), c.head), jnp.int32)
    else:
        target = jnp.asarray(bench.numbers(bench.target_tensor, (c.T, c.B, 1), 1), o.dtype)

    infer_step, step = jax.jit(forward), jax.jit(train_step, donate_argnums=0)
    zeros = jax.tree.map(jnp.zeros_like, parameters)
    state = parameters, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros((), o.dtype)

    def infer():
        infer_step(parameters, x).block_until_ready()

    def train():
        nonlocal state
        state, loss = step(state, x, target)
        jax.block_until_ready(state)
        return loss

    bench.measure(o, c, infer, train)


for cell in options.cells:
    measure(options, cell)
