"""Hydra's sweep syntax as Optuna's distributions, and sampled values back as overrides that Hydra reads the same."""

import math

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from vae_lightning.errors import ConfigError
from vae_lightning.sweeps.space import Axis, axis_of, overrides_of

PARSER = OverridesParser.create()


def axis(text: str) -> Axis:
    return axis_of(PARSER.parse_override(text))


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("a=interval(0,1)", FloatDistribution(0, 1)),
        ("a=tag(log, interval(1e-4, 1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("a=int(interval(1,8))", IntDistribution(1, 8)),
        ("a=tag(log, int(interval(1,64)))", IntDistribution(1, 64, log=True)),
        ("a=range(1,10)", IntDistribution(1, 9)),
        ("a=range(1,10,4)", IntDistribution(1, 9, step=4)),
        ("a=range(1,9,4)", IntDistribution(1, 5, step=4)),
        ("a=range(0.1,0.5,0.1)", FloatDistribution(0.1, 0.4, step=0.1)),
        ("a=range(0,1,0.3)", FloatDistribution(0.0, 0.9, step=0.3)),
        ("a=x,2,null,true", CategoricalDistribution(["x", 2, None, True])),
        ("a=x,y", CategoricalDistribution(["x", "y"])),
        ("a=[64],[128,64]", CategoricalDistribution(["[64]", "[128,64]"])),
        ("a=2.5,1", CategoricalDistribution([2.5, 1])),
        ("a=1,true,0.0,false", CategoricalDistribution(["1", "True", "0.0", "False"])),
    ],
)
def test_syntax(text: str, distribution: optuna.distributions.BaseDistribution) -> None:
    assert axis(text).distribution == distribution


@pytest.mark.parametrize("text", ["a=range(1,10)", "a=range(2,9,3)", "a=range(0,1,0.3)", "a=q,[1,2],null"])
def test_a_grid_has_the_values_that_hydra_itself_would_run(text: str) -> None:
    ours = [axis(text).override(value) for value in axis(text).grid()]
    theirs = [f"a={value}" for value in PARSER.parse_override(text).sweep_string_iterator()]
    values = [[PARSER.parse_override(word).value() for word in words] for words in (ours, theirs)]
    assert len(values[0]) == len(values[1])
    assert all(x == y or math.isclose(x, y) for x, y in zip(*values, strict=True))


@pytest.mark.parametrize(
    "text",
    ["a=interval(-1,1)", "a=tag(log,interval(1e-9,1e9))", "a=range(-3,3)", "a=choice('x y',a_b,1e-7,[a,[b]])"],
)
def test_what_is_sampled_is_what_hydra_reads(text: str) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    own = axis(text)
    for _ in range(20):
        value = study.ask({"a": own.distribution}).params["a"]
        (override,) = overrides_of({"a": own}, {"a": value})
        parsed = PARSER.parse_override(override).value()
        if isinstance(own.distribution, CategoricalDistribution):
            parsed = override.partition("=")[2]
            assert parsed in own.texts
            assert value == own.distribution.choices[own.texts.index(parsed)]
        else:
            assert parsed == value


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a=tag(lg, interval(1,2))", "the only tag is log. Got lg"),
        ("a=tag(log, choice(1,2))", "only an interval or a range can be logarithmic"),
        ("a=tag(log, interval(0,1))", "low > 0"),
        ("a=interval(2,1)", "low"),
        ("a=range(5,5)", "the range is empty"),
    ],
)
def test_what_cannot_be_searched_is_said(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        axis(text)


def test_an_interval_is_no_grid() -> None:
    with pytest.raises(ConfigError, match="a grid needs single values or a range"):
        axis("a=interval(0,1)").grid()
