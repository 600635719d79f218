"""The command line: ``python train.py`` and the installed command ``vae-lightning``."""

import os
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
import hydra
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lightning.commands.doctor import doctor
from vae_lightning.errors import ConfigError, UserError
from vae_lightning.settings import nearest

_PACKAGED = Path(__file__).parent / "conf"
CONF = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parent.parent / "conf"
_user_wants_tracebacks = os.environ.get("HYDRA_FULL_ERROR") == "1"
OVERRIDE = re.compile(r"^(?P<sign>[+~]{0,2})(?P<key>[\w./@\-]+)(?P<value>=.*)?$", re.DOTALL)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vae-lightning")
def main() -> None:
    """Train variational autoencoders whose loss can be trusted."""


main.add_command(doctor)


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
    finally:
        sys.argv = [program, *arguments]
        os.environ.pop("HYDRA_FULL_ERROR")
        if full_error is not None:
            os.environ["HYDRA_FULL_ERROR"] = full_error


def _job(config: DictConfig) -> float:
    # Seconds of imports, which --help and a misspelt group need not wait for.
    from vae_lightning.run import run

    plain: Any = OmegaConf.to_container(config, resolve=True)
    try:
        return run(plain, list(HydraConfig.get().overrides.task))
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # Hydra records it, goes on with the other jobs and hands it back at the end
        _fail(error, config.debug or _user_wants_tracebacks)


def _fail(error: Exception, wants_traceback: bool) -> NoReturn:
    if wants_traceback:
        traceback.print_exception(error)
    elif isinstance(error, UserError):
        print(f"error: {error}", file=sys.stderr)
    else:
        lines = [line for line in str(error).splitlines() if line.strip() and "HYDRA_FULL_ERROR" not in line]
        print(f"error: {lines[0] if lines else type(error).__name__}", file=sys.stderr)
    raise SystemExit(1)


def prepared(arguments: Sequence[str], conf: Path = CONF) -> list[str]:
    """Check group names and choices, and let every setting of a group through to its constructor's own check.

    Hydra refuses ``model.latent_dim=8`` where the yaml does not repeat that default; ``++`` accepts it, and the
    constructor's signature decides whether the key is legal.

    Raises:
        ConfigError: for an unknown group, choice or top-level setting, naming the nearest one.
    """
    arguments = _resumed(arguments)
    # Hydra's parser refuses a flag between overrides: `data=digits -m seed=0,1`.
    arguments = sorted(arguments, key=lambda argument: argument not in ("-m", "--multirun"))
    own_conf = any(a in ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn") for a in arguments)
    groups = {path.name for path in conf.iterdir() if path.is_dir()}
    settings = _flattened(yaml.safe_load((conf / "train.yaml").read_text(encoding="utf-8")))
    return [
        argument if argument.startswith("-") or own_conf else _checked(argument, groups, settings, conf)
        for argument in arguments
    ]


def _checked(argument: str, groups: set[str], settings: set[str], conf: Path) -> str:
    match = OVERRIDE.match(argument)
    if match is None:
        return argument
    sign, key, value = match["sign"], match["key"], match["value"]
    first = re.split(r"[./@]", key)[0]
    if first not in groups | settings | {"hydra"} and key not in settings and not sign.startswith("+"):
        candidates = (
            settings
            if "." in key and first in {setting.partition(".")[0] for setting in settings}
            else groups | settings
        )
        raise ConfigError(f"There is no setting {key}. {nearest(key if candidates is settings else first, candidates)}")
    if first == "hydra" or value is None or sign:
        return argument
    if key in groups:
        _check_choices(key, value[1:], conf)
        return argument
    return f"++{argument}" if first in groups else argument


def _flattened(tree: dict[str, Any]) -> set[str]:
    """Dotted names of the settings that belong to no group."""
    names = set()
    for name, value in tree.items():
        if isinstance(value, dict):
            names |= {f"{name}.{child}" for child in value}
        elif name != "defaults":
            names.add(name)
    return names


def _check_choices(group: str, value: str, conf: Path) -> None:
    choices = {path.stem for path in (conf / group).glob("*.yaml")}
    if not re.fullmatch(r"[\w\-]+(,[\w\-]+)*", value):
        return  # a list, a sweep function or an interpolation: Hydra's to read
    for choice in value.split(","):
        if choice not in choices | {"null"}:
            raise ConfigError(f"There is no {group}={choice}. {nearest(choice, choices)}")


def _resumed(arguments: Sequence[str]) -> list[str]:
    """Replace ``resume=DIR`` by what the user typed for that run, in its directory; later overrides win."""
    wanted = [a.partition("=")[2] for a in arguments if a.startswith("resume=") and a != "resume=null"]
    if not wanted:
        return list(arguments)
    run_dir = Path(wanted[-1])
    typed = run_dir / ".hydra" / "overrides.yaml"
    earlier = yaml.safe_load(typed.read_text(encoding="utf-8")) if typed.exists() else None
    if not isinstance(earlier, list):
        raise ConfigError(f"resume={run_dir} is no run directory, or was killed before it began: {typed} says nothing.")
    new = [a for a in arguments if not a.startswith("resume=")]
    both = [*(a.lstrip("+") for a in earlier if not a.startswith("resume=")), *new]
    # The next resume needs these too. Hydra would write them anew at every start, and a kill could leave half a file.
    partial = typed.with_name(".overrides.yaml.partial")
    partial.write_text(yaml.safe_dump(both), encoding="utf-8")
    os.replace(partial, typed)
    return [*both, f"resume={run_dir}", f"hydra.run.dir={run_dir}", "hydra.output_subdir=null"]
