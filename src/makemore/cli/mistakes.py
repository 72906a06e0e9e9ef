"""One sentence for a mistake on the command line: what is wrong, its value, what is allowed.

The patterns match what Hydra 1.3.8, OmegaConf 2.3.1, hydra-submitit-launcher 1.2.0 and hydra-optuna-sweeper 1.3.0 say;
the first line of any other text of theirs is passed on as it is.
"""

import contextlib
import difflib
import re
import traceback
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from makemore.errors import NEEDS, UnknownKeyError, UserError
from makemore.sweeps.command import RESUME

# Keys that other projects have, and what they are called here.
SYNONYMS = {"ckpt_path": ("resume", "checkpoint"), "checkpoint": ("resume",), "epochs": ("steps",)}
# Where Hydra checks its own flags.
HYDRA = Path(hydra.__file__).parent
# OmegaConf's names for types, in plain English.
TYPES = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false", "bool": "true or false"}
# In conf/, for this machine alone.
LOCAL = Path("local", "default.yaml")
# What OmegaConf says about a value, and what we say.
VALUES = (
    (
        r"Value '(?P<value>.*)' (of type '.*' could not be converted to|is not a valid) (?P<type>\w+)",
        "{key}={value} is of the wrong type: it must be {type}",
    ),
    (r"Invalid value '(?P<value>.*)', expected one of \[(?P<allowed>.*)\]", "{key}={value} is not a choice{nearest}"),
    (r"unexpected keyword argument '(?P<name>\w+)'", "{key}.{name} is not a key of this choice of {group}"),
    (r"Cannot convert '\w+' to string: '(?P<value>.*)'", "{key}={value} is of the wrong type: it must be a text"),
    (
        r"Invalid value assigned.*ListConfig|Cannot merge DictConfig with ListConfig",
        "{key} is of the wrong type: it must be a list, such as [A,B]",
    ),
    (r"does not support deletion", "a key cannot be deleted; give it another value instead"),
    (r"An item is already at '(?P<there>[^']*)'", "{there} is a key already; set it without the plus: {there}=VALUE"),
    (
        r"Ambiguous value for argument '(?P<argument>[^\n]*)'\n",
        "{argument} has several values; a list is KEY=[A,B], a text with a comma is \"KEY='A,B'\", a sweep takes -m",
    ),
    (r"is not Optional|Incompatible value 'None'|Invalid type assigned: NoneType", "{key} must have a value, not null"),
)


def explain(error: Exception, conf: Path, config_name: str) -> str | None:  # noqa: PLR0911 (a kind of mistake each)
    """The sentence for an error, or None for a fault of the program, which keeps its traceback."""
    match error:
        case UnknownKeyError():
            return explain_key(error.key, conf, config_name)
        case UserError() | UserWarning():
            return str(error)
        case OverrideParseException():
            return (
                f"{error.override!r} cannot be understood; settings are written KEY=VALUE, and texts with "
                "signs or letters beyond ASCII in two pairs of quotes: \"KEY='VALUE'\""
            )
        case MissingConfigException() if choices := error.options or list_choices(conf, str(error.missing_cfg_file)):
            group, _, choice = str(error.missing_cfg_file).rpartition("/")
            return f"{group}={choice} is not a choice{suggest(choice, choices)}"
        case MissingConfigException() if str(error.missing_cfg_file).startswith("hydra/sweeper/"):
            return f"sweep=optuna {NEEDS.format('optuna')}"
        case yaml.MarkedYAMLError(problem=problem, problem_mark=yaml.Mark() as mark):
            return f"{mark.name}, line {mark.line + 1}: {problem}"
        case HydraException() | OmegaConfBaseException():
            return explain_value(error, conf, config_name)
    return explain_builtin(error, config_name)


def explain_builtin(error: Exception, config_name: str) -> str | None:  # noqa: PLR0911 (a kind of mistake each)
    """The sentence for a mistake that Hydra, its plugins or OmegaConf answer with one of Python's own exceptions."""
    text = str(error)
    raised_in = Path(traceback.extract_tb(error.__traceback__)[-1].filename)
    match error:
        case RuntimeError() if "srun" in text:
            needs = "needs a machine with Slurm, and here is no srun; use hydra/launcher=local"
            return f"hydra/launcher=submitit_slurm {needs}"
        case RuntimeError() if re.search("Unknown plugin class.*submitit", text):
            return f"hydra/launcher=submitit_slurm {NEEDS.format('slurm')}"
        case ValueError() if text.startswith("Only one of --run"):
            return "-m, --cfg and --info go one at a time; to see the configuration leave out -m"
        case ValueError() | TypeError() if "optuna" in raised_in.parts:
            return f"sweep=optuna: {text.splitlines()[0]}"
        case ValueError() | TypeError() if raised_in.parent.name == "logging":
            return f"hydra.job_logging or hydra.verbose: {text}"
        case AssertionError() if "Unexpected type for root: NoneType" in text:
            return "a key was set in a part that has none; choose the part first, such as data=text data.path=FILE"
        case ValueError() | TypeError() if raised_in.name == "defaults_list.py":  # a group's value is no name
            return f"a group takes the name of a choice; 'python {config_name}.py --help' lists those of each"
        case ValueError() if raised_in.is_relative_to(HYDRA) and text:  # a flag's value, or two that exclude another
            return text.splitlines()[0]
    return None


def list_choices(conf: Path, missing: str) -> list[str]:
    """The choices beside a missing one; Hydra lists them only for a group that takes a single choice."""
    group = missing.rpartition("/")[0]
    return sorted(path.stem for path in (conf / group).glob("*.yaml")) if group else []


def explain_value(error: Exception, conf: Path, config_name: str) -> str:
    """The sentence for a key that the composed configuration does not have, or a value that its schema refuses."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    text = str(error) if cause is error else f"{error}\n{cause}"
    # For a value that a file of an experiment sets, only the text has the key.
    told = re.search(r"full_key: (\S+)", text)
    key = str(getattr(cause, "full_key", None) or (told and told[1]) or "")
    if re.search(r"Key '.*' (is )?not in|Could not override .* No match", text):
        named = re.search(r"Could not override '([^']+)'", text)
        return explain_key(named[1] if named else key, conf, config_name)
    if deleted := re.search(r"Could not delete(?: from config\.)? '([^'=]+).*(does not exist|No match)", text):
        if deleted[1] in list_keys(conf, config_name):
            return f"~{deleted[1]}: a key cannot be deleted; give it another value instead"
        return explain_key(deleted[1], conf, config_name)
    for pattern, sentence in VALUES:
        if found := re.search(pattern, text, re.DOTALL):
            said = found.groupdict()
            said["type"] = TYPES.get(said.get("type", ""), said.get("type"))
            said["nearest"] = suggest(said.get("value", ""), said.get("allowed", "").split(", "))
            return sentence.format(key=key, group=key.replace(".", "/"), **said)
    first = str(cause).splitlines()[0]
    return f"{key}: {first}" if key and key not in first else first


def explain_key(key: str, conf: Path, config_name: str) -> str:
    """The sentence for a key that does not exist: the nearest that does, or the choices that bring it."""
    key = key.lstrip("+~")
    if key == LOCAL.parts[0] and any(each.startswith(f"{key}.") for each in read_keys(conf / LOCAL)):
        return f"{conf / LOCAL} must begin with the line '# @package _global_'"
    brought_by = list_keys(conf, config_name)
    if choices := brought_by.get(key):
        return f"{key} is not a key of this configuration; it comes with {' or '.join(choices)}"
    if key in brought_by:
        group = key.partition(".")[0]
        if key == group:
            return f"{key} cannot be chosen here: a run's own configuration has no groups, only keys"
        return f"{key} is not a key of this configuration; it goes with another choice of {group}"
    synonym = next((each for each in SYNONYMS.get(key, ()) if each in brought_by), None)
    nearest = synonym or find_nearest(key, [*brought_by, RESUME])
    where = f", but {conf / LOCAL} sets it" if key in read_keys(conf / LOCAL) else ""
    return f"{key} is not a key{where}{_ask(nearest)}; 'python {config_name}.py --help' lists every key"


def suggest(word: str, choices: Sequence[str]) -> str:
    """The end of a sentence about a choice that does not exist: the nearest that does, and all of them."""
    return f"{_ask(find_nearest(word, choices))}; allowed: {', '.join(choices)}"


def _ask(nearest: str | None) -> str:
    return f" (did you mean {nearest}?)" if nearest else ""


def find_nearest(key: str, keys: Iterable[str]) -> str | None:
    """The key whose last part is most like that of a mistyped one (`lr` finds `schedule.lr`); None if none is close."""

    def likeness(candidate: str) -> tuple[float, float]:
        parts = key.rpartition(".")[2], candidate.rpartition(".")[2]
        return difflib.SequenceMatcher(None, *parts).ratio(), difflib.SequenceMatcher(None, key, candidate).ratio()

    of_its_kind = [candidate for candidate in keys if candidate.startswith("hydra") == key.startswith("hydra")]
    nearest = max(of_its_kind, key=likeness, default="")
    return nearest if likeness(nearest)[0] > 0.7 else None


def list_keys(conf: Path, config_name: str) -> dict[str, list[str]]:
    """Every dotted key, inner nodes included, with the choices (`optimizer=adamw`) that bring it.

    A key of the default configuration has none.
    """
    GlobalHydra.instance().clear()
    brought_by: dict[str, list[str]] = {}
    # Where one of its files has the mistake, it cannot be composed.
    with initialize_config_dir(str(conf), version_base="1.3"), contextlib.suppress(HydraException):
        without = ["~local"] if (conf / LOCAL).exists() and config_name == "train" else []
        composed = OmegaConf.to_container(compose(config_name, without, return_hydra_config=True))
        brought_by = {key: [] for key in _flatten(composed)}
    present = set(brought_by)
    for path in sorted(conf.glob("*/*.yaml")):
        group = path.parent.name
        for key in read_keys(path):
            if group in present and key not in present:
                brought_by.setdefault(key, []).append(f"{group}={path.stem}")
    return brought_by


def read_keys(path: Path) -> list[str]:
    """The dotted keys that a choice's file sets, inner nodes included; none without the file."""
    if not path.exists():
        return []
    text = path.read_text(encoding="utf-8")
    choice: Any = OmegaConf.to_container(OmegaConf.create(text))
    choice.pop("defaults", None)
    return list(_flatten(choice, "" if "@package _global_" in text else f"{path.parent.name}."))


def _flatten(node: Any, prefix: str = "") -> Iterator[str]:
    """The dotted keys of nested dictionaries, inner nodes included."""
    for name, value in node.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{name}.")
