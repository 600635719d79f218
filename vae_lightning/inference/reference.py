"""The reference measure of a loss: what a number in nats is stated against."""

from dataclasses import dataclass

DENSITY, PROBABILITY = "density", "probability"


@dataclass(frozen=True)
class ReferenceMeasure:
    """Losses are comparable where these are equal.

    Attributes:
        kind: ``density``, ``probability``, or ``density and probability`` of columns of both kinds.
        rows: what the rows are made into before they are measured; None for data units.
    """

    kind: str
    rows: str | None

    def __str__(self) -> str:
        return f"{self.kind}, {'data units' if self.rows is None else f'rows {self.rows}'}"
