"""What the three scripts share: a mistake gets one sentence and exit code 1, never a traceback."""

import errno
import logging
import os
import re
import signal
import sys
import warnings
from argparse import Namespace
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser

from makemore import machine, standard_streams
from makemore.cli import hydra_fixes, resume
from makemore.cli.arguments import is_sweep, quote
from makemore.cli.mistakes import explain
from makemore.cli.run_folder import ClaimRunFolder
from makemore.config.schema import DataConfig
from makemore.errors import PastHydra, Terminated, UserError, make_printable
from makemore.sweeps import command, report
from makemore.sweeps.folder import COMMAND, run_folders

# Keys of a run's data that a model brings with it, so that evaluate.py takes none of them.
SETTLED = {f"data.{each.name}" for each in fields(DataConfig)} - {"data.source", "data.path", "data.unique"}
# What shells give a command that Ctrl-C or SIGTERM ended.
INTERRUPTED, TERMINATED = 130, 143


def main(entry: Callable[[], Any], conf: Path, config_name: str, sweeps: bool = False) -> None:
    """Runs what `hydra.main` made; a mistake of the user gets one sentence on stderr and exit code 1.

    HYDRA_FULL_ERROR=1 in the environment shows every traceback. With `sweeps`, `-m` makes sense and ends with a report.
    """
    machine.let_threads_sleep()
    machine.reuse_freed_memory()
    hydra_fixes.accept_lazy_help()
    hydra_fixes.share_config_store()
    hydra_fixes.compose_choices_once()
    hydra_fixes.compose_runs_once()
    hydra_fixes.refuse_numbers_as_booleans()
    hydra_fixes.show_plain_keys()
    # About the files in conf/hydra/launcher, whose launchers have schemas of their own.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)
    # Hydra only warns of a search path that does not exist; here it is a mistake.
    warnings.filterwarnings("error", "provider=hydra.searchpath", UserWarning)
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Otherwise Hydra prints errors itself, over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # What train.py prints is in its files, too.
    standard_streams.prepare(output_needed=not sweeps)
    logging.raiseExceptions = False  # a full disk that stops train.log is no reason for tracebacks
    signal.signal(signal.SIGTERM, terminate)
    try:
        check_working_directory()
        sys.argv[1:] = read_arguments(sys.argv[1:], config_name, sweeps)
        entry()
        sys.stdout.flush()
    except KeyboardInterrupt as interruption:
        print("terminated" if isinstance(interruption, Terminated) else "interrupted", file=sys.stderr)
        ClaimRunFolder.withdraw_run()
        report_sweep()
        sys.exit(choose_code(interruption))
    except (PastHydra, Exception) as raised:
        error = raised.error if isinstance(raised, PastHydra) else raised
        if not isinstance(error, BrokenPipeError):  # as in `sample.py | head`
            sentence = None if full else explain_full_disk(error) or explain(error, conf, config_name)
            if sentence is not None:
                ClaimRunFolder.withdraw_run()
            withdrawn = sentence and ClaimRunFolder.sweep and ClaimRunFolder.sweep.withdraw()
            if not withdrawn:  # a search may come upon an invalid configuration after many trials
                report_sweep()
            if sentence is None:
                raise
            sys.exit(f"error: {make_printable(sentence)}")
    if message := report_sweep():
        sys.exit(f"error: {message}")


def read_arguments(arguments: list[str], config_name: str, sweeps: bool) -> list[str]:
    """The command line as Hydra takes it.

    Raises:
        UserError: it is not UTF-8, has an unknown flag, or asks for a sweep or a folder where there is none.
    """
    for argument in arguments:
        if re.search("[\ud800-\udfff]", argument):  # how Python reads other bytes
            raise UserError(f"{argument!r} is not UTF-8; rename the file, or type the text in UTF-8")
        if re.fullmatch(r"(data|model|optimizer|schedule|trainer)=\[.*,.*\]", argument):  # Hydra would merge them
            raise UserError(f"{argument} is of the wrong type: it must be a single choice")
    parsed = parse_flags(arguments, config_name)
    # Hydra refuses `seed=1 -m steps=10,20`.
    arguments = [*(each for each in arguments if each not in parsed.overrides), *parsed.overrides]
    if parsed.experimental_rerun is not None:  # it would run code from a pickle
        raise UserError(
            "--experimental-rerun is not supported; to repeat a run use --config-dir RUN --config-name config"
        )
    if sweeps:
        return quote(resume.expand(command.expand(arguments)))
    if is_sweep(arguments):
        raise UserError(f"{config_name}.py takes no sweep (-m); call it once for each setting")
    if parsed.config_name is not None:  # with another one Hydra writes files
        raise UserError(f"--config-name={parsed.config_name} is of no use: {config_name}.py has one configuration")
    for argument in arguments:
        if argument.lstrip("+").startswith(("hydra.run.dir=", "hydra.output_subdir=")):
            raise UserError(f"{argument} is of no use: {config_name}.py writes no files; leave it out")
        key = argument.lstrip("+~").partition("=")[0]
        if config_name == "evaluate" and key in SETTLED:
            raise UserError(f"{argument} is of no use: the model knows how to read a text; leave it out")
    return quote(arguments)


def parse_flags(arguments: list[str], config_name: str) -> Namespace:
    """A command line as Hydra's own parser reads it; its settings are `overrides`.

    Raises:
        UserError: a flag is unknown, or its value is missing or wrong.
    """

    def refuse(message: str) -> NoReturn:
        raise UserError(f"{message}; 'python {config_name}.py --hydra-help' lists all flags")

    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(arguments)


def terminate(*_: Any) -> NoReturn:
    """Ends the command as Ctrl-C does."""
    raise Terminated


def choose_code(interruption: KeyboardInterrupt) -> int:
    return TERMINATED if isinstance(interruption, Terminated) else INTERRUPTED


def explain_full_disk(error: Exception) -> str | None:
    """The sentence for a file system that takes no more, wherever it was written to."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS):
        return f"{error.filename or 'a file'} cannot be written: {error.strerror}"
    return None


def check_working_directory() -> None:
    try:
        Path.cwd()
    except OSError:
        raise UserError("the current folder has been deleted; change into another one") from None


def report_sweep() -> str:
    """Reports on this process's sweep, if it has one; returns a message if runs, or all of it, are without a result."""
    sweep = ClaimRunFolder.sweep
    if sweep is None:
        return ""
    there = (sweep.folder / COMMAND).exists()
    deleted = "" if there else f"the sweep's folder {sweep.folder} has been deleted, with the runs that it had"
    if not run_folders(sweep.folder):
        return deleted
    try:
        failures = report.describe_failures(report.report(sweep.folder, sweep.before))
        return deleted or failures
    except KeyboardInterrupt as interruption:
        print(f"interrupted; the report again: python -m makemore.sweeps.report {sweep.folder}", file=sys.stderr)
        sys.exit(choose_code(interruption))
