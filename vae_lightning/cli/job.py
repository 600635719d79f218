"""What Hydra is given to do: a run that stands alone, or one job of a sweep."""

import traceback
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vae_lightning.cli.failure import USER_WANTS_TRACEBACKS, fail
from vae_lightning.config.overrides import AGAIN
from vae_lightning.errors import InterruptedRun, UserError, check_parameter
from vae_lightning.runs.imports import importing
from vae_lightning.shell import group_of

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from vae_lightning.config.settings import Settings
    from vae_lightning.sweeps.base import Job

SWEEPERS = "hydra_plugins.vae_lightning_sweepers"
IDENTITY = {"data", "likelihood", "seed"}
"""What TensorBoard shows of every run that stands alone, beside what was typed."""


def run_job(config: "DictConfig") -> float | None:
    """Train as composed; what is returned is the value that sweeps minimise."""
    # Seconds of imports, which --help and a misspelt group need not wait for.
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    with importing():
        from vae_lightning.config.settings import Settings
        from vae_lightning.sweeps.configuration import job_of

    hydra_config = HydraConfig.get()
    is_one_of_many = hydra_config.mode == RunMode.MULTIRUN
    try:
        settings = Settings.parse(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]
        job = job_of(settings, hydra_config.runtime.choices, _typed_words(hydra_config))
        if is_one_of_many:
            return _job_of_a_sweep(config, settings, job)
        return _single(config, settings, job)
    except UserError as error:
        if is_one_of_many:
            raise  # recorded and told; Hydra goes on with the other jobs
        fail(error, config.debug is True or USER_WANTS_TRACEBACKS)
    except Exception as error:  # of Lightning, torch, a logger, the disk: what they refuse only once they are at work
        if is_one_of_many:
            raise
        log_file = Path(config.run_dir) / "train.log"
        with suppress(OSError):
            if log_file.is_file():
                with log_file.open("a", encoding="utf-8") as file:
                    file.write(traceback.format_exc())
        fail(error, config.debug is True or USER_WANTS_TRACEBACKS)


def _typed_words(hydra_config: Any) -> list[str]:
    """The overrides as they were typed; read one by one, what is escaped in them would lose its backslash."""
    from omegaconf import OmegaConf

    words: Any = OmegaConf.to_container(hydra_config.overrides.task, resolve=False)
    return [str(word) for word in words]


def _single(config: "DictConfig", settings: "Settings", job: "Job") -> float:
    """A run that stands alone, in a directory that nobody else trains in meanwhile."""
    from vae_lightning.config.strangers import HOW_AND_WHERE, refuse_links
    from vae_lightning.console import display_path, say
    from vae_lightning.runs.directory import LAST, check_unused, clear, finished, occupy

    with importing():
        from vae_lightning.runs.run import is_helper, run
    from vae_lightning.sweeps.launch import keep_composition

    run_dir, overwrite = Path(settings.run_dir), config.get("overwrite", False)
    check_parameter("train.py", "overwrite", isinstance(overwrite, bool), "true or false", overwrite)
    keys = {override.lstrip("+").partition("=")[0] for override in job.overrides}
    hparams = {name: value for name, value in job.settings.items() if name in keys | IDENTITY}
    overrides = [word for word in job.overrides if group_of(word) not in HOW_AND_WHERE]
    if is_helper():
        return run(settings, overrides, hparams)
    refuse_links(run_dir)
    with occupy(run_dir):
        resumes = settings.resume
        if config.resume == AGAIN:
            if (value := finished(run_dir, overrides)) is not None:
                say(f"{display_path(run_dir)} holds this run, finished: nothing is left to do.")
                return value
            resumes = (run_dir / LAST).is_file()
        elif not resumes and not overwrite:
            check_unused(run_dir)

        def begin() -> None:
            if not resumes:
                clear(run_dir)
            keep_composition(config, run_dir, overrides)

        return run(replace(settings, resume=resumes), overrides, hparams, begin)


def _job_of_a_sweep(config: "DictConfig", settings: "Settings", job: "Job") -> float | None:
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import OmegaConf

    from vae_lightning.console import one_job_of_many
    from vae_lightning.runs.run import run
    from vae_lightning.sweeps.base import began
    from vae_lightning.sweeps.launch import keep_composition
    from vae_lightning.sweeps.work import work_on

    run_dir, hydra_config = Path(settings.run_dir), HydraConfig.get()
    sweeper: Any = OmegaConf.to_container(hydra_config.sweeper, resolve=True)
    callbacks = dict(settings.callbacks)
    if hydra_config.runtime.choices["hydra/launcher"] != "basic":
        callbacks["progress"] = None  # bars of several processes would mix
    if sweeper["_target_"] == f"{SWEEPERS}.OptunaSweeper":
        from vae_lightning.sweeps.search import trial_report

        callbacks["trial"] = trial_report(sweeper, run_dir)

    def work(resumes: bool) -> float:
        keep_composition(config, run_dir, [w for w in _typed_words(hydra_config) if not w.startswith("resume=")])
        with one_job_of_many(f"job {run_dir.name}"):
            return run(replace(settings, callbacks=callbacks, resume=resumes), job.overrides, job.settings)

    try:
        since = began(run_dir.parent) if config.sweep.on_error == "stop" else None
        repeat = not sweeper["_target_"].startswith(SWEEPERS)
        return work_on(run_dir, job, work, stop_since=since, repeat=repeat, total=sweeper.get("n_trials"))
    except InterruptedRun:
        raise KeyboardInterrupt from None  # Hydra would go on with the next job
