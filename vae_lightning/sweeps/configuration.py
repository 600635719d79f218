"""What a job's result depends on: its settings, written out, and their fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vae_lightning.config.instantiate import completed, locate
from vae_lightning.model.vae import VAE

INDIFFERENT = {"run_dir", "resume", "debug", "sweep", "launcher", "hydra"}
"""Settings and groups that say how and where a job is run, not what it computes."""
WATCHING = ("logger", "callbacks.progress", "report")
"""Settings that are kept, but do not make another job."""
COMPLETED = ("data", "model", "likelihood", "objective", "optimizer", "scheduler")
"""Groups whose constructors' defaults are part of the settings."""


def settings_of(config: Mapping[str, Any], choices: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting by its dotted name, constructors' defaults included, and every group's choice by its name.

    Args:
        config: the job's configuration, plain values; paths in the run directory begin with the same word in each job.
        choices: which yaml each group took.
    """
    full = {group: _completed(group, node) if group in COMPLETED else node for group, node in config.items()}
    flat = {name: value for name, value in _flat(full) if name not in INDIFFERENT}
    groups = {g: c for g, c in choices.items() if "/" not in g and "@" not in g and g not in INDIFFERENT}
    return {**flat, **{group: choice for group, choice in groups.items() if choice is not None}}


def fingerprint_of(settings: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Sixteen hex digits that change with any setting that a result depends on.

    The choices do not count: ``experiment=x`` and the overrides that it stands for are the same job.
    """
    own = {
        name: _one_spelling(value)
        for name, value in settings.items()
        if name not in choices and not f"{name}.".startswith(tuple(f"{watching}." for watching in WATCHING))
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _one_spelling(value: Any) -> Any:
    """1.0 as 1: the same number, typed in two ways."""
    if isinstance(value, list):
        return [_one_spelling(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _completed(group: str, node: Any) -> Any:
    if group == "model":
        return completed(node, VAE)
    return (
        completed(node, locate(node["_target_"], group)) if isinstance(node, Mapping) and "_target_" in node else node
    )


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found
