"""What a reconstruction takes: how the decoder's output is laid out beside x, and its value entry by entry."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vae_lightning.doctor.base import Finding
from vae_lightning.doctor.blackbox.arrays import Argument, Array
from vae_lightning.doctor.blackbox.box import BlackBox, CallFailed
from vae_lightning.doctor.blackbox.reductions import Reduction, form_of, read_reduction, unit

ROWS = 5
ORDINARY = (0.35, 0.6, 0.7)
"""Heads that are legal as probabilities, rates, scales, logits and log-variances alike."""


@dataclass(frozen=True)
class Layout:
    """How the numbers that the decoder puts out for one column are packed.

    Args:
        kind: ``plain`` (B, D); ``tuple`` of k arrays (B, D); ``concat`` (B, kD); ``stack`` (B, D, k); ``classes``
            (B, K) beside class numbers (B,); ``class columns`` (B, K, D) or ``class stack`` (B, D, K) beside class
            numbers (B, D).
        heads: k.
    """

    kind: str
    heads: int

    def out(self, heads: Sequence[Array]) -> Argument:
        """The decoder's output for these heads, each (B, D)."""
        if self.kind == "plain":
            return heads[0]
        if self.kind == "tuple":
            return tuple(heads)
        return np.concatenate(heads, axis=1) if self.kind == "concat" else np.stack(heads, axis=-1)

    @property
    def text(self) -> str:
        """The layout in words."""
        return {
            "plain": "one number per column",
            "tuple": f"a tuple of {self.heads} arrays",
            "concat": f"{self.heads} blocks of columns",
            "stack": f"{self.heads} numbers per column on the last axis",
        }.get(self.kind, "one score per class")


LAYOUTS = (
    Layout("plain", 1),
    Layout("tuple", 2),
    Layout("concat", 2),
    Layout("stack", 2),
    Layout("tuple", 3),
    Layout("concat", 3),
    Layout("stack", 3),
)
CLASSES = 4


class Term:
    """A reconstruction, evaluated entry by entry.

    Args:
        box: The user's function.
        columns: The number of columns to try it with.

    Raises:
        CallFailed: No layout gives a number.
    """

    def __init__(self, box: BlackBox, columns: int) -> None:
        self.box = box
        self.columns = columns
        self._known: dict[tuple[float, ...], float] = {}
        self.layout = self._find_layout()
        self.reduction = Reduction("scalar", 0, 0)
        if self.layout.kind in ("classes", "class columns", "class stack"):
            return
        # Differences between x = 1 and x = 0: a constant may be reduced otherwise than the rest.
        self.reduction = read_reduction(
            lambda rows, columns: self._raw(1.0, ORDINARY, rows, columns) - self._raw(0.0, ORDINARY, rows, columns),
            ROWS,
            columns,
        )

    def _find_layout(self) -> Layout:
        first: CallFailed | None = None
        accepted = []
        for layout in LAYOUTS:
            try:
                self.box.settle(*self._example(layout))
                form_of(self.box(*self._example(layout)), ROWS, self.columns)
                # Indexing makes sense of wrong layouts (out[0] of a matrix is its first row): every head must count.
                if all(self._counts(layout, head) for head in range(layout.heads)):
                    return layout
                accepted.append(layout)
            except CallFailed as failure:
                first = first or failure
        if accepted:
            self.box.settle(*self._example(accepted[0]))
            return accepted[0]
        generator = np.random.default_rng(0)
        for kind, shape, out in (
            ("classes", (ROWS,), (ROWS, CLASSES)),
            ("class columns", (ROWS, self.columns), (ROWS, CLASSES, self.columns)),
            ("class stack", (ROWS, self.columns), (ROWS, self.columns, CLASSES)),
        ):
            x, scores = generator.integers(0, CLASSES, shape), generator.uniform(0.2, 0.8, out)
            try:
                self.box.settle(x, scores)
                value, other = self.box(x, scores), self.box(x, generator.uniform(0.2, 0.8, out))
            except CallFailed:
                continue
            if value.shape in ((), (1,), (ROWS,), shape) and not np.array_equal(value, other):
                return Layout(kind, CLASSES)
        assert first is not None
        raise first

    def _example(self, layout: Layout, touched: int | None = None) -> tuple[Array, Argument]:
        """x and an output; the head `touched` differs in the last entry."""
        heads = [np.full((ROWS, self.columns), value) for value in ORDINARY[: layout.heads]]
        if touched is not None:
            heads[touched][-1, -1] += 0.1
        x = np.zeros((ROWS, self.columns))
        x[::2, ::2] = 1.0
        return x, layout.out(heads)

    def _counts(self, layout: Layout, head: int) -> bool:
        plain, touched = self.box(*self._example(layout)), self.box(*self._example(layout, head))
        return not np.array_equal(plain, touched)

    def _raw(self, x: float, heads: Sequence[float], rows: int, columns: int) -> Array:
        arrays = [np.full((rows, columns), float(head)) for head in heads[: self.layout.heads]]
        return self.box(np.full((rows, columns), float(x)), self.layout.out(arrays))

    def value(self, x: float, heads: Sequence[float]) -> float:
        """The value of one entry; NaN where the function refuses. Asked twice, the function is called once."""
        key = (float(x), *(float(head) for head in heads[: self.layout.heads]))
        if key not in self._known:
            self._known[key] = self.fresh(x, heads)
        return self._known[key]

    def fresh(self, x: float, heads: Sequence[float]) -> float:
        """The same by a new call."""
        arrays = [np.full((ROWS, self.columns), float(head)) for head in heads[: self.layout.heads]]
        result = self.box.attempt(np.full((ROWS, self.columns), float(x)), self.layout.out(arrays))
        if result is None:
            return np.nan
        return unit(result, self.reduction, ROWS, self.columns)

    def values(self, x: Array, heads: Sequence[float]) -> Array:
        """The values of many x beside the same heads, in one call where the form allows it."""
        if self.reduction.form in ("row", "element") and len(x) > 1 and len(x) not in (self.columns, 1):
            rows = np.repeat(np.asarray(x, dtype=np.float64)[:, None], self.columns, axis=1)
            arrays = [np.full(rows.shape, float(head)) for head in heads[: self.layout.heads]]
            result = self.box.attempt(rows, self.layout.out(arrays))
            if result is not None:
                per_row = result.reshape(len(x), -1).mean(axis=1)
                if self.reduction.form == "row":
                    per_row = per_row / self.columns ** (self.reduction.column_power + 1)
                else:
                    per_row = per_row / self.columns**self.reduction.column_power
                return np.asarray(per_row / len(x) ** self.reduction.row_power)
        return np.array([self.value(float(one), heads) for one in x])


@dataclass
class ReconstructionReading:
    """What was measured of ``reconstruction(x, out)``.

    Args:
        term: The function, entry by entry.
        sign: 1 if it falls as out comes nearer to x, −1 if it rises.
        family: ``squared error``, ``binary``, ``counts``, ``real``, ``unit``, ``positive``, ``categorical`` or "".
        weight: The factor in front of the negative log-likelihood; None where any factor will do or none was found.
        curvature: a of a·(x − g(out))², where it is a squared error; otherwise None.
        tail: By how much a location family other than the squared error rises per unit far out; None elsewhere.
        likelihood: Whether it is a likelihood.
        log_z: log Z per entry: minus the constant that is missing.
    """

    term: Term
    sign: float = 1.0
    family: str = ""
    weight: float | None = None
    curvature: float | None = None
    tail: float | None = None
    likelihood: bool | None = None
    log_z: float = 0.0
    findings: list[Finding] = field(default_factory=list)
