"""Time per epoch of ``train.py``'s fit, with everything on, beside other ways to train the same network.

    python scripts/benchmark.py [--network forum_question|digits|mnist|mixed] [--batch-size 128] [--threads 1]
    python scripts/benchmark.py --profile
    python scripts/benchmark.py --exponents
    python scripts/benchmark.py --importance

Ours, *everything on*, validates every epoch, draws its progress bar on a (pretended) terminal, writes TensorBoard and
CSV, saves best and last checkpoint, and is watched by the guard; with eager steps and with compiled ones
(``trainer.compile``). *Bare* are our loss, gradient and update alone. The textbook loop is a DataLoader over a
TensorDataset, torch.optim.Adam as it comes, a loss and nothing else. The tuned loop has batches by indexing and fused
Adam. *Products alone* are the matrix products of the steps: no program takes less. JAX's is one ``lax.scan`` over the
steps of an epoch. JAX and Keras run where they are installed.

``--importance``: the rate at which 1,000 importance samples a row are decoded and scored, as a share of the rate of the
decoder's matrix products alone, for 784 columns.

All train on the same rows in this process, in turns. Per subject the median of the epochs' wall and processor times,
and, for what a shared machine is worth, the ratio of the processor times to the textbook loop's.
"""

import argparse
import cProfile
import importlib.util
import itertools
import json
import pstats
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from benchmark_rivals import WHERE_INSTALLED, Epoch, products, textbook, tuned
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from rich.console import Console
from torch import nn

from vae_lightning import console
from vae_lightning.cli.main import CONF
from vae_lightning.config.build import Built, build
from vae_lightning.config.settings import Settings
from vae_lightning.data.batch import Batch
from vae_lightning.data.loader import BatchLoader
from vae_lightning.inference.importance import log_prob
from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.model.vae import VAE
from vae_lightning.training.adam import direct_step
from vae_lightning.training.compiled import CompiledGradient
from vae_lightning.training.step import loss_and_statistics

NETWORKS = {
    "forum_question": ["experiment=forum_question"],
    "digits": ["data=digits", "likelihood=bernoulli", "scheduler=none", "model.latent_dim=16"],
    "mixed": ["data=table", "++data.path=TABLE", "likelihood=auto"],
    "mnist": [
        "data=correlated_bits",
        "data.num_columns=784",
        "data.num_train=8000",
        "likelihood=bernoulli",
        "scheduler=none",
        "model.hidden_dims=[400]",
        "model.latent_dim=40",
    ],
}
"""``mnist``: 784-400-40 on synthetic bits, which cost what MNIST's would; ``mixed``: a table of texts and numbers."""


def bare(built: Built, batch_size: int, compiled: bool) -> Epoch:
    """Our step alone."""
    module = built.module
    vae, objective = module.vae.train(), module.objective
    optimizer, weights = module.make_optimizer(vae.parameters()), module.objective.weights_at(0)
    loader = BatchLoader(built.datamodule.rows["train"], batch_size=batch_size, shuffle=True)

    like = next(iter(loader))
    program = CompiledGradient(vae, objective, like, batch_size) if compiled else None

    def step(batch: Batch, update: Callable[[], Any]) -> None:
        noise = vae.noise(1, batch.num_rows)
        if program is not None and program.fits(batch):
            program(batch, noise, weights)
        else:
            optimizer.zero_grad()
            loss_and_statistics(vae, objective, batch, noise, weights)[0].backward()
        update()

    step(like, optimizer.step)

    def epoch() -> None:
        update = direct_step(optimizer) or optimizer.step
        for batch in loader:
            step(batch, update)

    return epoch


class _Clock(Callback):
    """Start of one epoch to start of the next: checkpoints, logging and validation are all inside."""

    takes_blocks = True

    def __init__(self) -> None:
        self.starts: list[tuple[float, float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.starts.append((time.perf_counter(), time.process_time()))

    def on_train_end(self, *_: Any) -> None:
        self.starts.append((time.perf_counter(), time.process_time()))


def settings(network: str, run_dir: Path, epochs: int, batch_size: int, *more: str) -> Settings:
    """Of a fit with everything on."""
    words = [word.replace("TABLE", str(run_dir.parent / "mixed.csv")) for word in NETWORKS[network]]
    typed = [*words, f"run_dir={run_dir}", f"++data.batch_size={batch_size}", *more]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = compose("train", [*typed, f"++trainer.max_epochs={epochs}"])
    plain: Any = OmegaConf.to_container(composed, resolve=True)
    return Settings.parse(plain)


def write_mixed_table(path: Path, num_rows: int = 4000) -> None:
    """Numbers of three kinds and texts that go with them."""
    draws = np.random.default_rng(0)
    z = draws.normal(size=num_rows)
    table = {f"x{i}": z * i / 4 + draws.normal(size=num_rows) for i in range(8)}
    table |= {f"count{i}": draws.poisson(np.exp(z / 2 + 1)) for i in range(3)}
    table |= {f"word{i}": np.array(["red", "green", "blue", "none"])[draws.integers(0, 4, num_rows)] for i in range(4)}
    pd.DataFrame(table).to_csv(path, index=False)


def exponents(folder: Path, batch_size: int) -> None:
    """Print how the time of an epoch of eager steps grows with rows and with parameters: slopes on logarithmic axes."""
    base = ["data=correlated_bits", "likelihood=bernoulli", "scheduler=none"]
    axes = {
        "rows": [[f"++data.num_train={10**power}", "++model.hidden_dims=[64]"] for power in (3, 4, 5, 6)],
        "parameters": [["++data.num_train=4000", f"++model.hidden_dims=[{w},{w}]"] for w in (256, 512, 1024, 2048)],
    }
    for axis, choices in axes.items():
        points = []
        for number, words in enumerate(choices):
            NETWORKS[axis] = [*base, *words]
            built = build(settings(axis, folder / f"{axis}{number}", 1, batch_size))
            size = built.datamodule.rows["train"].num_rows
            size = size if axis == "rows" else sum(one.numel() for one in built.module.vae.parameters())
            seconds = statistics.median(s for _, s in _time(bare(built, batch_size, compiled=False), 3))
            points.append((size, seconds))
            print(
                f"{size:,} {axis}: {1e3 * seconds:.1f} ms of the processor an epoch, eager; {peak_memory()}", flush=True
            )
        size, seconds = np.log(np.array(points)).T
        print(f"time grows as {axis} to the power of {np.polyfit(size, seconds, 1)[0]:.2f}")


def peak_memory() -> str:
    """Of the process so far."""
    return f"at most {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB of memory"


def everything_on(given: Settings, profile: bool = False) -> list[tuple[float, float]]:
    """Wall and processor seconds of each epoch but the first two, which warm up, and the last."""
    built, clock = build(given), _Clock()
    built.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    with console.quiet_frameworks():
        if profile:
            profiler = cProfile.Profile()
            profiler.runcall(built.trainer.fit, built.module, built.datamodule)
            pstats.Stats(profiler).sort_stats("cumtime").print_stats(60)
        else:
            built.trainer.fit(built.module, built.datamodule)
    pairs = list(itertools.pairwise(clock.starts))[2:-1]
    return [(b[0] - a[0], b[1] - a[1]) for a, b in pairs]


def _time(epoch: Epoch, count: int) -> Iterator[tuple[float, float]]:
    for _ in range(count):
        wall, processor = time.perf_counter(), time.process_time()
        epoch()
        yield time.perf_counter() - wall, time.process_time() - processor


def importance(num_rows: int = 40, rounds: int = 3) -> None:
    """Print how much of the time of importance sampling is that of the decoder's products."""
    torch.manual_seed(0)
    samples, columns = 1000, 784
    print("| likelihood | densities | ms a row | products alone | share |\n|---|---|---|---|---|")
    for likelihood, compile in itertools.product((Bernoulli(columns), Gaussian(columns)), (False, True)):
        vae = VAE(likelihood, latent_dim=40, hidden_dims=[400]).eval()
        batch = Batch((torch.rand(num_rows, columns) < 0.3).float())
        layers = [one for one in (*vae.decoder, vae.output) if isinstance(one, nn.Linear)]
        given = [(torch.randn(samples, one.in_features), one) for one in layers]

        @torch.no_grad()
        def products(given: list[tuple[torch.Tensor, nn.Linear]] = given) -> None:
            for _ in range(num_rows):
                for x, layer in given:
                    layer(x)

        # A program is made at every call: what a call of four times the rows takes longer is without that.
        ours, alone = [], []
        for _ in range(rounds):
            (once,), (four,) = (
                [s for _, s in _time(partial(log_prob, vae, many, samples, compile=compile), 1)]
                for many in (batch, Batch(batch.x.repeat(4, 1)))
            )
            ours.append((four - once) / (3 * num_rows))
            alone += [seconds / num_rows for _, seconds in _time(products, 3)]
        mine, floor = 1e3 * statistics.median(ours), 1e3 * statistics.median(alone)
        word = "compiled" if compile else "eager"
        print(f"| {likelihood.name()} | {word} | {mine:.2f} | {floor:.2f} | {floor / mine:.2f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, default="forum_question")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=12, help="of each fit; the others take half as many a round")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--importance", action="store_true", help="measure importance sampling, and end")
    parser.add_argument("--exponents", action="store_true", help="measure growth with rows and parameters, and end")
    parser.add_argument("--profile", action="store_true", help="say where the time of an eager fit goes, and end")
    parser.add_argument("--json", type=Path, help="where the medians go")
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    torch.set_num_threads(arguments.threads)
    network, size = arguments.network, arguments.batch_size
    if arguments.importance:
        importance()
        return
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "screen").open("w") as screen:
        _pretend_terminal(screen)
        directories = (Path(folder) / str(number) for number in itertools.count())
        write_mixed_table(Path(folder) / "mixed.csv")
        if arguments.exponents:
            exponents(Path(folder), size)
            return
        if arguments.profile:
            everything_on(settings(network, next(directories), 5 * arguments.epochs, size), profile=True)
            return
        built = build(settings(network, next(directories), 1, size))
        rows = torch.cat([batch.x for batch in built.datamodule.rows["train"].batches()])
        vae = built.module.vae
        dims = [rows.shape[1], *(one.out_features for one in vae.encoder if isinstance(one, nn.Linear))]
        shape = (rows, dims, vae.latent_dim, size)
        loops: dict[str, Epoch] = {
            "bare, eager": bare(built, size, compiled=False),
            "bare, compiled": bare(build(settings(network, next(directories), 1, size)), size, compiled=True),
            "textbook loop": textbook(*shape),
            "tuned loop": tuned(*shape),
            "products alone": products(*shape),
        }
        for name, (packages, rival) in WHERE_INSTALLED.items():
            if all(map(importlib.util.find_spec, packages)):
                loops[name] = rival(*shape)
        ours = {f"everything on, {'compiled' if on else 'eager'}": f"++trainer.compile={on}" for on in (False, True)}
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in (*ours, *loops)}
        for number in range(arguments.rounds + 1):
            found = {
                name: everything_on(settings(network, next(directories), arguments.epochs, size, word))
                for name, word in ours.items()
            }
            found |= {name: list(_time(epoch, max(1, arguments.epochs // 2))) for name, epoch in loops.items()}
            if number:  # the first round warms up
                for name, seconds in found.items():
                    times[name] += seconds
    middle = {name: [1e3 * statistics.median(part) for part in zip(*times[name], strict=True)] for name in times}
    weights = sum(one.numel() for one in vae.parameters())
    print(
        f"{network}: {weights:,} parameters, {len(rows):,} rows, batch {size}, {arguments.threads} thread(s), "
        f"{peak_memory()}"
    )
    print("| | ms an epoch | processor | of the textbook loop's |\n|---|---|---|---|")
    for name, (wall, processor) in middle.items():
        print(f"| {name} | {wall:.1f} | {processor:.1f} | {processor / middle['textbook loop'][1]:.2f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps({"arguments": vars(arguments) | {"json": None}, "ms": middle}, indent=2))


def _pretend_terminal(screen: Any) -> None:
    """The bar is drawn as on a terminal, into a file."""
    console.console.file = screen
    console.console._force_terminal = True
    assert isinstance(console.console, Console)


if __name__ == "__main__":
    main()
