"""What all figures share."""

import copy
import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests.figures.conftest import words

from tests.conftest import Run
from vae_lightning.data.columns import Column
from vae_lightning.reporting.figures import training
from vae_lightning.reporting.figures.base import Subject, new_figure, png, short, spread, ticks
from vae_lightning.reporting.figures.gallery import KINDS, drawn


def test_each_kind_of_data_has_its_figures(table: Subject, bits: Subject, digits: Subject, plane: Subject) -> None:
    always = ["terms", "kl", "codes", "scatter"]
    tabular, pictures = ["marginals", "correlations", "worst_columns"], ["reconstructions", "prior_draws", "traversals"]
    expected = ((table, tabular), (bits, tabular), (digits, pictures), (plane, [*pictures, "manifold"]))
    for subject, own in expected:
        found = {figure.kind.name: figure.png for figure in drawn(subject)}
        assert sorted(found) == sorted(always + own)
        for content in found.values():
            with Image.open(io.BytesIO(content)) as image:
                assert image.format == "PNG"
                assert len(np.unique(np.asarray(image.convert("L")))) > 2


def test_nothing_is_cut_off_at_the_edge(table: Subject, bits: Subject, digits: Subject, plane: Subject) -> None:
    for subject in (table, bits, digits, plane):
        for kind, content in drawn(subject):
            pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
            edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            assert (edges == 255).all(), f"{kind.name} touches its edge"


def test_long_names_are_not_cut_off_either(table: Subject) -> None:
    model = copy.copy(table.model)
    model.columns = tuple(Column(f"{i}_average_number_of_concave_points", "float64") for i in range(4))
    for kind, content in drawn(replace(table, model=model)):
        pixels = np.asarray(Image.open(io.BytesIO(content)).convert("L"))
        edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert (edges == 255).all(), f"{kind.name} touches its edge"


def test_every_figure_says_how_to_read_it() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert all(len(kind.reading) > 100 and kind.reading.endswith(".") and kind.heading for kind in KINDS)


def test_curves_are_those_of_metrics_csv(table: Subject, gaussian_run: Run) -> None:
    figure = training.terms(table)
    metrics = pd.read_csv(gaussian_run.run_dir / "metrics.csv")
    for axes, term in zip(figure.axes, ("nelbo", "reconstruction", "kl"), strict=True):
        for line, stage in zip(axes.lines, ("train", "val"), strict=True):
            np.testing.assert_allclose(line.get_xydata(), metrics.assign(n=metrics.epoch + 1)[["n", f"{stage}/{term}"]])
    best = metrics["val/nelbo"].idxmin()
    assert f"epoch {best + 1}: {metrics['val/nelbo'][best]:.3f}" in words(figure)


def test_a_first_epoch_far_above_does_not_flatten_the_rest(table: Subject) -> None:
    history = {name: values.copy() for name, values in table.history.items()}
    history["val/nelbo"][0] = 1e6
    axes = training.terms(replace(table, history=history)).axes[0]
    assert axes.get_ylim()[1] < 1e3


@pytest.mark.parametrize("size", [1, 3, 999, 1000, 54321])
def test_rows_are_chosen_evenly_and_once(size: int) -> None:
    chosen = spread(size)
    assert len(chosen) == len(set(chosen)) == min(size, 1000)
    assert chosen[0] == 0
    assert chosen[-1] == size - 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-3.2, 5.9), (1e-7, 3e-7), (12000.0, 99000.0), (-5, -4.9)])
def test_ticks_are_few_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 2 <= len(found) <= 4
    assert (found >= low - 1e-9 * abs(low)).all()
    assert (found <= high + 1e-9 * abs(high)).all()
    np.testing.assert_allclose([float(f"{value:.3g}") for value in found], found, rtol=1e-9)


def test_ticks_of_a_point_are_that_point() -> None:
    assert ticks(2.0, 2.0).tolist() == [2.0]


def test_names_are_no_formulas_and_no_longer_than_a_tick() -> None:
    assert short("price_$x$") == r"price_\$x\$"
    assert len(short("a" * 50)) == 18
    assert short("kälte_名前") == "kälte_名前"
    png(new_figure(4, 2, "cost in $ and 100 %_of 名前"))  # warnings are errors
