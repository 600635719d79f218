"""Which figures suit which model, and all of them in turn."""

from collections.abc import Iterator
from typing import NamedTuple

from vae_lightning.console import log
from vae_lightning.reporting.figures import images, latent, tables, training
from vae_lightning.reporting.figures.base import Kind, Subject, png

KINDS: tuple[Kind, ...] = (*training.KINDS, *images.KINDS, *tables.KINDS, *latent.KINDS)
"""All that there are, in the order in which the report shows them."""


class Drawn(NamedTuple):
    """A finished figure."""

    kind: Kind
    png: bytes


def drawn(subject: Subject) -> Iterator[Drawn]:
    """Every figure that suits. One that fails is named in a warning: no picture is worth a trained model."""
    for kind in KINDS:
        try:
            if not kind.suits(subject):
                continue
            picture = png(kind.draw(subject))
        except Exception as error:
            log.warning(f"The figure {kind.name} could not be drawn: {type(error).__name__}: {error}.")
            continue
        yield Drawn(kind, picture)
