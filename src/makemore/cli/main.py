"""How the two scripts speak to a person: a mistake gets one sentence and an exit code, never a traceback."""

import atexit
import contextlib
import difflib
import gc
import io
import os
import re
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from makemore.cli import hydra_fixes
from makemore.cli.console import INTERRUPTED, hush
from makemore.cli.run_folder import ClaimRunFolder
from makemore.errors import Refusal, UnknownKeyError, UserError
from makemore.sweeps import report as sweep_report
from makemore.sweeps import sweep

NEEDS = "needs the extra: python -m pip install -c constraints.txt -e '.[{}]'"
# Keys whose values are paths or pieces of names.
FREE_TEXT = ("checkpoint", "data.path", "prefix")
# What goes on with a sweep; it is no key of a run.
RESUME = "resume_sweep"
# OmegaConf's names for the types of values, as a person would say them.
KINDS = {
    "Integer": "a whole number",
    "Float": "a number",
    "Boolean": "true or false",
    "bool": "true or false",
}


def main(entry: Callable[[], Any], conf: Path, config_name: str, sweeps: bool = False) -> None:
    """Runs a Hydra entry point; turns what a person did wrong into one sentence on stderr and exit code 1.

    Set HYDRA_FULL_ERROR=1 to see every traceback.

    Args:
        entry: the function that `hydra.main` made.
        conf: the configuration folder.
        config_name: the primary configuration, such as `train`.
        sweeps: whether `-m` makes sense; Hydra would write a file about the sweep. At the end a sweep is reported on.
    """
    hydra_fixes.apply()
    # Python would look through a million objects of the libraries once more before it ends: two seconds.
    atexit.register(gc.freeze)
    # Of the configurations under conf/hydra/launcher for launchers that have one of their own.
    warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore schema", UserWarning)
    full = os.environ.get("HYDRA_FULL_ERROR") == "1"
    # Hydra prints errors itself, over several lines, unless it is told to raise them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character shows its escape.
            stream.reconfigure(errors="backslashreplace")
    for argument in sys.argv[1:]:
        if not argument.isascii() and re.search("[\ud800-\udfff]", argument):
            sys.exit(f"error: {argument!r} is not UTF-8; rename the file, or type the text in UTF-8")
    if not sweeps and is_sweep(sys.argv[1:]):
        sys.exit(f"error: {config_name}.py takes no sweep (-m); call it once for each setting")
    try:
        sys.argv[1:] = quoted(resumed(sys.argv[1:], conf))
    except UserError as error:
        sys.exit(f"error: {error}")
    try:
        _answered(entry, conf, config_name, full)
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
    """The end of a command that asks for what cannot be."""


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


def _answered(entry: Callable[[], Any], conf: Path, config_name: str, full: bool) -> None:
    """Calls the entry point; what a person did wrong becomes an exit with one sentence."""
    from hydra.errors import HydraException

    try:
        entry()
    except KeyboardInterrupt:
        if ClaimRunFolder.command is None:
            ClaimRunFolder.undo()  # unless a run has begun
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        hush()
    except RuntimeError as wrong:
        if full or not (why := launching(str(wrong))):
            raise
        ClaimRunFolder.undo()
        raise Refused(f"error: {why}") from None
    except (ValueError, TypeError) as wrong:
        if not full and str(wrong).startswith("Only one of --run"):
            sys.exit("error: -m, --cfg and --info go one at a time; to see the configuration leave out -m")
        raised_in = Path(traceback.extract_tb(wrong.__traceback__)[-1].filename)
        if not full and "optuna" in raised_in.parts:
            ClaimRunFolder.undo()
            raise Refused(f"error: sweep=optuna: {str(wrong).splitlines()[0]}") from None
        # Hydra's reading of the groups raises these for a group that is given anything but a name.
        if full or raised_in.name != "defaults_list.py":
            raise
        sys.exit(f"error: a group takes the name of a choice; 'python {config_name}.py --help' lists those of each")
    except (Refusal, UserError, HydraException, OmegaConfBaseException) as raised:
        error = raised.error if isinstance(raised, Refusal) else raised
        if isinstance(error, BrokenPipeError):
            return hush()
        ClaimRunFolder.undo()
        if full:
            raise
        raise Refused(f"error: {explain(error, conf, config_name)}") from None


def launching(wrong: str) -> str:
    """A sentence for what stands in the way of a launcher of another project; nothing for any other error."""
    if "srun" in wrong:
        return "hydra/launcher=submitit_slurm needs a machine with Slurm, and here is no srun; use hydra/launcher=local"
    if re.search("Unknown plugin class.*submitit", wrong):
        return f"hydra/launcher=submitit_slurm {NEEDS.format('slurm')}"
    return ""


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


def key_of(argument: str) -> str:
    """What an argument sets."""
    return argument.partition("=")[0].lstrip("+~")


def is_sweep(arguments: list[str]) -> bool:
    """Whether a command line asks for a sweep; `--multi` and the like are short for `--multirun`."""
    return any(
        argument in ("-m", "hydra.mode=MULTIRUN") or (len(argument) > 3 and "--multirun".startswith(argument))
        for argument in arguments
    )


def quoted(arguments: list[str]) -> list[str]:
    """The command line with the values that may hold any character in quotes, as Hydra's grammar wants them.

    A run folder of a sweep has `=` and `,` in its name, and a file may have blanks and brackets. In a sweep the comma
    separates values, so there the person has to quote.
    """
    if is_sweep(arguments):
        return arguments
    result = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        null = value == "null" and key != "prefix"
        plain = equals and key in FREE_TEXT and not null and not re.fullmatch("'.*'|\".*\"", value)
        if key == "model.members" and (paths := listed(value)):
            result.append(f"{key}=[{','.join(map(in_quotes, paths))}]")
        else:
            result.append(f"{key}={in_quotes(value)}" if plain else argument)
    return result


def in_quotes(text: str) -> str:
    """A text as Hydra's grammar takes it, whatever it holds."""
    # Backslashes count only before a quote, and a dollar sign with a brace would begin an interpolation.
    escaped = re.sub(r'(\\*)("|$)', lambda match: match[1] * 2 + match[2].replace('"', '\\"'), text)
    return '"' + escaped.replace("${", "\\${") + '"'


def listed(value: str) -> list[str]:
    """The paths in a list such as [RUN,RUN], of which some have commas in their names; nothing if not all are there."""
    paths, begun = [], ""
    if not value.startswith("["):
        return []
    for piece in value.removeprefix("[").removesuffix("]").split(","):
        begun = f"{begun},{piece}" if begun else piece
        if begun and os.path.exists(begun):  # noqa: PTH110 (Path's raises for odd names)
            paths.append(begun)
            begun = ""
    return [] if begun else paths


@contextlib.contextmanager
def heavy_imports() -> Iterator[None]:
    """Round the import of large libraries: what they make stays, so looking for garbage among it is lost time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextlib.contextmanager
def job() -> Iterator[None]:
    """Round the body of a single run: carries a person's mistake past Hydra."""
    try:
        yield
    except (BrokenPipeError, UserError) as error:
        raise Refusal(error) from error


def explain(error: BaseException, conf: Path, config_name: str) -> str:  # noqa: PLR0911, PLR0912 (a kind of mistake each)
    """One sentence for an error in what was typed: what was wrong, its value, what is allowed."""
    from hydra.errors import MissingConfigException, OverrideParseException

    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = f"{error}\n{cause}"
    if isinstance(error, UnknownKeyError):
        return _unknown_key(error.key, conf, config_name)
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OverrideParseException):
        return (
            f"{error.override!r} cannot be understood; settings are written KEY=VALUE, and texts with "
            "signs or letters beyond ASCII in two pairs of quotes: \"KEY='VALUE'\""
        )
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        return f"{group}={choice} is not a choice{_nearest(choice, error.options)}; allowed: {', '.join(error.options)}"
    if isinstance(error, MissingConfigException) and str(error.missing_cfg_file).startswith("hydra/sweeper/"):
        return f"sweep=optuna {NEEDS.format('optuna')}"
    told = re.search(r"full_key: (\S+)", text)  # where a file of an experiment sets it, only the text knows it
    key = str(getattr(cause, "full_key", None) or (told and told[1]) or "")
    if re.search(r"Key '.*' (is )?not in|No match in the defaults list", text):
        named = re.search(r"Could not override '([^']+)'", text)
        return _unknown_key(named.group(1) if named else key, conf, config_name)
    if wrong := re.search(r"Value '(.*)' of type '.*' could not be converted to (\w+)", text, re.DOTALL):
        return f"{key}={wrong.group(1)} is of the wrong type: it must be {KINDS.get(wrong.group(2), wrong.group(2))}"
    if wrong := re.search(r"Value '(.*)' is not a valid (\w+)", text):
        return f"{key}={wrong.group(1)} is of the wrong type: it must be {KINDS.get(wrong.group(2), wrong.group(2))}"
    if wrong := re.search(r"Invalid value '(.*)', expected one of \[(.*)\]", text):
        value, allowed = wrong.groups()
        return f"{key}={value} is not a choice{_nearest(value, allowed.split(', '))}; allowed: {allowed}"
    if wrong := re.search(r"unexpected keyword argument '(\w+)'", text):
        return f"{key}.{wrong.group(1)} is not a key of this choice of {key.replace('.', '/')}"
    if "Invalid value assigned" in text and "ListConfig" in text:
        items = "runs, such as [RUN,RUN]" if key == "model.members" else "numbers, such as [0.8,0.1,0.1]"
        return f"{key} is of the wrong type: it must be a list of {items}"
    if "does not support deletion" in text:
        return "a key cannot be deleted; give it another value instead"
    if "is not Optional" in text:
        return f"{key} must have a value, not null"
    first = str(cause).splitlines()[0]
    return f"{key}: {first}" if key and key not in first else first


def _unknown_key(key: str, conf: Path, config_name: str) -> str:
    """A key that does not exist: the nearest that does, or the choice that would bring it."""
    present, elsewhere = known_keys(conf, config_name)
    present.append(RESUME)
    key = key.lstrip("+~")
    if key in present:
        group = key.partition(".")[0]
        if key == group:
            return f"{key} cannot be chosen here: a run's own configuration has no groups, only keys"
        return f"{key} is not a key of this configuration; it goes with another choice of {group}"
    if key in elsewhere:
        return f"{key} is not a key of this configuration; it comes with {' or '.join(elsewhere[key])}"
    return f"{key} is not a key{_nearest(key, present)}; 'python {config_name}.py --help' lists every key"


def _nearest(word: str, words: Any) -> str:
    close = difflib.get_close_matches(word, [str(candidate) for candidate in words], n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else ""


def known_keys(conf: Path, config_name: str) -> tuple[list[str], dict[str, list[str]]]:
    """Every key of the default configuration, and those that only another choice of a group brings.

    Returns:
        the keys, dotted, groups among them; and for each other key the choices (`optimizer=adamw`) that bring it.
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        present = _flat(OmegaConf.to_container(compose(config_name, return_hydra_config=True)))
        elsewhere: dict[str, list[str]] = {}
        for group in (folder for folder in conf.iterdir() if folder.name in present):
            for choice in sorted(path.stem for path in group.glob("*.yaml")):
                for key in _flat(OmegaConf.to_container(compose(config_name, [f"{group.name}={choice}"]))):
                    if key not in present:
                        elsewhere.setdefault(key, []).append(f"{group.name}={choice}")
    return present, elsewhere


def _flat(node: Any, prefix: str = "") -> list[str]:
    """The dotted keys of a nested dict, inner nodes among them."""
    keys: list[str] = []
    for name, value in node.items():
        keys.append(f"{prefix}{name}")
        if isinstance(value, dict):
            keys.extend(_flat(value, f"{prefix}{name}."))
    return keys
