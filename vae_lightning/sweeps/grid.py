"""``hydra/sweeper=grid``: every combination of the values given; what has finished is not run again."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hydra.core.override_parser.types import Override

from vae_lightning.console import console, display_path
from vae_lightning.errors import ConfigError, check_parameter
from vae_lightning.sweeps.base import ENDED, Job, at_work, claim, jobs_of, next_number, planning, read_job, write_job
from vae_lightning.sweeps.conclusion import conclude
from vae_lightning.sweeps.launch import Launch
from vae_lightning.version import __version__

Params = Mapping[str, str]
MANY = 20
"""Jobs that take more than a few seconds to compose."""


class Grid:
    """The jobs of a grid, each in a numbered directory.

    Run again in the same directory it skips the jobs whose configuration has finished, goes on with those that were
    killed, repeats those that failed, and gives new ones the next free numbers. Two processes may share the work.

    Args:
        launch: composes and launches.
        params: axes of the configuration, {key: values}; a list of such dictionaries is the sum of their grids.
        n_jobs: jobs at once; None: what the launcher can.
    """

    def __init__(self, launch: Launch, params: Params | Sequence[Params] | None, n_jobs: int | None = None) -> None:
        self.launch = launch
        grids = [params or {}] if params is None or isinstance(params, Mapping) else list(params)
        legal = all(isinstance(grid, Mapping) for grid in grids)
        check_parameter("hydra.sweeper", "params", legal, "{key: values} or a list of such", params)
        self.grids: list[Params] = grids
        self.size = launch.jobs_at_once(n_jobs)
        # These run as many jobs at once as they can by themselves, however many there are.
        self.has_queue = launch.launcher_name not in ("basic", "submitit_local") and n_jobs is None

    def sweep(self, arguments: list[str]) -> None:
        """Run every combination.

        Raises:
            RunError: after the last job, when some have failed.
        """
        combinations = [words for params in self.grids for words in self._combinations(params, arguments)]
        if len(combinations) > MANY:
            console.print(f"Composing {len(combinations)} jobs ...")
        planned = [self.launch.job(*words) for words in combinations]
        self.launch.begin()
        jobs = self._number(planned)
        waiting = self._announce(jobs)
        size = len(waiting) if self.has_queue else self.size
        for start in range(0, len(waiting), max(size, 1)):
            row = {n: job for n, job in self._find_unfinished(waiting[start : start + size]) if not self._is_at_work(n)}
            self.launch.run(row)
        conclude(self.launch.sweep_dir, list(jobs))

    def _combinations(self, params: Params, arguments: list[str]) -> Iterator[tuple[list[str], list[str]]]:
        """All overrides of each job, and those of them that vary."""
        axes = [self._values(override) for override in self.launch.overrides(params, arguments).values()]
        # In a sum of grids, what is fixed in one may be what sets it apart from the others.
        parts = params if len(self.grids) > 1 else {}
        for words in itertools.product(*axes):
            keys = [word.partition("=")[0].lstrip("+") for word in words]
            swept = [w for w, key, axis in zip(words, keys, axes, strict=True) if len(axis) > 1 or key in parts]
            yield list(words), swept

    def _values(self, override: Override) -> list[str]:
        if not override.is_sweep_override():
            return [str(override.input_line)]
        if not override.is_discrete_sweep():
            raise ConfigError(
                f"{override.input_line}: a grid needs single values. hydra/sweeper=optuna searches an interval."
            )
        return [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]

    def _number(self, jobs: list[Job]) -> dict[int, Job]:
        """Each job's number: that of the record with its fingerprint, else a free one, recorded at once."""
        sweep_dir = self.launch.sweep_dir
        with planning(sweep_dir):
            known = {job.fingerprint: number for number, job in jobs_of(sweep_dir).items()}
            free = itertools.count(next_number(sweep_dir))
            for job in jobs:
                if job.fingerprint not in known:
                    known[job.fingerprint] = next(free)
                self._plan(sweep_dir / str(known[job.fingerprint]), job)
        return {known[job.fingerprint]: job for job in jobs}

    def _plan(self, run_dir: Path, job: Job) -> None:
        """Record that the job is wanted, unless it is done or a process is at it."""
        if at_work(run_dir):
            return
        with claim(run_dir) as mine:
            known = read_job(run_dir)
            if not mine or (known is not None and known.status == "finished"):
                return
            if known is not None and known.status == "running":  # killed: it goes on where it was
                job.status, job.attempts = "running", known.attempts
            write_job(run_dir, job)

    def _announce(self, jobs: dict[int, Job]) -> list[int]:
        """Say what is to be done; returns the numbers of the jobs that have to run."""
        recorded = jobs_of(self.launch.sweep_dir)
        known = [(number, recorded[number]) for number in jobs if number in recorded]
        waiting = [number for number, job in known if job.status not in ENDED]
        done = len(jobs) - len(waiting)
        others = sorted({job.version for _, job in known if job.status == "finished"} - {__version__})
        console.print(
            f"{len(jobs)} job{'s' if len(jobs) != 1 else ''} in {display_path(self.launch.sweep_dir)}: "
            + (f"{done} finished before, {len(waiting)} to run." if done else f"{self.size} at a time.")
            + (f" Finished ones are of vae_lightning {', '.join(others)}, this is {__version__}." if others else ""),
        )
        return waiting

    def _find_unfinished(self, numbers: list[int]) -> list[tuple[int, Job]]:
        known = [(number, read_job(self.launch.sweep_dir / str(number))) for number in numbers]
        return [(number, job) for number, job in known if job is not None and job.status not in ENDED]

    def _is_at_work(self, number: int) -> bool:
        return at_work(self.launch.sweep_dir / str(number))
