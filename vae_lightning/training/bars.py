"""How far training has come, as one line: on a terminal, and in the output of a notebook's cell."""

import time
from datetime import timedelta
from html import escape
from typing import Any, ClassVar, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

BAR_WIDTH, TIME_WIDTH = 20, 7


class Bar(Protocol):
    """Something of ``total`` steps (None: nobody knows), of which some were taken before it began."""

    def draw(self, completed: float, epoch: str, *notes: str) -> None:
        """Show how many steps are taken, the epoch, and what else there is to say, what matters most first."""

    def close(self) -> None:
        """Draw no more."""


class TerminalBar:
    """A bar of rich's; nothing is shown before it is first drawn. Notes that do not fit into its line are left out.

    Args:
        console: where.
        total: steps, or None.
        completed: steps that were taken before.
        transient: leave nothing behind.
    """

    def __init__(self, console: Console, total: float | None, completed: float, transient: bool) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.fields[rest]}"),
            TimeRemainingColumn(),
            console=console,
            # A drawing thread would take turns with the training loop; the bar is drawn by hand instead.
            auto_refresh=False,
            transient=transient,
        )
        self._task = self._progress.add_task("epoch", total=total, completed=int(completed), rest="")

    def draw(self, completed: float, epoch: str, *notes: str) -> None:
        """As :class:`Bar`."""
        room, fitting = self._progress.console.width - len(epoch) - BAR_WIDTH - TIME_WIDTH - 3, ""
        for note in filter(None, notes):
            longer = f"{fitting}{' ' if note.startswith('=') else '  '}{note}".strip()
            if len(longer) > room:
                break
            fitting = longer
        self._progress.update(self._task, completed=completed, description=epoch, rest=fitting)
        self._progress.start()  # once
        self._progress.refresh()

    def close(self) -> None:
        """As :class:`Bar`."""
        self._progress.stop()


class NotebookBar:
    """A bar that needs neither widgets nor scripts. Later bars of a cell take its place, as fits of a search do.

    Args:
        total: steps, or None.
    """

    _shown: ClassVar[tuple[int, Any]] = (-1, None)
    """The cell that holds the newest bar, and the handle of its output."""

    def __init__(self, total: float | None) -> None:
        self._total = total
        self._words: list[str] = []
        #: Time and steps at the first drawing: the first steps take longest, and would foretell hours.
        self._first: tuple[float, float] | None = None

    def draw(self, completed: float, epoch: str, *notes: str) -> None:
        """As :class:`Bar`."""
        self._words = [epoch, *filter(None, notes)]
        now = time.monotonic()
        self._first = self._first or (now, completed)
        share = completed / self._total if self._total else None
        _show(_Line([*self._words, *self._time_left(now, completed)], share))

    def _time_left(self, now: float, completed: float) -> list[str]:
        began, before = self._first or (now, completed)
        if not self._total or completed <= before:
            return []
        seconds = (now - began) * (self._total - completed) / (completed - before)
        return [f"at most {timedelta(seconds=round(seconds))} left"]  # training may stop early

    def close(self) -> None:
        """As :class:`Bar`; the last words stay."""
        if self._words:
            _show(_Line(self._words))


def _show(line: "_Line") -> None:
    from IPython import get_ipython  # where there is a notebook, there is IPython
    from IPython.display import display

    cell = get_ipython().execution_count
    shown_in, handle = NotebookBar._shown
    if shown_in == cell:
        handle.update(line)
    else:
        NotebookBar._shown = (cell, display(line, display_id=True))


class _Line:
    def __init__(self, words: list[str], share: float | None = None) -> None:
        self._words = words
        self._share = share

    def __repr__(self) -> str:
        return "  ".join(self._words)

    def _repr_html_(self) -> str:
        width = "style='width: 12em; margin-right: 1em'"
        bar = "" if self._share is None else f"<progress max='1' value='{self._share:.4f}' {width}></progress>"
        return f"<div style='font-variant-numeric: tabular-nums'>{bar}{' &ensp; '.join(map(escape, self._words))}</div>"
