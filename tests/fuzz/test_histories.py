"""Histories of losses: the curves that were logged come back, whoever logged them; anything else is told in a line."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import strategies as st

from tests.fuzz.commands import assert_told, command
from tests.fuzz.fuzzing import attempt, budgets, empty_folder, files_in, fuzz
from tests.fuzz.texts import mutated
from vae_lightning.doctor.runs.curves import read_curves
from vae_lightning.errors import UserError

NAMES = [("loss", "val_loss", "kl_loss"), ("train/loss", "val/loss", "kl"), ("train_nelbo", "valid_nelbo", "kld")]
ODD_WORDS = ["nan", "inf", "-inf", "1e400", "-1e400", "1e-400", "--", "", '"', "9" * 30, "1e308", "½", "0x1p3", "1_0"]


@dataclass(frozen=True)
class History:
    """Curves, and a text that logs them.

    Attributes:
        content: of the file.
        train: the training loss by epoch; empty where it is not logged.
        validation: the validation loss.
        kl: the KL.
        damaged: whether something was changed afterwards.
    """

    content: bytes
    train: list[float]
    validation: list[float]
    kl: list[float]
    damaged: bool = False

    def __repr__(self) -> str:
        return f"{'damaged' if self.damaged else 'sound'} {self.content!r}"


@st.composite
def curves(draw: st.DrawFn, epochs: int, least: float) -> list[str]:
    """Numbers as programs write them."""
    form = draw(st.sampled_from([".4f", ".3e", "r"]))
    some = st.floats(least, 1e6) | st.sampled_from([math.nan, math.inf, 0.0, 1e-9])
    values = draw(st.lists(some, min_size=epochs, max_size=epochs))
    return [repr(value) if form == "r" else format(value, form) for value in values]


@st.composite
def histories(draw: st.DrawFn) -> History:
    """A log of some epochs in one of the ways that people keep them."""
    epochs = draw(st.integers(2, 9))
    train, validation = draw(curves(epochs, -1e6)), draw(curves(epochs, -1e6))
    kl = draw(curves(epochs, 0.0))
    with_kl, first = draw(st.booleans()), draw(st.integers(0, 1))
    names = draw(st.sampled_from(NAMES))
    logged = [train, validation, *([kl] if with_kl else [])]
    named = [dict(zip(names, values, strict=False)) for values in zip(*logged, strict=True)]
    style = draw(st.sampled_from(["csv", "lightning", "keras", "plain", "pairs"]))
    if style == "csv":
        mark = draw(st.sampled_from([",", ";", "\t"]))
        lines = [mark.join(["epoch", *named[0]])]
        lines += [mark.join([str(first + i), *row.values()]) for i, row in enumerate(named)]
    elif style == "lightning":
        lines = [",".join(["epoch", "step", *named[0]])]
        for i, row in enumerate(named):
            lines.append(",".join([str(i), str(10 * i + 9), "", *list(row.values())[1:]]))
            lines.append(",".join([str(i), str(10 * i + 9), row[names[0]], *[""] * (len(row) - 1)]))
    elif style == "keras":
        lines = []
        for i, row in enumerate(named):
            words = " - ".join(f"{name}: {value}" for name, value in row.items())
            lines += [f"Epoch {i + 1}/{epochs}", f"125/125 [=====] - 1s 5ms/step - {words}"]
    elif style == "plain":
        words = [", ".join(f"{name}={value}" for name, value in row.items()) for row in named]
        lines = [f"epoch {first + i}: {line}" for i, line in enumerate(words)]
    else:
        with_kl = False
        lines = [f"{one} / {other}" for one, other in zip(train, validation, strict=True)]
    content = draw(st.sampled_from(["\n", "\r\n"])).join(lines).encode(draw(st.sampled_from(["utf-8", "utf-8-sig"])))
    numbers = [[float(text) for text in texts] for texts in (train, validation, kl if with_kl else [])]
    return History(content, *numbers)


@st.composite
def damaged(draw: st.DrawFn) -> History:
    """A history in which a word, a line or some bytes are not what they were; or no history at all."""
    history = draw(histories())
    words = history.content.decode("utf-8-sig").splitlines()
    what = draw(st.sampled_from(["word", "line", "bytes", "cut", "text"]))
    if what == "bytes":
        content = draw(mutated(history.content))
    elif what == "cut":
        content = history.content[: draw(st.integers(0, len(history.content)))]
    elif what == "text":
        content = draw(st.text(max_size=60) | st.text('0123456789.,;:=/- \nenaif"lossepochvkl', max_size=80)).encode(
            "utf-8", "replace"
        )
    else:
        at = draw(st.integers(0, len(words) - 1))
        if what == "line":
            words[at] = draw(st.sampled_from(["", ",,,,", "epoch", words[0], words[at] * 2, '"', "nan,nan,nan"]))
        else:
            mark = next((mark for mark in ",;\t " if mark in words[at]), " ")
            cells = words[at].split(mark)
            cells[draw(st.integers(0, len(cells) - 1))] = draw(st.sampled_from(ODD_WORDS))
            words[at] = mark.join(cells)
        content = "\n".join(words).encode()
    return replace(history, content=content, damaged=True)


@pytest.mark.parametrize("examples", budgets(300))
def test_histories(examples: int, tmp_path: Path) -> None:
    options = st.lists(
        st.sampled_from([("--columns", "7"), ("--likelihood", "bernoulli"), ("--likelihood", "gaussian"), ("--json",)]),
        unique_by=lambda words: words[0],
    )

    def check(case: tuple[History, list[tuple[str, ...]]]) -> str:
        history, chosen = case
        words = [word for option in chosen for word in option]
        with empty_folder(tmp_path) as folder:
            path = folder / "history.txt"
            path.write_bytes(history.content)
            found = attempt(lambda: read_curves(path))
            if not history.damaged:
                assert not isinstance(found, UserError), f"refused a sound history: {found}"
                for expected, got in zip(
                    (history.train, history.validation, history.kl),
                    (found.train, found.validation, found.kl),
                    strict=True,
                ):
                    assert np.array_equal(got, expected, equal_nan=True), f"{got} for {expected}"
            done = command("doctor", "--history", str(path), *words)
            assert files_in(folder) == {path.name}
            if isinstance(found, UserError):
                assert_told(done)
                return "refused"
            assert done.status in (0, 1, 2), done
            assert "nan" not in done.err.lower() or "Warning" not in done.err, done.err
            if "--json" in words:
                json.loads(done.out, parse_constant=_refuse)
            assert done.out.strip()
            return f"{'damaged' if history.damaged else 'sound'}, status {done.status}"

    fuzz("histories", st.tuples(histories() | damaged(), options), check, examples)


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is no JSON")
