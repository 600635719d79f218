"""What the columns of a table are taken for: a family and a scaling for each, and how a reader is told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vae_lightning.data.columns import Column
from vae_lightning.data.wording import shorten
from vae_lightning.likelihoods.base import Likelihood

Node = Mapping[str, Any]
"""The name and the options of a family or a scaling."""
OWN = ("known", "shared", "levels")
"""Options that may hold a list, with an entry for each column of a block."""


@dataclass(frozen=True)
class Choice:
    """What one column is taken for.

    Attributes:
        column: its name, dtype and levels.
        family: name and options of its likelihood.
        scaling: name and options of its scaling.
        kind: what its values are, in a word or two.
        why: a clause.
        decimals: to how many decimals its numbers are given; None for all that a float64 has.
    """

    column: Column
    family: Node
    scaling: Node
    kind: str
    why: str
    decimals: int | None = None


def by_column(choices: Sequence[Choice], what: str) -> dict[str, Any]:
    """The likelihood (``family``) or the scaling (``scaling``) of all columns, those of one kind in one block."""
    blocks = join_blocks([getattr(choice, what) for choice in choices])
    if what == "family" and len(blocks) == 1 and blocks[0]["name"] in Likelihood.families():
        return {key: value for key, value in blocks[0].items() if key != "columns"}
    return {"name": "by_column", "blocks": blocks}


def join_blocks(nodes: Sequence[Node]) -> list[dict[str, Any]]:
    """One block for all columns whose nodes differ in nothing but what each has of its own.

    >>> join_blocks([{"name": "ordinal", "levels": [4]}, {"name": "gaussian"}, {"name": "ordinal", "levels": [9]}])
    [{'name': 'ordinal', 'levels': [4, 9], 'columns': [0, 2]}, {'name': 'gaussian', 'columns': [1]}]
    """
    blocks: dict[str, dict[str, Any]] = {}
    for index, node in enumerate(nodes):
        own = {name: value for name, value in node.items() if name in OWN and isinstance(value, list)}
        key = repr(sorted((name, name in own or value) for name, value in node.items()))
        block = blocks.setdefault(key, {**node, **{name: [] for name in own}, "columns": []})
        for name, value in own.items():
            block[name].extend(value)
        block["columns"].append(index)
    return list(blocks.values())


def tabulate_choices(choices: Sequence[Choice]) -> list[list[str]]:
    """Name, kind, family and reason of each column, in words: what a record keeps of the choices."""
    return [[choice.column.name, choice.kind, _words(choice), choice.why] for choice in choices]


def join_alike(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The rows of :func:`tabulate_choices`, columns of one kind, family and reason together."""
    told: dict[tuple[str, ...], list[str]] = {}
    for name, *others in rows:
        told.setdefault(tuple(others), []).append(name)
    return [(shorten(names, 6), *others) for others, names in told.items()]


def describe_choices(choices: Sequence[Choice]) -> str:
    """The choices as lines, columns of one kind and reason together."""
    return align_choices(tabulate_choices(choices))


def align_choices(table: Sequence[Sequence[str]]) -> str:
    """The rows of :func:`tabulate_choices` as lines."""
    rows = join_alike(table)
    widths = [min(max(len(row[i]) for row in rows), 60) for i in range(3)]
    return "\n".join("  " + "  ".join(f"{row[i]:{widths[i]}}" for i in range(3)) + f"  {row[3]}" for row in rows)


def _words(choice: Choice) -> str:
    options = [f"{key}={value}" for key, value in choice.family.items() if key not in ("name", "levels")]
    scaling = choice.scaling["name"]
    words = " ".join([choice.family["name"], *options])
    return words if scaling in ("none", "places", "hurdle") else f"{words}, {scaling}"
