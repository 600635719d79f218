"""What a reconstruction takes: how the decoder's output is laid out beside x, and its value entry by entry."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Argument, Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed
from vae_lightning.doctor.losses.blackbox.entries import ROWS, Entries, read_form, read_reduction
from vae_lightning.doctor.report import Finding

ORDINARY = (0.35, 0.6, 0.7, 0.45, 0.8, 0.55)
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
    *(Layout(kind, heads) for heads in range(2, len(ORDINARY) + 1) for kind in ("tuple", "concat", "stack")),
)
CLASSES = 4
CLASS_LAYOUTS = ("class stack", "classes", "class columns")


def pack_classes(kind: str, label: int, scores: Array, rows: int, columns: int) -> tuple[Array, Array]:
    """Class numbers beside scores of all classes, the same in every row and column."""
    if kind == "classes":
        return np.full((rows,), label), np.tile(scores, (rows, 1))
    if kind == "class columns":
        return np.full((rows, columns), label), np.tile(scores[None, :, None], (rows, 1, columns))
    return np.full((rows, columns), label), np.tile(scores, (rows, columns, 1))


def replace_head(heads: Sequence[float], index: int, value: float) -> tuple[float, ...]:
    """`heads`, one of them replaced."""
    return (*heads[:index], float(value), *heads[index + 1 :])


@dataclass(frozen=True)
class Block:
    """Neighbouring columns that are treated alike.

    Args:
        first, size: Which columns.
        coupled: Whether the value of one depends on the others (a softmax).
        open: Whether it grows with the number of columns; sizes that are typed into the code do not.
        idle: Whether neither x nor out has an effect there.
    """

    first: int
    size: int
    coupled: bool
    open: bool
    idle: bool

    @property
    def columns(self) -> slice:
        """Them, as an index."""
        return slice(self.first, None if self.open else self.first + self.size)

    @property
    def text(self) -> str:
        """Which columns, counted from 1."""
        return f"column {self.first + 1}" if self.size == 1 else f"columns {self.first + 1} to {self.first + self.size}"


EDGES, INSIDE = (0.0, 1.0), (0.3, 0.8)
"""Two values of x that most likelihoods take, and two for densities on open intervals."""


class Term(Entries):
    """A reconstruction, evaluated entry by entry.

    Args:
        box: The user's function.
        columns: The number of columns to try it with.
        layout: How the decoder's output is packed, where that is known.

    Attributes:
        layout: How the decoder's output is packed.
        pair: Two values of x at which it is finite.

    Raises:
        CallFailed: No layout gives a number, or none that is finite.
    """

    def __init__(self, box: BlackBox, columns: int, layout: Layout | None = None) -> None:
        super().__init__(box, columns, lambda x, *heads: (x, self.layout.out(heads)))
        self.pair = EDGES
        self.layout = layout or self._find_layout()
        if self.layout.kind.startswith("class"):
            return
        self.pair = next((pair for pair in (EDGES, INSIDE) if self._is_finite(pair)), EDGES)
        if not self._is_finite(self.pair):
            raise CallFailed("NOT-FINITE", "for x from 0 to 1 beside an output of 0.35 its value is NaN or infinite")
        low, high = (self.combine(x, ORDINARY) for x in self.pair)
        # Differences between two values of x: a constant may be reduced otherwise than the rest.
        self.reduction = read_reduction(
            lambda rows, columns: self.ask(high, rows, columns) - self.ask(low, rows, columns),
            ROWS,
            columns,
        )

    def _is_finite(self, pair: tuple[float, float]) -> bool:
        return all(bool(np.isfinite(self.measure(self.combine(x, ORDINARY)))) for x in pair)

    def _find_layout(self) -> Layout:
        failures: list[CallFailed] = []
        accepted: list[Layout] = []
        found = self._search(LAYOUTS[:1], accepted, failures) or self._search(LAYOUTS[1:7], accepted, failures)
        # A function of two numbers on the last axis may be one of any number of classes.
        if found is None or found == Layout("stack", 2):
            found = self._find_class_layout(CLASS_LAYOUTS[:1] if found else CLASS_LAYOUTS) or found
        found = found or self._search(LAYOUTS[7:], accepted, failures) or next(iter(accepted), None)
        if found is None:
            raise failures[0]
        if not found.kind.startswith("class"):
            self.box.find_framework(*self.example(found))
        return found

    def _search(self, layouts: Sequence[Layout], accepted: list[Layout], failures: list[CallFailed]) -> Layout | None:
        """The first layout in which every head has an effect; layouts that only run are appended to `accepted`."""
        for layout in layouts:
            try:
                self.pair = EDGES
                try:
                    self.box.find_framework(*self.example(layout))
                    inside = not np.all(np.isfinite(self.box(*self.example(layout))))
                except CallFailed as failure:
                    if not failure.message.startswith("ValueError"):  # what torch's distributions say of a wrong x
                        raise
                    inside = True
                if inside:
                    self.pair = INSIDE
                    self.box.find_framework(*self.example(layout))
                read_form(self.box(*self.example(layout)), ROWS, self.columns)
                self.box(*self.example(layout, rows=ROWS + 2))  # five rows unpack like five heads; seven do not
                # Indexing makes sense of wrong layouts (out[0] of a matrix is its first row).
                if all(self._depends_on(layout, head) for head in range(layout.heads)):
                    return layout
                accepted.append(layout)
            except CallFailed as failure:
                failures.append(failure)
        return None

    def _find_class_layout(self, kinds: Sequence[str]) -> Layout | None:
        """The layout of scores of classes, if exchanging two classes in labels and scores changes nothing."""
        scores = np.random.default_rng(0).uniform(0.2, 0.8, CLASSES)
        exchanged = scores[[2, 1, 0, 3]]
        for kind in kinds:
            given = ((0, scores), (2, exchanged), (2, scores))
            asked = [pack_classes(kind, *one, ROWS, self.columns) for one in given]
            try:
                self.box.find_framework(*asked[0])
                value, same, other = (self.box(*arguments) for arguments in asked)
            except CallFailed:
                continue
            usual = value.shape in ((), (1,), (ROWS,), asked[0][0].shape)
            if usual and np.allclose(value, same, rtol=1e-5) and not np.allclose(value, other, rtol=1e-4):
                return Layout(kind, CLASSES)
        return None

    def example(self, layout: Layout, touched: int | None = None, rows: int = ROWS) -> tuple[Array, Argument]:
        """x and an output; the head `touched` differs in the last entry."""
        heads = [np.full((rows, self.columns), value) for value in ORDINARY[: layout.heads]]
        if touched is not None:
            heads[touched][-1, -1] += 0.1
        x = np.full((rows, self.columns), self.pair[0])
        x[::2, ::2] = self.pair[1]
        return x, layout.out(heads)

    def _depends_on(self, layout: Layout, head: int) -> bool:
        plain, touched = self.box(*self.example(layout)), self.box(*self.example(layout, head))
        return not np.array_equal(plain, touched, equal_nan=True)

    def combine(self, x: float, heads: Sequence[float]) -> tuple[float, ...]:
        """The values of one entry: x, and as many heads as there are."""
        return x, *heads[: self.layout.heads]

    def value(self, x: float, heads: Sequence[float]) -> float:
        """The value of one entry; NaN where the function refuses."""
        return self.entry(self.combine(x, heads))

    def values(self, x: Array, heads: Sequence[float]) -> Array:
        """The values of many x beside the same heads, in one call where the form allows it."""
        if self.reduction.form in ("row", "element") and len(x) > 1 and len(x) not in (self.columns, 1):
            rows = np.repeat(np.asarray(x, dtype=np.float64)[:, None], self.columns, axis=1)
            arrays = [np.full(rows.shape, float(head)) for head in heads[: self.layout.heads]]
            result = self.box.attempt(*self.pack(rows, *arrays))
            if result is not None:
                return result.reshape(len(x), -1).mean(axis=1) / self.reduction.count(len(x), self.columns)
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
        free_constant: Whether that constant is unknown.
        block: The columns that it speaks of; None where it is all.
    """

    term: Term
    sign: float = 1.0
    family: str = ""
    weight: float | None = None
    curvature: float | None = None
    tail: float | None = None
    likelihood: bool | None = None
    free_constant: bool = False
    block: Block | None = None
    findings: list[Finding] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The columns, as they are appended to what a finding is about."""
        return "" if self.block is None else f", {self.block.text}"
