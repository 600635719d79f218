"""Writes docs/settings.md: every setting, its default and what it means, from the constructors and the yaml files.

python scripts/settings_page.py
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vae_lightning.config.instantiate import TARGET, import_class, legal_keys
from vae_lightning.config.overrides import CONF
from vae_lightning.config.settings import AUTO, FAMILIES, FROM_ROWS, GIVEN, AutoOptions, RowOptions
from vae_lightning.data.sources.base import Source
from vae_lightning.model.parts import NAME
from vae_lightning.model.vae import VAE
from vae_lightning.shell import hydra_value

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
INTRODUCTION = """# Settings

Every setting of `python train.py` and `vae-lightning train`, its default and what it means. A setting is typed
`NAME=VALUE`, a group's choice `GROUP=CHOICE`; `python train.py --help` lists them, and
`python train.py --cfg job` shows what would be in force. `auto` is replaced by what the rows want. A setting with a
space, a comma, a bracket or another sign that a shell reads is quoted as a whole: `'model.hidden_dims=[256,128]'`.

Written by `python scripts/settings_page.py` from the constructors that the settings are arguments of.
"""
WORDS_OF_GROUPS = {
    "data": "Where the rows come from. The first table holds for all; `data.path=FILE` alone means `data=table`.",
    "model": "The networks, and how large the code is.",
    "likelihood": "p(x|z): which values the columns may have, and how the decoder's numbers become a distribution.",
    "posterior": "q(z|x), the family of the codes' distributions.",
    "prior": "p(z), what codes are drawn from.",
    "objective": "What training minimises.",
    "optimizer": "Arguments of torch's optimiser; another one: `'optimizer={_target_: torch.optim.SGD, lr: 0.1}'`.",
    "scheduler": "The step size over the epochs; `scheduler=none` leaves it as it is.",
    "trainer": "Arguments of Lightning's `Trainer`, `trainer.fast` and `trainer.compile`.",
    "callbacks": "By name; `callbacks.NAME=null` takes one away, `callbacks=none` all.",
    "logger": "By name; `logger=none` writes none.",
}
UNDOCUMENTED = {"default_root_dir": "where Lightning writes what has no folder of its own"}
OURS = (
    (
        "trainer.fast",
        "true",
        "several batches go through Lightning's loop at once where nobody can tell",
    ),
    ("trainer.compile", "auto", "the step becomes one compiled program; auto: where that saves time"),
)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(f"{PAGE} is written.")


def page() -> str:
    """The page as it should be."""
    parts = [INTRODUCTION, "\n## General\n", _table(_general())]
    for group, words in WORDS_OF_GROUPS.items():
        parts += [f"\n## {group}\n\n{words}\n", *_group(group)]
    parts += ["\n## hydra.sweeper\n\nSweeps: `-m`, or `sweep=NAME`.\n"]
    for path in sorted((CONF / "hydra" / "sweeper").glob("*.yaml")):
        parts += [f"\n### hydra/sweeper={path.stem}\n", _table(_commented(path, "hydra.sweeper."))]
    return "".join(parts)


def _group(group: str) -> Iterator[str]:
    if group == "data":
        yield _table(_rows("data", RowOptions, {}))
    if group in ("callbacks", "logger"):
        seen: set[str] = set()
        for path in sorted((CONF / group).glob("*.yaml"), key=lambda path: path.stem != "default"):
            for name, node in _load(path).items():
                if name != "defaults" and name not in seen:
                    seen.add(name)
                    yield f"\n### {group}.{name}\n{_class_words(node)}"
                    yield _table(_rows(f"{group}.{name}", import_class(node, name), node))
        return
    for path in sorted((CONF / group).glob("*.yaml")):
        node = _load(path)
        if group == "trainer" and path.stem != "auto":
            continue  # the same class
        if NAME in node or TARGET in node or group == "model":
            yield f"\n### {group}={path.stem}\n{_class_words(node, group)}"
            given = FAMILIES[group][1] if group in FAMILIES else GIVEN.get(group, ())
            rows = _rows(group, _class_of(group, node), node, given)
            yield _table([*rows, *OURS] if group == "trainer" else rows)


def _class_of(group: str, node: Mapping[str, Any]) -> Callable[..., Any]:
    if group == "model":
        return VAE
    if TARGET in node:
        return import_class(node, group)
    if node[NAME] == AUTO:
        return AutoOptions
    return (FAMILIES[group][0] if group in FAMILIES else Source).named(node[NAME], group)


def _class_words(node: Mapping[str, Any], group: str = "") -> str:
    first = _first_sentence((inspect.getdoc(_class_of(group, node)) or "").partition("\n\n")[0])
    return f"\n{first[:1].upper()}{first[1:]}.\n" if first else ""


def _rows(
    prefix: str, target: Callable[..., Any], node: Mapping[str, Any], given: Iterable[str] = ()
) -> list[tuple[str, str, str]]:
    meanings, group = arguments_in(target), prefix.partition(".")[0]
    parameters = inspect.signature(target).parameters
    found = []
    for name in legal_keys(target, given):
        default = node.get(name, parameters[name].default)
        if default is None and name in FROM_ROWS.get(group, ()):
            default = "auto"
        found.append((f"{prefix}.{name}", _default(default), meanings.get(name) or UNDOCUMENTED[name]))
    return found


def _default(value: Any) -> str:
    if value is inspect.Parameter.empty:
        return ""
    plain = isinstance(value, bool | int | float | str | list | tuple | None)
    return hydra_value(value) if plain and not (isinstance(value, str) and "${" in value) else str(value)


def _general() -> list[tuple[str, str, str]]:
    return [row for row in _commented(CONF / "train.yaml", "") if not row[0].startswith("defaults")]


def _commented(path: Path, prefix: str) -> list[tuple[str, str, str]]:
    """The entries of a yaml file with the words that stand beside them."""
    found, parent = [], ""
    for line in path.read_text(encoding="utf-8").splitlines():
        match = re.match(r"(?P<indent> *)(?P<name>\w+):(?P<value>[^#]*)(#(?P<words>.*))?$", line)
        if match is None or match["name"] == TARGET:
            continue
        if not match["indent"]:
            parent = ""
        if not match["value"].strip():
            parent = f"{match['name']}."
            continue
        name = f"{prefix}{parent}{match['name']}"
        found.append((name, match["value"].strip(), (match["words"] or "").strip()))
    return found


def arguments_in(target: Callable[..., Any]) -> dict[str, str]:
    """What the docstrings of a class say of its arguments: one sentence each."""
    found: dict[str, str] = {}
    classes = inspect.getmro(target) if inspect.isclass(target) else ()
    for each in (target, *(getattr(one, "__init__", None) for one in classes), *classes):
        for name, words in _arguments(inspect.getdoc(each) or ""):
            found.setdefault(name, _first_sentence(words))
    return found


def _arguments(text: str) -> Iterator[tuple[str, str]]:
    """Names and words of the entries under ``Args:``, in Google's manner or torch's."""
    block = re.search(r"^(?:Args|Attributes):[ \t]*\n((?:[ \t]+.*\n|\s*\n)+)", f"{text}\n", re.MULTILINE)
    for entry in re.split(r"\n(?=\S)", inspect.cleandoc(f"\n{block[1]}") if block else ""):
        head = re.match(r"[`*]*(?P<name>\w+)[`*]*(?: ?\([^:]*\))?: ?(?P<words>.*)", entry, re.DOTALL)
        if head:
            yield head["name"], head["words"]


def _first_sentence(words: str) -> str:
    text = re.sub(r"\s+", " ", words).strip()
    text = re.sub(r"\s*\((?:default|Default)[^)]*\)|\s*Default(?:s to)?:? .*", "", text)
    text = re.sub(r"`([^`<]+?) ?<[^`>]+>`_?|`([^`]+)`_", lambda m: m[1] or m[2], text)
    text = re.sub(r":math:`([^`]+)`", r"`\1`", text)
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text).replace("``", "`")
    return re.split(r"(?<![eig.]\.[ge])(?<=[^.])\.(?:\s|$)", text)[0].strip().rstrip(".:")


def _load(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def _table(rows: Iterable[tuple[str, str, str]]) -> str:
    rows = list(rows)
    if not rows:
        return "\nIt has no settings of its own.\n"
    lines = ["| setting | default | meaning |", "|---|---|---|"]
    for name, default, words in rows:
        value = f"`{default}`" if default else ""
        lines.append(f"| `{name}` | {value} | {words.replace('|', chr(92) + '|')} |")
    return "\n" + "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
