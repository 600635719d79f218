"""The command line as a person meets it: what is printed, what is refused, what is left behind."""

import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from vae_lightning.cli import main as cli
from vae_lightning.config.build import _check_processes
from vae_lightning.config.overrides import prepare_overrides
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
        prepare_overrides([argument])


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
    assert prepare_overrides(["model.latent_dim=8", "seed=3", "+x=1", "~logger", "hydra.verbose=true", "-m"]) == [
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


@pytest.mark.parametrize("mistake", ["seed=null", "~seed", "seed=${none}"])
def test_a_mistake_in_what_is_looked_at_is_told_once(
    mistake: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Hydra printed "Error executing job with overrides" before it."""
    with pytest.raises(SystemExit):
        cli.train(["--cfg", "job", mistake])
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert not list(here.iterdir())


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
    said = refused(capsys, "data=table", "data.path=my.csv", "likelihood=bernoulli", "data.batch_size=8")
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
    assert "likelihood: auto, bernoulli, beta, categorical, continuous_bernoulli" in done.stdout
    assert "torch" not in done.stderr.replace("vae_lightning", "")
    assert seconds < 3, "1.5 s are promised; this bound leaves room for a slow machine"


# --- groups that are taken away, values of any kind, paths of any name -----------------------------------------------


@pytest.mark.parametrize("word", ["{}=null", "~{}"])
def test_a_group_that_nothing_needs_can_be_taken_away(here: Path, word: str) -> None:
    """`logger=null` and `~logger` ended in tracebacks."""
    words = [word.format(group) for group in ("logger", "callbacks", "scheduler", "launcher")]
    words += ["experiment=null", "sweep=null"]
    tiny = [word for word in DRAWN if not word.startswith("callbacks.")]
    cli.train([*tiny, "data=synthetic", "likelihood=gaussian", "report=false", "hydra.run.dir=run", *words])
    assert json.loads((here / "run" / "summary.json").read_text())["epochs"] == 2
    assert not (here / "run" / "tensorboard").exists()


@pytest.mark.parametrize(
    "group", ["model", "likelihood", "posterior", "prior", "objective", "optimizer", "trainer", "hydra"]
)
@pytest.mark.parametrize("word", ["{}=null", "~{}"])
def test_a_group_that_is_needed_is_told_by_its_name(
    here: Path,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
    group: str,
    word: str,
) -> None:
    with pytest.raises(SystemExit):
        cli.train([word.format(group)])
    says = f"error: A run needs the group {group}, which was taken away. Leave it out for the default."
    assert capsys.readouterr().err.strip() == says


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("trainer.profiler='5 '", "error:"),
        ("trainer.profiler=nan", "The 'profiler' parameter of Trainer must be Profiler or text or null. Got nan"),
        (
            "trainer.max_time=-1",
            "The 'max_time' parameter of Trainer must be text or timedelta or a dictionary or null.",
        ),
        ("trainer.num_nodes=2", "trainer.num_nodes=2 trains on 2 machines, and nothing says which"),
        (
            "torch.threads=1000000000",
            "The 'threads' parameter of torch must be a whole number from 1 to 1024, or null.",
        ),
        ("data.resample=no", "The 'resample' parameter of data must be true or false. Got 'no' instead."),
        ("debug=perhaps", "The 'debug' parameter of train.py must be true or false. Got 'perhaps' instead."),
        ("sweep.on_error=halt", "The 'on_error' parameter of sweep must be continue or stop. Got 'halt' instead."),
        ("++test=5", "The 'test' parameter of train.py must be a group of settings. Got 5 instead."),
        ("callbacks.last.dirpath={}", "The 'dirpath' parameter of LastCheckpoint must be"),
        ("hydra=0", "error:"),
        ("a b=1", "There is no file a b=1; settings are typed NAME=VALUE."),
    ],
)
def test_a_wrong_value_of_any_setting_is_one_line(
    here: Path,  # noqa: ARG001
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    argument: str,
    says: str,
) -> None:
    """Some ended in tracebacks of Lightning's, one waited for ever for a machine that nobody had started."""
    for name in ("MASTER_ADDR", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)
    error = refused(capsys, argument)
    assert says in error
    assert len(error.splitlines()) == 1


def test_two_machines_are_for_whoever_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    _check_processes({"num_nodes": 2})
    with pytest.raises(ConfigError, match="starts 100000 processes on a CPU of"):
        _check_processes({"devices": 100_000, "accelerator": "cpu"})


def test_what_nobody_foresaw_is_one_line_with_the_traceback_in_the_log(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise AttributeError("'float' object has no attribute 'profile'")

    monkeypatch.setattr("vae_lightning.runs.train._fit", fail)
    error = refused(capsys, "hydra.run.dir=run", "report=false")
    assert error == "error: AttributeError: 'float' object has no attribute 'profile'. debug=true shows where.\n"
    assert "Traceback" in (here / "run" / "train.log").read_text()


@pytest.mark.parametrize("name", ["a (1)", "[x] {y}", "a=b,c;d&e", "#1! it's", "größe ~ ${x}"])
def test_a_run_in_a_directory_of_any_name_is_trained_told_and_resumed(
    here: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """13 of 24 directory names could not be resumed, and what stood in brackets vanished from printed paths."""
    data = here / f"{name}.csv"
    data.write_text("x,y\n" + "".join(f"{i},{i % 7}\n" for i in range(60)))
    tiny = [
        "likelihood=gaussian",
        "model.hidden_dims=[4]",
        "trainer.max_epochs=1",
        "test.num_samples=2",
        "report=false",
    ]
    place = name.replace("${", "$ {")  # which in a directory that is still to be made would be filled in
    cli.train([str(data), f"hydra.run.dir={place}", *tiny, "callbacks.figures=null"])
    said = capsys.readouterr().out
    assert f"Everything is in {place}:" in said
    (Path(place)).rename(name)
    (logdir,) = [line for line in said.splitlines() if line.startswith("tensorboard --logdir")]
    assert os.path.normpath(shlex.split(logdir)[2]) == place
    cli.train([f"resume={name}", "trainer.max_epochs=2"])
    assert json.loads((here / name / "summary.json").read_text())["epochs"] == 2


def test_a_missing_table_is_told_before_torch_is_imported(here: Path) -> None:
    code = "import sys; from vae_lightning.cli.main import train\ntry: train()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "no such.csv"], cwd=here, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr.startswith("error: There is no file 'no such.csv'")
    assert done.stdout == "False\n"


def test_help_lists_every_setting_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    cli.train(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for setting in ("model.residual=false", "posterior.log_var_bound=30.0", "likelihood.momentum=0.1"):
        assert any(re.match(rf"  {re.escape(setting)} +\S", line) for line in lines)
    for name in ("likelihood.max_logit", "model.decoder_dims", "data.image_shape", "trainer.max_time", "seed"):
        assert any(re.match(rf"  {re.escape(name)}=\S+ +\S", line) for line in lines)
