"""Messages and their advice: what is told is what can be typed."""

import shlex
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from vae_lightning.errors import (
    ConfigError,
    DataError,
    Notice,
    RunError,
    Setting,
    UserError,
    advise,
    did_you_mean,
    on_the_command_line,
    suggest,
)


def understood(text: str) -> Any:
    """What the program gets of what Hydra takes from what a shell takes from ``text``."""
    (word,) = shlex.split(text)
    value = OverridesParser.create().parse_override(word).value()
    return OmegaConf.to_container(OmegaConf.create({"x": _plain(value)}), resolve=True)["x"]


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, list) else getattr(value, "text", value)


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b_2"],
        ["0", "17"],
        ["first name", "b"],
        ["it's", 'say "x"', "back\\slash", 'both\\"'],
        ["a,b", "[c]", "{d}", "e=f", "${g}"],
        ["null", "true", "1e3", "007", "größe"],
        ["folder/my.csv", "a.5", "NaN", "-1", "a-b", ""],
        ["end\\"],
    ],
)
def test_what_to_type_is_understood_by_shell_and_hydra(names: list[str]) -> None:
    values = understood(on_the_command_line(Setting("data.drop", names)))
    assert list(map(str, values)) == names
    for name in names:
        assert str(understood(on_the_command_line(Setting("data.label", name)))) == name


@pytest.mark.parametrize("value", [None, True, False, 3, -2, 0.001, 1e29, 1e-7, [8, 16], []])
def test_plain_values_come_back_as_they_are(value: Any) -> None:
    assert understood(on_the_command_line(Setting("model.size", value))) == value


def test_plain_words_are_not_quoted() -> None:
    assert on_the_command_line(Setting("resume", "outputs/2024-01-01/run_1")) == "resume=outputs/2024-01-01/run_1"
    assert on_the_command_line(Setting("data.drop", ["name", "date"])) == "'data.drop=[name,date]'"


A, B, C = Setting("a", 1), Setting("b", 2, "smaller"), Setting("c", 3)


def test_advice_names_every_way_once() -> None:
    assert advise([]) == ""
    assert advise([A]) == "Try a=1."
    assert advise([A, B, C]) == "Try a=1, b=2 (smaller) or c=3."
    assert advise([A, B, C], lambda setting: None if setting is B else f"{setting.key}({setting.value})") == (
        "Try a(1) or c(3)."
    )
    assert advise([A], lambda _: None) == ""


@pytest.mark.parametrize("kind", [Notice, UserError, DataError, ConfigError, RunError])
def test_whoever_shows_a_message_words_its_advice(kind: type[UserError]) -> None:
    told = kind("It is wrong.", (A, B))
    assert str(told) == "It is wrong. Try a=1 or b=2 (smaller)."
    assert told.worded(lambda setting: f"{setting.key}={setting.value!r} in Python") == (
        "It is wrong. Try a=1 in Python or b=2 in Python (smaller)."
    )
    assert str(kind("It is wrong.")) == "It is wrong."


def test_the_nearest_legal_word_is_named_or_all_of_them() -> None:
    assert did_you_mean("AGE", ["Age", "name"]) == "Did you mean 'Age'?"
    assert did_you_mean("zzz", ["Age", "name"]) == ""
    assert suggest("latent_dims", ["latent_dim", "hidden_dims"]) == "Did you mean 'latent_dim'?"
    assert suggest("zzz", ["b", "a"]) == "Legal are: a, b."
    assert suggest("zzz", []) == "There are none."
