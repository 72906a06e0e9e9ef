"""How a command ends that a person or a pipe has ended."""

import os
import sys

INTERRUPTED = 130  # what shells give a command that Ctrl-C ended


def hush() -> None:
    """The reader of our output has gone, as in `sample.py | head`: nothing is left to say, at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
