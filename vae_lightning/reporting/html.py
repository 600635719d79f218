"""``report.html``: a run on one page that needs no network, no script and no other file."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from vae_lightning.comparison.compare import Comparison
from vae_lightning.doctor.report import Finding
from vae_lightning.files import write_whole
from vae_lightning.reporting.comparison import HEADINGS, describe_comparison, explain_comparison
from vae_lightning.reporting.figures.gallery import PlotImage

if TYPE_CHECKING:
    from jinja2 import Template

TEMPLATE = Path(__file__).with_name("report.html.j2")
MARKS = {True: "ok", False: "wrong", None: "cannot judge"}


@dataclass(frozen=True, repr=False)
class Page:
    """What the report tells; a notebook shows it where it is the last value of a cell.

    Args:
        title: of the page.
        facts: what was trained: name → words.
        table: of the rows that the model is judged by: name, value, comment; empty where nothing was measured.
        verdict: the doctor's, one line.
        findings: the doctor's.
        warnings: what the run warned of.
        configuration: as text.
        figures: with how to read them; None where the run draws none.
        note: what must be known before all else, such as that the run has not finished.
        judged: which rows the table is of.
        conclusion: what the run came to, one sentence.
        choices: what columns were taken for: their names, kind, family and reason; empty where one family takes all.
        comparison: of drawn rows with real ones; None where there is none.
    """

    title: str
    facts: Mapping[str, str]
    table: Sequence[tuple[str, str, str]]
    verdict: str
    findings: Sequence[Finding]
    warnings: Sequence[str]
    configuration: str
    figures: Sequence[PlotImage] | None = None
    note: str = ""
    judged: str = "Test rows"
    conclusion: str = ""
    choices: Sequence[tuple[str, ...]] = ()
    comparison: Comparison | None = None

    def __repr__(self) -> str:
        return f"<{self.title}: a report with {len(self.figures or ())} figures; save('report.html') writes it>"

    def _repr_html_(self) -> str:
        # In a frame, so that neither the page's style nor the notebook's reaches the other.
        return (
            f'<iframe srcdoc="{escape(render(self))}" title="{escape(self.title)}" sandbox '
            'style="box-sizing: border-box; width: 100%; height: 42rem; border: 1px solid #ddd; background: #fff">'
            "</iframe>"
        )

    def save(self, path: str | Path) -> Path:
        """Write the page as one HTML file; returns where it is.

        Raises:
            OSError: when it cannot be written.
        """
        return write_whole(Path(path), render(self).encode())


def render(page: Page) -> str:
    """The page as HTML; every word that comes from data is escaped."""
    found = page.comparison
    lines = [] if found is None else explain_comparison(found)
    compared = "" if found is None else " ".join([describe_comparison(found), *found.notes])
    table = {"headings": HEADINGS, "lines": lines, "words": compared}
    return _template().render(page=page, marks=MARKS, embed=_embed, comparison=table)


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def _embed(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
