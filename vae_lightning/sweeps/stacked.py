"""``launcher=stacked``: jobs that differ only in numbers train as one program, on every core."""

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import joblib
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from vae_lightning.errors import check_parameter, is_count
from vae_lightning.sweeps.team import Team

OWN = re.compile(
    r"seed|data\.seed|optimizer\.(lr|weight_decay)|objective\.(beta|warmup|warmup_epochs)|likelihood\.scale"
    r"|scheduler(\..*)?|(trainer\.max_epochs)|(callbacks|logger|test)\..*|hydra\.sweep\.subdir"
)
"""Settings of which each member of a stack may have its own."""
Words = Sequence[str]


class StackedLauncher:
    """Deals jobs out to processes, one a core, where those of one kind train in a stack (see `Team`).

    Args:
        processes: at most so many; None: one a core.
        members: jobs that a process trains at once.
    """

    def __init__(self, processes: int | None = None, members: int = 8) -> None:
        legal = processes is None or is_count(processes)
        check_parameter("hydra.launcher", "processes", legal, "a whole number from 1 on, or null", processes)
        check_parameter("hydra.launcher", "members", is_count(members), "a whole number from 1 on", members)
        self.processes: int = processes or joblib.cpu_count()
        self.members = members

    @property
    def jobs_at_once(self) -> int:
        """How many jobs run side by side."""
        return self.processes * self.members

    def launch(
        self, words: Sequence[Words], first: int, context: HydraContext, config: DictConfig, task: TaskFunction
    ) -> list[JobReturn]:
        """Run jobs, given by their overrides; what Hydra is to know of each."""
        setup_globals()
        teams = deal(words, self.processes)
        state = Singleton.get_state()
        runs = [
            partial(_run_team, [(first + n, words[n]) for n in team], self.members, context, config, task)
            for team in teams
        ]
        if self.processes == 1 or len(teams) == 1:
            found = [run() for run in runs]
        else:
            parallel = joblib.Parallel(n_jobs=min(self.processes, len(teams)), backend="loky", batch_size=1)
            found = parallel(joblib.delayed(_run_elsewhere)(run, state) for run in runs)
        ends = {n: end for team, ends in zip(teams, found, strict=True) for n, end in zip(team, ends, strict=True)}
        return [ends[n] for n in range(len(words))]


def deal(words: Sequence[Words], processes: int) -> list[list[int]]:
    """Teams of jobs of one kind, by their places in ``words``; the largest first.

    Of one kind are jobs that may differ in numbers that a stack's members have of their own. Each kind makes as many
    teams as its share of the processes.

    >>> deal([["seed=0"], ["seed=1"], ["seed=2"], ["model.latent_dim=2", "seed=0"]], 2)
    [[0, 2], [1], [3]]
    """
    kinds: dict[tuple[str, ...], list[int]] = {}
    for number, job in enumerate(words):
        kinds.setdefault(tuple(sorted(word for word in job if not _is_own(word))), []).append(number)
    teams = []
    for numbers in kinds.values():
        parts = min(-(-len(numbers) * processes // len(words)), len(numbers))
        teams += [numbers[part::parts] for part in range(parts)]
    return sorted(teams, key=len, reverse=True)


def _is_own(word: str) -> bool:
    return OWN.fullmatch(word.lstrip("+~").partition("=")[0]) is not None


def _run_elsewhere(run: Any, state: Any) -> list[JobReturn]:
    setup_globals()
    Singleton.set_state(state)
    found: list[JobReturn] = run()
    return found


def _run_team(
    jobs: Sequence[tuple[int, Words]], members: int, context: HydraContext, config: DictConfig, task: TaskFunction
) -> list[JobReturn]:
    runs = [partial(_run_job, number, words, context, config, task) for number, words in jobs]
    return [run() for run in runs] if len(runs) == 1 else Team(min(members, len(runs))).run(runs)


def _run_job(number: int, words: Words, context: HydraContext, config: DictConfig, task: TaskFunction) -> JobReturn:
    own = context.config_loader.load_sweep_config(config, list(words))
    with open_dict(own):
        own.hydra.job.id = f"{own.hydra.job.name}_{number}"
        own.hydra.job.num = number
    HydraConfig.instance().set_config(own)
    return run_job(task, own, "hydra.sweep.dir", "hydra.sweep.subdir", context)
