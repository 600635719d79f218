"""Replays the question "my VAE's loss is -1.2e18, what did I miss?" and says what it missed.

The network of the question (224-256-128-64-32-16, two heads of 16, mirrored, 203,744 parameters) is trained for ten
epochs with each of the three losses that were published, as written, and with the corrected one, on the same rows.
Everything else is Keras' default: Glorot-uniform weights, zero biases, Adam 1e-3 with eps 1e-7, batches of 32,
probabilities clipped at 1e-7; the training loss is averaged over the epoch's batches, the validation loss taken at its
end. The activation is ReLU.

The asker's rows were not published. The ones used here come from four hidden factors and lie in [0, 1], most of them
near 0. With --rows bits they are drawn as 0 and 1 with these probabilities: then some rows are all 0, their s is
exactly 0 in the untrained network, and the first version's log s² ends in NaN at once. With --rows z they are
standardised, which cross-entropy cannot take. Of the third version only the KL was published; it is given the first
one's reconstruction.

    python scripts/negative_loss.py --out outputs/negative_loss
"""

import argparse
import math
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import matplotlib
import torch
from torch import Tensor, nn

from vae_lightning.doctor import Finding, diagnose, examine_data, examine_history
from vae_lightning.doctor.losses.cases.question import FAULTS, PUBLISHED, write_version

matplotlib.use("Agg")
from matplotlib import pyplot

COLUMNS, LATENTS, TRAIN, VALIDATION = 224, 16, 3974, 994
FACTORS = 4
WIDTHS = (256, 128, 64, 32, 16)


LABELS = {
    "first": "first: KL flipped",
    "second": "second: s is no σ",
    "third": "third: half the log term",
    "corrected": "corrected",
}


class Network(nn.Module):
    """The question's network; its decoder ends in the sigmoid that it had."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = _stack(COLUMNS, WIDTHS)
        self.mean, self.second = nn.Linear(WIDTHS[-1], LATENTS), nn.Linear(WIDTHS[-1], LATENTS)
        self.decoder = nn.Sequential(_stack(LATENTS, WIDTHS[::-1]), nn.Linear(WIDTHS[0], COLUMNS), nn.Sigmoid())
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


def _stack(inputs: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip((inputs, *widths), widths, strict=False):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers)


def make_rows(kind: str, seed: int) -> tuple[Tensor, Tensor]:
    """Training and validation rows: ``grey``, in [0, 1]; ``bits`` drawn from these; or ``z``, these standardised."""
    generator = torch.Generator().manual_seed(seed)
    factors = torch.randn(TRAIN + VALIDATION, FACTORS, generator=generator)
    loadings = torch.randn(FACTORS, COLUMNS, generator=generator) / math.sqrt(FACTORS)
    rows = torch.sigmoid(6 * (factors @ loadings - 1))
    if kind == "bits":
        rows = torch.bernoulli(rows, generator=generator)
    if kind == "z":
        rows = (rows - rows[:TRAIN].mean(0)) / rows[:TRAIN].std(0)
    return rows[:TRAIN], rows[TRAIN:]


def train(
    version: str, train_rows: Tensor, validation_rows: Tensor, epochs: int, seed: int, rate: float
) -> list[tuple[float, float]]:
    """Training and validation loss of every epoch."""
    torch.manual_seed(seed)
    network = Network()
    parts = write_version(version)
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, eps=1e-7)

    def loss_of(x: Tensor) -> Tensor:
        hidden = network.encoder(x)
        m, s = network.mean(hidden), network.second(hidden)
        loss = parts["reconstruction"](x, network.decoder(parts["sample"](m, s))) + parts["kl"](m, s)
        return torch.as_tensor(loss).mean()

    history = []
    for _ in range(epochs):
        total = 0.0
        for batch in torch.randperm(TRAIN).split(32):
            optimizer.zero_grad()
            loss = loss_of(train_rows[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        with torch.no_grad():
            validation = sum(loss_of(rows).item() * len(rows) for rows in validation_rows.split(32)) / VALIDATION
        history.append((total / TRAIN, validation))
    return history


def table(histories: dict[str, list[tuple[float, float]]]) -> str:
    """Epoch by epoch, beside what the asker published for the first version."""
    names = ["published", *histories]
    lines = [
        "Training / validation loss, as each version computes it",
        "epoch" + "".join(f"{name:>23}" for name in names),
    ]
    columns = {"published": list(PUBLISHED), **histories}
    for epoch in range(max(len(values) for values in histories.values())):
        cells = [columns[name][epoch] if epoch < len(columns[name]) else (math.nan, math.nan) for name in names]
        lines.append(f"{epoch + 1:>5}" + "".join(f"{f'{one:.2g} / {other:.2g}':>23}" for one, other in cells))
    return "\n".join(lines)


def findings(histories: dict[str, list[tuple[float, float]]], rows: Tensor) -> str:
    """What the doctor says of each version: from the functions, and from the curve alone."""
    data = examine_data(rows.numpy(), "bernoulli")
    lines = [f"\nrows\n  {data.verdict}", *(_indented(finding) for finding in data.wrong)]
    for version in histories:
        report = diagnose(**write_version(version))
        curve = examine_history([list(pair) for pair in histories[version]], columns=COLUMNS, likelihood="bernoulli")
        numpy = diagnose(**write_version(version, "numpy"))
        lines.append(f"\n{version}\n  torch       {report.verdict}\n  numpy       {numpy.verdict}")
        lines.append(f"  Keras       {_keras(version)}\n  curve alone {curve.verdict}")
        lines += [_indented(finding) for finding in (*report.wrong, *curve.wrong)]
    return "\n".join(lines)


def _indented(finding: Finding) -> str:
    return textwrap.fill(f"{finding.code}: {finding.says}", 108, initial_indent="    ", subsequent_indent="      ")


def _keras(version: str) -> str:
    try:
        return diagnose(**write_version(version, "keras")).verdict
    except ImportError as error:
        return f"Skipped: {error}."


def picture(histories: dict[str, list[tuple[float, float]]], path: Path) -> None:
    """Draw the training losses on a symmetric-log axis."""
    figure, axes = pyplot.subplots(figsize=(8, 5))
    axes.plot(range(1, 11), [train for train, _ in PUBLISHED], "k--o", label="published (first)")
    for version, values in histories.items():
        axes.plot(range(1, len(values) + 1), [train for train, _ in values], "-o", label=LABELS[version], markersize=4)
    axes.axhline(0, color="0.4", linewidth=0.8)
    axes.annotate("no cross-entropy + KL goes below 0", (5.2, 0), (5.2, -5e4), color="0.3")
    axes.set_yscale("symlog", linthresh=100.0, linscale=1.5)
    axes.set_yticks([1e4, 1e2, 0, -1e2, *(-(10.0**power) for power in range(5, 26, 5))])
    axes.set_ylim(-1e26, 1e6)
    axes.set_xticks(range(1, 11))
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss, symmetric log scale")
    axes.set_title('"My VAE\'s loss is −1.2e18": the published losses and their replay')
    axes.legend(loc="lower left")
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main(arguments: list[str] | None = None, say: Callable[[str], object] = print) -> int:
    """Exit status 1 if the first version has not run away to below -1e15."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", choices=("grey", "bits", "z"), default="grey", help="the rows, see above")
    parser.add_argument("--rate", type=float, default=1e-3, help="Adam's step size")
    parser.add_argument("--versions", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--out", type=Path, default=Path("outputs/negative_loss"))
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    rows, validation = make_rows(options.rows, options.seed)
    say(f"{sum(parameter.numel() for parameter in Network().parameters()):,} parameters, {TRAIN} + {VALIDATION} rows")
    histories = {
        version: train(version, rows, validation, options.epochs, options.seed, options.rate)
        for version in options.versions
    }
    text = table(histories)
    say(text)
    (options.out / "losses.txt").write_text(text + "\n", encoding="utf-8")
    for version, values in histories.items():
        body = "".join(f"{epoch},{one},{other}\n" for epoch, (one, other) in enumerate(values))
        (options.out / f"{version}.csv").write_text("epoch,loss,val_loss\n" + body, encoding="utf-8")
    say(findings(histories, rows))
    picture(histories, options.out / "losses.png")
    say(f"\nPicture and tables: {options.out}")
    if "first" not in histories:
        return 0
    least = min(min(pair) for pair in histories["first"])
    if least < -1e15:
        say(f"The first version ran away to {least:.2g}, as it did for the asker.")
        return 0
    say(f"With step size {options.rate:g} the first version reached {least:.2g} in {options.epochs} epochs, not -1e15.")
    return 1


if __name__ == "__main__":
    sys.exit(main())
