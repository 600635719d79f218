"""The test table: each number beside what it means."""

import math
from collections.abc import Iterable

from rich.table import Table

from vae_lightning.console import console, say
from vae_lightning.controls.choice import fit_control
from vae_lightning.data.batch import Batch, Batches
from vae_lightning.data.wording import count
from vae_lightning.inference.evaluation import Evaluation, evaluate
from vae_lightning.inference.importance import choose_num_samples
from vae_lightning.inference.model import VAEModel

NO_ROWS = "needs the training rows, which could not be read"
FEW_ROWS = 50


def evaluate_with_bar(
    model: VAEModel,
    batches: Iterable[Batch],
    train: Batches | None,
    valid: Batches | None,
    num_samples: int | None,
    seed: int,
) -> Evaluation:
    """`evaluate` beside its control, with a progress bar where the console is a terminal; rows in model units.

    Args:
        model: in evaluation mode.
        batches: the rows to judge it by; gone through again and again.
        train: what baseline and control are fitted to; None leaves them out.
        valid: what chooses among the controls.
        num_samples: importance samples per row; None for as many as take some seconds.
        seed: of the draws.
    """
    from rich.progress import Progress

    vae = model.vae
    control = None if train is None else fit_control(vae.likelihood, train, valid, vae.latent_dim, vae.exposed)
    if num_samples is None:
        num_samples = choose_num_samples(vae, sum(batch.num_rows for batch in batches))

    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        # To count the rows of a file is to read it: only for a bar that is seen.
        total = sum(batch.num_rows for batch in batches) if console.is_terminal else None
        task = progress.add_task(f"test NLL, {num_samples} importance samples a row", total=total)
        slopes, advance = model.log_slopes, lambda rows: progress.advance(task, rows)
        return evaluate(vae, batches, train, num_samples, seed, slopes, advance, control)


def explain(result: Evaluation, best: float | None = None) -> list[tuple[str, str, str]]:
    """Name, number and meaning of every line of the table.

    Args:
        result: the numbers, nats per row in data units.
        best: the validation NELBO of the weights that are kept, where it is known.
    """
    is_linear = result.control_words.startswith("factor analysis")
    lines = [
        ("NLL", _number(result.nll), f"{_explain_error(result)}; log p(x) from {result.num_samples:,} samples"),
        (
            "baseline NLL",
            _number(result.baseline),
            _compare("independent columns", result.baseline - result.nll, result.baseline_gain_standard_error),
        ),
        (
            "linear NLL" if is_linear else "control NLL",
            _number(result.control),
            _compare(result.control_words, result.control - result.nll, result.control_gain_standard_error),
        ),
        (
            "explained",
            "-" if math.isnan(result.explained) else f"{100 * result.explained:.0f} %",
            _explain_share(result),
        ),
        (
            "least possible",
            _number(result.entropy_floor),
            "a bound, not a goal: no model of this family is lower here",
        ),
        ("NELBO", _number(result.nelbo), "= reconstruction + KL, an upper bound of the NLL"),
        ("reconstruction", _number(result.reconstruction), ""),
        ("KL", _number(result.kl), f"{result.active_units} of {result.latent_dim} latent dimensions active"),
        ("NLL per column", _number(result.nll_per_column, 4), f"nats = {_number(result.bits_per_column, 4)} bits"),
    ]
    if best is not None:
        lines.append(("validation NELBO", _number(best), "of the weights kept: what sweeps minimise"))
    return lines


def _number(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{plain_zero(value):.{digits}f}"


def _explain_error(result: Evaluation) -> str:
    """What ± measures, and what makes it large where it hides the difference that matters."""
    error = result.nll_standard_error
    if math.isnan(error):
        return "one row, so no standard error"
    words = f"± {error:.3f}, standard error of the mean over rows"
    gain = result.baseline - result.nll if math.isnan(result.control) else result.control - result.nll
    if not error > abs(gain) / 2:
        return words
    if result.extreme_share > 0.5:
        return f"{words}, large as the 1 % of rows farthest out make {100 * result.extreme_share:.0f} % of its square"
    if result.num_rows < FEW_ROWS:
        return f"{words}, large as the rows are few"
    return f"{words}; rows differ by more than models do, so gains are taken row by row"


def _compare(reference: str, gain: float, error: float) -> str:
    """How the model stands to a reference that is ``gain`` nats worse."""
    if math.isnan(gain):
        return NO_ROWS
    plus_minus = "" if math.isnan(error) else f" ± {error:.3f}"
    if abs(gain) < 2 * error:
        return f"{reference}; the model is as good, within {abs(gain):.3f}{plus_minus}"
    if gain > 0:
        return f"{reference}; the model beats it by {gain:.3f}{plus_minus}"
    return f"{reference}; the model does NOT beat it: worse by {-gain:.3f}{plus_minus}"


def _explain_share(result: Evaluation) -> str:
    if math.isnan(result.control):
        return NO_ROWS
    if math.isnan(result.explained):
        return f"{result.control_words} is not measurably better than independent columns"
    way = "of the way from the baseline to the control"
    if result.explained < 0:
        return f"{way}: the model has gone the other way"
    return f"{way}: the model has gone beyond it" if result.explained > 1 else way


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
    say(f"\n{verdict}" if verdict else "")
    say(f"\n{title}, {count(result.num_rows, 'row')}, nats per row in data units:")
    say(table)
    say()


def plain_zero(value: float) -> float:
    """-0.0 prints its sign."""
    return value + 0.0
