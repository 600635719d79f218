"""Which figures suit which model, and all of them in turn."""

from collections.abc import Iterator
from typing import NamedTuple

from vae_lightning.console import log
from vae_lightning.reporting.figures import images, latent, tables, training
from vae_lightning.reporting.figures.plot import Plot
from vae_lightning.reporting.figures.subject import Subject

PLOTS: tuple[Plot, ...] = (*training.PLOTS, *images.PLOTS, *tables.PLOTS, *latent.PLOTS)
"""All that there are, in the order in which the report shows them."""


class PlotImage(NamedTuple):
    """A plot of one subject."""

    plot: Plot
    png: bytes


def draw_figures(subject: Subject) -> Iterator[PlotImage]:
    """Every figure that suits. One that fails is named in a warning: no picture is worth a trained model."""
    for plot in PLOTS:
        try:
            if not plot.suits(subject):
                continue
            png = plot.render(subject)
        except Exception as error:
            log.warning(f"The figure {plot.name} could not be drawn: {type(error).__name__}: {error}.")
            continue
        yield PlotImage(plot, png)
