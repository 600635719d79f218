"""``report.html``: a run on one page that needs no network, no script and no other file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from vae_lightning.doctor.report import Finding
from vae_lightning.files import write_whole
from vae_lightning.reporting.figures.gallery import PlotImage

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = Path(__file__).with_name("report.html.j2")
MARKS = {True: "ok", False: "wrong", None: "cannot judge"}


@dataclass(frozen=True)
class Page:
    """What the report tells.

    Args:
        title: of the page.
        facts: what was trained: name → words.
        table: the test table: name, value, comment.
        verdict: the doctor's, one line.
        findings: the doctor's.
        warnings: what the run warned of.
        configuration: as text.
        figures: with how to read them; None where the run draws none.
        conclusion: what the run came to, one sentence.
    """

    title: str
    facts: Mapping[str, str]
    table: Sequence[tuple[str, str, str]]
    verdict: str
    findings: Sequence[Finding]
    warnings: Sequence[str]
    configuration: str
    figures: Sequence[PlotImage] | None = None
    conclusion: str = ""


def write_page(page: Page, path: Path) -> None:
    """Write the page as one HTML file.

    Raises:
        OSError: when it cannot be written.
    """
    write_whole(path, render(page).encode())


def render(page: Page) -> str:
    """The page as HTML; every word that comes from data is escaped."""
    return _template().render(page=page, marks=MARKS, embed=_embed)


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _embed(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
