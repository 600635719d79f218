"""The command line: ``python train.py`` and the installed command ``vae-lightning``."""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lightning.commands.doctor import doctor
from vae_lightning.commands.report import report
from vae_lightning.errors import InterruptedRun, RunError, UserError
from vae_lightning.overrides import CONF, prepared

_user_wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vae-lightning")
def main() -> None:
    """Train variational autoencoders whose loss can be trusted."""


main.add_command(doctor)
main.add_command(report)


@main.command(
    "train",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.pass_context
def train_command(context: click.Context) -> None:
    """Train a model: the same as `python train.py`; overrides are Hydra's, e.g. likelihood=gaussian."""
    train(context.args)


def train(arguments: Sequence[str] | None = None) -> None:
    """Compose the configuration from the command line and run it; a user's mistake ends in one message, status 1."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    wants_traceback = _user_wants_tracebacks or "debug=true" in [a.lower() for a in arguments]
    program, full_error = sys.argv[0], os.environ.get("HYDRA_FULL_ERROR")
    try:
        # With this set Hydra hands its errors on instead of printing them in its own way.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        sys.argv = [program, *prepared(arguments)]
        hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(_job)()
    except (UserError, HydraException, OmegaConfBaseException) as error:
        _fail(error, wants_traceback)
    except KeyboardInterrupt:
        _fail(RunError("Interrupted. The same command with the sweep's directory, sweep.dir=..., goes on."), False)
    finally:
        sys.argv = [program, *arguments]
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _job(config: DictConfig) -> float | None:
    # Seconds of imports, which --help and a misspelt group need not wait for.
    from vae_lightning.run import run

    plain: Any = OmegaConf.to_container(config, resolve=True)
    overrides = list(HydraConfig.get().overrides.task)
    if HydraConfig.get().mode == RunMode.MULTIRUN:
        return _job_of_a_sweep(config, plain, overrides)
    try:
        return run(plain, overrides)
    except UserError as error:
        _fail(error, config.debug or _user_wants_tracebacks)


def _job_of_a_sweep(config: DictConfig, plain: dict[str, Any], overrides: list[str]) -> float | None:
    from vae_lightning.console import one_job_of_many
    from vae_lightning.run import run
    from vae_lightning.sweeps.launch import job_of, keep_composition
    from vae_lightning.sweeps.work import work_on

    run_dir = Path(plain["run_dir"])
    choices = HydraConfig.get().runtime.choices
    if choices["hydra/launcher"] != "basic":
        plain["callbacks"] = {**plain["callbacks"], "progress": None}  # bars of several processes would mix

    def work(resumes: bool) -> float:
        keep_composition(config, run_dir)
        with one_job_of_many(f"job {run_dir.name}"):
            return run({**plain, "resume": str(run_dir) if resumes else None}, overrides)

    try:
        return work_on(run_dir, job_of(config, choices, overrides), work, plain["sweep"]["on_error"] == "stop")
    except InterruptedRun:
        raise KeyboardInterrupt from None  # Hydra would go on with the next job


def _fail(error: Exception, wants_traceback: bool) -> NoReturn:
    if wants_traceback:
        traceback.print_exception(error)
    elif isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        lines = [line for line in str(error).splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
        print(f"error: {lines[0] if lines else type(error).__name__}", file=sys.stderr)
    raise SystemExit(1)
