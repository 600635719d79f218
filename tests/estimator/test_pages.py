"""What a fitted estimator shows: the bar, the curves, the page."""

import base64
import copy
import html
import io
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from rich.console import Console
from sklearn.exceptions import NotFittedError

import vae_lightning.training.callbacks.progress
from vae_lightning import VAEEstimator
from vae_lightning.errors import ConfigError

pytestmark = pytest.mark.usefixtures("one_thread")
TINY: dict[str, Any] = {"latent_dim": 2, "hidden_dims": (8,), "max_epochs": 4, "patience": 4, "random_state": 0}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    draws = np.random.default_rng(0)
    z = draws.normal(size=(200, 2))
    return pd.DataFrame(z @ draws.normal(size=(2, 5)) + 0.3 * draws.normal(size=(200, 5)), columns=list("abcd<"))


@pytest.fixture(scope="module")
def fitted(frame: pd.DataFrame) -> VAEEstimator:
    return VAEEstimator(**TINY).fit(frame)


# --- the bar ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(force_terminal=True, file=io.StringIO(), width=200, highlight=False, soft_wrap=True)
    monkeypatch.setattr(vae_lightning.training.callbacks.progress, "console", console)
    return console


def said(console: Console) -> str:
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_a_terminal_shows_a_bar_and_keeps_nothing_of_it(
    frame: pd.DataFrame, terminal: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vae_lightning.runs.fitting, "BAR_DELAY_SECONDS", 0.0)
    VAEEstimator(**TINY).fit(frame)
    assert re.search(r"epoch \d/4 .*rows/s", said(terminal))
    assert said(terminal).endswith("\x1b[2K")  # the line is erased


def test_a_short_fit_shows_nothing(frame: pd.DataFrame, terminal: Console) -> None:
    VAEEstimator(**TINY).fit(frame)
    assert said(terminal) == ""


@pytest.mark.parametrize("verbose", [False, 0])
def test_silence_is_silence(
    frame: pd.DataFrame, terminal: Console, monkeypatch: pytest.MonkeyPatch, verbose: bool
) -> None:
    monkeypatch.setattr(vae_lightning.runs.fitting, "BAR_DELAY_SECONDS", 0.0)
    VAEEstimator(**TINY, verbose=verbose).fit(frame)
    assert said(terminal) == ""


def test_elsewhere_the_default_says_nothing(
    frame: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(vae_lightning.runs.fitting, "BAR_DELAY_SECONDS", 0.0)
    VAEEstimator(**TINY).fit(frame)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [-1, "yes", None, 0.5])
def test_other_words_are_refused(frame: pd.DataFrame, verbose: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"The 'verbose' parameter of VAEEstimator must be True, False, 0, 1 or 2\. Got"
    ):
        VAEEstimator(verbose=verbose).fit(frame)


# --- curves ----------------------------------------------------------------------------------------------------------


def test_the_curves_are_the_history(fitted: VAEEstimator) -> None:
    figure = fitted.plot()
    for axes, term in zip(figure.axes, ("nelbo", "reconstruction", "kl"), strict=True):
        for line, stage in zip(axes.lines, ("train", "val"), strict=False):
            np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 4])
            np.testing.assert_array_equal(line.get_ydata(), fitted.history_[f"{stage}/{term}"])


def test_a_notebook_can_show_the_figure_and_a_program_can_save_it(fitted: VAEEstimator, tmp_path: Path) -> None:
    figure: Any = fitted.plot()
    image = Image.open(io.BytesIO(figure._repr_png_()))
    assert image.size == (900, 320)
    assert len(np.unique(np.asarray(image))) > 20
    figure.savefig(tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as written:
        assert written.size[0] > 800


# --- the page --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def page(fitted: VAEEstimator) -> Any:
    return fitted.report()


def test_the_page_has_table_findings_and_figures(page: Any, fitted: VAEEstimator) -> None:
    table = {name: value for name, value, _ in page.table}
    assert float(table["validation NELBO"]) == pytest.approx(fitted.best_nelbo_, abs=1e-3)
    assert float(table["NLL"]) <= float(table["NELBO"]) + 0.01
    assert {"SUPPORT", "ESTIMATOR", "BASELINE", "EVAL"} <= {finding.code for finding in page.findings}
    assert not [
        finding for finding in page.findings if finding.code in ("SUPPORT", "ESTIMATOR", "EVAL") and not finding.ok
    ]
    assert page.figures[0].plot.name == "terms"
    assert len(page.figures) >= 5
    assert "180 rows to train on, 20 to validate;" in page.facts["data"]
    assert "hidden_dims=(8,)" in page.configuration


def test_a_notebook_shows_it_in_a_frame_that_runs_nothing(page: Any, tmp_path: Path) -> None:
    shown = page._repr_html_()
    (inside,) = re.findall(r'^<iframe srcdoc="([^"]*)" title="[^"]*" sandbox style="[^"]*"></iframe>$', shown)
    written = page.save(tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.unescape(inside) == written
    assert "Validation rows, which also chose the best epoch" in written
    assert "<script" not in written
    for png in re.findall(r"data:image/png;base64,([^\"]+)", written):
        Image.open(io.BytesIO(base64.b64decode(png))).verify()
    assert len(repr(page)) < 200


def test_rows_are_no_part_of_a_pickle_or_a_copy(fitted: VAEEstimator, frame: pd.DataFrame) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    for other in (again, copy.deepcopy(fitted)):
        assert "_kept_rows" not in vars(other)
        np.testing.assert_array_equal(other.score_samples(frame), fitted.score_samples(frame))
    page = again.report()
    assert [figure.plot.name for figure in page.figures] == ["terms"]
    assert page.table == []
    assert [finding.ok for finding in page.findings] == [None]
    assert "_kept_rows" in vars(fitted)


def test_without_a_fit_there_is_nothing_to_show(tmp_path: Path) -> None:
    for show in (VAEEstimator().plot, VAEEstimator().report, lambda: VAEEstimator().save(tmp_path)):
        with pytest.raises(NotFittedError):
            show()
