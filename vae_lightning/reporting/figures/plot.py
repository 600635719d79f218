"""What a figure of the gallery is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vae_lightning.reporting.figures.style import encode_png, use_style
from vae_lightning.reporting.figures.subject import Subject

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plot:
    """One figure of the gallery.

    Args:
        name: of its file.
        group: what it stands under in TensorBoard.
        heading: its name for people.
        caption: how to read it, in one to three sentences.
        draw: subject → figure.
        suits: whether there is anything to draw.
    """

    name: str
    group: str
    heading: str
    caption: str
    draw: Callable[[Subject], "Figure"]
    suits: Callable[[Subject], bool] = lambda _: True

    @property
    def tag(self) -> str:
        """Its name in TensorBoard."""
        return f"{self.group}/{self.name}"

    def render(self, subject: Subject) -> bytes:
        """The subject's figure as a PNG file."""
        with use_style():
            return encode_png(self.draw(subject))
