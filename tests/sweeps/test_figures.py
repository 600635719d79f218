"""The picture of a sweep: every dot where its job's record puts it, incomparable jobs never on one axis."""

import io
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.image
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from vae_lightning.inference.reference import ReferenceMeasure
from vae_lightning.reporting.figures.style import encode_png, use_style
from vae_lightning.sweeps.comparison import results_of
from vae_lightning.sweeps.figures import draw_sweep, render_sweep
from vae_lightning.sweeps.scale import fence

MakeJob = Callable[..., Path]
Grid = dict[int, tuple[int, int, float]]


def draw(sweep_dir: Path) -> Figure:
    with use_style():
        figure = draw_sweep(results_of(sweep_dir))
        encode_png(figure)  # warnings are errors: no text is torn, no panel collapses
    return figure


def panels(figure: Figure) -> dict[str, list[Axes]]:
    found: dict[str, list[Axes]] = {}
    for axes in figure.axes:
        found.setdefault(axes.get_xlabel(), []).append(axes)
    return found


def line(axes: Axes, label: str) -> np.ndarray:
    (found,) = [line for line in axes.lines if str(line.get_label()).startswith(label)]
    return np.array(found.get_xydata())


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text))


def test_dots_are_the_jobs_and_the_line_their_means(sweep_dir: Path, grid: Grid) -> None:
    figure = draw(sweep_dir)
    (axes,) = figure.axes  # one key: parallel coordinates would say nothing more
    assert axes.get_xlabel() == "model.latent_dim"
    assert axes.get_ylabel() == "val/nelbo (lower is better)\nnats per row, data units"
    assert sorted(map(tuple, line(axes, "a job"))) == sorted((latent, value) for latent, _, value in grid.values())
    means = [(n, np.mean([value for latent, _, value in grid.values() if latent == n])) for n in (2, 4, 8)]
    np.testing.assert_allclose(line(axes, "mean"), means)
    assert axes.get_xscale() == "linear"
    assert "9 jobs: 9 finished." in words(figure)


def test_a_panel_a_setting_and_parallel_coordinates_of_them_all(sweep_dir: Path, make_job: MakeJob) -> None:
    for number in range(12):
        rate = (1e-4, 1e-3, 1e-2)[number % 3]
        swept = {"optimizer.lr": rate, "model.activation": ("relu", "$elu$")[number // 6], "seed": number // 3 % 2}
        make_job(number, swept, 100.0 + (number * 5) % 12)
    figure = draw(sweep_dir)
    found = panels(figure)
    (rates,), (activations,) = found["optimizer.lr"], found["model.activation"]
    assert rates.get_xscale() == "log"
    assert rates.get_shared_y_axes().joined(rates, activations)
    assert [tick.get_text() for tick in activations.get_xticklabels()] == ["relu", "$elu$"]
    assert set(line(activations, "a job")[:, 0]) == {0, 1}
    (parallel,) = [axes for axes in figure.axes if axes.get_title() == "One line per configuration"]
    assert len(parallel.lines) == 6
    heights = [line.get_ydata()[0] for line in parallel.lines]
    np.testing.assert_allclose(sorted(heights), [0, 0, 0.5, 0.5, 1, 1], atol=1e-9)  # 1e-3 is half-way on a log axis
    means = {(n % 3, n // 6): (200 + n * 5 % 12 + (n + 3) * 5 % 12) / 2 for n in (0, 1, 2, 6, 7, 8)}
    rate, activation = min(means, key=lambda key: means[key])
    np.testing.assert_allclose(line(parallel, "best")[:, 1], [rate / 2, activation], atol=1e-9)
    assert [tick.get_text() for tick in parallel.get_xticklabels()] == ["optimizer.lr", "model.activation"]
    own = [axes for axes in figure.axes if axes is not parallel and axes.get_shared_x_axes().joined(axes, parallel)]
    told = [[tick.get_text() for tick in axes.get_yticklabels()] for axes in own]
    assert told == [["0.0001", "0.001", "0.01"], ["relu", "$elu$"]]
    assert [axes.spines.right.get_position() for axes in own] == [("data", 0), ("data", 1)]
    assert any("darker is better" in axes.get_ylabel() for axes in figure.axes)


def test_what_cannot_be_compared_shares_no_axis(sweep_dir: Path, make_job: MakeJob) -> None:
    for number in range(8):
        likelihood = ("bernoulli", "gaussian")[number % 2]
        measure = (ReferenceMeasure("probability", "as they are"), ReferenceMeasure("density", None))[number % 2]
        make_job(number, {"likelihood": likelihood, "model.latent_dim": number // 2}, number * 10.0, measure=measure)
    figure = draw(sweep_dir)
    first, second = panels(figure)["model.latent_dim"]
    assert set(line(first, "a job")[:, 1]) == {0, 20, 40, 60}
    assert set(line(second, "a job")[:, 1]) == {10, 30, 50, 70}
    assert not first.get_shared_y_axes().joined(first, second)
    assert first.get_ylabel() == "val/nelbo (lower is better)\nnats per row"
    assert "probability, rows as they are: digits" in words(figure)


def test_a_collapsed_job_does_not_flatten_the_others_and_is_told(sweep_dir: Path, make_job: MakeJob) -> None:
    values = [100.0, 101.0, 102.0, 103.0, 1e6]
    for number, value in enumerate(values):
        make_job(number, {"optimizer.lr": number + 1}, value)
    (axes,) = draw(sweep_dir).axes
    low, high = axes.get_ylim()
    assert low < 100
    assert 103 < high < 110
    assert list(line(axes, "a job")[:, 1]) == values[:4]
    assert list(line(axes, "1 above the axis, up to 1e+06")[:, 0]) == [5]
    np.testing.assert_allclose(line(axes, "mean of those on the axis")[:, 1], values[:4])


@pytest.mark.parametrize(
    ("values", "top"),
    [
        ([1.0], 1.0),
        ([1.0, 1e9], 1e9),
        ([5.0, 5.0, 5.0], 5.0),
        ([1.0, 1.1, 1e6], 1.1),
        ([-300.0, 100.0, 101.0, 102.0], 102.0),
        ([1.0, 2.0, 4.0, 9.0, 20.0], 20.0),
        ([100.0, 100.5, 101.0, 1e6, 1e6], 101.0),
    ],
)
def test_only_what_is_far_off_is_cut(values: list[float], top: float) -> None:
    assert fence(values) == fence(values[::-1]) == top


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 2, 30], "linear"),
        ([1, 31], "log"),
        ([0, 1, 100], "linear"),
        ([-1.0, 100.0], "linear"),
        ([2, None], "names"),
    ],
)
def test_numbers_stand_on_a_number_axis(sweep_dir: Path, make_job: MakeJob, values: list[Any], scale: str) -> None:
    for number, value in enumerate(values):
        make_job(number, {"some.key": value}, 10.0 + number)
    (axes,) = draw(sweep_dir).axes
    if scale == "names":
        assert [tick.get_text() for tick in axes.get_xticklabels()] == ["2", "null"]
    else:
        assert axes.get_xscale() == scale
        assert list(line(axes, "a job")[:, 0]) == values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([1, 4, 8], ["1", "4", "8"]),
        ([0.001, 0.01, 0.1], ["0.001", "0.01", "0.1"]),
        ([10.0, 10.1, 20.0], None),  # 10 and 10.1 would be written over each other
        (list(range(9)), None),
    ],
)
def test_few_numbers_are_the_ticks(
    sweep_dir: Path, make_job: MakeJob, values: list[float], told: list[str] | None
) -> None:
    for number, value in enumerate(values):
        make_job(number, {"some.key": value}, 10.0 + number)
    (axes,) = draw(sweep_dir).axes
    ticks = list(axes.get_xticks())
    if told is None:
        assert ticks != values
    else:
        assert ticks == values
        assert [tick.get_text() for tick in axes.get_xticklabels()] == told


@pytest.mark.parametrize("swept", [{}, {"seed": 3}])
def test_without_a_varied_setting_jobs_stand_side_by_side(
    sweep_dir: Path, make_job: MakeJob, swept: dict[str, int]
) -> None:
    make_job(4, swept, 100.0)
    (axes,) = draw(sweep_dir).axes
    assert axes.get_xlabel() == "job"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["4"]
    assert line(axes, "a job").tolist() == [[0, 100]]


def test_no_finished_job_is_said(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"seed": 0}, status="planned")
    figure = draw(sweep_dir)
    assert not figure.axes
    assert "No job has finished yet." in words(figure)


def test_what_does_not_fit_on_a_page_is_left_out_and_told(sweep_dir: Path, make_job: MakeJob) -> None:
    keys = [f"callbacks.some_long_name.key_{index}" for index in range(10)]
    for number in range(12):
        swept = dict.fromkeys(keys, f"/some/very/long/path/{number}.csv")
        make_job(number, swept, 100.0 + number, rows=f"rows{number // 2}")
    figure = draw(sweep_dir)
    assert len(panels(figure)[keys[0]]) == 4
    assert len([axes for axes in figure.axes if axes.get_xlabel() in keys]) == 4 * 8
    assert "2 more groups of comparable jobs are left out" in words(figure)
    assert words(figure).count("2 more settings vary") == 4


def test_the_png_is_small_and_matplotlib_stays_as_it_was(sweep_dir: Path, make_job: MakeJob) -> None:
    import matplotlib.pyplot as plt

    for number in range(300):
        make_job(
            number, {"optimizer.lr": math.exp(-number / 30), "model.latent_dim": 1 + number % 7}, 90.0 + number % 50
        )
    png = render_sweep(results_of(sweep_dir))
    image = matplotlib.image.imread(io.BytesIO(png))
    assert image.shape[1] == 1200
    assert image.std() > 0.05
    assert len(png) < 500_000
    assert plt.get_fignums() == []
