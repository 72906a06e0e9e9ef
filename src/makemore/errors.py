"""Exceptions for user errors, and texts that are safe to print."""

import unicodedata
from pathlib import Path

# Characters of a message that are shown.
LONGEST = 1000
# After what needs it; {} is the extra.
NEEDS = "needs the extra: python -m pip install -c constraints.txt -e '.[{}]'"
# Letters of some scripts need these to be joined or kept apart.
JOINERS = "\u200c\u200d"


def make_printable(text: str) -> str:
    """Replaces control characters, line breaks and marks that change the direction of writing by their escapes.

    Printed as they are, they could move a terminal's cursor, hide text or pretend to be another message.
    """
    unsafe = {each for each in text if unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - set(JOINERS)
    return text.translate({ord(each): each.encode("unicode_escape").decode() for each in unsafe})


class UserError(Exception):
    """Something that was typed or given is wrong: one sentence that names it, its value, and what is allowed.

    The scripts print the sentence alone; every other exception is a fault of the program and keeps its traceback.

    Args:
        sentence: may quote texts from files.
    """

    def __init__(self, sentence: str) -> None:
        shown = make_printable(sentence)
        super().__init__(shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}...")

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback."""
        return [f"error: {self}"]


class FileError(UserError):
    """A file that is not usable, and why."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} {why}")
        self.path, self.why = path, why


class PastHydra(BaseException):
    """Carries an error out of Hydra, which lets no Exception pass: it turns those of callbacks into warnings and
    prints a line of its own about those of jobs. `makemore.cli.main` takes the error out again.
    """

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


class UnknownKeyError(UserError):
    """A configuration key, dotted, that does not exist."""

    def __init__(self, key: str) -> None:
        super().__init__(f"{key} is not a key")
        self.key = key


class Terminated(KeyboardInterrupt):
    """Like Ctrl-C, but by SIGTERM, as Slurm and docker end a process."""
