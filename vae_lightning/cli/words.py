"""The words of a training command as Hydra can read them, and what can be told of them at once."""

from collections.abc import Sequence

from vae_lightning.config.overrides import is_sweep, prepare_overrides
from vae_lightning.shell import INTERPOLATION, QUOTED, SWEPT_PATHS, quote_items, read_hydra_text


def read_words(arguments: Sequence[str]) -> list[str]:
    """The command line as Hydra can read it: :func:`prepare_overrides`, and what its grammar does not know as texts.

    Raises:
        ConfigError: for what is no setting.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser, sweeps = OverridesParser.create(), is_sweep(arguments)

    def is_readable(override: str) -> bool:
        try:
            parser.parse_override(override)
        except HydraException:
            return False
        return True

    def read(word: str) -> str:
        name, is_set, value = word.partition("=")
        if word.startswith("-") or not is_set or is_readable(word):
            return word
        return f"{name}={quote_items(value, lambda item: is_readable(f'x={item}'), sweeps)}"

    return [read(word) for word in prepare_overrides(arguments)]


def check_files(words: Sequence[str]) -> None:
    """Tell at once of a table that is not there: what reads tables takes seconds to import."""
    named = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    for key in SWEPT_PATHS if named.get("data") == "table" else ():
        value = named.get(key, "null")
        if QUOTED.fullmatch(value) and not INTERPOLATION.search(value):
            from vae_lightning.data.files.archives import existing_path  # numpy with it

            existing_path(read_hydra_text(value), "Table", "a file", parameter=key.removeprefix("data."))
