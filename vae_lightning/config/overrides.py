"""Overrides as they are typed: group names and choices checked, constructors' own settings let through."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vae_lightning.config.strangers import recorded_overrides
from vae_lightning.errors import ConfigError, suggest

_PACKAGED = Path(__file__).parents[1] / "conf"
CONF = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"
OWN_CONF = {"--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"}
VALUED = {*OWN_CONF, "--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun"}
"""Hydra's flags that a word may follow."""
AGAIN = "auto"
"""``resume=auto``: go on where there is something to go on with, else begin; the directory is the command's own."""
OVERRIDE = re.compile(r"^(?P<sign>[+~]{0,2})(?P<key>[\w./@\-]+)(?P<value>=.*)?$", re.DOTALL)


def prepare_overrides(arguments: Sequence[str], conf: Path = CONF) -> list[str]:
    """Check group names and choices, and let every setting of a group through to its constructor's own check.

    Hydra refuses ``model.latent_dim=8`` where the yaml does not repeat that default; ``++`` accepts it, and the
    constructor's signature decides whether the key is legal.

    Raises:
        ConfigError: for an unknown group, choice or top-level setting, naming the nearest one.
    """
    # Hydra's parser refuses a flag between overrides: `data=digits -m seed=0,1`.
    flags, overrides = _split(arguments)
    groups = {path.name: {file.stem for file in path.glob("*.yaml")} for path in conf.iterdir() if path.is_dir()}
    overrides = _resume(flags, overrides, groups)
    if OWN_CONF & set(flags):
        return [*flags, *overrides]
    settings = _flatten(yaml.safe_load((conf / "train.yaml").read_text(encoding="utf-8")))
    return [*flags, *(_check(override, set(groups), settings, conf) for override in overrides)]


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the overrides."""
    flags: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        is_value = bool(flags) and flags[-1] in VALUED and "=" not in argument
        (flags if argument.startswith("-") or is_value else overrides).append(argument)
    return flags, overrides


def _check(argument: str, groups: set[str], settings: set[str], conf: Path) -> str:
    match = OVERRIDE.match(argument)
    if match is None:
        return argument
    sign, key, value = match["sign"], match["key"], match["value"]
    first = re.split(r"[./@]", key)[0]
    if key.startswith("hydra.sweeper.") and not sign:
        _check_sweeper(key, conf)
    if first not in groups | settings | {"hydra"} and key not in settings and not sign.startswith("+"):
        candidates = (
            settings
            if "." in key and first in {setting.partition(".")[0] for setting in settings}
            else groups | settings
        )
        raise ConfigError(f"There is no setting {key}. {suggest(key if candidates is settings else first, candidates)}")
    if first == "hydra" or value is None or sign:
        return argument
    if key in groups:
        _check_choices(key, value[1:], conf)
        return argument
    return f"++{argument}" if first in groups else argument


def _check_sweeper(key: str, conf: Path) -> None:
    files = (conf / "hydra" / "sweeper").glob("*.yaml")
    legal = {name for path in files for name in yaml.safe_load(path.read_text(encoding="utf-8"))} - {"_target_"}
    name = key.removeprefix("hydra.sweeper.").partition(".")[0]
    if name not in legal | {"_target_", "max_batch_size"}:
        raise ConfigError(f"There is no setting {key}. {suggest(name, legal)}")


def _flatten(tree: dict[str, Any]) -> set[str]:
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
            raise ConfigError(f"There is no {group}={choice}. {suggest(choice, choices)}")


def _resume(flags: Sequence[str], overrides: Sequence[str], groups: Mapping[str, set[str]]) -> list[str]:
    """Replace ``resume=DIR`` by what the user typed for that run, in its directory; later overrides win."""
    wanted = [a.partition("=")[2] for a in overrides if a.startswith("resume=") and a != "resume=null"]
    if not wanted:
        return list(overrides)
    if {"-m", "--multirun"} & set(flags):
        raise ConfigError(
            "resume= goes on with one run. A sweep goes on when its command is typed again, with sweep.dir=."
        )
    is_own = bool(OWN_CONF & set(flags))
    if wanted[-1] == AGAIN:
        if not is_own and not any(word.startswith("hydra.run.dir=") for word in overrides):
            raise ConfigError("resume=auto begins or goes on in a directory that you name: hydra.run.dir=DIR.")
        return list(overrides)
    run_dir = Path(wanted[-1])
    new = [a for a in overrides if not a.startswith("resume=")]
    keys = [match["key"] for match in map(OVERRIDE.match, new) if match is not None]
    typed = [key for key in keys if re.fullmatch(r"[\w.]+", key)]
    earlier = recorded_overrides(run_dir, typed, None if is_own else groups)
    return [*earlier, *new, f"++typed=[{','.join(typed)}]", f"resume={run_dir}", f"hydra.run.dir={run_dir}"]
