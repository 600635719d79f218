"""The command line: ``python train.py`` and the installed command ``vae-lightning``."""

import functools
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from vae_lightning.cli.doctor import doctor
from vae_lightning.cli.encode import encode
from vae_lightning.cli.evaluate import evaluate
from vae_lightning.cli.export import export
from vae_lightning.cli.help import describe_settings
from vae_lightning.cli.info import info
from vae_lightning.cli.reconstruct import reconstruct
from vae_lightning.cli.report import report
from vae_lightning.cli.sample import sample
from vae_lightning.cli.score import score
from vae_lightning.config.overrides import AGAIN, CONF, is_sweep, prepare_overrides
from vae_lightning.errors import ConfigError, InterruptedRun, RunError, UserError, check_parameter
from vae_lightning.files import free_directory
from vae_lightning.runs.imports import importing
from vae_lightning.shell import INTERPOLATION, QUOTED, SWEPT_PATHS, group_of, quote_items, read_hydra_text

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from vae_lightning.config.settings import Settings
    from vae_lightning.sweeps.base import Job

SWEEPERS = "hydra_plugins.vae_lightning_sweepers"
IDENTITY = {"data", "likelihood", "seed"}
"""What TensorBoard shows of every run that stands alone, beside what was typed."""
LOOKING = ("run_dir='<run_dir>'", "hydra.mode=RUN", "hydra.run.dir=.")
"""Overrides with which Hydra composes a job and leaves no trace of it."""
_user_wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vae-lightning")
def main() -> None:
    """Train variational autoencoders whose loss can be trusted."""


for command in (evaluate, encode, reconstruct, sample, score, export, info, doctor, report):
    main.add_command(command)


@main.command(
    "train",
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
    add_help_option=False,
)
@click.pass_context
def train_command(context: click.Context) -> None:
    """Train a model, as `python train.py` does.

    Overrides are Hydra's, e.g. likelihood=gaussian.
    """
    train(context.args)


def train(arguments: Sequence[str] | None = None) -> None:
    """Compose the configuration from the command line and run it; a user's mistake ends in one message, status 1."""
    # Half a second, which the commands on a run directory need not wait for.
    import hydra
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("free_directory", _run_directory, replace=True)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    wants_traceback = _user_wants_tracebacks or "debug=true" in [a.lower() for a in arguments]
    program, full_error = sys.argv[0], os.environ.get("HYDRA_FULL_ERROR")
    try:
        # With this set Hydra hands its errors on instead of printing them in its own way.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        words, task = read_words(arguments), _job
        if words[:2] in (["--cfg", "job"], ["-c", "job"]) and not any(word.startswith("-") for word in words[2:]):
            words, task = [*words[2:], *LOOKING], _show
        if not is_sweep(arguments):  # whose jobs fail one by one
            _check_files(words)
        sys.argv = [program, *words]
        with suppress(SystemExit) if {"--help", "-h"} & set(words) else nullcontext():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(task)()
        if {"--help", "-h"} & set(words):
            print(describe_settings())
    except Exception as error:
        _fail(_with_hint(error), wants_traceback)
    except KeyboardInterrupt:
        again = " The same command with the sweep's directory, sweep.dir=..., goes on." if is_sweep(arguments) else ""
        _fail(RunError(f"Interrupted.{again}"), False)
    finally:
        sys.argv = [program, *arguments]
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error


@functools.cache  # and a module's function: launchers pickle it
def _run_directory(path: str) -> str:
    """Of one path the same free directory, however often Hydra asks."""
    return free_directory(path)


def read_words(arguments: Sequence[str]) -> list[str]:
    """The command line as Hydra can read it: :func:`prepare_overrides`, and what its grammar does not know as texts.

    Raises:
        ConfigError: for what is no setting.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, sweeps = OverridesParser.create(), is_sweep(arguments)

    def is_readable(override: str) -> bool:
        try:
            parser.parse_override(override)
        except HydraException:
            return False
        return True

    def read(word: str) -> str:
        name, is_set, value = word.partition("=")
        if word.startswith("-") or not is_set or is_readable(word):
            return word
        return f"{name}={quote_items(value, lambda item: is_readable(f'x={item}'), sweeps)}"

    return [read(word) for word in prepare_overrides(arguments)]


def _check_files(words: Sequence[str]) -> None:
    """Tell at once of a table that is not there: what reads tables takes seconds to import."""
    named = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    for key in SWEPT_PATHS if named.get("data") == "table" else ():
        value = named.get(key, "null")
        if QUOTED.fullmatch(value) and not INTERPOLATION.search(value):
            from vae_lightning.data.files.archives import existing_path  # numpy with it

            existing_path(read_hydra_text(value), "Table", "a file", parameter=key.removeprefix("data."))


def _job(config: "DictConfig") -> float | None:
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
        _fail(error, config.debug is True or _user_wants_tracebacks)
    except Exception as error:  # of Lightning, torch, a logger, the disk: what they refuse only once they are at work
        if is_one_of_many:
            raise
        log_file = Path(config.run_dir) / "train.log"
        with suppress(OSError):
            if log_file.is_file():
                with log_file.open("a", encoding="utf-8") as file:
                    file.write(traceback.format_exc())
        _fail(error, config.debug is True or _user_wants_tracebacks)


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


def _show(config: "DictConfig") -> None:
    """``--cfg job``: every setting that would be in force, defaults included."""
    import yaml
    from omegaconf import OmegaConf

    from vae_lightning.config.settings import Settings

    try:
        plain: Any = OmegaConf.to_container(config, resolve=True)
        settings = Settings.parse(plain).in_full()
    except Exception as error:  # ended here, or Hydra prints a line of its own before ours
        _fail(error, config.get("debug") is True or _user_wants_tracebacks)
    print(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), end="")


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


def _with_hint(error: Exception) -> Exception:
    """What to install, where a launcher's package is not there."""
    missing = getattr(error, "missing_cfg_file", None) or ""
    if not missing.startswith("hydra/launcher/"):
        return error
    launcher = missing.rpartition("/")[2]
    extra = launcher.partition("_")[0]
    return ConfigError(f"launcher={launcher} needs a package more: pip install 'vae-lightning[{extra}]'")


def _fail(error: Exception, wants_traceback: bool) -> NoReturn:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    if wants_traceback:
        traceback.print_exception(error)
    elif isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        lines = [line for line in str(error).splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
        words = lines[0] if lines else "no word"
        own_words = isinstance(error, (HydraException, OmegaConfBaseException))  # of which some are an OSError
        if isinstance(error, OSError) and not own_words:
            words = f"{error.filename}: {error.strerror}." if error.filename else f"{error}."
        elif not own_words:
            words = f"{type(error).__name__}: {words}. debug=true shows where."
        print(f"error: {words}", file=sys.stderr)
    raise SystemExit(1)
