"""What a job's result depends on: its settings, written out, and their fingerprint."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from vae_lightning.config.settings import Settings
from vae_lightning.config.strangers import HOW_AND_WHERE
from vae_lightning.sweeps.base import Job

INDIFFERENT = "torch.threads"
"""A setting that says how a job is run, not what it computes."""
WATCHING = ("logger", "callbacks.progress", "report")
"""Settings that are kept, but do not make another job."""


def job_of(settings: Settings, choices: Mapping[str, Any], overrides: Sequence[str], swept: Sequence[str] = ()) -> Job:
    """The record of a job that is still to be run.

    Args:
        settings: of the job; the directory it runs in does not matter.
        choices: which yaml each group took.
        overrides: as they would be typed to run it alone.
        swept: those of them that the sweep varies.
    """
    flat = flatten(settings, choices)
    return Job(fingerprint(flat, choices), list(overrides), list(swept), flat)


def flatten(settings: Settings, choices: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting by its dotted name, constructors' defaults included, and every group's choice by its name."""
    flat = {name: value for name, value in _flat(settings.as_dict()) if name != INDIFFERENT}
    groups = {g: c for g, c in choices.items() if "/" not in g and "@" not in g and g not in HOW_AND_WHERE}
    return {**flat, **{group: choice for group, choice in groups.items() if choice is not None}}


def fingerprint(flat: Mapping[str, Any], choices: Mapping[str, Any]) -> str:
    """Sixteen hex digits that change with any setting that a result depends on.

    The choices do not count: ``experiment=x`` and the overrides that it stands for are the same job.
    """
    own = {
        name: _one_spelling(value)
        for name, value in flat.items()
        if name not in choices and not f"{name}.".startswith(tuple(f"{watching}." for watching in WATCHING))
    }
    return hashlib.sha256(json.dumps(own, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _one_spelling(value: Any) -> Any:
    """1.0 as 1: the same number, typed in two ways."""
    if isinstance(value, list):
        return [_one_spelling(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for name, value in tree.items():
        if isinstance(value, Mapping) and value:
            found += _flat(value, f"{prefix}{name}.")
        else:
            found.append((f"{prefix}{name}", value))
    return found
