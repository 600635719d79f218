"""Blocks of columns: a reconstruction of mixed columns taken apart into parts that are alike inside."""

from typing import Any

import numpy as np

from vae_lightning.doctor.losses.blackbox.arrays import like
from vae_lightning.doctor.losses.blackbox.box import BlackBox
from vae_lightning.doctor.losses.reconstruction.layout import ORDINARY, ROWS, Block, Layout, Term

MOST = 600  # columns that are tried one by one
TOUCHED = (0.25, -0.15)  # added to the first head of a column


def cut_out(box: BlackBox, layout: Layout, block: Block, columns: int, rest: float) -> BlackBox:
    """A reconstruction as a function of one block of its columns, the others at rest; zero where the block is, too.

    It is one per row where the whole is one per element. Columns are placed by matrix products, which every framework
    has and can differentiate.
    """

    def function(x: Any, out: Any) -> Any:
        size = x.shape[1]
        if size != block.size and not block.open:
            raise ValueError(f"the block has {block.size} columns, however many there are")
        width = columns - block.size + size
        place = np.eye(size, width, block.first)
        idle = 1 - place.sum(0)
        usual = ORDINARY[: layout.heads]

        def put(part: Any, value: float) -> Any:
            return part @ like(x, place) + like(x, value * idle)

        def put_out(out: Any) -> Any:
            if layout.kind == "tuple":
                return tuple(put(part, value) for part, value in zip(out, usual, strict=True))
            if layout.kind == "stack":
                return like(x, place.T) @ out + like(x, np.outer(idle, usual))
            return out @ like(x, np.kron(np.eye(layout.heads), place)) + like(x, np.kron(usual, idle))

        at_rest = layout.out([np.full((len(x), size), value) for value in usual])
        value = box.function(put(x, rest), put_out(out)) - box.function(
            put(x * 0 + rest, rest), put_out(like(x, at_rest))
        )
        return (value @ like(x, np.ones((width, 1))))[:, 0] if len(value.shape) == 2 else value

    inner = BlackBox(box.name, function)
    inner.framework = box.framework
    return inner


def find_blocks(term: Term) -> list[Block]:
    """The blocks of a reconstruction, in the order of their columns; none where there are too many to try.

    Columns are touched one by one and two by two: what two neighbours change together, beyond what each does, couples
    them; and neighbours that answer alike belong together.
    """
    columns, rest = term.columns, term.pair[0]
    if columns > MOST:
        return []

    def value(touched: tuple[int, ...], x: float, shift: float, width: int = columns) -> float:
        rows = np.full((ROWS, width), rest)
        heads = [np.full((ROWS, width), ORDINARY[head]) for head in range(term.layout.heads)]
        rows[:, list(touched)] = x
        heads[0][:, list(touched)] += shift
        result = term.box.attempt(rows, term.layout.out(heads))
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
