"""Blocks of columns: a reconstruction of mixed columns taken apart into parts that are alike inside."""

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import Argument, Array
from vae_lightning.doctor.losses.blackbox.box import BlackBox, CallFailed
from vae_lightning.doctor.losses.reconstruction.layout import ORDINARY, ROWS, Block, Layout, Term

MOST = 600  # columns that are tried one by one
TOUCHED = (0.25, -0.15)  # added to the first head of a column


class BlockBox(BlackBox):
    """A reconstruction as a function of one block of its columns, the others at rest; zero where the block is, too."""

    def __init__(self, whole: Term, block: Block) -> None:
        super().__init__(whole.box.name, lambda: None)
        self.framework, self.library = whole.box.framework, whole.box.library
        self._whole, self._block, self._rest = whole, block, whole.combine(whole.pair[0], ORDINARY)

    def _embed(self, x: Array, out: Argument) -> tuple[Array, Argument]:
        rows, size = x.shape
        if size != self._block.size and not self._block.open:
            raise CallFailed("SHAPE", f"the block has {self._block.size} columns, however many there are")
        first, width = self._block.first, self._whole.columns - self._block.size + size
        given = _split(out, self._whole.layout, size)
        arrays = [np.full((rows, width), value) for value in self._rest]
        for array, part in zip(arrays, (x, *given), strict=True):
            array[:, first : first + size] = part
        full, *heads = arrays
        return full, self._whole.layout.out(heads)

    def __call__(self, *arguments: Argument) -> Array:
        """Its value above that at rest: one per row where the whole has one per element."""
        x, out = arguments
        assert isinstance(x, np.ndarray)
        box = self._whole.box
        rest, *heads = (np.full(x.shape, value) for value in self._rest)
        value = box(*self._embed(x, out)) - box(*self._embed(rest, self._whole.layout.out(heads)))
        self.library, self.single_precision, self.mutates = box.library, box.single_precision, box.mutates
        return value.sum(axis=1) if value.ndim == 2 and value.shape[0] == x.shape[0] else value

    def gradient(self, *arguments: Argument) -> list[Array] | None:
        """The gradient of the whole with respect to the block's arrays."""
        x, out = arguments
        assert isinstance(x, np.ndarray)
        gradients = self._whole.box.gradient(*self._embed(x, out))
        columns = slice(self._block.first, self._block.first + x.shape[1])
        return gradients and [one[:, columns] if one.shape[1] == self._whole.columns else one for one in gradients]


def _split(out: Argument, layout: Layout, size: int) -> list[Array]:
    if isinstance(out, tuple):
        return list(out)
    if layout.kind == "stack":
        return [out[..., head] for head in range(layout.heads)]
    return [out[:, head * size : (head + 1) * size] for head in range(layout.heads)]


def find_blocks(term: Term) -> list[Block]:
    """The blocks of a reconstruction, in the order of their columns; none where there are too many to try.

    Columns are touched one by one and two by two: what two neighbours change together, beyond what each does, couples
    them; and neighbours that answer alike belong together.
    """
    columns, rest = term.columns, term.pair[0]
    if columns > MOST:
        return []

    def value(touched: tuple[int, ...], x: float, shift: float, width: int = columns) -> float:
        rows, *heads = (np.full((ROWS, width), one) for one in term.combine(rest, ORDINARY))
        rows[:, list(touched)] = x
        heads[0][:, list(touched)] += shift
        result = term.box.attempt(*term.pack(rows, *heads))
        return np.nan if result is None else float(result.sum())

    probes = [(term.pair[1], TOUCHED[0]), (rest, TOUCHED[1]), (0.6, TOUCHED[0])]
    base = value((), rest, 0.0)
    answers = np.array([[value((column,), *probe) - base for probe in probes] for column in range(columns)])
    size = np.maximum(np.max(np.abs(answers), axis=0), 1e-9 * max(1.0, abs(base)))
    tolerance = 1e-3 if term.box.single_precision else 1e-6

    def couples(column: int) -> bool:
        both = np.array([value((column, column + 1), *probe) - base for probe in probes])
        return bool(np.any(np.abs(both - answers[column] - answers[column + 1]) > 10 * tolerance * size))

    starts, coupled = [0], [False]
    for column in range(columns - 1):
        alike = bool(np.all(np.abs(answers[column] - answers[column + 1]) < tolerance * size))
        if couples(column):
            if not coupled[-1] and starts[-1] < column:
                starts.append(column)
                coupled.append(False)
            coupled[-1] = True
        elif not alike or coupled[-1]:
            starts.append(column + 1)
            coupled.append(False)
    ends = [*starts[1:], columns]
    wider = value((), rest, 0.0, columns + 1)
    grows = bool(np.isfinite(wider)) and abs(value((columns,), *probes[0], columns + 1) - wider) > tolerance * size[0]
    idle = np.all(np.abs(answers) < tolerance * size, axis=1)
    return [
        Block(first, end - first, flag, end == columns and grows, bool(idle[first]))
        for first, end, flag in zip(starts, ends, coupled, strict=True)
    ]
