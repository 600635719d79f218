"""The tables of a sweep's report, and the sentences that go with them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from vae_lightning.data.wording import shorten
from vae_lightning.inference.reference import PROBABILITY
from vae_lightning.sweeps.comparison import Configuration, Ranking, Result, comparable, is_seed, varied_keys

STATUSES = ("finished", "failed", "pruned", "killed", "running", "planned")
ABSENT = "–"
MAX_WORDS = 160
"""Letters of a reason or of a job's settings: one long path would stretch every row of a table."""


def headline(results: Sequence[Result], unreadable: Sequence[int] = ()) -> str:
    """How many jobs there are, and what has become of them."""
    counts = Counter(result.status for result in results)
    parts = ", ".join(f"{counts[status]} {status}" for status in STATUSES if counts[status])
    lost = f" The job.json of {shorten(map(str, unreadable))} cannot be read." if unreadable else ""
    return f"{len(results)} job{'s' if len(results) != 1 else ''}: {parts}.{lost}"


def title(ranking: Ranking) -> str:
    """What is compared, and on which rows."""
    name, fingerprint = ranking.data
    measure = ranking.reference_measure or "unknown reference measure"
    return f"{measure}: {name or 'unknown rows'}" + (f" ({fingerprint})" if fingerprint else "")


def notes(ranking: Ranking, limit: int) -> list[str]:
    """What has to be known to read the ranking's table with ``limit`` rows."""
    found = []
    common = _common_settings(ranking)
    if common:
        found.append(f"All with {', '.join(common)}.")
    baseline = _common_baseline(ranking)
    if baseline:
        found.append(f"Independent columns reach a test NLL of {baseline}.")
    controls = list(dict.fromkeys(result.control_words for result in ranking.results if result.control_words))
    if controls:
        what = f"Gain is how far the test NLL lies below that of the control, {shorten(controls, 2)}"
        found.append(f"{what}; where it is negative, the control is the better model.")
    floor = _mean([value for c in ranking.configurations for value in c.values("test/entropy_floor")], ".2f")
    measure = ranking.reference_measure
    if measure is not None and measure.kind == PROBABILITY and floor not in (ABSENT, "0.00"):
        found.append(f"The rows hold grey levels, so this is a cross-entropy: at least {floor} on the test rows.")
    if not ranking.is_paired:
        found.append(
            "Not every configuration has results of the same seeds: their means are over different splits of the rows, "
            "and only the column behind is free of that."
        )
    left = len(ranking.configurations) - limit
    if left > 0:
        found.append(f"The best {limit} of {limit + left} configurations; all jobs are in sweep.csv.")
    return found


def apart(rankings: Sequence[Ranking]) -> str:
    """Why the rankings are several; empty where there is one."""
    if len(rankings) < 2:
        return ""
    reasons = []
    measures = {ranking.reference_measure for ranking in rankings if ranking.reference_measure is not None}
    if len({measure.kind for measure in measures}) > 1:
        reasons.append("a density per data unit can exceed 1 and its NELBO can be negative, a probability cannot")
    if len({measure.rows for measure in measures if measure.kind == PROBABILITY}) > 1:
        reasons.append("rows that are scaled or binarized in another way are other data")
    if len({ranking.data for ranking in rankings}) > 1:
        reasons.append("a NELBO belongs to the rows that it was measured on")
    why = "; ".join(reasons) or "what they measure differs"
    return f"The {len(rankings)} tables are not compared with one another: {why}."


def ranking_table(ranking: Ranking, limit: int, markdown: bool = False, brief: bool = False) -> Table:
    """One row a configuration, the best first: means over seeds ± their sample standard deviation, nats per row.

    Args:
        ranking: at least one configuration.
        limit: how many rows at most.
        markdown: for GitHub's markup, which has its own signs for bold and for a bar in a cell.
        brief: only what chooses.
    """
    keys = [key for key in find_varied(ranking.results) if not is_seed(key)]
    metrics = ["val/nelbo", "behind", *([] if brief else ["test/nelbo"]), "test/nll"]
    metrics += [] if _common_baseline(ranking) else ["baseline NLL"]
    metrics += ["gain"] if any("test/control" in result.metrics for result in ranking.results) else []
    metrics += [] if brief else ["active units", "seconds"]
    table = Table(header_style="bold")
    for name in ["rank", *keys, *metrics, "seeds", "jobs"]:
        table.add_column(Text(name), justify="left" if name in ("rank", "jobs", *keys) else "right", overflow="fold")
    best = ranking.configurations[0]
    for rank, configuration in enumerate(ranking.configurations[:limit], 1):
        settings = configuration.results[0].job.settings
        numbers = {
            "val/nelbo": spread(configuration.values("val/nelbo")),
            "behind": spread(configuration.behind(best)) if rank > 1 else ABSENT,
            "test/nelbo": spread(configuration.values("test/nelbo")),
            "test/nll": spread(configuration.values("test/nll")),
            "baseline NLL": spread(configuration.values("test/baseline")),
            "gain": spread(configuration.gains),
            "active units": _mean(configuration.values("test/active_units"), ".3g"),
            "seconds": _mean([result.job.seconds for result in configuration.results], ".1f"),
        }
        cells = [
            "1 best" if rank == 1 else str(rank),
            *(format_setting(settings, key) for key in keys),
            *(numbers[name] for name in metrics),
            _num_seeds(configuration),
            shorten(str(result.number) for result in configuration.results),
        ]
        marked = [f"**{cell}**" if rank == 1 else cell for cell in map(_in_markdown, cells)] if markdown else cells
        table.add_row(*map(Text, marked), style="bold" if rank == 1 else None)
    return table


def problems(results: Sequence[Result]) -> list[tuple[Result, str]]:
    """Jobs that ended without a number to rank, and why."""
    found = []
    for result in results:
        if result.status in ("failed", "pruned"):
            found.append((result, first_line(result.job.error) or "No reason is recorded."))
        elif result.status == "killed":
            found.append((result, "Its process is gone. The same command with the same sweep.dir goes on."))
        elif result.status == "finished" and not result.is_ranked:
            found.append((result, "Its summary.json is missing or cannot be read."))
    return found


def problems_table(found: Sequence[tuple[Result, str]]) -> Table:
    """One row a job that has no result: its number, its status, what it was, why; in GitHub's markup."""
    table = Table(header_style="bold")
    for name in ("job", "status", "settings", "reason"):
        table.add_column(Text(name), justify="right" if name == "job" else "left", no_wrap=name in ("job", "status"))
    for result, reason in found:
        cells = (str(result.number), result.status, cut(result.job.name), cut(reason))
        table.add_row(*map(Text, map(_in_markdown, cells)))
    return table


def find_varied(results: Sequence[Result]) -> dict[str, dict[int, Any]]:
    """:func:`varied_keys` of the results' jobs."""
    return varied_keys({result.number: result.job for result in results})


def format_setting(settings: Mapping[str, Any], key: str) -> str:
    """A setting's value as it would be typed."""
    if key not in settings:
        return ABSENT
    value = settings[key]
    return value if isinstance(value, str) else comparable(settings, key).replace(", ", ",").replace('"', "")


def spread(values: Sequence[float]) -> str:
    """Mean ± sample standard deviation; of one value, the value.

    >>> spread([1.0, 3.0]), spread([2.5]), spread([])
    ('2.000 ± 1.414', '2.500', '–')
    """
    if len(values) < 2:
        return _mean(values)
    with np.errstate(invalid="ignore"):  # an infinite value has no deviation
        return f"{_mean(values)} ± {_number(float(np.std(values, ddof=1)))}"


def cut(text: str) -> str:
    """At most ``MAX_WORDS`` letters of a text."""
    return text if len(text) <= MAX_WORDS else text[: MAX_WORDS - 1] + "…"


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _in_markdown(text: str) -> str:
    return text.replace("\n", " ").replace("|", r"\|").replace("*", r"\*").replace("<", r"\<")


def _mean(values: Sequence[float], form: str = "") -> str:
    return _number(float(np.mean(values)), form) if values else ABSENT


def _number(value: float, form: str = "") -> str:
    return format(value, form or (".3f" if abs(value) < 1e5 else ".4g"))


def _num_seeds(configuration: Configuration) -> str:
    found = len(configuration.results)
    return str(found) if found == configuration.num_jobs else f"{found} of {configuration.num_jobs}"


def _common_settings(ranking: Ranking) -> list[str]:
    """What the sweep varies, but not among these; "likelihood=gaussian" tells what a table is of."""
    settings = ranking.results[0].job.settings
    swept = [word.partition("=")[0].lstrip("+") for word in ranking.results[0].job.swept]
    differ = find_varied(ranking.results)
    return [f"{key}={format_setting(settings, key)}" for key in swept if key in settings and key not in differ]


def _common_baseline(ranking: Ranking) -> str:
    """The baseline as text where it is the same for all configurations; else the table needs a column of it."""
    found = {spread(configuration.values("test/baseline")) for configuration in ranking.configurations}
    return found.pop() if len(found) == 1 and found != {ABSENT} else ""
