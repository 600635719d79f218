"""``hydra/sweeper=optuna``: a search by Optuna, through any of Hydra's launchers."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException
from optuna.distributions import check_distribution_compatibility
from optuna.trial import FrozenTrial, Trial, TrialState

from vae_lightning.console import console, display_path
from vae_lightning.errors import ConfigError, RunError, UserError, check_parameter, suggest
from vae_lightning.files import parse_json
from vae_lightning.inference.evaluation import Evaluation
from vae_lightning.sweeps.base import ENDED, Job, at_work, planning, read_job, write_job
from vae_lightning.sweeps.comparison import measure_of, metrics_of
from vae_lightning.sweeps.conclusion import conclude
from vae_lightning.sweeps.launch import Launch
from vae_lightning.sweeps.space import axis_of, overrides_of
from vae_lightning.sweeps.study import mend, open_study, pruner_of, sampler_of, storage_of
from vae_lightning.training.module import MONITOR

METRICS = (
    "val/nelbo",
    "parameters",
    "epochs",
    *(f"test/{field.name}" for field in fields(Evaluation) if field.type is not str),
)
"""Numbers in a run's summary.json that a search can go by."""
JOB = "job"
"""The user attribute of a trial that holds its job's directory."""
ELSEWHERE = re.compile(r"(sweep|hydra|launcher|logger|torch|debug|report)\b")
"""Settings that say where and how a search runs, not what it compares."""
STRAY = timedelta(minutes=1)
"""A running trial that nobody has claimed for so long belonged to a process that was killed while asking."""


class Search:
    """Asks a study for trials, a batch at a time, launches them as jobs, and tells the study how they ended.

    Trial k is the sweep's job k. Run again with the same storage, the search goes on; processes that run side by side
    share it. A failed job, or one that ends in NaN, is told as failed, with its error, and the search goes on.

    Args:
        launch: composes and launches.
        params: the search space, {key: sweep}, as on the command line.
        n_trials: trials of the study, whoever runs them.
        n_jobs: trials at once; None: what the launcher can.
        metrics: what is optimised, by their names in summary.json; one, or a list.
        directions: minimize or maximize; one, or a list.
        sampler: tpe, gp, cmaes, nsgaii, grid, random or qmc.
        sampler_options: arguments of Optuna's class.
        pruner: none, median or hyperband.
        pruner_options: arguments of Optuna's class.
        storage: journal, sqlite, memory, a path ending in .journal, or a URL.
        study_name: the study's name in the storage.
        seed: of the sampler.
    """

    def __init__(
        self,
        launch: Launch,
        params: Mapping[str, str] | None = None,
        n_trials: int = 30,
        n_jobs: int | None = None,
        metrics: str | Sequence[str] = "val/nelbo",
        directions: str | Sequence[str] = "minimize",
        sampler: str = "tpe",
        sampler_options: Mapping[str, Any] | None = None,
        pruner: str = "none",
        pruner_options: Mapping[str, Any] | None = None,
        storage: str = "journal",
        study_name: str = "vae_lightning",
        seed: int = 0,
    ) -> None:
        self.launch, self.params, self.n_trials = launch, params or {}, n_trials
        self.batch = launch.jobs_at_once(n_jobs)
        self.metrics = [metrics] if isinstance(metrics, str) else list(metrics or ())
        self.directions: list[Any] = (
            [directions] * len(self.metrics) if isinstance(directions, str) else list(directions)
        )
        self.sampler, self.sampler_options, self.seed = sampler, dict(sampler_options or {}), seed
        self.pruner, self.pruner_options = pruner, dict(pruner_options or {})
        self.storage, self.study_name = storage_of(storage, launch.sweep_dir), study_name
        self._storage_words = storage
        self._check()

    def _check(self) -> None:
        owner = "hydra.sweeper"
        check_parameter(owner, "params", isinstance(self.params, Mapping), "{key: sweep}", self.params)
        check_parameter(owner, "seed", isinstance(self.seed, int), "a whole number", self.seed)
        legal = isinstance(self.n_trials, int) and self.n_trials > 0
        check_parameter(owner, "n_trials", legal, "a whole number from 1 on", self.n_trials)
        legal = len(self.directions) == len(self.metrics) and set(self.directions) <= {"minimize", "maximize"}
        check_parameter(owner, "directions", legal, "minimize or maximize for each of the metrics", self.directions)
        legal = self.pruner == "none" or (self.metrics, self.directions) == ([MONITOR], ["minimize"])
        must = f"none where not {MONITOR} alone is minimised: that is what jobs report while they train"
        check_parameter(owner, "pruner", legal, must, self.pruner)
        pruner_of(self.pruner, self.pruner_options)
        sampler_of(self.sampler, self.sampler_options, self.seed, 0, {})
        elsewhere = self.storage == "memory" and self.launch.launcher_name != "basic"
        check_parameter(owner, "storage", not elsewhere, "one that processes can share, e.g. journal", self.storage)
        check_parameter(owner, "metrics", bool(self.metrics), "a name or a list of names", self.metrics)
        for metric in self.metrics:
            if metric not in METRICS:
                raise ConfigError(f"There is no metric {metric} to search by. {suggest(metric, METRICS)}")
        chosen = [metric for metric in self.metrics if metric.startswith("test/")]
        if chosen:
            console.print(f"Note: {', '.join(chosen)} will be chosen on the test rows, and flatters the best.")

    def sweep(self, arguments: list[str]) -> None:
        """Search until the study has its trials.

        Raises:
            RunError: when the study holds another search, and after the last job, when some have failed.
        """
        overrides = self.launch.overrides(self.params, arguments)
        self.space = {key: axis_of(each) for key, each in overrides.items() if each.is_sweep_override()}
        self.fixed = [str(each.input_line) for each in overrides.values() if not each.is_sweep_override()]
        if not self.space:
            raise ConfigError("There is nothing to search: give a key an interval, a range or several values.")
        if self.sampler == "grid":
            self.n_trials = min(self.n_trials, math.prod(len(axis.grid()) for axis in self.space.values()))
        self.launch.begin()
        self.storage = storage_of(self._storage_words, self.launch.sweep_dir)  # which may have got another name
        with planning(self.launch.sweep_dir):
            mend(self.storage)
            self.study = open_study(self.storage, self.study_name, self.directions)
            self._check_same_search()
            self._check_same_axes()
            self._check_own_directories()
            self._settle()
            abandoned = self._find_abandoned()
            self._announce(len(abandoned))
            jobs = abandoned or self._asked()
        while jobs:
            self.launch.run(jobs)
            with planning(self.launch.sweep_dir):
                self._settle()
                jobs = {} if self.launch.stopped else self._asked() or self._find_abandoned()
        self._tell_best()
        mine = [trial.number for trial in self._running() if trial.user_attrs.get(JOB) == self._place(trial)]
        conclude(self.launch.sweep_dir, mine, repeats_failed=False)

    def _place(self, trial: FrozenTrial | Trial) -> str:
        """The directory that the trial's job has if it is a job of this sweep."""
        return str(self.launch.sweep_dir / str(trial.number))

    def _check_same_search(self) -> None:
        """Trials with other fixed settings must not be compared with these."""
        typed = sorted(word.lstrip("+") for word in self.fixed if not ELSEWHERE.match(word.lstrip("+")))
        mine = [*self.metrics, *typed]
        known = self.study.user_attrs.get("search")
        if known is None:
            self.study.set_user_attr("search", mine)
        elif known != mine:
            raise RunError(
                f"The study {self.study_name} in {display_path(self.launch.sweep_dir)} searches {' '.join(known)}. Got "
                f"{' '.join(mine)} instead: repeat its settings, or take another sweep.dir."
            )

    def _check_same_axes(self) -> None:
        """Optuna would refuse other choices only once it has begun a trial."""
        for trial in self.study.get_trials(deepcopy=False):
            for key in self.space.keys() & trial.distributions.keys():
                try:
                    check_distribution_compatibility(trial.distributions[key], self.space[key].distribution)
                except ValueError as error:
                    raise ConfigError(
                        f"The study {self.study_name} has searched {key} otherwise: {error} Repeat its choices, or "
                        "take another sweep.dir."
                    ) from error

    def _check_own_directories(self) -> None:
        """Trial k takes directory k, which no other sweep's job may have."""
        own = {trial.user_attrs.get(JOB) for trial in self.study.get_trials(deepcopy=False)}
        for path in self.launch.sweep_dir.iterdir():
            if path.name.isdecimal() and str(path) not in own:
                raise RunError(f"{path} is not of this study's. Give the search a directory of its own: sweep.dir=...")

    def _asked(self) -> dict[int, Job]:
        """New trials as jobs: a batch, or what is missing to ``n_trials``."""
        jobs: dict[int, Job] = {}
        while len(jobs) < min(self.batch, self.n_trials - len(self.study.get_trials(deepcopy=False)) + len(jobs)):
            self._check_own_directories()
            jobs |= self._ask()
        return jobs

    def _ask(self) -> dict[int, Job]:
        self._use_sampler(len(self.study.get_trials(deepcopy=False)))
        return self._draw(self.study.ask())

    def _draw(self, trial: Trial) -> dict[int, Job]:
        """The trial's job, once every key of the space has a value."""
        for key, axis in self.space.items():
            axis.suggest(trial, key)
        trial.set_user_attr(JOB, self._place(trial))
        return self._job(self.study.get_trials(deepcopy=False)[trial.number])

    def _use_sampler(self, number: int) -> None:
        self.study.sampler = sampler_of(self.sampler, self.sampler_options, self.seed, number, self.space)

    def _job(self, trial: FrozenTrial) -> dict[int, Job]:
        """The trial as a job; none where its settings cannot be composed, which the study is told."""
        swept = overrides_of(self.space, trial.params)
        try:
            job = self.launch.job([*self.fixed, *swept], swept)
        except (UserError, HydraException, OmegaConfBaseException) as error:
            why = str(error).partition("\n")[0]
            console.print(f"Trial {trial.number} counts as failed: {why}", style="red")
            self._tell_failure(trial, why)
            return {}
        run_dir = self.launch.sweep_dir / str(trial.number)
        known = read_job(run_dir)
        if known is not None and known.fingerprint == job.fingerprint:
            # How far it has come; what is run is what was typed and drawn, whatever the directory says.
            job = replace(job, status=known.status, attempts=known.attempts, started=known.started)
        if known is None or (known.fingerprint, known.swept) != (job.fingerprint, job.swept):
            write_job(run_dir, job)
        return {trial.number: job}

    def _find_abandoned(self) -> dict[int, Job]:
        """Trials whose process was killed, as jobs to go on with."""
        found: dict[int, Job] = {}
        for trial in self._running():
            run_dir = self.launch.sweep_dir / str(trial.number)
            if self._is_stray(trial):  # killed while it was asked
                self._use_sampler(trial.number)
                found |= self._draw(Trial(self.study, trial._trial_id))
            elif trial.user_attrs.get(JOB) == self._place(trial) and not at_work(run_dir):
                found |= self._job(trial)
        return found

    def _is_stray(self, trial: FrozenTrial) -> bool:
        """Whether nobody will claim the trial any more.

        Where the study is in the sweep's own directory, its lock keeps all others from asking now.
        """
        is_own = str(self.launch.sweep_dir) in self.storage or self.storage == "memory"
        return JOB not in trial.user_attrs and (is_own or _age(trial) > STRAY)

    def _running(self) -> list[FrozenTrial]:
        return self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))

    def _settle(self) -> None:
        """Tell the study of every job that has ended, whichever process ran it."""
        for trial in self._running():
            run_dir = self.launch.sweep_dir / str(trial.number)
            job = read_job(run_dir) if trial.user_attrs.get(JOB) == self._place(trial) else None
            if job is None or job.status not in ENDED:
                continue
            if job.status == "pruned":
                self._tell(trial, TrialState.PRUNED)
            elif job.status == "failed":
                self._tell_failure(trial, job.error)
            else:
                self._tell_values(trial, run_dir)

    def _tell_values(self, trial: FrozenTrial, run_dir: Path) -> None:
        try:
            summary = parse_json((run_dir / "summary.json").read_bytes())
            flat, data = metrics_of(summary), summary["data"]
            measured = f"{measure_of(summary)}, of {data['name']} rows {data['rows_fingerprint']}"
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            self._tell_failure(trial, f"Its summary.json cannot be read: {error}")
            return
        values = [flat.get(metric, math.nan) for metric in self.metrics]
        known = self.study.user_attrs.get("measured")
        if known is None:
            self.study.set_user_attr("measured", measured)
        if known not in (None, measured):
            why = f"It measures a {measured}; the study, a {known}. These cannot be compared."
            console.print(f"Trial {trial.number} counts as failed: {why}", style="red")
            self._tell_failure(trial, why)
        elif not all(map(math.isfinite, values)):
            self._tell_failure(trial, f"{self.metrics} = {values}")
        else:
            self._tell(trial, TrialState.COMPLETE, values)

    def _tell_failure(self, trial: FrozenTrial, error: str) -> None:
        self.study._storage.set_trial_user_attr(trial._trial_id, "error", error)
        self._tell(trial, TrialState.FAIL)

    def _tell(self, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None = None) -> None:
        # The grid's sampler ends Optuna's own loop after its last trial, and there is none here.
        name, options = ("random", {}) if self.sampler == "grid" else (self.sampler, self.sampler_options)
        self.study.sampler = sampler_of(name, options, self.seed, trial.number, self.space)
        self.study.tell(trial.number, values, state=state, skip_if_finished=True)

    def _announce(self, abandoned: int) -> None:
        known = len(self.study.get_trials(deepcopy=False))
        console.print(
            f"Search of {self.n_trials} trials in {display_path(self.launch.sweep_dir)}, "
            f"{self.batch} at a time, by {self.sampler}"
            + (f": {known} are known" + (f", {abandoned} to go on with." if abandoned else ".") if known else "."),
        )

    def _tell_best(self) -> None:
        best = self.study.best_trials
        for trial in best if len(self.metrics) > 1 else best[:1]:  # of several metrics, none is the best
            values = ", ".join(f"{m} {v:.3f}" for m, v in zip(self.metrics, trial.values, strict=True))
            words = " ".join(f"{key}={value}" for key, value in trial.params.items())
            console.print(f"Best, trial {trial.number}: {values} with {words}")


def _age(trial: FrozenTrial) -> timedelta:
    begun = trial.datetime_start
    return datetime.now(begun.tzinfo) - begun if begun is not None else timedelta(0)


def trial_report(sweeper: Mapping[str, Any], run_dir: Path) -> dict[str, Any] | None:
    """The node of the callback that reports a job to its trial; None where the search has no use for it."""
    if sweeper["metrics"] not in (MONITOR, [MONITOR]) or sweeper["directions"] not in ("minimize", ["minimize"]):
        return None
    return {
        "_target_": "vae_lightning.sweeps.pruning.TrialReport",
        "storage": storage_of(sweeper["storage"], run_dir.parent),
        "study": sweeper["study_name"],
        "number": int(run_dir.name),
        "pruner": sweeper["pruner"],
        "pruner_options": dict(sweeper["pruner_options"] or {}),
    }
