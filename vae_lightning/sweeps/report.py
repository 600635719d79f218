"""The report of a sweep: ``sweep.csv`` to compute with, ``sweep.md`` to read, ``sweep.png`` to look at."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from vae_lightning.console import console, display_path
from vae_lightning.files import write_whole
from vae_lightning.sweeps.comparison import (
    Result,
    rankings_of,
    results_of,
    swept_keys,
    typed_keys,
    unreadable,
    varied_keys,
)
from vae_lightning.sweeps.tables import apart, headline, notes, problems, problems_table, ranking_table, title

FILES = ("sweep.csv", "sweep.md", "sweep.png")
ROWS_IN_TABLE, ROWS_IN_TERMINAL = 25, 10
READING = (
    "Nats per row, lower is better; mean ± sample standard deviation over seeds. behind: how much higher val/nelbo is "
    "than the best configuration's, seed by seed."
)
WHY_VALIDATION = (
    "The order is that of val/nelbo, the NELBO of the best epoch on the validation rows: the choice leaves the test "
    "rows untouched."
)


def write_report(sweep_dir: Path) -> list[Path]:
    """Write ``sweep.csv``, ``sweep.md`` and ``sweep.png`` of the jobs as they are now, each in one step.

    Where jobs write for TensorBoard, the columns of its HParams tab are written, too.

    Returns:
        The three files.

    Raises:
        RunError: when the directory holds no jobs.
        OSError: when a file cannot be written.
    """
    from vae_lightning.sweeps.figures import render_sweep  # matplotlib takes a second

    results = results_of(sweep_dir)
    makers: tuple[Callable[[], bytes], ...] = (
        lambda: table_of(results).to_csv(index=False).encode(),
        lambda: markdown_of(results, unreadable(sweep_dir)).encode(),
        lambda: render_sweep(results),
    )
    # One after the other, so that what fails last leaves the others.
    files = [write_whole(sweep_dir / name, make()) for name, make in zip(FILES, makers, strict=True)]
    if any((sweep_dir / str(result.number) / "tensorboard").is_dir() for result in results):
        _tell_tensorboard(sweep_dir, results)
    return files


def report_on(sweep_dir: Path) -> None:
    """Print the ranking, write the files, and say where they are.

    Raises:
        RunError: when the directory holds no jobs.
        OSError: when a file cannot be written; the ranking is printed then.
    """
    print_report(results_of(sweep_dir), unreadable(sweep_dir))
    write_report(sweep_dir)
    console.print(f"The report is in {display_path(sweep_dir)}: {', '.join(FILES)}.")


def _tell_tensorboard(sweep_dir: Path, results: Sequence[Result]) -> None:
    from vae_lightning.reporting.hparams import write_columns  # not every sweep needs TensorBoard

    varied = varied_keys({result.number: result.job for result in results})
    write_columns(sweep_dir, {key: list(values.values()) for key, values in varied.items()})


def table_of(results: Sequence[Result]) -> pd.DataFrame:
    """One row a job: number, status, what was swept or typed and differs, seconds, error, metrics, their measure."""
    jobs = {result.number: result.job for result in results}
    differing = varied_keys(jobs)
    swept = swept_keys(jobs.values())
    known = {key for job in jobs.values() for key in job.settings}
    keys = [key for key in typed_keys(jobs.values()) if key in differing or (key in swept and key in known)]
    metrics = list(dict.fromkeys(["val/nelbo", *(name for result in results for name in result.metrics)]))
    rows = [
        {
            "job": result.number,
            "status": result.status,
            **{key: _cell(result.job.settings[key]) for key in keys if key in result.job.settings},
            "seconds": result.job.seconds,
            "error": result.job.error,
            "val/nelbo": result.job.value,  # also of a job whose summary is lost
            **result.metrics,
            **({"reference measure": result.reference_measure, "rows": result.data[1]} if result.summary else {}),
        }
        for result in results
    ]
    return pd.DataFrame(
        rows, columns=["job", "status", *keys, "seconds", "error", *metrics, "reference measure", "rows"]
    )


def markdown_of(results: Sequence[Result], lost: Sequence[int] = ()) -> str:
    """The report to read: a ranking for each class of comparable jobs, then the jobs without a result."""
    rankings = rankings_of(results)
    parts = ["# Sweep", headline(results, lost)]
    parts += [f"{READING} {WHY_VALIDATION}"] if rankings else ["No job has finished yet."]
    parts += [apart(rankings)] if len(rankings) > 1 else []
    for ranking in rankings:
        table = ranking_table(ranking, ROWS_IN_TABLE, markdown=True)
        parts += [f"## {title(ranking)}", *([" ".join(said)] if (said := notes(ranking, ROWS_IN_TABLE)) else [])]
        parts += [_markdown(table)]
    found = problems(results)
    if found:
        parts += ["## Jobs without a result", _markdown(problems_table(found[:ROWS_IN_TABLE]))]
        parts += [f"And {len(found) - ROWS_IN_TABLE} more: sweep.csv."] if len(found) > ROWS_IN_TABLE else []
    return "\n\n".join(parts) + "\n"


def print_report(results: Sequence[Result], lost: Sequence[int] = ()) -> None:
    """Print the ranking and the failures in brief."""
    rankings = rankings_of(results)
    console.print(headline(results, lost))
    for ranking in rankings:
        console.print(f"\n{title(ranking)}", style="bold")
        _print_table(ranking_table(ranking, ROWS_IN_TERMINAL, brief=True))
        for note in notes(ranking, ROWS_IN_TERMINAL):
            console.print(note)
    if rankings:
        console.print(f"\n{READING}")
    if len(rankings) > 1:
        console.print(apart(rankings))
    found = problems(results)
    for result, reason in found[:ROWS_IN_TERMINAL]:
        console.print(f"Job {result.number} {result.status} ({result.job.name}): {reason}")
    if len(found) > ROWS_IN_TERMINAL:
        console.print(f"And {len(found) - ROWS_IN_TERMINAL} more without a result.")


def _print_table(table: Table) -> None:
    if console.is_terminal:
        table.box = box.SIMPLE_HEAD
        console.print(table)
    else:  # what is piped has no width to be folded into
        console.print(_markdown(table))


def _markdown(table: Table) -> str:
    """The table in GitHub's markup; as plain text it reads as a table, too."""
    table.box = box.MARKDOWN
    file = io.StringIO()
    Console(file=file, width=10_000, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines() if line.strip())


def _cell(value: Any) -> Any:
    """Numbers and words as they are, everything else as JSON: ``null``, ``[256, 128]``."""
    return value if isinstance(value, int | float | str) else json.dumps(value, default=str)
