"""How lists, counts, near misses and what to type are worded, and how columns without a name are called."""

import difflib
import re
import shlex
from collections.abc import Iterable, Sequence


def count(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``, ``12,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def listed(items: Iterable[str], limit: int = 5) -> str:
    """``a, b, c and 31 more``: a list that stays readable however long it is."""
    items = list(items)
    if len(items) <= limit + 1:  # "and 1 more" would be no shorter than the name itself
        return ", ".join(items)
    return f"{', '.join(items[:limit])} and {len(items) - limit:,} more"


def nearest(word: str, legal: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the legal word that is most like ``word``, or nothing if none is like it."""
    by_lower_case = {name.lower(): name for name in legal}
    close = difflib.get_close_matches(word.lower(), by_lower_case, n=1, cutoff=0.5)
    return f" Did you mean '{by_lower_case[close[0]]}'?" if close else ""


def override(key: str, names: Sequence[str]) -> str:
    """``data.drop=[a,b]`` as it can be typed in a shell, quoted where a name needs it."""

    def quoted(name: str) -> str:
        plain = re.fullmatch(r"[A-Za-z_][\w-]*|0|[1-9]\d*", name, re.ASCII)
        if plain and name.lower() not in {"true", "false", "null", "nan", "inf"}:
            return name
        # Hydra reads a backslash as one only where a quote follows it.
        return '"' + re.sub(r'(\\+)(?="|\Z)', r"\1\1", name).replace('"', r"\"") + '"'

    text = f"{key}=[{','.join(map(quoted, names))}]"
    return text if text == f"{key}=[{','.join(names)}]" else shlex.quote(text)
