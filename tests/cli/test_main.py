"""The command line as a person meets it: what is printed, what is refused, what is left behind."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from vae_lightning.cli import main as cli
from vae_lightning.errors import ConfigError

ROOT = Path(__file__).parents[2]
DRAWN = ["data.batch_size=64", "model.hidden_dims=[16]", "trainer.max_epochs=2", "test.num_samples=5"]
TINY = [*DRAWN, "callbacks.figures=null"]


def train(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "train.py"), *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **environment},
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run in this process; the one line on stderr."""
    with pytest.raises(SystemExit) as exit_:
        cli.train([*TINY, *arguments])
    assert exit_.value.code == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("likelihod=gaussian", "There is no setting likelihod. Did you mean 'likelihood'?"),
        ("likelihood=gausian", "There is no likelihood=gausian. Did you mean 'gaussian'?"),
        ("likelihood=bernoulli,gausian", "There is no likelihood=gausian. Did you mean 'gaussian'?"),
        ("modle.latent_dim=3", "There is no setting modle.latent_dim. Did you mean 'model'?"),
        ("sede=1", "There is no setting sede. Did you mean 'seed'?"),
        ("test.num_sample=3", "There is no setting test.num_sample. Did you mean 'test.num_samples'?"),
        ("experiment=forum", "There is no experiment=forum. Did you mean 'forum_question'?"),
        ("resume=nowhere", "resume=nowhere is no run directory"),
    ],
)
def test_what_the_command_line_does_not_know_is_refused_before_hydra_sees_it(argument: str, says: str) -> None:
    with pytest.raises(ConfigError, match="^" + says.replace("?", r"\?").replace(".", r"\.")):
        cli.prepare_overrides([argument])


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("model.latent_dims=3", "There is no setting model.latent_dims. Did you mean 'latent_dim'?"),
        ("likelihood.varience=fixed", "There is no setting likelihood.varience."),
        ("objective.betta=2", "Did you mean 'beta'?"),
        ("trainer.max_epoch=2", "Did you mean 'max_epochs'?"),
        ("optimizer.learning_rate=2", "There is no setting optimizer.learning_rate."),
        ("data.batchsize=2", "Did you mean 'batch_size'?"),
        ("callbacks.early_stoping.patience=3", "Did you mean 'early_stopping'?"),
        ("callbacks.early_stopping.patiense=3", "Did you mean 'patience'?"),
        ("model.latent_dim=two", "The 'latent_dim' parameter of VAE must be a whole number. Got 'two' instead."),
        ("model.latent_dim=0", "The 'latent_dim' parameter of VAE must be at least 1. Got 0 instead."),
        ("seed=-1", "The 'seed' parameter of train.py must be a whole number from 0 to 4294967295. Got -1 instead."),
        ("optimizer.lr=-1", "optimizer cannot be built as configured: Invalid learning rate: -1"),
        ("data.pat=x", "There is no setting data.pat."),
        ("likelihood._target_=os.system", "There is no setting likelihood._target_."),
        ("trainer.max_epochs=[", "error:"),
    ],
)
def test_a_mistake_is_one_message(here: Path, capsys: pytest.CaptureFixture[str], argument: str, says: str) -> None:  # noqa: ARG001
    assert says in refused(capsys, argument)


def test_debug_shows_the_traceback(here: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: ARG001
    with pytest.raises(SystemExit):
        cli.train(["model.latent_dim=0", "debug=true"])
    assert "Traceback" in capsys.readouterr().err


def test_settings_of_groups_reach_their_constructors_and_the_rest_is_left_to_hydra() -> None:
    assert cli.prepare_overrides(["model.latent_dim=8", "seed=3", "+x=1", "~logger", "hydra.verbose=true", "-m"]) == [
        "-m",
        "++model.latent_dim=8",
        "seed=3",
        "+x=1",
        "~logger",
        "hydra.verbose=true",
    ]


def test_a_run_a_resume_and_an_override_of_the_resumed_run(here: Path) -> None:
    cli.train([*TINY, "hydra.run.dir=run", "seed=0"])
    summary = json.loads((here / "run" / "summary.json").read_text())
    assert summary["epochs"] == 2
    assert "seed=0" in summary["overrides"]
    cli.train(["resume=run", "trainer.max_epochs=3"])
    assert json.loads((here / "run" / "summary.json").read_text())["epochs"] == 3
    assert Path.cwd() == here


def test_looking_at_a_configuration_runs_and_changes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.train(["--cfg", "job", *TINY, "model.latent_dim=3"])
    shown = yaml.safe_load(capsys.readouterr().out)
    assert (shown["model"]["hidden_dims"], shown["model"]["latent_dim"]) == ([16], 3)
    assert (shown["model"]["activation"], shown["trainer"]["accumulate_grad_batches"]) == ("auto", 1)
    assert shown["callbacks"]["best"]["dirpath"] == "${run_dir}/checkpoints"
    cli.train(["--cfg", "job", "sweep=latent_dim", "seed=3"])
    assert yaml.safe_load(capsys.readouterr().out)["seed"] == 3
    assert "Did you mean 'latent_dim'?" in refused(capsys, "--cfg", "job", "model.latent_dims=3")
    (here / "run" / ".hydra").mkdir(parents=True)
    typed = here / "run" / ".hydra" / "overrides.yaml"
    typed.write_text("[seed=5]")
    cli.train(["resume=run", "--cfg", "job"])
    assert yaml.safe_load(capsys.readouterr().out)["seed"] == 5
    assert typed.read_text() == "[seed=5]"
    assert [path.name for path in here.iterdir()] == ["run"]


def test_multirun_trains_every_job_and_a_failing_one_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.train(["-m", *TINY, "likelihood=bernoulli,gaussian", "seed=0,1", "hydra.sweep.dir=sweep"])
    assert len(list(here.glob("sweep/*/summary.json"))) == 4
    assert "latent_dim" in refused(capsys, "-m", "model.latent_dim=2,0", "hydra.sweep.dir=broken")
    assert len(list(here.glob("broken/*/summary.json"))) == 1


def test_console_command_is_the_same_program(here: Path) -> None:
    result = CliRunner().invoke(cli.main, ["train", *TINY, "hydra.run.dir=run"])
    assert result.exit_code == 0, result.output
    assert (here / "run" / "summary.json").exists()
    assert "train" in CliRunner().invoke(cli.main, ["--help"]).output


def test_a_mistake_leaves_nothing_that_looks_finished(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = here / "my.csv"
    table.write_text("a,b\n" + "\n".join(f"{-3.1 + i * 0.1},{i % 7}" for i in range(60)))
    said = refused(capsys, "data=table", "data.path=my.csv", "data.batch_size=8")
    assert "likelihood=gaussian" in said
    assert "-3.1" in said
    assert not list(here.rglob("summary.json"))


def test_a_mistake_leaves_no_traceback_and_no_success(here: Path) -> None:
    done = train("likelihod=gaussian", cwd=here)
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert "Did you mean 'likelihood'?" in done.stderr


def test_nothing_but_our_own_lines_is_printed(here: Path) -> None:
    done = train(*DRAWN, cwd=here)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0].startswith("vae_lightning")
    assert lines[-1].startswith("tensorboard --logdir outputs")
    assert not [line for line in lines if "Tip" in line or "available" in line or "Warning" in line]


def test_help_is_quick_and_lists_what_can_be_chosen(here: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = train("--help", cwd=here, PYTHONPROFILEIMPORTTIME="1")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Processor time, because other work on the machine does not count against us.
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert done.returncode == 0
    assert "likelihood: bernoulli, continuous_bernoulli, gaussian" in done.stdout
    assert "torch" not in done.stderr.replace("vae_lightning", "")
    assert seconds < 3, "1.5 s are promised; this bound leaves room for a slow machine"
