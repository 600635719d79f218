"""Other ways to train the network that scripts/benchmark.py measures."""

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

LR = 1e-3
Epoch = Callable[[], Any]


class TextbookVAE(nn.Module):
    """A network of the same widths, as a tutorial writes it."""

    def __init__(self, dims: list[int], latent: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*_hidden(dims))
        self.loc, self.log_var = nn.Linear(dims[-1], latent), nn.Linear(dims[-1], latent)
        widths = [latent, *dims[:0:-1]]
        self.decoder = nn.Sequential(*_hidden(widths), nn.Linear(widths[-1], dims[0]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The loss of rows ``x``."""
        hidden = self.encoder(x)
        loc, log_var = self.loc(hidden), self.log_var(hidden)
        z = loc + torch.exp(0.5 * log_var) * torch.randn_like(loc)
        reconstruction = F.binary_cross_entropy_with_logits(self.decoder(z), x, reduction="sum")
        kl = -0.5 * torch.sum(1 + log_var - loc.pow(2) - log_var.exp())
        return (reconstruction + kl) / len(x)


def _hidden(widths: list[int]) -> list[nn.Module]:
    return [layer for a, b in itertools.pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]


def textbook(rows: torch.Tensor, dims: list[int], latent: int, batch_size: int) -> Epoch:
    """DataLoader, module, Adam."""
    loader = DataLoader(TensorDataset(rows), batch_size=batch_size, shuffle=True)
    model = TextbookVAE(dims, latent)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR)

    def epoch() -> None:
        for (x,) in loader:
            optimizer.zero_grad()
            model(x).backward()
            optimizer.step()

    return epoch


def tuned(rows: torch.Tensor, dims: list[int], latent: int, batch_size: int) -> Epoch:
    """The same without a DataLoader, and with fused Adam."""
    model = TextbookVAE(dims, latent)
    optimizer = torch.optim.Adam(model.parameters(), lr=LR, fused=True)

    def epoch() -> None:
        for index in torch.randperm(len(rows)).split(batch_size):
            optimizer.zero_grad()
            model(rows[index]).backward()
            optimizer.step()

    return epoch


def products(rows: torch.Tensor, dims: list[int], latent: int, batch_size: int) -> Epoch:
    """The matrix products of forward and backward passes, on numbers that lie there."""
    layers = [one for one in TextbookVAE(dims, latent).modules() if isinstance(one, nn.Linear)]
    shapes = [(batch_size, one.in_features, one.out_features) for one in layers]
    given = [(torch.randn(b, i), torch.randn(o, i), torch.randn(b, o)) for b, i, o in shapes]

    @torch.no_grad()
    def epoch() -> None:
        for _ in range(-(-len(rows) // batch_size)):
            for x, weight, gradient in given:
                F.linear(x, weight)
                gradient @ weight
                gradient.T @ x

    return epoch


def jax_scan(rows: torch.Tensor, dims: list[int], latent: int, batch_size: int) -> Epoch:
    """The textbook network in JAX: one program an epoch."""
    import jax
    import optax
    from jax import numpy as jnp

    model, x = TextbookVAE(dims, latent), jnp.asarray(rows.numpy())
    layers = [one for one in model.modules() if isinstance(one, nn.Linear)]
    weights = [(jnp.asarray(one.weight.detach().numpy().T), jnp.asarray(one.bias.detach().numpy())) for one in layers]
    depth, optimizer = len(dims) - 1, optax.adam(LR)

    def loss_of(weights: Any, x: Any, key: Any) -> Any:
        def run(h: Any, layers: Any) -> Any:
            for weight, bias in layers:
                h = jax.nn.relu(h @ weight + bias)
            return h

        hidden = run(x, weights[:depth])
        loc, log_var = (hidden @ weight + bias for weight, bias in weights[depth : depth + 2])
        z = loc + jnp.exp(0.5 * log_var) * jax.random.normal(key, loc.shape)
        weight, bias = weights[-1]
        logits = run(z, weights[depth + 2 : -1]) @ weight + bias
        reconstruction = optax.sigmoid_binary_cross_entropy(logits, x).sum()
        return (reconstruction - 0.5 * jnp.sum(1 + log_var - loc**2 - jnp.exp(log_var))) / len(x)

    def step(state: Any, given: Any) -> Any:
        weights, moments = state
        index, key = given
        gradient = jax.grad(loss_of)(weights, x[index], key)
        update, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(weights, update), moments), None

    @jax.jit
    def run(state: Any, key: Any) -> Any:
        count = len(x) // batch_size
        order = jax.random.permutation(key, len(x))[: count * batch_size].reshape(count, batch_size)
        return jax.lax.scan(step, state, (order, jax.random.split(key, count)))[0]

    state, keys = (weights, optimizer.init(weights)), (jax.random.PRNGKey(number) for number in itertools.count())

    def epoch() -> None:
        nonlocal state
        state = jax.block_until_ready(run(state, next(keys)))

    return epoch


def keras_fit(rows: torch.Tensor, dims: list[int], latent: int, batch_size: int) -> Epoch:
    """The textbook network in Keras, by ``fit`` on the backend that is set."""
    import keras
    from keras import ops

    class Model(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = [keras.layers.Dense(width, "relu") for width in dims[1:]]
            self.loc, self.log_var = keras.layers.Dense(latent), keras.layers.Dense(latent)
            self.decoder = [keras.layers.Dense(width, "relu") for width in dims[:0:-1]]
            self.logits, self.draws = keras.layers.Dense(dims[0]), keras.random.SeedGenerator(0)

        def call(self, x: Any) -> Any:
            h = x
            for layer in self.hidden:
                h = layer(h)
            loc, log_var = self.loc(h), self.log_var(h)
            h = loc + ops.exp(0.5 * log_var) * keras.random.normal(ops.shape(loc), seed=self.draws)
            for layer in self.decoder:
                h = layer(h)
            self.add_loss(-0.5 * ops.mean(ops.sum(1 + log_var - ops.square(loc) - ops.exp(log_var), -1)))
            return self.logits(h)

    def reconstruction(x: Any, logits: Any) -> Any:
        return ops.sum(ops.binary_crossentropy(x, logits, from_logits=True), -1)

    x, model = rows.numpy(), Model()
    model.compile(optimizer=keras.optimizers.Adam(LR), loss=reconstruction)
    return lambda: model.fit(x, x, batch_size=batch_size, epochs=1, verbose=0)


WHERE_INSTALLED: dict[str, tuple[list[str], Callable[..., Epoch]]] = {
    "JAX, lax.scan": (["jax", "optax"], jax_scan),
    "Keras, fit": (["keras"], keras_fit),
}
"""Name → the packages it needs, and its loop."""
