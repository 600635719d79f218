"""Overrides as they are typed: group names and choices checked, constructors' own settings let through."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vae_lightning.config.strangers import recorded_overrides
from vae_lightning.errors import ConfigError, Setting, suggest
from vae_lightning.shell import PATHS, SWEPT_PATHS, group_of, hydra_text, quote_path, read_hydra_text

_PACKAGED = Path(__file__).parents[1] / "conf"
CONF = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"
OWN_CONF = {"--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn"}
VALUED = {*OWN_CONF, "--cfg", "-c", "--package", "-p", "--info", "-i", "--experimental-rerun"}
"""Hydra's flags that a word may follow."""
NEEDED = ("model", "likelihood", "posterior", "prior", "objective", "optimizer", "trainer", "hydra")
"""The groups without which nothing runs."""
ABSENT = ("experiment", "sweep")
"""The groups of which nothing is chosen by default."""
MAYBE_VALUED = {"--info", "-i"}
SWEEPING = re.compile(r"\+*(sweep=(?!null$)|hydra\.mode=MULTIRUN$)")
OF_LIKELIHOOD = re.compile(r"(^|[.~])likelihood([.:]|$)")
"""A name that says which likelihood, or a sweep's."""
RESUME = re.compile(r"resume=(?!null$)")
AGAIN = "auto"
"""``resume=auto``: go on where there is something to go on with, else begin; the directory is the command's own."""
OVERRIDE = re.compile(r"^(?P<sign>[+~]{0,2})(?P<key>[\w./@\-]+)(?P<value>=.*)?$", re.DOTALL)


def prepare_overrides(arguments: Sequence[str], conf: Path = CONF, *, sweeps: bool = False) -> list[str]:
    """Check group names and choices, and let every setting of a group through to its constructor's own check.

    Hydra refuses ``model.latent_dim=8`` where the yaml does not repeat that default; ``++`` accepts it, and the
    constructor's signature decides whether the key is legal. A bare word is the table to train on, and paths are put
    into quotes, so that they may have any character.

    Args:
        arguments: as they were typed.
        conf: the directory of the configuration.
        sweeps: whether commas separate the values of a sweep, even where no argument says so.

    Raises:
        ConfigError: for an unknown group, choice or top-level setting, naming the nearest one.
    """
    # Hydra's parser refuses a flag between overrides: `data=digits -m seed=0,1`.
    flags, words = _split(arguments)
    groups = {path.name: {file.stem for file in path.glob("*.yaml")} for path in conf.iterdir() if path.is_dir()}
    names, sweeps = set(groups), sweeps or is_sweep(arguments)
    overrides = _resume(flags, [_quote(_as_setting(word, names, conf), sweeps) for word in words], groups)
    if OWN_CONF & set(flags):
        return [*flags, *overrides]
    settings = _flatten(yaml.safe_load((conf / "train.yaml").read_text(encoding="utf-8")))
    checked = [_check(override, names, settings, conf) for override in _choose_families(_choose_table(overrides), conf)]
    return [*flags, *filter(None, checked)]


def lacks_group(name: str) -> ConfigError:
    """The error of a run without one of the groups that it needs."""
    return ConfigError(f"A run needs the group {name}, which was taken away. Leave it out for the default.")


def is_sweep(arguments: Sequence[str]) -> bool:
    """Whether the command is one for many jobs."""
    return any(word in ("-m", "--multirun") or SWEEPING.match(word) for word in arguments)


def _split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Hydra's flags with their values, and the rest."""
    flags: list[str] = []
    words: list[str] = []
    for argument in arguments:
        is_value = bool(flags) and flags[-1] in VALUED and not (flags[-1] in MAYBE_VALUED and "=" in argument)
        (flags if argument.startswith("-") or is_value else words).append(argument)
    return flags, words


def _as_setting(word: str, groups: set[str], conf: Path) -> str:
    """A word of the command line as a setting: a bare word is the table to train on."""
    match = OVERRIDE.match(word)
    exists = os.path.lexists(word)
    if match and (match["sign"] or match["value"]) and (not exists or group_of(word) in groups):
        return word
    if exists and (Path(word) / ".hydra").is_dir():
        raise ConfigError(f"{word} is the directory of a run.", [Setting("resume", word, "goes on with it")])
    if exists or _is_called_as_a_table(word):
        return f"data.path={hydra_text(word)}"
    chosen = [group for group in sorted(groups) if (conf / group / f"{word}.yaml").is_file()]
    raise ConfigError(f"There is no file {word}; settings are typed NAME=VALUE.", [Setting(g, word) for g in chosen])


def _is_called_as_a_table(word: str) -> bool:
    from vae_lightning.data.sources.table import ENDINGS

    return word.lower().removesuffix(".gz").endswith(ENDINGS)


def _quote(override: str, sweeps: bool) -> str:
    """A setting that is a path, in Hydra's quotes."""
    name, is_set, value = override.partition("=")
    key = name.lstrip("+")
    return f"{name}={quote_path(value, sweeps and key in SWEPT_PATHS)}" if is_set and key in PATHS else override


def _choose_table(overrides: Sequence[str]) -> list[str]:
    """``data.path=`` means a table, unless something else says what the data are."""
    names = {override.lstrip("+").partition("=")[0] for override in overrides}
    wants_table = "data.path" in names and not names & {"data", "data.name", "data._target_", "experiment"}
    return ["data=table", *overrides] if wants_table else list(overrides)


def _choose_families(overrides: Sequence[str], conf: Path) -> list[str]:
    """A table's columns may be of any kind: unless something else says what they are, each gets a family of its own."""
    named = dict(override.lstrip("+").partition("=")[::2] for override in overrides)
    sweep = conf / "sweep" / f"{named.get('sweep')}.yaml"
    words = [*named, *(sweep.read_text(encoding="utf-8").split() if sweep.is_file() else ())]
    is_decided = {"experiment", "resume"} & set(named) or any(OF_LIKELIHOOD.search(word) for word in words)
    return list(overrides) if is_decided or "data=table" not in overrides else ["likelihood=auto", *overrides]


def _check(argument: str, groups: set[str], settings: set[str], conf: Path) -> str:
    match = OVERRIDE.match(argument)
    if match is None:
        raise ConfigError(f"{argument} is no setting: settings are typed NAME=VALUE.")
    sign, key, value = match["sign"], match["key"], match["value"]
    first = group_of(key)
    if key.startswith("hydra.sweeper.") and not sign:
        _check_sweeper(key, conf)
    if first not in groups | settings | {"hydra"} and key not in settings and not sign.startswith("+"):
        candidates = (
            settings
            if "." in key and first in {setting.partition(".")[0] for setting in settings}
            else groups | settings
        )
        raise ConfigError(f"There is no setting {key}. {suggest(key if candidates is settings else first, candidates)}")
    is_taken_away = key in groups and (sign == "~" or (not sign and value == "=null"))
    if is_taken_away:
        if key in NEEDED:
            raise lacks_group(key)
        return "" if key in ABSENT else f"~{key}{value if sign and value else ''}"  # Hydra knows no group=null
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
        if choice not in choices:
            raise ConfigError(f"There is no {group}={choice}. {suggest(choice, choices)}")


def _resume(flags: Sequence[str], overrides: Sequence[str], groups: Mapping[str, set[str]]) -> list[str]:
    """Replace ``resume=DIR`` by what the user typed for that run, in its directory; later overrides win."""
    wanted = [read_hydra_text(a.partition("=")[2]) for a in overrides if RESUME.match(a)]
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
    place = hydra_text(str(run_dir))
    # Hydra fills in what looks like ${...} in a directory's name; its own stays where we are, and it writes nothing.
    return [*earlier, *new, f"++typed=[{','.join(typed)}]", f"resume={place}", f"run_dir={place}", "hydra.run.dir=."]
