"""Fixes for Hydra 1.3.8 and OmegaConf 2.3.1, applied before they read anything; harmless where nothing needs fixing."""

import argparse
import copy
import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.defaults_list import DefaultsList, Overrides, create_defaults_list
from hydra._internal.hydra import Hydra
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.types import Override
from hydra.plugins.sweeper import Sweeper
from omegaconf import BooleanNode, DictConfig
from omegaconf.errors import ValidationError


def accept_lazy_help() -> None:
    """Lets argparse accept help that is not a text, as Hydra has for `--shell-completion`.

    Since Python 3.14 argparse checks help when an argument is added. https://github.com/facebookresearch/hydra/issues/3121
    """
    check = getattr(argparse.ArgumentParser, "_check_help", None)
    if check is None:
        return

    def check_text(parser: argparse.ArgumentParser, action: argparse.Action) -> None:
        if isinstance(action.help, str):
            check(parser, action)

    argparse.ArgumentParser._check_help = check_text  # type: ignore[attr-defined]


def share_config_store() -> None:
    """Keeps Hydra from copying all registered schemas whenever it lists a group, 106 times for one `--help`.

    Hydra copies each schema again when it reads it. `--help` takes 0.3 s instead of 1.0.
    """
    ConfigStore.__deepcopy__ = lambda store, _: store  # type: ignore[attr-defined]


def compose_choices_once() -> None:
    """Keeps Hydra from reading and merging the same files again for every run of a sweep, when only values differ.

    Composing a run's configuration takes 0.02 s instead of 0.09.
    """
    find, merge = create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list
    found: dict[Any, DefaultsList] = {}
    merged: dict[Any, DictConfig] = {}

    def list_folders(repo: Any) -> tuple[str, ...]:
        return tuple(source.path for source in repo.get_sources())

    @functools.wraps(find)
    def find_once(repo: Any, config_name: str | None, overrides_list: list[Override], **how: bool) -> DefaultsList:
        values = Overrides(repo, overrides_list).config_overrides
        choices = (str(each.input_line) for each in overrides_list if each not in values)
        key = (config_name, *choices, *how.items(), *list_folders(repo))
        if key not in found:
            found[key] = find(repo, config_name, overrides_list, **how)
        return replace(found[key], config_overrides=values)

    @functools.wraps(merge)
    def merge_once(loader: ConfigLoaderImpl, defaults: list[ResultDefault], repo: Any) -> DictConfig:
        key = (repr(defaults), *list_folders(repo))
        if key not in merged:
            merged[key] = merge(loader, defaults, repo)
        return copy.deepcopy(merged[key])

    config_loader_impl.create_defaults_list = find_once  # type: ignore[attr-defined, assignment]
    ConfigLoaderImpl._compose_config_from_defaults_list = merge_once  # type: ignore[method-assign, assignment]


def compose_runs_once() -> None:
    """Keeps Hydra from composing runs only to check them, where the launcher composes all before it starts any."""
    check = Sweeper.validate_batch_is_legal

    @functools.wraps(check)
    def check_for_launcher(sweeper: Any, batch: Sequence[Sequence[str]]) -> None:
        if not getattr(sweeper.launcher, "composes_first", False):
            check(sweeper, batch)

    Sweeper.validate_batch_is_legal = check_for_launcher  # type: ignore[method-assign, assignment]


def show_plain_keys() -> None:
    """Shows the key `n` in help as it is typed. OmegaConf quotes it, because YAML 1.1 takes n for false."""
    fill = Hydra.get_help

    def fill_plainly(*arguments: Any, **options: Any) -> str:
        return re.sub(r"^( *)'(\w+)':", r"\1\2:", fill(*arguments, **options), flags=re.MULTILINE)

    Hydra.get_help = fill_plainly  # type: ignore[method-assign]


def refuse_numbers_as_booleans() -> None:
    """Keeps OmegaConf from taking any number for true or false: `test=2` is a mistake."""
    convert = BooleanNode._validate_and_convert_impl

    def convert_words(node: BooleanNode, value: Any) -> bool:
        if isinstance(value, int) and not isinstance(value, bool):
            raise ValidationError("Value '$VALUE' is not a valid bool (type $VALUE_TYPE)")
        return convert(node, value)

    BooleanNode._validate_and_convert_impl = convert_words  # type: ignore[method-assign, assignment]
