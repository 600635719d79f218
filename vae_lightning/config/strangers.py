"""What a run directory may ask for when it is gone on with: it may be anybody's, and must run none of their code.

Its words are let through where they are plain settings. Classes are this package's and those of Lightning and torch
that write only where they are told; paths lie within the directory. What a person types beside ``resume=`` is theirs,
and is taken as it is.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from vae_lightning.errors import ConfigError, RunError
from vae_lightning.shell import group_of

HOW_AND_WHERE = ("run_dir", "resume", "overwrite", "typed", "debug", "sweep", "launcher", "hydra")
"""Top-level entries that say how and where something is run, not what it computes; no directory decides these."""
RECORDED = Path(".hydra", "overrides.yaml")
WORD = re.compile(r"(?P<sign>\+{0,2}|~)(?P<key>[A-Za-z_]\w*(\.[\w-]+)*)(=(?P<value>.*))?", re.DOTALL)
REFERENCE = re.compile(r"\$\{[A-Za-z_][\w.]*\}")
"""An interpolation that names a setting; the others call functions, such as the one that reads the environment."""
NODES = ("callbacks", "logger")
"""Groups of named nodes, each with a class of its own."""
WHOLE = (*NODES, "trainer")
"""Groups whose choice, typed anew, leaves nothing of what the directory says of them."""
LIGHTNINGS = (
    "DeviceStatsMonitor|EarlyStopping|GradientAccumulationScheduler|LearningRateMonitor|ModelCheckpoint|ModelSummary|"
    "OnExceptionCheckpoint|RichModelSummary|RichProgressBar|StochasticWeightAveraging|TQDMProgressBar|Timer"
)
CLASSES = {
    "callbacks": re.compile(
        rf"lightning\.pytorch\.callbacks\.({LIGHTNINGS})|"
        r"vae_lightning\.training\.callbacks\.(best\.BestCheckpoint|last\.LastCheckpoint|"
        r"early_stopping\.EarlyStopping|guard\.LossGuard|progress\.EpochProgress)|"
        r"vae_lightning\.reporting\.(dashboard\.Dashboard|figures\.callback\.Figures)"
    ),
    "logger": re.compile(
        r"lightning\.pytorch\.loggers\.(CSVLogger|TensorBoardLogger)|"
        r"vae_lightning\.training\.csv_logger\.EpochCSVLogger"
    ),
    "trainer": re.compile(r"lightning\.pytorch\.Trainer"),
    "optimizer": re.compile(r"torch\.optim\.[A-Z]\w*"),
    "scheduler": re.compile(r"vae_lightning\.Cosine|torch\.optim\.lr_scheduler\.[A-Z]\w*"),
    "data": re.compile(r"(?!)"),  # sources are named, not classes
}
ELSEWHERE = ("model_registry",)
"""Settings that send things away."""


def refuse_links(directory: Path) -> None:
    """Whoever writes here shall write nowhere else, and wait for nobody.

    Raises:
        RunError: when the directory holds a link that leads out of it, or anything but files, folders and links.
    """
    root = directory.resolve()
    for folder, folders, files in os.walk(directory):
        for name in (*folders, *files):
            path = Path(folder, name)
            if path.is_symlink():
                if not path.resolve().is_relative_to(root):
                    raise RunError(f"{path} is a link that leads out of {directory}. Nothing is written there.")
            elif path.exists() and not (path.is_dir() or path.is_file()):
                raise RunError(f"{path} is neither a file nor a folder. Nothing is written to {directory}.")


def recorded_overrides(run_dir: Path, typed: Sequence[str], groups: Mapping[str, set[str]] | None) -> list[str]:
    """What was typed for a run, less what is typed anew and what says how and where it was run.

    Args:
        run_dir: the run's directory.
        typed: keys of what is typed now.
        groups: choices of each group; None where the user has brought a configuration of their own.

    Raises:
        RunError: for a link, as :func:`refuse_links`.
        ConfigError: when nothing is recorded, or something that a directory must not say.
    """
    refuse_links(run_dir)
    path = run_dir / RECORDED
    try:
        words = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError):
        words = None
    if not isinstance(words, list):
        raise ConfigError(f"resume={run_dir} is no run directory, or was killed before it began: {path} says nothing.")
    kept = []
    for word in words:
        if group_of(str(word)) in HOW_AND_WHERE:
            continue
        match = WORD.fullmatch(word) if isinstance(word, str) else None
        if match is not None and any(_covers(key, match["key"]) for key in typed):
            continue
        if match is None or not _is_plain(match, groups):
            raise ConfigError(_refusal(path, repr(word)))
        kept.append(word)
    return kept


def _is_plain(match: re.Match[str], groups: Mapping[str, set[str]] | None) -> bool:
    value = match["value"] or ""
    if "${" in REFERENCE.sub("", value):
        return False
    if groups is not None and match["key"] in groups and match["sign"] != "~":
        return value in groups[match["key"]] | {"null"}
    # A group of the user's own configuration: a name, and no way to files elsewhere.
    return groups is not None or "." in match["key"] or ".." not in value


def check_composed(config: Mapping[str, Any]) -> None:
    """Hold what was composed for a run that is gone on with against what its directory may ask for.

    Args:
        config: the resolved configuration; its entry ``typed`` has the keys of what was typed now. Without that entry
            nothing comes from a directory.

    Raises:
        ConfigError: for a class or a path that the directory, and nobody who typed, has asked for.
    """
    typed = config.get("typed")
    if typed is None:
        return
    run_dir = Path(str(config["run_dir"]))
    for group, path, node in _nodes(config):
        target = node.get("_target_")
        is_typed = any(_covers(key, f"{path}._target_") for key in typed)
        if target is not None and not is_typed and not CLASSES[group].fullmatch(str(target)):
            raise ConfigError(_refusal(run_dir / RECORDED, f"{path}._target_={target}"))
        if group not in WHOLE:
            continue
        for name, value in node.items():
            if any(_covers(key, f"{path}.{name}") for key in typed):
                continue
            if (name in ELSEWHERE and value is not None) or not all(
                _stays_within(text, str(name), run_dir) for text in _texts(value)
            ):
                raise ConfigError(_refusal(run_dir / RECORDED, f"{path}.{name}={value}"))


def _nodes(config: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Every node that names a class: its group, where it stands, and the node."""
    for group in CLASSES:
        node = config.get(group)
        nodes = {f"{group}.{n}": child for n, child in (node or {}).items()} if group in NODES else {group: node}
        yield from ((group, path, child) for path, child in nodes.items() if isinstance(child, Mapping))


def _covers(typed: str, key: str) -> bool:
    """Whether ``key`` is the user's own, as they have typed ``typed``: it, all of its node, or the node's class."""
    group, *rest = typed.split(".")
    node = typed.removesuffix("._target_")
    below = key.startswith(f"{node}.")
    return key in (typed, node) or (below and (bool(rest) or group in WHOLE))


def _texts(value: Any) -> Iterator[str]:
    """Every text within a value, keys too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from (*_texts(key), *_texts(item))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str):
        yield value


def _stays_within(text: str, name: str, run_dir: Path) -> bool:
    """Whether a text, as a path, leads nowhere but into the directory; it names no class either."""
    if "://" in text or "::" in text or (text == "_target_" and name != text):
        return False
    is_place = name.endswith(("dir", "dirpath", "path"))
    if not is_place and not os.path.isabs(text) and not text.startswith("~"):
        return ".." not in re.split(r"[/\\]", text)
    return Path(os.path.expanduser(text)).resolve().is_relative_to(run_dir.resolve())


def _refusal(path: Path, what: str) -> str:
    shown = what if len(what) <= 200 else f"{what[:200]} ..."
    return (
        f"{path} asks for {shown}, which a run directory may not: it could run code or write elsewhere. If it is your "
        "own, type it again beside resume=."
    )
