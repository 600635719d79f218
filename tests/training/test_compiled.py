"""The compiled step: the same as the eager one within rounding, and left alone where it cannot be or does not pay."""

import copy
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import LBFGS, SGD, Adam, AdamW

from vae_lightning.data.batch import Batch
from vae_lightning.training.compilation import COMPILE_SECONDS, GAIN, Compilation
from vae_lightning.training.compiled import CompiledGradient
from vae_lightning.training.module import VAEModule
from vae_lightning.training.schedules import Cosine

Make = Callable[..., Any]
EPOCHS = 6  # of nine batches, the last a shorter one
BATCH_SIZE = 12


def trained(make_module: Make, make_data: Make, make_trainer: Make, compile: bool, **options: Any) -> Any:
    module_options = {name: options.pop(name) for name in list(options) if not name.startswith("gradient")}
    module: VAEModule = make_module(compile=compile, **copy.deepcopy(module_options))
    trainer: Trainer = make_trainer(max_epochs=EPOCHS, **options)
    trainer.fit(module, make_data(BATCH_SIZE))
    assert module.takes_blocks is False  # over; it was while fitting
    return module, {name: float(value) for name, value in trainer.callback_metrics.items()}


@pytest.mark.parametrize(
    "options",
    [
        {"optimizer": partial(Adam, lr=3e-3, fused=True), "scheduler": partial(Cosine, epochs=EPOCHS)},
        {"fills_up": False},
        {"optimizer": partial(AdamW, lr=3e-3, weight_decay=0.1), "gradient_clip_val": 0.05},
        {
            "optimizer": partial(Adam, lr=3e-3),
            "likelihood": {"variance": "optimal"},
            "gradient_clip_val": 0.01,
            "gradient_clip_algorithm": "value",
        },
        {"optimizer": partial(SGD, lr=3e-3)},
        {"optimizer": partial(LBFGS, lr=0.1, max_iter=2)},
    ],
    ids=[
        "fused, schedule",
        "a short batch that stays eager",
        "decay, clipped norm",
        "closed form, clipped value",
        "no state",
        "gradients asked for twice a step",
    ],
)
def test_parameters_and_curves_are_those_of_eager_steps(
    make_module: Make, make_data: Make, make_trainer: Make, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dict(options)
    if not options.pop("fills_up", True):
        monkeypatch.setattr("vae_lightning.training.compiled.WORTH_FILLING", 0.0)
    (compiled, found), (eager, expected) = (
        trained(make_module, make_data, make_trainer, compile, **options) for compile in (True, False)
    )
    assert compiled.compilation._gradient is not None
    assert compiled.compilation._gradient.has_run
    assert eager.compilation._gradient is None
    torch.testing.assert_close(compiled.vae.state_dict(), eager.vae.state_dict(), rtol=1e-4, atol=1e-5)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"vae": {"dropout": 0.2}}, "dropout and batch normalisation"),
        ({"vae": {"normalization": "batch"}}, "dropout and batch normalisation"),
    ],
)
def test_what_cannot_be_compiled_is_said_in_a_line_and_trained_as_ever(
    make_module: Make,
    make_data: Make,
    make_trainer: Make,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, Any],
    says: str,
) -> None:
    with caplog.at_level(logging.INFO, "vae_lightning"):
        asked, _ = trained(make_module, make_data, make_trainer, True, **options)
    assert [line for line in caplog.messages if "not compiled" in line and says in line]
    eager, _ = trained(make_module, make_data, make_trainer, False, **options)
    assert all(map(torch.equal, asked.vae.state_dict().values(), eager.vae.state_dict().values()))


def test_a_machine_that_cannot_compile_trains_as_ever(
    make_module: Make,
    make_data: Make,
    make_trainer: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("No working C++ compiler was found\nand much more")

    with monkeypatch.context() as patched, caplog.at_level(logging.INFO, "vae_lightning"):
        patched.setattr(torch, "compile", lambda *_, **__: broken)
        asked, _ = trained(make_module, make_data, make_trainer, True)
    lines = [line for line in caplog.messages if "compile" in line]
    assert lines == ["Steps are not compiled: torch.compile has failed (No working C++ compiler was found)."]
    eager, _ = trained(make_module, make_data, make_trainer, False)
    assert all(map(torch.equal, asked.vae.state_dict().values(), eager.vae.state_dict().values()))


@pytest.mark.parametrize(("share", "decided"), [(1.1, True), (0.9, False), (math.inf, True)])
def test_auto_compiles_where_the_steps_to_come_save_twice_what_it_costs(
    share: float, decided: bool, caplog: pytest.LogCaptureFixture
) -> None:
    compilation = Compilation("auto")
    compilation.decide(1e9, lambda: None)
    assert compilation.decided is None  # nothing has been timed
    compilation.time(0.5, 10)
    compilation.time(0.02, 10)  # 2 ms, the first were still warming up
    with caplog.at_level(logging.INFO, "vae_lightning"):
        compilation.decide(share * 2 * COMPILE_SECONDS / GAIN / 0.002, lambda: None)
    assert compilation.decided is decided
    assert len(caplog.messages) == decided
    compilation.decide(0, lambda: None)
    assert compilation.decided is decided, "once and for all"


def test_auto_is_no_where_it_cannot_be_and_a_resumed_run_does_as_it_did(make_module: Make) -> None:
    compilation = Compilation("auto")
    compilation.time(1.0, 1)
    compilation.decide(math.inf, lambda: "of something")
    assert compilation.decided is False
    module, checkpoint = make_module(), {"steps_are_compiled": True}
    module.on_load_checkpoint(checkpoint)
    assert module.compilation.decided is True
    module.on_save_checkpoint(saved := {})
    assert saved["steps_are_compiled"] is True


def test_batches_of_another_shape_are_not_the_programs(make_module: Make) -> None:
    module = make_module()
    x = torch.zeros(8, module.vae.likelihood.num_columns)
    step = CompiledGradient(module.vae, module.objective, Batch(x), 8)
    assert step.fits(Batch(x + 1))
    assert not step.fits(Batch(torch.cat([x, x[:1]])))
    assert not step.fits(Batch(x, mask=x > 0))


def test_a_short_batch_is_filled_up_where_that_costs_less_than_an_eager_step(make_module: Make) -> None:
    small, large = make_module(), make_module(vae={"hidden_dims": [2000, 2000]})
    x = torch.zeros(8, small.vae.likelihood.num_columns)
    for module, fits in ((small, True), (large, False)):
        step = CompiledGradient(module.vae, module.objective, Batch(x), 8)
        assert step.fits(Batch(x[:3])) is fits
    batch, noise = Batch(x, weight=torch.arange(8.0)), torch.randn(2, 8, 1)
    short, long = Batch(x[:3], weight=batch.weight[:3]), Batch(x[:3])
    step = CompiledGradient(small.vae, small.objective, Batch(x), 8)
    (filled, draws), (counted, _) = step._fill_up(short, noise[:, :3]), step._fill_up(long, noise[:, :3])
    assert filled.weight.tolist() == [0, 1, 2, 0, 0, 0, 0, 0]
    assert counted.weight.tolist() == [1, 1, 1, 0, 0, 0, 0, 0]
    assert draws.shape == noise.shape
    assert torch.equal(draws[:, :3], noise[:, :3])
