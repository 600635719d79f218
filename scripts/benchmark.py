"""Time per epoch of ``train.py``'s fit, with everything on, beside the textbook PyTorch loop.

    python scripts/benchmark.py [--rounds 7] [--epochs 12] [--batch-size 128]

Both train the network of ``experiment=forum_question`` on the same rows in this process, in turns. Ours validates
every epoch, draws its progress bar on a (pretended) terminal, writes TensorBoard and CSV, saves best and last
checkpoint, and is watched by the guard. The textbook loop is a DataLoader over a TensorDataset, torch.optim.Adam as it
comes, a loss and nothing else: no validation, no logging. Medians over rounds, and the median of the ratios within
rounds: on a shared machine only the ratio means something.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch import Callback
from omegaconf import OmegaConf
from rich.console import Console
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from vae_lightning import console
from vae_lightning.cli.main import CONF
from vae_lightning.config.build import build
from vae_lightning.config.settings import Settings

DIMS = [224, 256, 128, 64, 32, 16]
LATENT = 16


class TextbookVAE(nn.Module):
    """The network as a tutorial writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*_hidden(DIMS))
        self.loc = nn.Linear(DIMS[-1], LATENT)
        self.log_var = nn.Linear(DIMS[-1], LATENT)
        widths = [LATENT, *DIMS[:0:-1]]
        self.decoder = nn.Sequential(*_hidden(widths), nn.Linear(widths[-1], DIMS[0]))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits, loc and log_var of rows ``x``."""
        hidden = self.encoder(x)
        loc, log_var = self.loc(hidden), self.log_var(hidden)
        z = loc + torch.exp(0.5 * log_var) * torch.randn_like(loc)
        return self.decoder(z), loc, log_var


def _hidden(widths: list[int]) -> list[nn.Module]:
    pairs = itertools.pairwise(widths)
    return [layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())]


def textbook(rows: torch.Tensor, epochs: int, batch_size: int) -> float:
    """Median seconds per epoch of the textbook loop."""
    loader = DataLoader(TensorDataset(rows), batch_size=batch_size, shuffle=True)
    model = TextbookVAE()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    seconds = []
    for _ in range(epochs):
        started = time.perf_counter()
        for (x,) in loader:
            optimizer.zero_grad()
            logits, loc, log_var = model(x)
            reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = -0.5 * torch.sum(1 + log_var - loc.pow(2) - log_var.exp())
            loss = (reconstruction + kl) / len(x)
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


class _Clock(Callback):
    """Start of one epoch to start of the next: checkpoints, logging and validation are all inside."""

    takes_blocks = True

    def __init__(self) -> None:
        self.starts: list[float] = []

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self.starts.append(time.perf_counter())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002
        self.starts.append(time.perf_counter())


def settings(run_dir: Path, epochs: int, batch_size: int) -> Settings:
    """The settings of ``train.py experiment=forum_question``."""
    overrides = ["experiment=forum_question", f"run_dir={run_dir}", f"++data.batch_size={batch_size}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", overrides=[*overrides, f"++trainer.max_epochs={epochs}"])
    plain: Any = OmegaConf.to_container(config, resolve=True)
    return Settings.parse(plain)


def ours(run_dir: Path, epochs: int, batch_size: int) -> float:
    """Median seconds per epoch of our fit."""
    built = build(settings(run_dir, epochs, batch_size))
    clock = _Clock()
    built.trainer.callbacks.append(clock)  # type: ignore[attr-defined]
    with console.quiet_frameworks():
        built.trainer.fit(built.module, built.datamodule)
    return statistics.median(b - a for a, b in zip(clock.starts[:-1], clock.starts[1:], strict=True))


def main() -> None:
    """Print both medians and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=128)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "screen").open("w") as screen:
        _pretend_terminal(screen)
        store = build(settings(Path(folder) / "rows", 1, arguments.batch_size)).datamodule.rows["train"]
        rows = torch.cat([batch.x for batch in store.batches()])
        results = []
        for number in range(arguments.rounds + 1):
            pair = (
                ours(Path(folder) / str(number), arguments.epochs, arguments.batch_size),
                textbook(rows, arguments.epochs, arguments.batch_size),
            )
            if number:  # the first round warms up
                results.append(pair)
                print(f"round {number}: ours {pair[0] * 1e3:.0f} ms, textbook {pair[1] * 1e3:.0f} ms an epoch")
    mine, theirs = (statistics.median(column) * 1e3 for column in zip(*results, strict=True))
    ratio = statistics.median(a / b for a, b in results)
    print(f"median: ours {mine:.0f} ms, textbook {theirs:.0f} ms an epoch, ratio {ratio:.2f}")


def _pretend_terminal(screen: Any) -> None:
    """The bar is drawn as on a terminal, into a file."""
    console.console.file = screen
    console.console._force_terminal = True
    assert isinstance(console.console, Console)


if __name__ == "__main__":
    main()
