"""Which figures there are, and that each can be read."""

import copy
import io
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image

from vae_lightning.data.columns import Column
from vae_lightning.reporting.figures.gallery import PLOTS, draw_figures
from vae_lightning.reporting.figures.style import encode_png, use_style
from vae_lightning.reporting.figures.subject import Subject


def test_each_kind_of_data_has_its_figures(table: Subject, bits: Subject, digits: Subject, plane: Subject) -> None:
    always = ["terms", "kl", "codes", "scatter"]
    tabular, pictures = ["marginals", "correlations", "worst_columns"], ["reconstructions", "draws", "traversals"]
    expected = ((table, tabular), (bits, tabular), (digits, pictures), (plane, [*pictures, "manifold"]))
    for subject, own in expected:
        assert sorted(plot.name for plot in PLOTS if plot.suits(subject)) == sorted(always + own)


def words_in_place(figure: Figure) -> dict[str, Bbox]:
    """Every word that is drawn, and where, in pixels; a tick beyond its axis is not."""
    found = {"title": figure._suptitle.get_window_extent()}  # type: ignore[attr-defined]
    for number, axes in enumerate(figure.axes):
        labels = [axes.title, axes.xaxis.label, axes.yaxis.label]
        for axis in (axes.xaxis, axes.yaxis):
            labels += [label for tick in axis._update_ticks() for label in (tick.label1, tick.label2)]
        for label in labels:
            if label.get_visible() and label.get_text():
                found[f"{number} {label.get_text()} {label.get_position()}"] = label.get_window_extent()
    for legend in (*figure.legends, *(axes.get_legend() for axes in figure.axes)):
        if legend is not None:
            found |= {f"legend {text.get_text()}": text.get_window_extent() for text in legend.get_texts()}
    return found


def name_columns(subject: Subject, name: str) -> Subject:
    model = copy.copy(subject.model)
    model.columns = tuple(Column(name.format(i), column.dtype) for i, column in enumerate(subject.model.columns))
    return replace(subject, model=model)


LONG_NAME = "{}_average_number_of_concave_points_in_$_of_the_previous_year"


def test_no_words_are_cut_off_or_written_over_each_other(
    table: Subject, bits: Subject, digits: Subject, plane: Subject
) -> None:
    classes = np.array([f"a rather long name of class {i % 15}" for i in range(plane.num_rows)])
    numbers = np.linspace(-1e5, 1e5, table.num_rows)
    subjects = (
        table,
        bits,
        digits,
        plane,
        replace(plane, labels=classes),
        replace(name_columns(table, LONG_NAME), labels=numbers),
        name_columns(bits, LONG_NAME),
        replace(table, history={name: values[:1] for name, values in table.history.items()}),
    )
    offenders = []
    for number, subject in enumerate(subjects):
        for plot in PLOTS:
            if not plot.suits(subject):
                continue
            with use_style():
                figure = plot.draw(subject)
                pixels = np.asarray(Image.open(io.BytesIO(encode_png(figure))).convert("L"))
                places = list(words_in_place(figure).items())
            edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
            offenders += [] if (edges == 255).all() else [f"{number} {plot.name} touches its edge"]
            for index, (word, box) in enumerate(places):
                over = [other for other, place in places[:index] if box.padded(-1).overlaps(place.padded(-1))]
                offenders += [f"{number} {plot.name}: {word!r} over {other!r}" for other in over]
    assert not offenders, "\n".join(offenders)


def test_every_figure_says_how_to_read_it() -> None:
    assert len({plot.name for plot in PLOTS}) == len(PLOTS)
    assert all(len(plot.caption) > 100 and plot.caption.endswith(".") and plot.heading for plot in PLOTS)


def test_names_are_no_formulas_and_may_be_of_any_script(table: Subject) -> None:
    figures = list(draw_figures(name_columns(table, "{} in $ and 100 % of $ a_{{b}}^c 名前")))  # a warning fails a test
    assert len(figures) == 7
