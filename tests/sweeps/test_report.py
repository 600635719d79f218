"""The report of a sweep: what may be compared is, what may not is not, and nothing on disk can break it."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from vae_lightning import files
from vae_lightning.cli import main as cli
from vae_lightning.errors import RunError, UserError
from vae_lightning.inference.reference import ReferenceMeasure
from vae_lightning.runs.directory import LOCK
from vae_lightning.sweeps import report
from vae_lightning.sweeps.base import RECORD, jobs_of
from vae_lightning.sweeps.comparison import rankings_of, results_of, varied_keys
from vae_lightning.sweeps.conclusion import conclude
from vae_lightning.sweeps.report import write_report

MakeJob = Callable[..., Path]
Grid = dict[int, tuple[int, int, float]]
PROBABILITY = ReferenceMeasure("probability", "as they are")


def markdown(sweep_dir: Path) -> str:
    write_report(sweep_dir)
    return (sweep_dir / "sweep.md").read_text(encoding="utf-8")


def tables(text: str) -> list[pd.DataFrame]:
    """The tables of a markdown text, as GitHub would read them; words only, bold signs removed."""
    found = []
    for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.M):
        lines = [
            [cell.strip().strip("*") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()
        ]
        assert all(re.fullmatch("-+", cell) for cell in lines[1])
        found.append(pd.DataFrame(lines[2:], columns=lines[0]))
    return found


# --- the numbers -----------------------------------------------------------------------------------------------------


def test_seeds_are_averaged_and_the_best_mean_comes_first(sweep_dir: Path, grid: Grid) -> None:
    (table,) = tables(markdown(sweep_dir))
    truth = pd.DataFrame(grid.values(), columns=["latent_dim", "seed", "value"]).groupby("latent_dim")["value"]
    order = truth.mean().sort_values().index
    assert list(table["model.latent_dim"]) == [str(latent_dim) for latent_dim in order] == ["8", "4", "2"]
    assert list(table["rank"]) == ["1 best", "2", "3"]
    assert list(table["val/nelbo"]) == [f"{truth.mean()[n]:.3f} ± {truth.std()[n]:.3f}" for n in order]
    assert list(table["test/nll"]) == [f"{truth.mean()[n] + 0.25:.3f} ± {truth.std()[n]:.3f}" for n in order]
    # The control stands at 130 for all.
    assert list(table["gain"]) == [f"{129.75 - truth.mean()[n]:.3f} ± {truth.std()[n]:.3f}" for n in order]
    assert "Gain is how far the test NLL lies below that of the control, a Chow-Liu tree; where" in markdown(sweep_dir)
    assert list(table["seeds"]) == ["3", "3", "3"]
    assert list(table["jobs"]) == ["3, 4, 5", "6, 7, 8", "0, 1, 2"]
    assert "seed" not in table


def test_what_a_configuration_is_behind_is_free_of_what_a_seeds_split_adds(sweep_dir: Path, grid: Grid) -> None:
    (table,) = tables(markdown(sweep_dir))
    by_seed = pd.DataFrame(grid.values(), columns=["l", "seed", "v"]).pivot(index="seed", columns="l", values="v")
    for place, latent_dim in ((1, 4), (2, 2)):
        behind = by_seed[latent_dim] - by_seed[8]
        assert table["behind"][place] == f"{behind.mean():.3f} ± {behind.std():.3f}"
        assert behind.std() < 1 < 9 < by_seed[latent_dim].std()
    assert table["behind"][0] == "–"


def test_one_value_has_no_deviation_and_unequal_seeds_are_told(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"model.latent_dim": 2, "seed": 0}, 120.0)
    make_job(1, {"model.latent_dim": 2, "seed": 1}, status="failed", error="The loss is nan.")
    make_job(2, {"model.latent_dim": 8, "seed": 0}, 119.0)
    assert "same seeds" not in markdown(sweep_dir)
    make_job(3, {"model.latent_dim": 8, "seed": 1}, 150.0)
    text = markdown(sweep_dir)
    table = tables(text)[0]
    assert "Not every configuration has results of the same seeds" in text
    assert table["val/nelbo"][0] == "120.000"
    assert list(table["seeds"]) == ["1 of 2", "2"]
    # On the one seed that both have, the second is better by one nat.
    assert table["behind"][1] == "-1.000"


def test_the_file_to_compute_with_says_what_the_jobs_say(sweep_dir: Path, make_job: MakeJob, grid: Grid) -> None:
    make_job(9, {"model.latent_dim": 16, "seed": 0}, status="failed", error='Two lines,\nwith "commas".')
    make_job(10, {"model.latent_dim": 32, "seed": 5}, status="planned", typed={"optimizer.lr": 1 / 3})
    write_report(sweep_dir)
    table = pd.read_csv(sweep_dir / "sweep.csv").set_index("job")
    jobs = jobs_of(sweep_dir)
    assert list(table.columns[:4]) == ["status", "model.latent_dim", "seed", "optimizer.lr"]
    assert list(table.index) == list(jobs) == list(range(11))
    for number, job in jobs.items():
        row = table.loc[number]
        assert row["status"] == job.status
        assert row["model.latent_dim"] == job.settings["model.latent_dim"]
        assert row["seed"] == job.settings["seed"]
        assert row["seconds"] == job.seconds
        assert (row["error"] if job.error else "") == job.error
        if job.status != "finished":
            assert row[["val/nelbo", "test/nll", "epochs", "reference measure"]].isna().all()
            continue
        summary = json.loads((sweep_dir / str(number) / "summary.json").read_text())
        assert row["val/nelbo"] == summary["val/nelbo"] == grid[number][2]
        numbers = {name: value for name, value in summary["test"].items() if name != "control_words"}
        assert {name: row[f"test/{name}"] for name in numbers} == numbers
        assert (row["epochs"], row["parameters"]) == (7, 1000 + number)
        assert row["reference measure"] == "density, data units"
    assert table["optimizer.lr"].dropna().to_dict() == {10: 1 / 3}
    assert "model.activation" not in table


def test_values_of_every_kind_survive_the_file(sweep_dir: Path, make_job: MakeJob) -> None:
    dims, names = [[256, 128], [64]], ["a|b,c", 'say "x"\n$y$ ünï']
    for number in range(2):
        make_job(
            number,
            {"model.hidden_dims": dims[number], "data.path": names[number], "model.residual": number == 0},
            1.0 + number,
        )
    text = markdown(sweep_dir)
    table = pd.read_csv(sweep_dir / "sweep.csv")
    assert [json.loads(cell) for cell in table["model.hidden_dims"]] == dims
    assert list(table["data.path"]) == names
    assert list(table["model.residual"]) == [True, False]
    (read,) = tables(text)
    assert list(read["model.hidden_dims"]) == ["[256,128]", "[64]"]
    assert read["data.path"][0] == r"a\|b,c"


# --- what varies -----------------------------------------------------------------------------------------------------


def test_varied_keys_are_the_typed_ones_that_differ(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"likelihood": "bernoulli", "model.latent_dim": 2, "seed": 0}, 1.0, typed={"trainer": "cpu"})
    make_job(1, {"likelihood": "gaussian", "model.latent_dim": 2, "seed": 1}, 1.0, settings={"model.activation": "elu"})
    make_job(
        2,
        {"likelihood": "gaussian", "model.latent_dim": 2, "seed": 1},
        1.0,
        typed={"likelihood.variance": "fixed", "trainer": "cpu"},
    )
    keys = varied_keys(jobs_of(sweep_dir))
    assert list(keys) == ["likelihood", "seed", "trainer", "likelihood.variance"]
    assert keys["likelihood"] == {0: "bernoulli", 1: "gaussian", 2: "gaussian"}
    assert keys["likelihood.variance"] == {2: "fixed"}
    assert varied_keys({}) == {}


def test_a_setting_that_nobody_typed_still_makes_another_configuration(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"seed": 0}, 1.0, settings={"model.activation": "relu"})
    make_job(1, {"seed": 1}, 2.0, settings={"model.activation": "elu"})
    (ranking,) = rankings_of(results_of(sweep_dir))
    assert len(ranking.configurations) == 2


# --- what may be compared --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "says"),
    [
        ({}, {"measure": PROBABILITY}, "a density per data unit can exceed 1"),
        (
            {"measure": PROBABILITY},
            {"measure": ReferenceMeasure("probability", "binarized at 0.5")},
            "rows that are scaled or binarized in another way are other data",
        ),
        ({}, {"rows": "bbbb"}, "belongs to the rows"),
    ],
)
def test_what_cannot_be_compared_never_shares_a_table(
    sweep_dir: Path, make_job: MakeJob, first: dict[str, Any], second: dict[str, Any], says: str
) -> None:
    for number in range(6):
        kind = first if number % 2 else second
        make_job(number, {"model.latent_dim": number // 2, "k": number % 2}, 100.0 + number, **kind)
    text = markdown(sweep_dir)
    assert [set(table["jobs"]) for table in tables(text)] == [{"0", "2", "4"}, {"1", "3", "5"}]
    assert text.count("1 best") == 2
    assert says in text
    assert text.index("All with k=0.") < text.index("All with k=1.")
    assert "The 2 tables are not compared with one another" in text


def test_other_scalings_and_other_splits_are_compared(sweep_dir: Path, make_job: MakeJob) -> None:
    for number, kind in enumerate(("standardize", "minmax")):
        make_job(number, {"data.preprocess": kind, "seed": number}, 100.0 + number)  # fingerprints of splits differ
    text = markdown(sweep_dir)
    assert len(tables(text)) == 1
    assert "not compared" not in text


def test_a_summary_without_a_measure_is_compared_with_its_like_only(sweep_dir: Path, make_job: MakeJob) -> None:
    for number in range(3):
        path = make_job(number, {"model.latent_dim": number}, 100.0 + number) / "summary.json"
        if number < 2:
            path.write_text(json.dumps({"val/nelbo": 1.0 + number}))
    assert [set(table["jobs"]) for table in tables(markdown(sweep_dir))] == [{"0", "1"}, {"2"}]


# --- whatever lies there ---------------------------------------------------------------------------------------------


def test_every_status_is_counted_and_what_has_no_result_says_why(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"seed": 0}, 100.0)
    make_job(1, {"seed": 1}, status="failed", error="The loss is nan | inf.\nmore")
    make_job(2, {"seed": 2}, status="pruned", error="Worse than the median.")
    make_job(3, {"seed": 3}, status="planned")
    make_job(4, {"seed": 4}, status="running")
    with FileLock(make_job(5, {"seed": 5}, status="running") / LOCK):
        text = markdown(sweep_dir)
    assert "6 jobs: 1 finished, 1 failed, 1 pruned, 1 killed, 1 running, 1 planned." in text
    ranking, problems = tables(text)
    assert list(ranking["jobs"]) == ["0"]
    assert list(ranking["seeds"]) == ["1 of 6"]
    assert list(problems["job"]) == ["1", "2", "4"]
    assert list(problems["status"]) == ["failed", "pruned", "killed"]
    assert problems["reason"][0] == r"The loss is nan \| inf."
    assert list(pd.read_csv(sweep_dir / "sweep.csv")["status"])[4:] == ["killed", "running"]


@pytest.mark.parametrize(
    "content",
    [None, "", '{"val/nelbo": 1', "[1, 2]", "null", '{"val/nelbo": NaN}', '{"test": 3}', '{"data": 1}', b"\xff"],
)
def test_a_summary_that_cannot_be_read_costs_its_job_only(
    sweep_dir: Path, make_job: MakeJob, content: str | bytes | None
) -> None:
    make_job(0, {"seed": 0}, 100.0)
    path = make_job(1, {"seed": 1}, 101.0) / "summary.json"
    path.unlink()
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ranking, problems = tables(markdown(sweep_dir))
    assert list(ranking["jobs"]) == ["0"]
    assert list(problems["job"]) == ["1"]
    table = pd.read_csv(sweep_dir / "sweep.csv")
    assert table["status"].tolist() == ["finished"] * 2
    if content is None:
        assert table["val/nelbo"].tolist() == [100.0, 101.0]


@pytest.mark.parametrize(
    "test", [None, 3, {}, {"nll": None, "nelbo": "x"}, {"nll": float("inf"), "nelbo": float("nan")}]
)
def test_test_numbers_may_be_missing(sweep_dir: Path, make_job: MakeJob, test: Any) -> None:
    for number in range(2):
        path = make_job(number, {"seed": number}, 100.0) / "summary.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "test": test}))
    (ranking,) = tables(markdown(sweep_dir))
    assert ranking["val/nelbo"][0] == "100.000 ± 0.000"


def test_a_long_reason_does_not_stretch_the_table(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"seed": 0}, status="failed", error="No <class 'x'>: " + "path/" * 500)
    (problems,) = tables(markdown(sweep_dir))
    assert problems["reason"][0].startswith(r"No \<class 'x'>: path/")
    assert len(problems["reason"][0]) < 200
    assert pd.read_csv(sweep_dir / "sweep.csv")["error"][0].count("path/") == 500


def test_a_torn_record_is_named(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"seed": 0}, 100.0)
    (make_job(1, {"seed": 1}, 101.0) / RECORD).write_text('{"fingerprint": "ab')
    (sweep_dir / "2").mkdir()
    assert "1 job: 1 finished. The job.json of 1 cannot be read." in markdown(sweep_dir)


def test_a_swept_setting_is_a_column_even_where_the_jobs_agree(sweep_dir: Path, make_job: MakeJob) -> None:
    make_job(0, {"model.latent_dim": 2, "seed": 3}, 100.0, typed={"trainer": "cpu"})
    write_report(sweep_dir)
    columns = list(pd.read_csv(sweep_dir / "sweep.csv").columns)
    assert columns[:6] == ["job", "status", "model.latent_dim", "seed", "seconds", "error"]


@pytest.mark.parametrize("status", ["planned", "failed"])
def test_a_sweep_without_results_has_a_report(sweep_dir: Path, make_job: MakeJob, status: str) -> None:
    make_job(0, {"seed": 0}, status=status)
    assert "No job has finished yet." in markdown(sweep_dir)
    assert pd.read_csv(sweep_dir / "sweep.csv")["status"].tolist() == [status]


def test_hundreds_of_jobs_stay_readable(sweep_dir: Path, make_job: MakeJob) -> None:
    for number in range(60):
        make_job(number, {"optimizer.lr": number}, 100.0 - number)
    for number in range(60, 90):
        make_job(number, {"optimizer.lr": number}, status="failed", error="x")
    text = markdown(sweep_dir)
    ranking, problems = tables(text)
    assert list(ranking["jobs"]) == [str(number) for number in range(59, 34, -1)]
    assert "The best 25 of 60 configurations; all jobs are in sweep.csv." in text
    assert len(problems) == 25
    assert "And 5 more: sweep.csv." in text


def test_a_directory_without_jobs_is_refused(tmp_path: Path, sweep_dir: Path, make_job: MakeJob) -> None:
    with pytest.raises(UserError, match=r"holds no jobs\. A sweep's directory holds numbered ones with a job\.json"):
        write_report(tmp_path)
    with pytest.raises(UserError, match="is no directory"):
        write_report(tmp_path / "nowhere")
    run_dir = make_job(0, {"seed": 0}, 1.0)
    with pytest.raises(UserError, match=f"is one job of a sweep. Give the directory that holds it: {sweep_dir}"):
        write_report(run_dir)
    assert not list(tmp_path.glob("sweep.*"))


def test_a_file_is_replaced_whole_or_not_at_all(
    sweep_dir: Path, grid: Grid, make_job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = write_report(sweep_dir)
    assert [path.name for path in paths] == ["sweep.csv", "sweep.md", "sweep.png"]
    before = [path.read_bytes() for path in paths]
    make_job(len(grid), {"model.latent_dim": 64, "seed": 0}, 1.0)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_report(sweep_dir)
    assert [path.read_bytes() for path in paths] == before
    assert {path.name for path in sweep_dir.iterdir() if not path.is_dir()} == {path.name for path in paths}


# --- the end of a sweep ----------------------------------------------------------------------------------------------


def test_a_sweep_ends_in_its_ranking_and_its_failures(
    sweep_dir: Path, grid: Grid, make_job: MakeJob, capsys: pytest.CaptureFixture[str]
) -> None:
    conclude(sweep_dir, [])
    said = capsys.readouterr().out
    assert said.index("1 best") < said.index(f"The report is in {sweep_dir}: sweep.csv, sweep.md, sweep.png.")
    make_job(len(grid), {"model.latent_dim": 64, "seed": 0}, status="failed", error="The loss is nan.\nmore")
    with pytest.raises(RunError, match=r"1 of 10 jobs failed, the first is job 9 \(.*\): The loss is nan\. "):
        conclude(sweep_dir, [])
    assert "failed" in (sweep_dir / "sweep.md").read_text()


def test_a_report_that_cannot_be_written_hides_nothing(
    sweep_dir: Path, grid: Grid, make_job: MakeJob, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path, __: bytes) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_whole", full)
    conclude(sweep_dir, [])
    said = capsys.readouterr().out
    assert "1 best" in said
    assert "No space left on device" in said
    make_job(len(grid), {"seed": 0}, status="failed", error="The loss is nan.")
    with pytest.raises(RunError, match="1 of 10 jobs failed"):
        conclude(sweep_dir, [])


def test_a_real_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    tiny = ["data.batch_size=256", "model.hidden_dims=[8]", "trainer.max_epochs=1", "test.num_samples=2"]
    axes = ["likelihood=bernoulli,gaussian", "seed=0,1", "sweep.dir=s"]
    cli.train(["-m", *tiny, "torch.threads=1", "logger=none", "callbacks.figures=null", *axes])
    said = capsys.readouterr().out
    assert "The report is in s: sweep.csv, sweep.md, sweep.png." in said
    assert (tmp_path / "s" / "sweep.png").read_bytes().startswith(b"\x89PNG")
    text = (tmp_path / "s" / "sweep.md").read_text()
    assert "## probability, rows scaled to [0, 1]: digits (" in text
    assert "## density, data units: digits (" in text
    table = pd.read_csv(tmp_path / "s" / "sweep.csv")
    summaries = [json.loads((tmp_path / "s" / str(number) / "summary.json").read_text()) for number in range(4)]
    assert table["likelihood"].tolist() == ["bernoulli", "bernoulli", "gaussian", "gaussian"]
    assert table["val/nelbo"].tolist() == [summary["val/nelbo"] for summary in summaries]
    means = [np.mean(table["val/nelbo"][:2]), np.mean(table["val/nelbo"][2:])]
    assert [ranking["val/nelbo"][0].split(" ± ")[0] for ranking in tables(text)] == [f"{mean:.3f}" for mean in means]
    assert all(f"{mean:.3f}" in said for mean in means)
    assert "grey levels" in text


@pytest.mark.parametrize("part", ["kind", "rows"])
@pytest.mark.parametrize("value", [{"a": 1}, [1], 5])
def test_a_measure_that_is_no_text_is_an_unknown_one(make_job: MakeJob, sweep_dir: Path, part: str, value: Any) -> None:
    """A dictionary there was a TypeError."""
    for number in range(2):
        path = make_job(number, {"seed": number}, 1.5) / "summary.json"
    summary = json.loads(path.read_text())
    summary["reference_measure"][part] = value
    path.write_text(json.dumps(summary))
    rankings = rankings_of(results_of(sweep_dir))
    assert [ranking.reference_measure for ranking in rankings] == [ReferenceMeasure("density", None), None]
