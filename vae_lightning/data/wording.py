"""How counts, lists and rough numbers are worded."""

from collections.abc import Iterable


def count(number: int, noun: str) -> str:
    """``1 row``, ``2 rows``, ``12,000 rows``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shorten(items: Iterable[str], limit: int = 5) -> str:
    """``a, b, c and 31 more``: a list that stays readable however long it is."""
    items = list(items)
    if len(items) <= limit + 1:  # "and 1 more" would be no shorter than the name itself
        return ", ".join(items)
    return f"{', '.join(items[:limit])} and {len(items) - limit:,} more"


def two_digits(number: float) -> str:
    """``0.31``, ``110``, ``12,000``: as much as a rough number says."""
    return f"{float(f'{number:.2g}'):,.6g}"
