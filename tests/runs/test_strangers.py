"""Going on in somebody else's directory runs none of their code, and writes nowhere but in it."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner

from tests.runs import commands
from tests.runs.commands import train_once
from vae_lightning.cli import main as cli
from vae_lightning.config.overrides import CONF
from vae_lightning.config.strangers import CLASSES, NODES
from vae_lightning.runs.directory import LOCK

CODE = "import pathlib; pathlib.Path({!r}).write_text('run')\n"


@pytest.fixture(scope="module")
def finished(made_once: Callable[..., Path]) -> Path:
    """A run of one epoch as the command line leaves it, to copy."""
    return train_once(made_once, "strangers", "logger=csv", "trainer.max_epochs=1")


@pytest.fixture
def here(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where somebody stands who has been given the directory ``theirs``; beside it lies ``mine``."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, tmp_path / "theirs")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    return tmp_path


def say(here: Path, *words: Any, keep: bool = True) -> None:
    """Let the directory say that this was typed for it."""
    path = here / "theirs" / ".hydra" / "overrides.yaml"
    path.write_text(yaml.safe_dump([*(yaml.safe_load(path.read_text()) if keep else []), *words]))


def everything(folder: Path) -> dict[str, bytes]:
    """What there is, but for what may be written: the directory that is gone on with."""
    files = [path for path in sorted(folder.rglob("*")) if path.relative_to(folder).parts[0] not in ("theirs", LOCK)]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in files}


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    return commands.refused(capsys, "resume=theirs", "trainer.max_epochs=2", *words)


def test_a_directory_as_this_program_leaves_it_is_gone_on_with(here: Path) -> None:
    before = everything(here)
    cli.train(["resume=theirs", "trainer.max_epochs=2"])
    assert everything(here) == before
    assert torch.load("theirs/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    assert "++trainer.max_epochs=2" in yaml.safe_load(Path("theirs/.hydra/overrides.yaml").read_text())


# What runs code: each would create the file "canary" in the current folder.
SHELL = "touch canary"
EXECUTING = [
    f"+callbacks.x={{_target_:os.system,command:'{SHELL}'}}",
    f"++callbacks.x={{_target_:os.system,command:'{SHELL}'}}",
    "callbacks.guard._target_=evil.run",
    "++callbacks.guard._target_=evil.run",
    "callbacks={x:{_target_:evil.run}}",
    "+logger.x={_target_:evil.run}",
    "++logger.csv._target_=evil.run",
    "++logger.csv={_target_:evil.run,_partial_:false}",
    "++trainer._target_=evil.run",
    "++optimizer._target_=evil.run",
    "++scheduler._target_=evil.run",
    "++data._target_=evil.run",
    "++data={_target_:evil.run}",
    f"++optimizer={{_target_:os.system,command:'{SHELL}'}}",
    "++callbacks.x={_target_:lightning.pytorch.cli.instantiate_module,config:{class_path:evil.run}}",
    "++callbacks.x={_target_:lightning.pytorch.cli.LightningCLI,model_class:evil.run}",
    "++callbacks.x={_target_:vae_lightning.config.instantiate.import_class,node:{_target_:evil.run},path:x}",
    "++callbacks.x={_target_:lightning.pytorch.core.saving._load_state,cls:evil.run}",
    "++callbacks.x._target_=lightning.pytorch.callbacks..evil.run",
    "--config-dir=evil_conf",
    "-cd=evil_conf",
    "--config-path=evil_conf",
    "--multirun",
    "+experiment=../../../../../../../../../../tmp/evil",
    "experiment=/tmp/evil",
    "++experiment=evil",
    "data=[synthetic,evil]",
    "data='../../evil'",
    "+evil/group=x",
    "+../../evil=x",
    "data@hydra.callbacks=synthetic",
    "+experiment@_global_=evil",
    "data@=evil",
]
# Legal in Hydra, and without effect on a run that is gone on with.
DROPPED = [
    "hydra.searchpath=[file://evil_conf]",
    f"+hydra.callbacks.x={{_target_:os.system,command:'{SHELL}'}}",
    "hydra.job_logging={version:1,handlers:{x:{class:evil.run}}}",
    "hydra/job_logging=default",
    "hydra.launcher._target_=evil.run",
    "hydra/launcher=joblib",
    "hydra.sweeper._target_=evil.run",
    "hydra.mode=MULTIRUN",
    "hydra.run.dir=mine",
    "hydra.output_subdir=../mine",
    "hydra.job.chdir=true",
    "hydra.job.env_set.LD_PRELOAD=evil.so",
    "run_dir=mine",
    "++run_dir=mine",
    "resume=mine",
    "overwrite=true",
    "typed=[callbacks]",
    "++typed=[callbacks,logger]",
    "sweep=beta",
    "sweep.dir=mine",
    "launcher=joblib",
]


@pytest.fixture
def canary(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a module, a class or a shell of theirs would create."""
    (here / "evil.py").write_text(CODE.format(str(here / "canary")) + "class run:\n    pass\n")
    (here / "evil_conf" / "experiment").mkdir(parents=True)
    callback = {"callbacks": {"x": {"_target_": "os.system", "command": SHELL}}}
    for name in ("evil_conf/train.yaml", "evil_conf/experiment/evil.yaml"):
        (here / name).write_text("# @package _global_\n" + yaml.safe_dump({**callback, "hydra": callback}))
    monkeypatch.syspath_prepend(str(here))
    return here / "canary"


@pytest.mark.parametrize("word", EXECUTING)
def test_what_would_run_code_is_refused_before_anything_is_touched(
    here: Path, canary: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    """overrides.yaml of a run could name any class, which resume= built."""
    say(here, word)
    before, theirs = everything(here), everything(here / "theirs")
    refused(capsys)
    assert not canary.exists()
    assert everything(here) == before
    assert theirs == everything(here / "theirs")
    with pytest.raises(SystemExit):  # nor does looking at it
        cli.train(["resume=theirs", "--cfg", "job"])
    with pytest.raises(SystemExit):
        cli.train(["--cfg", "job", "resume=theirs"])
    assert not canary.exists()
    assert "evil" not in sys.modules


@pytest.mark.parametrize("word", DROPPED)
def test_where_and_how_a_run_was_made_is_not_the_directorys_to_say(here: Path, canary: Path, word: str) -> None:
    say(here, word)
    before = everything(here)
    cli.train(["resume=theirs", "trainer.max_epochs=2"])
    assert not canary.exists()
    assert everything(here) == before
    assert torch.load("theirs/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
    assert "evil" not in sys.modules


LOGGERS = "lightning.pytorch.loggers"
ELSEWHERE = [
    "++callbacks.last.dirpath=mine",
    "++callbacks.best.dirpath=mine",
    "++callbacks.best.filename=../../mine/best",
    "++callbacks.last.filename=/tmp/evil",
    "++callbacks.last.dirpath=theirs/../mine",
    "++callbacks.last.dirpath='~/evil'",
    "++callbacks.last.dirpath=s3://bucket/x",
    "++callbacks.last.dirpath='simplecache::memory:'",
    "++callbacks.x={_target_:lightning.pytorch.callbacks.ModelCheckpoint,dirpath:mine}",
    "++callbacks.x={_target_:lightning.pytorch.callbacks.OnExceptionCheckpoint,dirpath:mine}",
    "++callbacks.x={_target_:lightning.pytorch.callbacks.BatchSizeFinder}",
    "++callbacks.x={_target_:vae_lightning.reporting.figures.callback.Figures,dirpath:mine}",
    "++callbacks.x={_target_:vae_lightning.sweeps.pruning.TrialReport,storage:x.journal,study:x,number:0}",
    "++logger.csv.save_dir=mine",
    f"++logger.x={{_target_:{LOGGERS}.CSVLogger,save_dir:mine}}",
    f"++logger.x={{_target_:{LOGGERS}.CSVLogger,save_dir:theirs,name:../mine}}",
    f"++logger.x={{_target_:{LOGGERS}.TensorBoardLogger,save_dir:theirs,version:../../mine}}",
    f"++logger.x={{_target_:{LOGGERS}.TensorBoardLogger,save_dir:theirs,filename_suffix:/../../../mine/x}}",
    f"++logger.x={{_target_:{LOGGERS}.MLFlowLogger,tracking_uri:'http://evil'}}",
    f"++logger.x={{_target_:{LOGGERS}.WandbLogger,save_dir:theirs}}",
    "logger=mlflow",
    "logger=wandb",
    "++trainer.default_root_dir=mine",
    "++trainer.model_registry=evil/model",
    "++trainer.profiler={_target_:lightning.pytorch.profilers.AdvancedProfiler,dirpath:mine}",
    "data.path=${oc.env:HOME}/x",
    "++callbacks.x=${oc.create:'{_target_: evil.run}'}",
    "seed=${hydra:job.num}",
    "++logger.csv.save_dir=${oc.env:HOME}",
    "seed=${free_directory:mine/new}",
]


@pytest.mark.parametrize("word", ELSEWHERE)
def test_what_would_write_elsewhere_or_read_the_environment_is_refused(
    here: Path, canary: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    say(here, word)
    before = everything(here)
    assert "type it again" in refused(capsys)
    assert everything(here) == before
    assert not canary.exists()


def test_a_checkpoint_callback_without_a_folder_writes_into_the_directory(here: Path) -> None:
    """Lightning's default is where the program was started."""
    say(
        here,
        "++callbacks.x={_target_:lightning.pytorch.callbacks.ModelCheckpoint,filename:extra,every_n_epochs:2}",
        "logger=none",
    )
    before = everything(here)
    cli.train(["resume=theirs", "trainer.max_epochs=2"])
    assert everything(here) == before
    assert list((here / "theirs").rglob("extra*.ckpt"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"a: b",
        b"- {a: 1}",
        b"- [x]",
        b"- 3",
        b"- null",
        b"[" * 20000,
        b"- !!python/object:os.system x",
    ],
    ids=repr,
)
def test_a_record_that_is_no_list_of_words_is_one_line(
    here: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (here / "theirs" / ".hydra" / "overrides.yaml").write_bytes(content)
    refused(capsys)


def test_what_the_user_types_is_taken_as_it_is(here: Path, canary: Path) -> None:
    """The same class beside resume= is the user's own."""
    say(here, "++callbacks.x._target_=evil.run", "++callbacks.x.command=rm")
    (here / "evil.py").write_text(
        CODE.format(str(canary)) + "from lightning.pytorch import Callback\nclass run(Callback):\n    pass\n"
    )
    cli.train(["resume=theirs", "trainer.max_epochs=2", "+callbacks.x._target_=evil.run"])
    assert canary.exists()
    sys.modules.pop("evil", None)
    recorded = yaml.safe_load((here / "theirs" / ".hydra" / "overrides.yaml").read_text())
    assert "++callbacks.x.command=rm" not in recorded


def test_a_class_that_is_typed_gets_none_of_the_directorys_arguments(here: Path) -> None:
    from vae_lightning.config.overrides import prepare_overrides

    say(
        here, "++callbacks.x={_target_:os.system,command:no}", "++callbacks.x.command=no", "++callbacks.guard.share=0.5"
    )
    words = prepare_overrides(["resume=theirs", "callbacks.x._target_=mine.Callback"])
    assert not any("no" in word.split(".")[-1] for word in words if word.startswith("++callbacks.x.command"))
    assert "++callbacks.guard.share=0.5" in words


# --- links ------------------------------------------------------------------------------------------

LINKED = [
    "train.log",
    "metrics.csv",
    "summary.json",
    "valid_scores.csv",
    "checkpoints",
    "checkpoints/last.ckpt",
    "checkpoints/.last.ckpt.1",
    "figures",
    "tensorboard",
    ".hydra",
    ".hydra/overrides.yaml",
    LOCK,
    "figures/deep/down",
]


def link(path: Path, target: Path) -> None:
    """Put a link where ``path`` is; what was there moves to the target."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        shutil.move(path, target)
    elif path.suffix or path.name.startswith("."):
        target.write_text("")
    else:
        target.mkdir()
    path.symlink_to(target)


@pytest.mark.parametrize("name", LINKED)
@pytest.mark.parametrize("words", [["resume=theirs"], ["hydra.run.dir=theirs", "overwrite=true"]], ids=" ".join)
def test_a_link_that_leads_out_is_refused_before_anything_is_written(
    here: Path, capsys: pytest.CaptureFixture[str], name: str, words: list[str]
) -> None:
    """train.log, checkpoints/ and figures/ were written through links."""
    link(here / "theirs" / name, here / "mine" / "target")
    before, theirs = everything(here), everything(here / "theirs")
    with pytest.raises(SystemExit) as exit_:
        cli.train([*([] if "resume" in words[0] else [*commands.WORDS, "logger=csv"]), *words, "trainer.max_epochs=2"])
    assert exit_.value.code == 1
    error = capsys.readouterr().err
    assert "is a link that leads out of" in error
    assert len(error.splitlines()) == 1
    assert everything(here) == before
    assert theirs == everything(here / "theirs")


def test_a_link_within_the_directory_is_none_of_these(here: Path) -> None:
    (here / "theirs" / "newest.ckpt").symlink_to("checkpoints/last.ckpt")
    cli.train(["resume=theirs", "trainer.max_epochs=2"])


def test_a_pipe_is_refused_and_not_waited_for(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "theirs" / "train.log").unlink()
    os.mkfifo(here / "theirs" / "train.log")
    assert "neither a file nor a folder" in refused(capsys)


def test_a_report_is_not_written_through_a_link(here: Path) -> None:
    (here / "theirs" / "report.html").symlink_to(here / "mine" / "thesis.txt")
    before = everything(here)
    done = CliRunner().invoke(cli.main, ["report", "theirs"])
    assert everything(here) == before, done.output


# --- checkpoints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["best", "last"])
@pytest.mark.parametrize("path", ["{here}/mine/thesis.txt", "{here}/theirs/checkpoints/../../mine/thesis.txt"])
def test_no_file_that_a_checkpoint_names_is_removed(here: Path, name: str, path: str) -> None:
    """Lightning removes the best file so far when there is a better one, wherever the checkpoint says it lies."""
    victim, checkpoint = path.format(here=here), here / "theirs" / "checkpoints" / "last.ckpt"
    content = torch.load(checkpoint, weights_only=True)
    for state in content["callbacks"].values():
        if "best_model_path" in state:
            score = torch.tensor(1e9)
            state |= {"best_model_path": victim, "kth_best_model_path": victim, "last_model_path": victim}
            state |= {"best_k_models": {victim: score}, "best_model_score": score, "kth_value": score}
    torch.save(content, checkpoint)
    cli.train(["resume=theirs", "trainer.max_epochs=3"])
    assert (here / "mine" / "thesis.txt").read_text() == "years of work"
    assert (here / "theirs" / "checkpoints" / f"{name}.ckpt").is_file()


def test_every_class_of_the_packages_own_configuration_is_let_through_but_those_that_send() -> None:
    seen = 0
    for group, legal in CLASSES.items():
        for path in (CONF / group).glob("*.yaml"):
            content = yaml.safe_load(path.read_text()) or {}
            nodes = [node for node in content.values() if isinstance(node, dict)] if group in NODES else [content]
            for node in nodes:
                if "_target_" in node and path.stem not in ("mlflow", "wandb"):
                    seen += 1
                    assert legal.fullmatch(node["_target_"]), node
    assert seen > 10
