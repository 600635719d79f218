"""Every setting, its default and what it means, for ``--help``: docs/settings.md as plain lines."""

import re
from pathlib import Path

from vae_lightning.config.overrides import CONF

PAGE = "settings.md"
NAME_WIDTH = 44


def describe_settings() -> str:
    """The page on settings, without its introduction and its signs."""
    # In a checkout it is among the documents, in an installed package beside the configuration.
    found = [path for path in (CONF / PAGE, CONF.parent / "docs" / PAGE) if path.is_file()]
    return "\n".join(_plain_lines(found[0])) if found else "--cfg job lists them: the page on settings is not here."


def _plain_lines(page: Path) -> list[str]:
    _, *sections = page.read_text(encoding="utf-8").split("\n## ")
    lines: list[str] = []
    for line in "\n".join(f"## {section}" for section in sections).splitlines():
        row = re.fullmatch(r"\| `(?P<name>[^`]+)` \| (?:`(?P<default>[^`]*)`)? ?\| (?P<words>.*) \|", line)
        if row:
            setting = f"{row['name']}={row['default'] or ''}"
            lines.append(f"  {setting:<{NAME_WIDTH}} {row['words']}".replace("\\|", "|").replace("`", ""))
        elif line.startswith("#"):
            lines += ["", line.lstrip("# ")]
    return lines
