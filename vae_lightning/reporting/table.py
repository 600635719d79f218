"""The test table: each number beside what it means."""

import math
from collections.abc import Iterable

from rich.table import Table

from vae_lightning.console import console, say
from vae_lightning.data.batch import Batch
from vae_lightning.inference.evaluation import Evaluation, evaluate
from vae_lightning.inference.model import VAEModel
from vae_lightning.likelihoods.moments import RowBatches


def evaluate_with_bar(
    model: VAEModel, batches: Iterable[Batch], training_rows: RowBatches | None, num_samples: int, seed: int
) -> Evaluation:
    """`evaluate`, with a progress bar where the console is a terminal; rows in model units."""
    from rich.progress import Progress

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        # To count the rows of a file is to read it: only for a bar that is seen.
        total = sum(batch.num_rows for batch in batches) if console.is_terminal else None
        task = progress.add_task(f"test NLL, {num_samples} importance samples a row", total=total)
        slopes, advance = model.log_slopes(), lambda rows: progress.advance(task, rows)
        return evaluate(model.vae, batches, training_rows, num_samples, seed, slopes, advance)


def explain(result: Evaluation, best: float | None = None) -> list[tuple[str, str, str]]:
    """Name, number and meaning of every line of the table.

    Args:
        result: the numbers, nats per row in data units.
        best: the validation NELBO of the weights that are kept, where it is known.
    """
    verdict = "the model beats it" if result.nll < result.baseline else "the model does NOT beat it"
    floor = plain_zero(result.entropy_floor)
    lines = [
        (
            "NLL",
            f"{result.nll:.3f}",
            f"± {result.nll_standard_error:.3f}, -log p(x) from {result.num_samples:,} samples a row",
        ),
        ("baseline NLL", f"{result.baseline:.3f}", f"independent columns; {verdict}"),
        ("least possible", f"{floor:.3f}", "no model of this family goes lower on these rows"),
        ("NELBO", f"{result.nelbo:.3f}", "= reconstruction + KL, an upper bound of the NLL"),
        ("reconstruction", f"{result.reconstruction:.3f}", ""),
        ("KL", f"{result.kl:.3f}", f"{result.active_units} of {result.latent_dim} latent dimensions active"),
        ("NLL per column", f"{result.nll_per_column:.4f}", f"nats = {result.bits_per_column:.4f} bits"),
    ]
    if math.isnan(result.baseline):
        lines[1] = ("baseline NLL", "-", "independent columns; needs the training rows, which could not be read")
    if best is not None:
        lines.append(("validation NELBO", f"{best:.3f}", "of the weights kept: what sweeps minimise"))
    return lines


def print_results(
    result: Evaluation, best: float | None = None, title: str = "Test", verdict: str | None = None
) -> None:
    """Print the table, under the verdict where there is one."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for line in explain(result, best):
        table.add_row(*line)
    say(f"\n{verdict or ''}")
    say(f"{title}, {result.num_rows:,} rows, nats per row in data units:")
    say(table)
    say()


def plain_zero(value: float) -> float:
    """-0.0 prints its sign."""
    return value + 0.0
