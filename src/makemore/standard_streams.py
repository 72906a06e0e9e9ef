"""Standard streams that may be closed, full, or read by nobody any more."""

import io
import os
import sys
from typing import Any

from makemore.errors import UserError


class StandardStream(io.FileIO):
    """A standard stream that discards everything from the first error on."""

    needed = False  # whether its errors end the command

    def write(self, text: Any) -> int:
        try:
            return super().write(text)
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())  # first, so that no later write fails again
            if self.needed and isinstance(error, BrokenPipeError):
                raise
            if self.needed:
                raise UserError(f"the output cannot be written: {error.strerror}") from None
            return super().write(text)


def prepare(output_needed: bool) -> None:
    """Makes the standard streams usable, whatever they are; an error of stdout ends the command if that is needed.

    What the terminal cannot show is printed as its escape.

    Raises, when something is printed:
        BrokenPipeError: nobody reads it any more.
        UserError: it cannot be written.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # closed, as by `>&-`: the next file to be opened would take its place
            os.open(os.devnull, os.O_RDWR)
    for name, descriptor, needed in (("stdout", 1, output_needed), ("stderr", 2, False)):
        before = getattr(sys, name)
        if os.name == "posix" and before is getattr(sys, f"__{name}__"):  # not one that a test has put there
            raw = StandardStream(descriptor, "w", closefd=False)
            raw.needed = needed
            at_once = name == "stderr" or os.isatty(descriptor)
            encoding = getattr(before, "encoding", "utf-8")
            setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(raw), encoding, line_buffering=at_once))
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
