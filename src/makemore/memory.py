"""Refuses allocations that are larger than the machine's memory."""

import os

from makemore.errors import UserError


def check_memory(needed: int, what: str, instead: str) -> None:
    """Makes sure that the machine's memory can hold something.

    Args:
        needed: bytes, rather too few than too many.
        what: what needs them, as it begins the sentence.
        instead: what to do, as it ends the sentence.

    Raises:
        UserError: it cannot.
    """
    if not hasattr(os, "sysconf"):  # as on Windows
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        numbers = f"{needed / 1e9:,.0f} GB of memory, and this machine has {there / 1e9:,.0f}"
        raise UserError(f"{what} needs {numbers}; {instead}")
