"""The command line: ``python train.py`` and the installed command ``vae-lightning``."""

import functools
import os
import sys
from collections.abc import Sequence
from contextlib import nullcontext, suppress

import click

from vae_lightning.cli.compare import compare
from vae_lightning.cli.doctor import doctor
from vae_lightning.cli.encode import encode
from vae_lightning.cli.evaluate import evaluate
from vae_lightning.cli.export import export
from vae_lightning.cli.failure import USER_WANTS_TRACEBACKS, fail
from vae_lightning.cli.help import describe_settings
from vae_lightning.cli.impute import impute
from vae_lightning.cli.info import info
from vae_lightning.cli.job import run_job
from vae_lightning.cli.reconstruct import reconstruct
from vae_lightning.cli.report import report
from vae_lightning.cli.sample import sample
from vae_lightning.cli.score import score
from vae_lightning.cli.show import LOOKING, show_settings
from vae_lightning.cli.words import check_files, read_words
from vae_lightning.config.overrides import CONF, is_sweep
from vae_lightning.errors import ConfigError, RunError
from vae_lightning.files import free_directory


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vae-lightning")
def main() -> None:
    """Train variational autoencoders whose loss can be trusted."""


for command in (evaluate, compare, encode, reconstruct, sample, score, impute, export, info, doctor, report):
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
    wants_traceback = USER_WANTS_TRACEBACKS or "debug=true" in [a.lower() for a in arguments]
    program, full_error = sys.argv[0], os.environ.get("HYDRA_FULL_ERROR")
    try:
        # With this set Hydra hands its errors on instead of printing them in its own way.
        os.environ["HYDRA_FULL_ERROR"] = "1"
        words, task = read_words(arguments), run_job
        if words[:2] in (["--cfg", "job"], ["-c", "job"]) and not any(word.startswith("-") for word in words[2:]):
            words, task = [*words[2:], *LOOKING], show_settings
        if not is_sweep(arguments):  # whose jobs fail one by one
            check_files(words)
        sys.argv = [program, *words]
        with suppress(SystemExit) if {"--help", "-h"} & set(words) else nullcontext():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")(task)()
        if {"--help", "-h"} & set(words):
            print(describe_settings())
    except Exception as error:
        fail(_with_hint(error), wants_traceback)
    except KeyboardInterrupt:
        again = " The same command with the sweep's directory, sweep.dir=..., goes on." if is_sweep(arguments) else ""
        fail(RunError(f"Interrupted.{again}"), False)
    finally:
        sys.argv = [program, *arguments]
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error


@functools.cache  # and a module's function: launchers pickle it
def _run_directory(path: str) -> str:
    """Of one path the same free directory, however often Hydra asks."""
    return free_directory(path)


def _with_hint(error: Exception) -> Exception:
    """What to install, where a launcher's package is not there."""
    missing = getattr(error, "missing_cfg_file", None) or ""
    if not missing.startswith("hydra/launcher/"):
        return error
    launcher = missing.rpartition("/")[2]
    extra = launcher.partition("_")[0]
    return ConfigError(f"launcher={launcher} needs a package more: pip install 'vae-lightning[{extra}]'")
