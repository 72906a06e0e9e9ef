"""The command line, before Hydra parses it."""

import os
import re

from makemore.sweeps.command import quote_text

# Keys whose values are paths or parts of names.
FREE_TEXT = ("against", "checkpoint", "data.path", "data.dev_path", "data.test_path", "prefix", "resume", "start_from")
# Keys whose values are lists of words.
WORDS = ("words", "neighbours")


def is_sweep(arguments: list[str]) -> bool:
    """Whether a command line asks for a sweep; `--multi` and the like are short for `--multirun`."""
    return any(
        argument in ("-m", "hydra.mode=MULTIRUN") or (len(argument) > 3 and "--multirun".startswith(argument))
        for argument in arguments
    )


def quote(arguments: list[str]) -> list[str]:
    """Quotes free texts and lists of words or paths, which may contain any character, as Hydra's grammar requires.

    The folders of a sweep's runs have `=` and `,` in their names, and other paths blanks and brackets. In a sweep a
    comma separates values, so there quoting is up to the user.
    """
    return arguments if is_sweep(arguments) else [_quote_value(argument) for argument in arguments]


def _quote_value(argument: str) -> str:
    key, _, value = argument.partition("=")
    is_null = value == "null" and key != "prefix"
    if key in FREE_TEXT and key != argument and not is_null and not re.fullmatch("'.*'|\".*\"", value):
        return f"{key}={quote_text(value)}"
    if key in WORDS and re.fullmatch(r"\[[^][{}\"']+\]", value):
        return f"{key}=[{','.join(quote_text(word.strip()) for word in value[1:-1].split(','))}]"
    paths = _split_paths(value)
    return f"{key}=[{','.join(map(quote_text, paths))}]" if paths else argument


def _split_paths(value: str) -> list[str]:
    """The paths in a list such as [RUN,RUN], some with commas in their names; empty unless every item exists."""
    if not value.startswith("["):
        return []
    paths, begun = [], ""
    for piece in value.removeprefix("[").removesuffix("]").split(","):
        begun = f"{begun},{piece}" if begun else piece
        if begun and os.path.exists(begun):  # noqa: PTH110 (Path's raises for odd names)
            paths.append(begun)
            begun = ""
    return [] if begun else paths
