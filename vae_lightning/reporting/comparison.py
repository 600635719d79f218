"""The table of a comparison: each number of a synthetic table beside its two controls."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from rich.table import Table

from vae_lightning.comparison.compare import INDEPENDENT, SECOND, SYNTHETIC, Comparison, Measures
from vae_lightning.console import say
from vae_lightning.data.wording import count

HEADINGS = ("", SYNTHETIC, SECOND, INDEPENDENT, "")
WORST = 3
"""Columns and pairs that are named."""
Line = tuple[str, str, str, str, str]


def explain_comparison(found: Comparison) -> list[Line]:
    """Name, numbers of the synthetic table and of its controls, and meaning of every line of the table."""
    tables = [found.tables[name] for name in (SYNTHETIC, SECOND, INDEPENDENT)]
    synthetic = tables[0]

    def line(name: str, number: Callable[[Measures], float], word: Callable[[float], str], meaning: str) -> Line:
        first, second, third = (word(number(table)) for table in tables)
        return name, first, second, third, meaning

    pairs = {" and ".join(pair): error for pair, error in synthetic.pairs.items()}
    lines = [
        line("shape error", lambda t: t.shape_error, _percent, f"of single columns; {_worst(synthetic.columns)}"),
        line("trend error", lambda t: t.trend_error, _percent, f"of pairs of columns; {_worst(pairs)}"),
        line(
            "two-sample AUROC",
            lambda t: t.two_sample,
            _number,
            "of a classifier that tells them from real rows; 0.5 is best",
        ),
        line(
            found.measure,
            lambda t: t.usefulness,
            _number,
            f"of {found.target} in real rows, predicted from what these teach",
        ),
    ]
    if not math.isnan(found.copied):
        copied = f"copies have {_percent(found.copied)}"
        lines += [
            line(
                "closer to training",
                lambda t: t.privacy.closer_to_training,
                _percent,
                f"than to held-out rows; 50 % is best, {copied}",
            ),
            line(
                "distance ratio",
                lambda t: t.privacy.distance_ratio,
                _number,
                "of distances to the closest training and held-out row, medians; 1 is best",
            ),
        ]
    return lines


def describe_comparison(found: Comparison) -> str:
    """What was compared with what, one sentence."""
    return (
        f"{count(found.num_rows, 'row')} of each table held against {count(found.num_real, 'real row')}: no maker of "
        f"rows can beat the {SECOND}, and any should beat {INDEPENDENT}."
    )


def print_comparison(found: Comparison, title: str) -> None:
    """Print the table, and what was left out."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="")
    for place, heading in enumerate(HEADINGS):
        numbers = 0 < place < len(HEADINGS) - 1
        # Two lines leave the words behind the numbers some room in a narrow terminal.
        heading = "\n".join(heading.rsplit(" ", 1))
        table.add_column(heading, justify="right" if numbers else "left", no_wrap=place == 0, overflow="fold")
    for line in explain_comparison(found):
        table.add_row(*line)
    say(f"\n{title}: {describe_comparison(found)}\n")
    say(table)
    for note in found.notes:
        say(note)
    say()


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _worst(errors: Mapping[Any, float]) -> str:
    if not errors:
        return "there are none"
    worst = sorted(errors, key=lambda name: -errors[name])[:WORST]
    return "worst " + ", ".join(f"{name} {_percent(errors[name])}" for name in worst)
