"""What shells make of a line: bash and zsh by running them, PowerShell by the rules that it documents."""

import shutil
import subprocess

SINGLE, DOUBLE = "'‘’‚‛", '"“”„'
ENDS = " \t\n(){};,|&<>"
"""What ends a bare word in PowerShell's argument mode (about_Parsing)."""


def words_in(shell: str, line: str) -> list[str] | None:
    """The arguments a command gets; None where the shell is not installed."""
    if shell == "powershell":
        return words_in_powershell(line)
    if (found := shutil.which(shell)) is None:
        return None
    # -f and --norc: nobody's own settings. Each word ends in a zero, which no word can hold.
    quiet = ["-f"] if shell == "zsh" else ["--norc", "--noprofile"]
    done = subprocess.run([found, *quiet, "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, timeout=30)
    return done.stdout.decode().split("\0")[:-1]


def words_in_powershell(line: str) -> list[str]:
    """As about_Parsing and about_Quoting_Rules have it; AssertionError for anything that it would not take as text.

    A word that begins with a quote ends with it; in one that begins bare, quoted pieces are joined. Typographic quotes
    count as plain ones, and a doubled quote inside stands for one.
    """
    words, at = [], 0
    while at < len(line):
        if line[at] in " \t":
            at += 1
            continue
        word, begins_quoted = "", line[at] in SINGLE + DOUBLE
        assert line[at] not in "@#-" or not line[at:].startswith(("@", "#")), line
        while at < len(line) and line[at] not in ENDS:
            piece, after = _piece(line, at)
            if begins_quoted and word:
                break
            word, at = word + piece, after
            if begins_quoted:
                assert at == len(line) or line[at] in " \t", f"PowerShell ends the word here: {line[at:]}"
                break
        assert at == len(line) or line[at] in " \t", f"special: {line[at:]}"
        words.append(word)
    return words


def _piece(line: str, at: int) -> tuple[str, int]:
    """One character, or what a pair of quotes holds, and where it ends."""
    kind = next((kind for kind in (SINGLE, DOUBLE) if line[at] in kind), None)
    if kind is None:
        assert line[at] not in "$`", f"special: {line[at:]}"
        return line[at], at + 1
    held, at = "", at + 1
    while True:
        assert at < len(line), f"a quote is left open: {line}"
        if line[at] in kind:
            if line[at + 1 : at + 2] and line[at + 1] in kind:
                held, at = held + line[at], at + 2
                continue
            return held, at + 1
        assert kind == SINGLE or line[at] not in "$`", f"filled in: {line[at:]}"
        held, at = held + line[at], at + 1
