"""What train.py and sample.py share: a mistake gets one sentence and exit code 1, never a traceback."""

import atexit
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
from makemore.cli.arguments import is_sweep, is_utf8, quote
from makemore.cli.console import INTERRUPTED, hush
from makemore.cli.mistakes import NEEDS as NEEDS  # noqa: PLC0414 (the launchers take it from here)
from makemore.cli.mistakes import explain
from makemore.cli.run_folder import ClaimRunFolder, withdraw
from makemore.errors import Refusal, UserError
from makemore.sweeps import command, report
from makemore.sweeps.folder import run_folders


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
        sys.argv[1:] = quote(command.expand(sys.argv[1:]) if sweeps else sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    try:
        _call(entry, conf, config_name, full)
    except Refused:
        if (sweep := ClaimRunFolder.sweep) is not None:
            if sweep.has_begun():  # a search may ask for what cannot be composed after many trials
                conclude()
            else:
                sweep.withdraw()
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
    sweep = ClaimRunFolder.sweep
    if sweep is None or not run_folders(sweep.folder):
        return ""
    try:
        return report.describe_failures(report.report(sweep.folder, sweep.before))
    except BrokenPipeError:
        hush()
    except KeyboardInterrupt:
        print(f"interrupted; the report again: python -m makemore.sweeps.report {sweep.folder}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    return ""


def _call(entry: Callable[[], Any], conf: Path, config_name: str, full: bool) -> None:
    """Calls the entry point; a mistake of the user becomes an exit with one sentence."""
    try:
        entry()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except (Refusal, Exception) as raised:
        error = raised.error if isinstance(raised, Refusal) else raised
        if isinstance(error, BrokenPipeError):
            return hush()
        sentence = explain(error, conf, config_name)
        if full or sentence is None:
            raise
        raise Refused(f"error: {sentence}") from None


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
        # nanobind, which Triton uses from 3.9 on, reports what has not been collected at exit.
        triton = sys.modules.get("triton._C.libtriton")
        if triton and any(type(value).__module__ == "nanobind" for value in vars(triton).values()):
            atexit.register(gc.unfreeze)


@contextlib.contextmanager
def job(run_folder: Path | None = None) -> Iterator[None]:
    """Surrounds the body of a single run; carries a mistake of the user past Hydra, and leaves no empty run."""
    try:
        yield
    except (BrokenPipeError, UserError) as error:
        if run_folder is not None and isinstance(error, UserError):
            withdraw(run_folder)
        raise Refusal(error) from error
