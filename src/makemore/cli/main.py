"""What train.py and sample.py share: a mistake gets one sentence and exit code 1, never a traceback."""

import contextlib
import gc
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from makemore.cli import hydra_fixes
from makemore.cli.arguments import RESUME, is_sweep, is_utf8, key_of, quote
from makemore.cli.console import INTERRUPTED, hush
from makemore.cli.mistakes import NEEDS as NEEDS  # noqa: PLC0414 (the launchers take it from here)
from makemore.cli.mistakes import explain
from makemore.cli.run_folder import ClaimRunFolder
from makemore.errors import Refusal, UserError
from makemore.sweeps import report as sweep_report
from makemore.sweeps import sweep


def main(entry: Callable[[], Any], conf: Path, config_name: str, sweeps: bool = False) -> None:
    """Runs a Hydra entry point; a mistake of the user gets one sentence on stderr and exit code 1.

    HYDRA_FULL_ERROR=1 in the environment shows every traceback.

    Args:
        entry: the function that `hydra.main` made.
        conf: the configuration folder.
        config_name: the primary configuration, such as `train`.
        sweeps: whether `-m` makes sense. A sweep ends with a report.
    """
    hydra_fixes.apply()
    # About the files in conf/hydra/launcher, whose launchers have schemas of their own.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Otherwise Hydra prints errors itself, over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows its escape.
            stream.reconfigure(errors="backslashreplace")
    for argument in sys.argv[1:]:
        if not is_utf8(argument):
            sys.exit(f"error: {argument!r} is not UTF-8; rename the file, or type the text in UTF-8")
    if not sweeps and is_sweep(sys.argv[1:]):
        sys.exit(f"error: {config_name}.py takes no sweep (-m); call it once for each setting")
    try:
        sys.argv[1:] = quote(resumed(sys.argv[1:], conf))
    except UserError as error:
        sys.exit(f"error: {error}")
    try:
        _call(entry, conf, config_name, full)
    except Refused:
        if ClaimRunFolder.begun():  # a search may name what cannot be composed after many trials
            conclude()
        raise
    except BaseException:
        conclude()
        raise
    if without := conclude():
        sys.exit(f"error: {without}")


class Refused(SystemExit):
    """The end of a command that is refused."""


def conclude() -> str:
    """Reports on this process's sweep, if it has one; returns what is to be said about runs without a result."""
    folder = ClaimRunFolder.sweep
    if folder is None or not sweep.run_folders(folder):
        return ""
    try:
        return sweep_report.without_result(folder, sweep_report.report(folder), ClaimRunFolder.before)
    except BrokenPipeError:
        hush()
    except KeyboardInterrupt:
        print(f"interrupted; the report again: python -m makemore.sweeps.report {folder}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    return ""


def _call(entry: Callable[[], Any], conf: Path, config_name: str, full: bool) -> None:
    """Calls the entry point; a mistake of the user becomes an exit with one sentence."""
    try:
        entry()
    except KeyboardInterrupt:
        if ClaimRunFolder.command is None:
            ClaimRunFolder.undo()  # unless a run has begun
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (Refusal, Exception) as raised:
        error = raised.error if isinstance(raised, Refusal) else raised
        if isinstance(error, BrokenPipeError):
            return hush()
        sentence = explain(error, conf, config_name)
        if sentence is not None:
            ClaimRunFolder.undo()
        if full or sentence is None:
            raise
        raise Refused(f"error: {sentence}") from None


def resumed(arguments: list[str], conf: Path) -> list[str]:
    """The command line with what `resume_sweep=FOLDER` stands for: the command of that sweep, in its folder.

    Whatever else is typed goes beside it, or in its place.

    Raises:
        UserError: the folder is not a sweep's, or `-m` is missing.
    """
    given = [argument.partition("=")[2] for argument in arguments if argument.startswith(f"{RESUME}=")]
    if not given:
        return arguments
    name = given[-1].strip("\"'")
    if not is_sweep(arguments):
        raise UserError(f"{RESUME}={name} goes on with a sweep, so it needs -m: python train.py -m {RESUME}={name}")
    folder = Path(name)
    ClaimRunFolder.resumed = folder
    flags = [argument for argument in arguments if argument.startswith("-") or "=" not in argument]
    typed = {key_of(argument): argument for argument in arguments if argument not in flags}
    del typed[RESUME]
    if sweep.DIR in typed:
        raise UserError(f"{typed[sweep.DIR]} and {RESUME}={name} name two folders; leave out the first")
    known, overrides = sweep.command(folder, conf)
    recorded = {key_of(argument): argument for argument in overrides}
    if "hydra/launcher" in typed:  # the other launcher's keys go with it
        recorded = {key: argument for key, argument in recorded.items() if not key.startswith("hydra.launcher.")}
    named = any(flag.startswith(("--config", "-cn", "-cd", "-cp")) for flag in flags)
    return [*flags, *([] if named else known), *(recorded | typed).values()]


@contextlib.contextmanager
def heavy_imports() -> Iterator[None]:
    """Pauses garbage collection while large libraries are imported, and exempts their objects from it afterwards.

    A short run takes 4.0 s of processor time instead of 6.4.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def job() -> Iterator[None]:
    """Surrounds the body of a single run; carries a mistake of the user past Hydra."""
    try:
        yield
    except (BrokenPipeError, UserError) as error:
        raise Refusal(error) from error
