"""What the jobs of a sweep say together: which settings vary, and which results may be compared with which."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from vae_lightning.errors import RunError
from vae_lightning.inference.reference import ReferenceMeasure
from vae_lightning.runs.conclusion import read_summary
from vae_lightning.sweeps.base import RECORD, Job, at_work, jobs_of, read_job


@dataclass(frozen=True)
class Result:
    """A job with what its run has measured.

    Args:
        number: the job's directory.
        job: its record.
        status: the record's, or "killed" for a running job that nobody is at work on.
        summary: ``summary.json``; empty where there is none that can be read.
    """

    number: int
    job: Job
    status: str
    summary: dict[str, Any]

    @property
    def is_ranked(self) -> bool:
        """Whether it has finished and left its numbers."""
        return self.status == "finished" and "val/nelbo" in self.metrics and math.isfinite(self.metrics["val/nelbo"])

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The numbers of the summary that measure the run, by their path: ``val/nelbo``, ``test/nll``, ``epochs``."""
        return metrics_of(self.summary)

    @property
    def reference_measure(self) -> ReferenceMeasure | None:
        """What its NELBO is stated against; None of a run that an older version finished."""
        return measure_of(self.summary)

    @property
    def control_words(self) -> str:
        """The simple model that its test NLL was held against; empty where there was none."""
        test = self.summary.get("test")
        return str(test.get("control_words", "")) if isinstance(test, Mapping) else ""

    @property
    def data(self) -> tuple[str, str]:
        """Name and fingerprint of the rows.

        Another split of the same rows counts as the same data: every seed makes its own by default, and averaging over
        seeds is meant to average over splits, too.
        """
        data = self.summary.get("data")
        data = data if isinstance(data, Mapping) else {}
        return str(data.get("name", "")), str(data.get("rows_fingerprint", data.get("fingerprint", "")))


@dataclass(frozen=True)
class Configuration:
    """Finished jobs that differ in nothing but seeds.

    Args:
        results: theirs.
        num_jobs: how many jobs of this configuration the sweep holds, those without a result included.
    """

    results: Sequence[Result]
    num_jobs: int

    @cached_property
    def by_seed(self) -> dict[str, float]:
        """val/nelbo by the seeds that it was trained with."""
        return {_seeds(result.job): result.metrics["val/nelbo"] for result in self.results}

    def values(self, metric: str) -> list[float]:
        """The metric of each job that has it."""
        return [result.metrics[metric] for result in self.results if metric in result.metrics]

    @property
    def gains(self) -> list[float]:
        """How far the test NLL of each job is below that of its control."""
        found = [result.metrics for result in self.results if {"test/control", "test/nll"} <= result.metrics.keys()]
        return [metrics["test/control"] - metrics["test/nll"] for metrics in found]

    def behind(self, other: "Configuration") -> list[float]:
        """How much higher its val/nelbo is than the other's, for each choice of seeds that both were trained with.

        Seeds split the rows, and one split may be harder by more than configurations differ; here that cancels.
        """
        return [value - other.by_seed[seeds] for seeds, value in self.by_seed.items() if seeds in other.by_seed]


@dataclass(frozen=True)
class Ranking:
    """Configurations whose val/nelbo may be compared, the best first.

    Args:
        reference_measure: what it is stated against.
        data: name and fingerprint of the rows.
        configurations: never empty.
    """

    reference_measure: ReferenceMeasure | None
    data: tuple[str, str]
    configurations: Sequence[Configuration]

    @property
    def results(self) -> list[Result]:
        """Of all configurations, by number."""
        results = [result for configuration in self.configurations for result in configuration.results]
        return sorted(results, key=lambda result: result.number)

    @property
    def is_paired(self) -> bool:
        """Whether all configurations were trained with the same seeds."""
        return len({frozenset(configuration.by_seed) for configuration in self.configurations}) == 1


def metrics_of(summary: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a ``summary.json`` that measure its run, by their path."""
    return dict(_numbers({name: value for name, value in summary.items() if name not in ("data", "versions")}))


def measure_of(summary: Mapping[str, Any]) -> ReferenceMeasure | None:
    """The reference measure that a ``summary.json`` records; None where it records none."""
    measure = summary.get("reference_measure")
    if not isinstance(measure, Mapping):
        return None
    kind, rows = measure.get("kind"), measure.get("rows", "")
    return ReferenceMeasure(kind, rows) if isinstance(kind, str) and isinstance(rows, str | None) else None


def results_of(sweep_dir: Path) -> list[Result]:
    """Every job of a sweep as it is now, by number.

    Raises:
        RunError: where there are none.
    """
    results = [_result(number, job, sweep_dir / str(number)) for number, job in jobs_of(sweep_dir).items()]
    if results:
        return results
    if (sweep_dir / RECORD).exists():
        raise RunError(f"{sweep_dir} is one job of a sweep. Give the directory that holds it: {sweep_dir.parent}.")
    state = "holds no jobs" if sweep_dir.is_dir() else "is no directory"
    raise RunError(
        f"{sweep_dir} {state}. A sweep's directory holds numbered ones with a {RECORD} each; "
        "`python train.py -m 'seed=0,1' sweep.dir=DIR` makes one."
    )


def unreadable(sweep_dir: Path) -> list[int]:
    """Numbers of the directories whose record cannot be read."""
    numbers = sorted(int(path.parent.name) for path in sweep_dir.glob(f"*/{RECORD}") if path.parent.name.isdecimal())
    return [number for number in numbers if read_job(sweep_dir / str(number)) is None]


def varied_keys(jobs: Mapping[int, Job]) -> dict[str, dict[int, Any]]:
    """Keys that were swept or typed and whose settings differ among the jobs, seeds included.

    Args:
        jobs: by number.

    Returns:
        Swept keys first, in the order in which they were typed; each with its value by the job's number. A job to which
        a setting does not apply, as ``likelihood.variance`` to a Bernoulli likelihood, has none.
    """
    found = {}
    for key in typed_keys(jobs.values()):
        values = {number: job.settings[key] for number, job in jobs.items() if key in job.settings}
        if len({comparable(job.settings, key) for job in jobs.values()}) > 1:
            found[key] = values
    return found


def typed_keys(jobs: Iterable[Job]) -> list[str]:
    """Keys of the jobs' overrides, swept ones first."""
    jobs = list(jobs)
    words = [*(word for job in jobs for word in job.swept), *(word for job in jobs for word in job.overrides)]
    return list(dict.fromkeys(_key(word) for word in words))


def swept_keys(jobs: Iterable[Job]) -> list[str]:
    """Keys that the sweep varies, even where the jobs so far agree."""
    return list(dict.fromkeys(_key(word) for job in jobs for word in job.swept))


def is_seed(key: str) -> bool:
    """Whether a setting chooses random numbers only."""
    return key == "seed" or key.endswith(".seed")


def comparable(settings: Mapping[str, Any], key: str) -> str:
    """A setting's value as text that is equal for equal values; empty where the setting does not apply."""
    return json.dumps(settings[key], sort_keys=True, default=str) if key in settings else ""


def rankings_of(results: Iterable[Result]) -> list[Ranking]:
    """Finished jobs in classes of one measure and the same rows, the class of the first job first.

    A configuration's place is that of its mean val/nelbo over seeds. What has not finished is left out.
    """
    results = list(results)
    missing = Counter(_but_seeds(result.job) for result in results if not result.is_ranked)
    rankings = []
    ranked = [result for result in results if result.is_ranked]
    comparable_with = lambda result: (result.reference_measure, result.data)  # noqa: E731
    for (measure, data), members in _group(ranked, comparable_with).items():
        configurations = [
            Configuration(group, len(group) + missing[settings])
            for settings, group in _group(members, lambda result: _but_seeds(result.job)).items()
        ]
        configurations.sort(key=lambda configuration: float(np.mean(configuration.values("val/nelbo"))))
        rankings.append(Ranking(measure, data, configurations))
    return rankings


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _group(results: Iterable[Result], key: Callable[[Result], Any]) -> dict[Any, list[Result]]:
    groups: dict[Any, list[Result]] = {}
    for result in results:
        groups.setdefault(key(result), []).append(result)
    return groups


def _result(number: int, job: Job, run_dir: Path) -> Result:
    status: str = job.status
    if job.status == "running" and not at_work(run_dir):
        job = read_job(run_dir) or job  # it may have ended between the two looks
        status = "killed" if job.status == "running" else job.status
    return Result(number, job, status, read_summary(run_dir) if status == "finished" else {})


def _numbers(tree: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, float]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def _seeds(job: Job) -> str:
    return json.dumps({key: value for key, value in job.settings.items() if is_seed(key)}, sort_keys=True)


def _but_seeds(job: Job) -> str:
    own = {key: value for key, value in job.settings.items() if not is_seed(key)}
    return json.dumps(own, sort_keys=True, default=str)
