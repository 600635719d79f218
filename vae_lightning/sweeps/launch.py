"""Between a sweeper and Hydra: what is asked for, how each job is composed, and how jobs are handed to a launcher."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, open_dict

from vae_lightning.config.overrides import prepare_overrides
from vae_lightning.config.settings import Settings
from vae_lightning.config.strangers import RECORDED, refuse_links
from vae_lightning.console import console
from vae_lightning.errors import ConfigError, RunError, check_parameter
from vae_lightning.files import free_directory, write_whole
from vae_lightning.shell import hydra_text
from vae_lightning.sweeps.base import (
    COMPOSED,
    Job,
    at_work,
    began,
    describe_error,
    has_failed_since,
    read_job,
    write_job,
)
from vae_lightning.sweeps.configuration import job_of

LOST = "Its process ended without a word, as when the system kills it for want of memory."
UNSWEPT = ("sweep", "launcher", "resume", "run_dir", "debug", "hydra")


class Launch:
    """The jobs of one sweep, composed and launched.

    Args:
        context: Hydra's.
        task: what a job runs.
        config: the composed configuration, ``hydra`` included.
    """

    def __init__(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> None:
        self.config, self.loader = config, context.config_loader
        # Absolute and fixed now: a worker would read the time of ${now:...} anew.
        check_parameter("sweep", "dir", bool(config.hydra.sweep.dir), "a directory", config.hydra.sweep.dir)
        self.sweep_dir = Path(config.hydra.sweep.dir).absolute()
        hydras, ours = (_as_written(node, "dir") for node in (config.hydra.sweep, config.sweep))
        self._is_named_by_the_time = "${now:" in hydras.replace("${sweep.dir}", ours)
        self._launcher = Plugins.instance().instantiate_launcher(
            hydra_context=context, task_function=task, config=config
        )
        self.launcher_name = str(config.hydra.runtime.choices["hydra/launcher"])

    def begin(self) -> None:
        """Make the sweep's directory, once everything that was typed is known to be legal.

        Raises:
            RunError: when it cannot be written, or holds links that lead out of it.
        """
        try:
            if self._is_named_by_the_time:  # else it was chosen, perhaps to go on there, and stays what it is
                self.sweep_dir = Path(free_directory(str(self.sweep_dir)))
            refuse_links(self.sweep_dir)
            self.sweep_dir.mkdir(parents=True, exist_ok=True)
            OmegaConf.save(self.config, self.sweep_dir / COMPOSED)  # as Hydra's own sweeper does
        except OSError as error:
            raise RunError(f"sweep.dir={self.sweep_dir} cannot be written: {error.strerror}.") from error

    def overrides(self, params: Mapping[str, Any], typed: Sequence[str]) -> dict[str, Override]:
        """Axes of the configuration and of the command line by their key; what is typed wins.

        Raises:
            ConfigError: for an axis of what all jobs share.
        """
        words = [f"{key}={'null' if value is None else value}" for key, value in params.items()]
        axes = prepare_overrides(words, sweeps=True)
        parser = OverridesParser.create(config_loader=self.loader)
        found = {each.get_key_element().lstrip("+"): each for each in parser.parse_overrides([*axes, *typed])}
        for key, override in found.items():
            if override.is_sweep_override() and key.partition(".")[0] in UNSWEPT:
                raise ConfigError(f"{key} is one for the whole sweep. Got {override.input_line} instead.")
        return found

    def job(self, overrides: Sequence[str], swept: Sequence[str]) -> Job:
        """The record of a job that is still to be run.

        Raises:
            ConfigError: for a choice, a key or a plain value that is not legal.
        """
        config = self.loader.load_sweep_config(self.config, list(overrides))
        own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        with open_dict(own):
            own.run_dir = "<run_dir>"  # any that is no other path: the job's own is known to Hydra only once it runs
        plain: Any = OmegaConf.to_container(own, resolve=True)
        return job_of(Settings.parse(plain), config.hydra.runtime.choices, overrides, swept)

    @property
    def stopped(self) -> bool:
        """Whether a job has failed and the wish was to stop then."""
        stops = self.config.sweep.on_error == "stop"
        return stops and has_failed_since(self.sweep_dir, began(self.sweep_dir))

    def jobs_at_once(self, wanted: int | None) -> int:
        """How many jobs run side by side.

        Raises:
            ConfigError: when the launcher cannot run as many.
        """
        legal = wanted is None or (isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > 0)
        check_parameter("hydra.sweeper", "n_jobs", legal, "a whole number from 1 on, or null", wanted)
        if self.launcher_name == "basic":
            must = "1 with launcher=basic; launcher=joblib runs jobs side by side"
            check_parameter("hydra.sweeper", "n_jobs", wanted in (None, 1), must, wanted)
            return 1
        own = (
            getattr(self._launcher, "jobs_at_once", None)
            or OmegaConf.select(self.config, "hydra.launcher.n_jobs")
            or OmegaConf.select(self.config, "hydra.launcher.array_parallelism")
        )
        return wanted or (own if own and own > 0 else joblib.cpu_count())

    def run(self, jobs: dict[int, Job]) -> None:
        """Launch jobs by number and wait.

        A job whose process is lost is started once more, alone, then counts as failed: a process that dies may take
        along what runs beside it.

        Raises:
            RunError: when the launcher could not start any job.
        """
        lost_before: set[int] = set()
        waiting = [jobs] if jobs else []
        while waiting:
            jobs = waiting.pop(0)
            error = self._launch(jobs)
            now = {number: self._recorded(number, job) for number, job in jobs.items()}
            started = {number for number, job in jobs.items() if now[number].attempts > job.attempts}
            if error is not None:
                # joblib and submitit give up on all jobs when one process dies; the records tell which are done.
                words = f"launcher={self.launcher_name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
                if not started:
                    raise RunError(f"No job could be started. {words}") from error
                console.print(words)
            lost = {number for number in started if self._is_lost(number)}
            for number in lost & lost_before:
                self._record_failure(number, RunError(LOST))
            planned = {n: job for n, job in now.items() if error is not None and job.status == "planned"}
            waiting += [{number: now[number]} for number in sorted(lost - lost_before)]
            waiting += [planned] if planned else []
            lost_before |= lost

    def _recorded(self, number: int, job: Job) -> Job:
        """The job as far as it has come; what is run is never what a directory says."""
        known = read_job(self.sweep_dir / str(number)) or job
        return replace(known, overrides=job.overrides, swept=job.swept)

    def _launch(self, jobs: dict[int, Job]) -> Exception | None:
        place = [f"hydra.sweep.dir={hydra_text(str(self.sweep_dir))}"]
        words = [[*job.overrides, *place, f"hydra.sweep.subdir={number}"] for number, job in jobs.items()]
        try:
            returned = self._launcher.launch(words, initial_job_idx=next(iter(jobs)))
        except Exception as error:
            return error
        for number, end in zip(jobs, returned, strict=True):
            if end.status == JobStatus.FAILED:
                self._record_failure(number, end._return_value)
        return None

    def _record_failure(self, number: int, error: Exception) -> None:
        """For a job that failed without recording it itself."""
        run_dir = self.sweep_dir / str(number)
        job = read_job(run_dir)
        if job is not None and job.status in ("planned", "running") and not at_work(run_dir):
            job.status, job.error, job.started = "failed", describe_error(error), time.time()
            write_job(run_dir, job)
            console.print(f"Job {number} failed: {job.error}", style="red")

    def _is_lost(self, number: int) -> bool:
        """Whether the job was begun, has not ended, and no process is at it."""
        run_dir = self.sweep_dir / str(number)
        job = read_job(run_dir)
        return job is not None and job.status == "running" and not at_work(run_dir)


def _as_written(node: DictConfig, key: str) -> str:
    """An entry with its interpolations."""
    plain: Any = OmegaConf.to_container(node, resolve=False)
    return str(plain[key])


def keep_composition(config: DictConfig, run_dir: Path, typed: Sequence[str]) -> None:
    """What Hydra itself would leave in a directory, written only once something is sure to run there."""
    folder = run_dir / RECORDED.parent
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, Any] = {"config": config, "hydra": {"hydra": HydraConfig.get()}, "overrides": list(typed)}
    for name, content in contents.items():  # last, what says that a run has begun
        write_whole(folder / f"{name}.yaml", OmegaConf.to_yaml(OmegaConf.create(content)).encode())
