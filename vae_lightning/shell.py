"""Texts as a person types them: one word for bash, zsh and PowerShell alike, one value in Hydra's grammar."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLAIN_VALUE = re.compile(r"[A-Za-z_/][\w./-]*|0|[1-9]\d*", re.ASCII)
"""Texts that Hydra's grammar reads as themselves, unless they are the name of another value."""
NAMES_OF_VALUES = {"true", "false", "null", "nan", "inf"}
QUOTED = re.compile(
    r"""(?P<quote>['"])(?P<text>(?:(?!(?P=quote))[^\\]|\\+(?!(?P=quote))[^\\]|(?:\\\\)*\\(?P=quote))*(?:\\\\)*)(?P=quote)""",
    re.DOTALL,
)
"""One text in Hydra's quotes: a backslash means itself, except before a quote."""
PATHS = {
    *("data.path", "data.valid_path", "data.test_path", "resume", "run_dir"),
    *("sweep.dir", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"),
}
"""The settings that are paths: read as they stand, whatever characters they have."""
SWEPT_PATHS = ("data.path", "data.valid_path", "data.test_path")
SWEEP = re.compile(r"(choice|glob|shuffle|sort|range)\(.*\)", re.DOTALL)
INTERPOLATION = re.compile(r"(?<!\\)\$\{")
ITEM = re.compile(r"""(?:'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^,])+""", re.DOTALL)
"""What stands between two commas, those in quotes left alone."""

PLAIN_WORD = re.compile(r"[\w./:+][\w./:=+-]*")
"""Words that no shell reads anything into. PowerShell splits ``a,b`` and ``-a.b``; zsh looks ``=a`` up."""
SINGLE, DOUBLE = "'‘’‚‛", '"“”„'
"""PowerShell takes the typographer's quotes for its own."""


def shell_quote(text: str) -> str:
    """``text`` as one word that bash, zsh and PowerShell take alike.

    Where single quotes stand in it, double ones go round it; where neither will do, pieces are joined, which PowerShell
    allows if the word begins bare, as a setting and an absolute path do.

    >>> print(shell_quote("a/b"), shell_quote("a,b [1]"), shell_quote("it's"), shell_quote("it's $5"))
    a/b 'a,b [1]' "it's" i't'"'"'s $5'
    """
    if PLAIN_WORD.fullmatch(text):
        return text
    if not set(text) & set(SINGLE):
        return f"'{text}'"
    if not set(text) & set('$`\\!"“”„'):
        return f'"{text}"'
    bare = 1 if PLAIN_WORD.fullmatch(text[0]) else 0
    pieces = re.findall(f"[{SINGLE}]+|[^{SINGLE}]+", text[bare:])
    return text[:bare] + "".join(f'"{piece}"' if piece[0] in SINGLE else f"'{piece}'" for piece in pieces)


def shell_path(path: str | Path) -> str:
    """A path as a person here would type it: relative where that is shorter, never taken for an option."""
    relative = os.path.relpath(path)
    word = relative if not relative.startswith("..") else str(path)
    return shell_quote(word if PLAIN_WORD.match(word) or os.path.isabs(word) else os.path.join(".", word))


def type_command(*words: str | Path) -> str:
    """A command as it is typed; a ``Path`` as :func:`shell_path` writes it.

    >>> type_command("python", "train.py", "-m", "seed=0,1")
    "python train.py -m 'seed=0,1'"
    """
    return " ".join(
        word if isinstance(word, str) and re.fullmatch(r"-{1,2}[\w-]+", word) else _typed(word) for word in words
    )


def _typed(word: str | Path) -> str:
    return shell_path(word) if isinstance(word, Path) else shell_quote(word)


def type_setting(key: str, value: Any) -> str:
    """A setting as it is typed in a shell.

    >>> print(type_setting("data.drop", ["name", "first visit"]))
    "data.drop=[name,'first visit']"
    >>> print(type_setting("data.path", "a (1).csv"))
    'data.path=a (1).csv'
    """
    if key in PATHS and isinstance(value, str) and is_plain_path(value):
        return shell_quote(f"{key}={value}")
    return shell_quote(f"{key}={hydra_value(value)}")


def hydra_value(value: Any) -> str:
    """A plain value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return str("null" if value is None else value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(hydra_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{hydra_value(key)}: {hydra_value(item)}' for key, item in value.items())}}}"
    if not isinstance(value, str) or (PLAIN_VALUE.fullmatch(value) and value.lower() not in NAMES_OF_VALUES):
        return str(value)
    return hydra_text(value)


def hydra_text(text: str) -> str:
    r"""A text in Hydra's quotes, with nothing in it that OmegaConf would fill in.

    >>> print(hydra_text("a b"), hydra_text("it's"), hydra_text("${x}"))
    'a b' "it's" '\${x}'
    """
    return _in_quotes(re.sub(r"(\\*)\$\{", r"\1\1\\${", text))


def _in_quotes(text: str) -> str:
    quote = '"' if "'" in text and '"' not in text else "'"
    return quote + re.sub(rf"(\\*)({quote}|\Z)", lambda m: m[1] * 2 + (f"\\{quote}" if m[2] else ""), text) + quote


def read_hydra_text(value: str) -> str:
    """The text that :func:`hydra_text` wrote; any other value as it stands."""
    match = QUOTED.fullmatch(value)
    if match is None:
        return value
    text = re.sub(rf"(\\+)({match['quote']}|\Z)", lambda m: "\\" * (len(m[1]) // 2) + m[2], match["text"])
    return re.sub(r"(\\*)\\\$\{", lambda m: m[1][: len(m[1]) // 2] + "${", text)


def group_of(override: str) -> str:
    """The first part of the name that an override sets.

    >>> group_of("++hydra.run.dir=x"), group_of("hydra/launcher=joblib"), group_of("~logger")
    ('hydra', 'hydra', 'logger')
    """
    return re.split(r"[./@=]", override.lstrip("+~"), maxsplit=1)[0]


def is_plain_path(text: str) -> bool:
    """Whether :func:`quote_path` takes the text for what it is, on a machine where no such file is."""
    return text not in ("", "null") and "${" not in text and not QUOTED.fullmatch(text)


def quote_path(typed: str, sweeps: bool = False) -> str:
    """A path as it was typed, in Hydra's grammar.

    It is the name of what is there under that name. Else ``null``, Hydra's quotes and ``${...}`` keep their meaning,
    and in a sweep commas and Hydra's functions, too. Everything else is a path.
    """
    if typed in ("", "null"):
        return typed
    if os.path.lexists(typed):
        return hydra_text(typed)
    if QUOTED.fullmatch(typed) or (sweeps and SWEEP.fullmatch(typed)):
        return typed
    if sweeps and "," in typed:
        return ",".join(quote_path(item) for item in ITEM.findall(typed))
    return _in_quotes(typed)  # what stands in ${...} is filled in


def _escape(key: str) -> str:
    return re.sub(r"[\\()\[\]{}:=, ]", r"\\\g<0>", read_hydra_text(key))


def quote_items(typed: str, is_readable: Callable[[str], bool], sweeps: bool = False) -> str:
    r"""A value that Hydra cannot read, as texts: the items of a list, the values of a sweep, or the whole.

    Of a mapping the keys, which Hydra knows no quotes for.

    >>> print(quote_items("{age: gaussian, 'first visit (week)': poisson}", str.isalpha))
    {age: gaussian,first\ visit\ \(week\): poisson}
    """
    if typed.startswith("{") and typed.endswith("}"):
        pairs = [item.strip().rpartition(":") for item in ITEM.findall(typed[1:-1])]
        return f"{{{','.join(f'{_escape(key.strip())}: {value.strip()}' for key, _, value in pairs)}}}"
    if typed.startswith("[") and typed.endswith("]"):
        return f"[{quote_items(typed[1:-1], is_readable, sweeps=True)}]"
    items = [item.strip() for item in ITEM.findall(typed)] if sweeps else [typed]
    return ",".join(item if is_readable(item) else _in_quotes(item) for item in items)
