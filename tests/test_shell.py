"""Commands that are printed can be pasted into any shell, and paths may have any character."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from tests.shells import words_in
from vae_lightning.cli.words import read_words
from vae_lightning.errors import ConfigError
from vae_lightning.shell import hydra_text, quote_path, read_hydra_text, shell_path, shell_quote, type_setting

NAMES = [
    "plain.csv",
    "a (1).csv",
    "[x].csv",
    "{a,b}.csv",
    "a=b.csv",
    "a,b.csv",
    "a;b&c|d.csv",
    "#1.csv",
    "hurra!.csv",
    "it's.csv",
    "~mine.csv",
    "$HOME.csv",
    "${seed}.csv",
    "100%.csv",
    "größe 数据.csv",
    'say "x".csv',
    "back\\slash.csv",
    "end\\",
    "'quoted'.csv",
    'it\'s ${x} "y".csv',
    "`date`.csv",
    "<a>.csv",
    "?*.csv",
    "@a.csv",
    "^a.csv",
    "two\nlines.csv",
    "tab\t.csv",
    " both ends ",
    "’typographic’.csv",
    "it’s $5.csv",
    "null",
    "true",
    "1e3",
    "007",
    "-o.csv",
    "choice(a,b).csv",
]
SHELLS = ["bash", "zsh", "powershell"]


def what_arrives(word: str, key: str) -> object:
    """What the program gets of a word, by way of the overrides, Hydra's grammar and OmegaConf."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (typed,) = [each for each in read_words([word]) if f"{key}=" in each]
    value = OverridesParser.create().parse_override(typed).value()
    return OmegaConf.to_container(OmegaConf.create({"x": getattr(value, "text", value)}), resolve=True)["x"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_quoted_word_is_one_word_in_every_shell(name: str, shell: str) -> None:
    """Brackets and commas were printed bare, which zsh and PowerShell read as patterns and lists."""
    for text in (f"data.path={name}", f"/data/{name}"):
        assert words_in(shell, shell_quote(text)) in ([text], None)


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("name", [name for name in NAMES if not (set("'’") & set(name) and set('$"`') & set(name))])
def test_a_path_is_one_word_and_no_option(
    name: str, shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (word,) = words_in(shell, shell_path(Path(name))) or [name]
    assert os.path.normpath(word) == name
    assert not word.startswith("-")


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.parametrize("key", ["data.path", "hydra.run.dir", "sweep.dir"])
def test_a_path_with_any_character_reaches_the_program(
    name: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """File names with parentheses, commas, equals signs or umlauts ended in the words of Hydra's parser."""
    monkeypatch.chdir(tmp_path)
    Path(name).touch()  # which is what tells ${x}, 'x' and null from Hydra's own
    assert what_arrives(f"{key}={name}", key) == (name if name != "null" else None)
    assert what_arrives(f"{key}=./{name}", key) == f"./{name}"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_what_is_advised_arrives(name: str) -> None:
    for key in ("data.path", "data.label", "resume"):
        for shell in SHELLS:
            words = words_in(shell, type_setting(key, name))
            assert words is None or (len(words) == 1 and words[0].startswith(f"{key}="))
            if words and key != "resume":
                assert what_arrives(words[0], key) == name


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_text_in_hydras_quotes_comes_back(name: str) -> None:
    assert read_hydra_text(hydra_text(name)) == name
    assert read_hydra_text(name) == name or name[0] in "'\"" or "${" in name


def test_what_hydra_means_keeps_its_meaning_where_no_such_file_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert quote_path("null") == "null"
    assert quote_path("'a b'") == "'a b'"
    assert quote_path("${oc.env:HOME}/my data (1).csv") == "'${oc.env:HOME}/my data (1).csv'"
    assert quote_path("a (1).csv,b.csv", sweeps=True) == "'a (1).csv','b.csv'"
    assert quote_path("choice(a.csv,b.csv)", sweeps=True) == "choice(a.csv,b.csv)"
    Path("a (1).csv,b.csv").touch()
    assert quote_path("a (1).csv,b.csv", sweeps=True) == "'a (1).csv,b.csv'"


def test_a_bare_word_is_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train my.csv` and `data.path=my.csv` without `data=table` got no hint."""
    monkeypatch.chdir(tmp_path)
    table = ["likelihood=auto", "data=table", "++data.path='my.csv'"]
    assert read_words(["my.csv"]) == read_words(["data.path=my.csv"]) == table
    assert read_words(["seed=1", "data=mnist", "data.path=x"]) == ["seed=1", "data=mnist", "++data.path='x'"]
    Path("data=1").touch()
    with pytest.raises(ConfigError, match="There is no data=1"):
        read_words(["data=1"])  # a setting is a setting, whatever files there are
    Path("a=b.csv").touch()
    assert read_words(["a=b.csv"]) == ["likelihood=auto", "data=table", "++data.path='a=b.csv'"]


def test_a_word_that_is_neither_file_nor_setting_is_told() -> None:
    with pytest.raises(
        ConfigError, match=r"There is no file gaussian; .* Try likelihood=gaussian or posterior=gaussian"
    ):
        read_words(["gaussian"])


def test_a_run_directory_given_as_a_table_is_told_how_to_go_on(tmp_path: Path) -> None:
    (tmp_path / ".hydra").mkdir()
    with pytest.raises(ConfigError, match=r"is the directory of a run. Try resume="):
        read_words([str(tmp_path)])


def test_texts_that_hydra_cannot_read_are_texts() -> None:
    """`data.label=Größe` ended in `token recognition error`."""
    assert read_words(["data.label=Größe"]) == ["++data.label='Größe'"]
    assert read_words(["data.drop=[Größe,name, 'a b',2]"]) == ["++data.drop=['Größe',name,'a b',2]"]
    assert read_words(["-m", "data.label=Größe,Höhe"]) == ["-m", "++data.label='Größe','Höhe'"]
    assert read_words(["data.drop=[a[1],b]"]) == ["++data.drop=['a[1]',b]"]
    assert read_words(["trainer.max_epochs=["]) == ["++trainer.max_epochs='['"]
    assert read_words(["-m", "seed=range(0,3)", "model.latent_dim=2,4"]) == [
        "-m",
        "seed=range(0,3)",
        "++model.latent_dim=2,4",
    ]
