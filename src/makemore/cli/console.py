"""Exit codes for interrupted commands and closed pipes."""

import os
import sys

INTERRUPTED = 130  # what shells give a command that Ctrl-C ended


def hush() -> None:
    """Discards further output after the pipe was closed, as in `sample.py | head`, also at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
