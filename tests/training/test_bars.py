"""The bar in a notebook: what it shows, and that a cell has one."""

import io
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

import vae_lightning.training.bars
from vae_lightning.training.bars import NotebookBar, TerminalBar


class Notebook:
    """Stands for IPython: the cells' outputs, each as it is now."""

    def __init__(self) -> None:
        self.execution_count = 1
        self.outputs: list[Any] = []

    def display(self, shown: Any, display_id: bool) -> Any:
        assert display_id
        self.outputs.append(shown)
        place = len(self.outputs) - 1
        return SimpleNamespace(update=lambda later: self.outputs.__setitem__(place, later))

    @property
    def pages(self) -> list[str]:
        return [shown._repr_html_() for shown in self.outputs]


@pytest.fixture
def notebook(monkeypatch: pytest.MonkeyPatch) -> Notebook:
    notebook, ipython, display = Notebook(), ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: notebook  # type: ignore[attr-defined]
    display.display = notebook.display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(NotebookBar, "_shown", (-1, None))
    return notebook


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(vae_lightning.training.bars, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_it_shows_its_share_and_foretells_the_rest(notebook: Notebook, clock: SimpleNamespace) -> None:
    bar = NotebookBar(200)
    bar.draw(20, "epoch 1/10", "5 rows/s")
    assert "left" not in notebook.pages[0]  # the first steps, which take longest, foretell nothing
    clock.now += 30
    bar.draw(80, "epoch 4/10", "5 rows/s")
    (page,) = notebook.pages
    assert "value='0.4000'" in page
    assert "at most 0:01:00 left" in page  # 60 steps took 30 s, and 120 are left
    bar.close()
    assert "<progress" not in notebook.pages[0]
    assert "epoch 4/10" in notebook.pages[0]


def test_without_an_end_there_is_neither_share_nor_time(notebook: Notebook, clock: SimpleNamespace) -> None:
    bar = NotebookBar(None)
    bar.draw(20, "epoch 1", "")
    clock.now += 1
    bar.draw(40, "epoch 2", "")
    (page,) = notebook.pages
    assert "<progress" not in page
    assert "left" not in page


@pytest.mark.usefixtures("clock")
def test_the_fits_of_a_cell_share_one_bar(notebook: Notebook) -> None:
    for fit in range(5):
        NotebookBar(10).draw(1, f"fit {fit}", "")
    assert len(notebook.outputs) == 1
    assert "fit 4" in notebook.pages[0]
    notebook.execution_count += 1
    NotebookBar(10).draw(1, "another", "")
    assert ["fit 4" in notebook.pages[0], "another" in notebook.pages[1]] == [True, True]


def test_what_was_never_drawn_is_not_closed_with_a_line(notebook: Notebook) -> None:
    NotebookBar(10).close()
    assert notebook.outputs == []


@pytest.mark.usefixtures("clock")
def test_words_are_no_markup(notebook: Notebook) -> None:
    NotebookBar(10).draw(1, "<b>", "&")
    assert "&lt;b&gt; &ensp; &amp;" in notebook.pages[0]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_a_terminal_of_any_width_keeps_the_bar_on_one_line(width: int) -> None:
    """In 80 columns the bar was gone once an epoch's numbers stood beside it."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system=None, legacy_windows=False)
    bar = TerminalBar(console, 400, 0, transient=False)
    bar.draw(200, "epoch 200/400", "val nelbo 12345.67", "= reconstruction 12345.67 + kl 123.45", "12,345 rows/s")
    bar.close()
    (line,) = {line.strip() for line in re.sub(r"\x1b\[[^a-zA-Z]*[a-zA-Z]", "\n", file.getvalue()).split("\n")} - {""}
    assert len(line) <= width
    assert "epoch 200/400 ━━━━━━━━" in line
    assert ("val nelbo" in line) == (width >= 80)
    assert ("kl" in line) == (width >= 120)
