"""Any text as a path, a label or a word of a command: it arrives, or is refused in one line."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.shells import words_in_powershell
from tests.test_shell import what_arrives
from vae_lightning.cli.words import read_words
from vae_lightning.errors import UserError
from vae_lightning.shell import hydra_text, is_plain_path, read_hydra_text, shell_quote, type_setting

SIGNS = st.sampled_from(list("ab1 '\"\\${}[](),;=&#!~%.:-+*?<>|`@^\n\t’“é数_/"))
TEXTS = st.one_of(st.text(SIGNS, min_size=1), st.text(min_size=1)).filter(lambda t: "\0" not in t)


@given(TEXTS)
def test_a_text_in_hydras_quotes_comes_back(text: str) -> None:
    assert read_hydra_text(hydra_text(text)) == text
    assert what_arrives(f"data.label={hydra_text(text)}", "data.label") == text


@given(TEXTS)
def test_a_path_arrives(text: str) -> None:
    assume(is_plain_path(text) and not os.path.lexists(text))
    assert what_arrives(f"data.path={text}", "data.path") == text


@given(TEXTS)
def test_what_is_advised_arrives(text: str) -> None:
    for key in ("data.path", "data.label"):
        (word,) = words_in_powershell(type_setting(key, text))
        assert str(what_arrives(word, key)) == text


@given(TEXTS)
def test_a_word_that_begins_bare_is_one_word(text: str) -> None:
    assert words_in_powershell(shell_quote(f"a{text}")) == [f"a{text}"]


@given(st.lists(TEXTS, max_size=4))
def test_a_list_of_texts_arrives(texts: list[str]) -> None:
    (word,) = words_in_powershell(type_setting("data.drop", texts))
    assert list(map(str, what_arrives(word, "data.drop"))) == texts  # a name such as 1 may be a number


@given(st.lists(TEXTS, max_size=4))
def test_any_words_are_read_or_refused(words: list[str]) -> None:
    with suppress(UserError):
        read_words(words)


@pytest.mark.parametrize("folder", ["[x]", "a (1)"])
def test_paths_are_relative_to_where_one_is(folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    assert what_arrives("data.path=../x, y.csv", "data.path") == "../x, y.csv"
