"""Command lines: what was meant arrives, or is refused in one line; a run of any settings ends, or says why not."""

import contextlib
import io
import json
import logging
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import strategies as st

from tests.conftest import Run
from tests.fuzz.commands import Outcome, assert_told, command
from tests.fuzz.fuzzing import assert_one_line, budgets, empty_folder, files_in, fuzz, in_time
from vae_lightning.cli.main import train
from vae_lightning.runs import train as _  # noqa: F401 - imported once, as no line should wait for it
from vae_lightning.shell import type_setting

SIGNS = st.sampled_from("ab1 '\"\\${}[](),;=&#!~%.:-+*?<>|`@^_/é数’")
NAMES = st.text(SIGNS, min_size=1, max_size=8) | st.sampled_from(["null", "true", "1e3", "007", "a (1).csv", "x=1"])
MEANT: dict[str, st.SearchStrategy[Any]] = {
    "seed": st.integers(0, 2**32 - 1),
    "data.path": NAMES,
    "data.label": NAMES,
    "data.drop": st.lists(NAMES, max_size=3),
    "data.missing": st.lists(NAMES, max_size=2),
    "data.decimal": st.sampled_from(["comma", "point", None]),
    "data.skip_rows": st.integers(0, 9),
    "data.header": st.booleans() | st.none(),
    "data.batch_size": st.integers(1, 1000),
    "data.valid_fraction": st.floats(0.01, 0.4),
    "model.latent_dim": st.integers(1, 64),
    "model.hidden_dims": st.lists(st.integers(1, 99), max_size=3),
    "model.dropout": st.floats(0, 0.9),
    "objective.beta": st.floats(0, 10),
    "optimizer.lr": st.floats(1e-6, 1.0),
    "optimizer.weight_decay": st.just(0.0) | st.floats(0, 1),
    "trainer.max_epochs": st.integers(1, 99),
    "trainer.gradient_clip_val": st.none() | st.floats(0.1, 9),
    "test.num_samples": st.integers(1, 99),
    "report": st.booleans(),
}
KEYS = [
    *MEANT,
    *("likelihood", "model", "logger", "callbacks", "scheduler", "optimizer", "trainer", "experiment", "sweep"),
    *("prior", "posterior", "launcher"),
    *("likelihood.variance", "likelihood.name", "posterior.name", "objective.warmup", "objective.warmup_epochs"),
    *("optimizer._target_", "scheduler._target_", "trainer.accelerator", "trainer.devices", "trainer.precision"),
    *("trainer.profiler", "trainer.max_steps", "trainer.limit_train_batches", "trainer.num_sanity_val_steps"),
    *("callbacks.early_stopping", "callbacks.early_stopping.patience", "callbacks.best.monitor", "data.preprocess"),
    *("data.threshold", "data.resample", "data.image_shape", "data.columns", "data.key", "data.encoding"),
    *("data.seed",),
    *("data.delimiter", "data.thousands", "data.name", "torch.threads", "torch.matmul_precision", "sweep.dir"),
    *("model.activation", "model.decoder_dims", "model.normalization", "nonsense", "data.nonsense"),
    *("hydra.job.name",),
]
VALUES = [
    *("null", "true", "no", "0", "-1", "1e400", "nan", "inf", "1.5", "auto", "[]", "[1,2]", "[a]", "{}", "{a:1}"),
    *("x", "gaussian", "poisson", "none", "'", '"', "[", "{"),
    *("${seed}", "${x}", "${oc.env:HOME}", "1,2", "é", "10", "minmax", "1e-3", "cpu", "adam", "range(1,3)"),
    *("choice(1,2)", "00", "a=b", "\\", "~", "val/nelbo"),
    *("", "5 ", "9999999999999999999"),
]
ODD = st.sampled_from(VALUES) | NAMES
ODD_WORDS = st.one_of(
    st.builds(
        lambda sign, key, value: f"{sign}{key}={value}",
        st.sampled_from(["", "", "", "+", "++", "~"]),
        st.sampled_from(KEYS),
        ODD,
    ),
    st.builds(lambda key: f"~{key}", st.sampled_from(KEYS)),
    NAMES.filter(lambda word: not word.startswith("-")),
)
TINY = [
    *("data.path=rows.csv", "likelihood=gaussian", "trainer=cpu", "logger=csv", "data.batch_size=16", "report=false"),
    *(
        "model.hidden_dims=[4]",
        "trainer.max_epochs=1",
        "test.num_samples=2",
        "callbacks.figures=null",
        "hydra.run.dir=run",
    ),
    "callbacks.progress=null",
]
RARE = 12  # of as many lines one is a whole training


@dataclass(frozen=True)
class Line:
    """Words, and the settings that they mean; None where nobody can say."""

    words: list[str]
    meant: dict[str, Any] | None

    def __repr__(self) -> str:
        return f"{self.words} meaning {self.meant}"


@st.composite
def lines(draw: st.DrawFn) -> Line:
    """Settings as messages advise them, which must arrive, or odd words."""
    if draw(st.booleans()):
        keys = draw(st.lists(st.sampled_from(sorted(MEANT)), min_size=1, max_size=4, unique=True))
        meant = {key: draw(MEANT[key]) for key in keys}
        words = [word for key, value in meant.items() for word in shlex.split(type_setting(key, value))]
        return Line(["data=table", *words], meant)
    return Line(draw(st.lists(ODD_WORDS, min_size=1, max_size=3)), None)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder beside which nothing may appear; the process stays as it is."""
    monkeypatch.setattr("sys.argv", ["train.py"])
    return tmp_path


@pytest.mark.parametrize("examples", budgets(20, share=10))
def test_command_lines_of_training(examples: int, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 3)).round(2), columns=["a", "b", "c"])

    def check(case: tuple[Line, int]) -> str:
        line, rare = case
        with empty_folder(here) as folder, monkeypatch.context() as moved:
            moved.chdir(folder)
            rows.to_csv("rows.csv", index=False)
            shown = _train("--cfg", "job", *line.words)
            assert files_in(folder) == {"rows.csv"}, "looking at a configuration has written something"
            if shown.status:
                _assert_refused(shown)
                path = (line.meant or {}).get("data.path")
                is_missing = path is not None and path in shown.err  # of a file that is not there nothing is composed
                assert line.meant is None or is_missing, f"refused what is right: {shown.err}"
            elif line.meant is not None:
                _assert_meant(yaml.safe_load(shown.out), line.meant)
            if rare or _is_costly(line.words):
                return f"{'meant' if line.meant is not None else 'odd'}, status {shown.status}"
            return f"trained, status {_assert_trained(folder, line)}"

    fuzz("command lines of training", st.tuples(lines(), st.integers(0, RARE - 1)), check, examples)


def _train(*words: str) -> Outcome:
    out, err = io.StringIO(), io.StringIO()
    status: Any = 0
    handlers, threads = logging.root.handlers[:], torch.get_num_threads()
    try:
        with in_time(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            train(list(words))
    except SystemExit as end:
        status = end.code
    finally:
        logging.root.handlers[:] = handlers
        logging.getLogger("vae_lightning").disabled = False
        torch.set_num_threads(threads)
        torch.set_flush_denormal(False)
    return Outcome(int(status or 0), out.getvalue(), err.getvalue())


def _assert_refused(outcome: Outcome) -> None:
    assert outcome.status == 1, outcome
    assert_one_line(outcome.err)
    assert outcome.err.startswith("error: "), outcome.err


def _assert_meant(shown: dict[str, Any], meant: dict[str, Any]) -> None:
    """What would be in force is what was meant; texts in a list that look like numbers may be these."""
    for key, value in meant.items():
        found: Any = shown
        for part in key.split("."):
            found = found[part]
        is_same = found == value or (isinstance(value, list) and list(map(str, found)) == list(map(str, value)))
        assert is_same or str(found) == str(value), f"{key}: {found!r} for {value!r}"


def _is_costly(words: list[str]) -> bool:
    """Many jobs, several processes, or a directory that is not ours: what they do is tested elsewhere."""
    costly = ("sweep", "devices", "accelerator", "hydra", "num_nodes", "launcher", "resume", "run_dir", "-m", "max_")
    return any(part in word for word in words for part in costly)


def _assert_trained(folder: Path, line: Line) -> int:
    """Train on the rows that are there, the line's settings first, so that ours make it tiny."""
    named = {word.lstrip("+~").partition("=")[0] for word in line.words}
    tiny = [word for word in TINY if word.partition("=")[0] not in named]
    done = _train(*tiny, *line.words)
    outside = {name for name in files_in(folder) if not name.startswith("run/")} - {"rows.csv"}
    assert not outside, f"written outside the run's directory: {outside}"
    summary = folder / "run" / "summary.json"
    assert not [name for name in files_in(folder) if "partial" in name or name.rpartition("/")[2].startswith(".rows")]
    if done.status:
        assert done.status == 1
        assert_one_line(done.err.strip().splitlines()[-1])
        assert "Traceback" not in done.out + done.err
        assert not summary.exists(), "what was refused looks finished"
    else:
        json.loads(summary.read_text())
    return done.status


OUTPUTS = st.sampled_from(
    ["out.csv", "out.npy", "out.parquet", "-", "out.xyz", "no/where.csv", ".", "rows.csv", "", "é [1].tsv"]
)
NUMBERS = st.sampled_from(["0", "1", "5", "-1", "1.5", "nan", "inf", "x", "", "1e400", "99999999999999999999"])
DATA = st.sampled_from(
    ["rows.csv", "rows.csv", "rows.csv", "text.csv", "none.csv", ".", "", "rows.npy", "empty.csv", "few.csv"]
)
SAID = st.sampled_from(
    [
        "data.decimal=comma",
        "data.skip_rows=1",
        "data.header=false",
        "data.nonsense=1",
        "x",
        "data.missing=[",
        "data.path=rows.csv",
    ]
)


@st.composite
def uses(draw: st.DrawFn) -> list[str]:
    """A command on a run, with options that may be odd."""
    name = draw(st.sampled_from(["encode", "score", "reconstruct", "sample", "info", "evaluate", "doctor"]))
    run = draw(st.sampled_from(["RUN", "RUN", "RUN", "RUN", ".", "nowhere", "rows.csv", ""]))
    words = [name, run, *([draw(DATA)] if name in ("encode", "score", "reconstruct") else [])]
    number = draw(NUMBERS)
    options = {
        "encode": [["--std"], ["--key", "x"]],
        "score": [["--by-column"], ["--threshold", number], ["--kind", draw(st.sampled_from(["nll", "elbo", "x"]))]],
        "reconstruct": [["--mean"]],
        "sample": [["-n", number], ["--mean"], ["--seed", number], ["--temperature", number], ["--prior"]],
        "info": [["--json"], ["--nonsense"]],
        "evaluate": [["--data", draw(DATA)], ["--samples", draw(st.sampled_from(["1", "0", "-3", "x"]))], ["--json"]],
        "doctor": [["--data", draw(DATA)], ["--json"], ["--beta", number], ["--columns", number], ["--kl", "x"]],
    }[name]
    for option in draw(st.lists(st.sampled_from(options), max_size=2, unique_by=lambda words: words[0])):
        words += option
    if name in ("encode", "score", "reconstruct", "sample") and draw(st.booleans()):
        words += ["-o", draw(OUTPUTS)]
    if name in ("encode", "score", "reconstruct", "evaluate") and draw(st.integers(0, 3)) == 0:
        words.append(draw(SAID))
    return words


@pytest.mark.parametrize("examples", budgets(60))
def test_command_lines_of_use(examples: int, here: Path, small_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pd.read_csv(small_run.run_dir.parent / "rows.csv")

    def check(words: list[str]) -> str:
        with empty_folder(here) as folder, monkeypatch.context() as moved:
            moved.chdir(folder)
            table.to_csv("rows.csv", index=False)
            table.assign(b="x").to_csv("text.csv", index=False)
            table[["a"]].to_csv("few.csv", index=False)
            np.save("rows.npy", table.to_numpy())
            Path("empty.csv").touch()
            before = {name: (folder / name).read_bytes() for name in files_in(folder)}
            in_run = files_in(small_run.run_dir)
            done = command(*[str(small_run.run_dir) if word == "RUN" else word for word in words])
            written = {name for name in files_in(folder) if (folder / name).read_bytes() != before.get(name)}
            assert files_in(small_run.run_dir) == in_run, "something was left in the run's directory"
            output = words[words.index("-o") + 1] if "-o" in words else "-"
            kept = {name for name in before if name != output or words.count(name) > 1}
            assert kept <= files_in(folder) - written, "an input is gone"
            if words[0] == "doctor" and done.status in (0, 1):
                assert done.out.strip()
            elif done.status:
                assert not written, f"written in spite of an error: {written}"
                if words[0] != "doctor" or not done.out:
                    assert_told(done._replace(out=""))
            else:
                assert written == ({output} if output != "-" else set())
                if words[0] in ("encode", "score", "reconstruct") and output in ("-", "out.csv"):
                    frame = pd.read_csv(io.StringIO(done.out) if output == "-" else output)
                    assert len(frame) == len(table)
            return f"{words[0]}, status {done.status}"

    fuzz("command lines of use", uses(), check, examples)
