import argparse
import copy
from typing import Any

import pytest
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf import BooleanNode, OmegaConf
from omegaconf.errors import ValidationError

from makemore.cli import hydra_fixes
from tests.helpers import composed, restore_composing


@pytest.fixture
def checks_help(monkeypatch: pytest.MonkeyPatch) -> None:
    """An argparse that checks help when an argument is added, as Python 3.14's does."""
    add_argument = argparse.ArgumentParser.add_argument

    def check_help(_: argparse.ArgumentParser, action: argparse.Action) -> None:
        if not isinstance(action.help, str) or action.help.endswith("%"):
            raise ValueError("badly formed help string")

    def add_checked(parser: Any, *names: Any, **options: Any) -> argparse.Action:
        action = add_argument(parser, *names, **options)
        parser._check_help(action)
        return action

    monkeypatch.setattr(argparse.ArgumentParser, "_check_help", check_help, raising=False)
    monkeypatch.setattr(argparse.ArgumentParser, "add_argument", add_checked)


@pytest.mark.usefixtures("checks_help")
def test_hydra_reads_its_arguments_where_argparse_checks_help() -> None:
    with pytest.raises(ValueError, match="badly formed"):
        get_args_parser()
    hydra_fixes.accept_lazy_help()
    assert get_args_parser().parse_args(["--multirun", "seed=1,2"]).overrides == ["seed=1,2"]


@pytest.mark.usefixtures("checks_help")
def test_help_that_is_a_text_is_still_checked() -> None:
    hydra_fixes.accept_lazy_help()
    with pytest.raises(ValueError, match="badly formed"):
        argparse.ArgumentParser().add_argument("--share", help="between 0 and 100 %")


def test_configurations_stay_independent_of_the_shared_store() -> None:
    hydra_fixes.share_config_store()
    assert copy.deepcopy(ConfigStore.instance()) is ConfigStore.instance()
    first = composed()
    first.model.hidden = 7
    assert composed().model.hidden == 200


COMMANDS = [
    ["model.hidden=7", "steps=10"],
    ["steps=20", "model.hidden=9"],
    ["model=bigram", "seed=1"],
    ["experiment=speedrun", "model.hidden=7"],
    ["experiment=speedrun", "model.hidden=8", "schedule=step"],
    ["~experiment", "model.hidden=7"],
    ["model.hidden=big"],
    ["model=nothing"],
    ["nothing=1"],
    ["model=[mlp]", "steps=3"],
]


def test_choices_composed_once_give_the_same_configurations_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    restore_composing(monkeypatch)

    def describe(overrides: list[str]) -> str:
        try:
            return OmegaConf.to_yaml(composed(*overrides))
        except HydraException as error:
            return f"{error}\n{error.__cause__}"

    before = [describe(each) for each in COMMANDS]
    hydra_fixes.compose_choices_once()
    for _ in range(2):
        assert [describe(each) for each in COMMANDS] == before


def test_the_files_of_the_same_choices_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    restore_composing(monkeypatch)
    read, load = list[str](), ConfigRepository.load_config

    def load_and_record(repo: ConfigRepository, config_path: str) -> Any:
        read.append(config_path)
        return load(repo, config_path)

    monkeypatch.setattr(ConfigRepository, "load_config", load_and_record)
    hydra_fixes.compose_choices_once()
    composed("steps=10")
    read.clear()
    composed("steps=20", "seed=1")
    assert read == ["train"]


@pytest.mark.parametrize("composes_first", [True, False])
def test_runs_are_checked_only_for_launchers_that_do_not_compose_all_of_them_first(
    monkeypatch: pytest.MonkeyPatch, composes_first: bool
) -> None:
    restore_composing(monkeypatch)
    checked: list[Any] = []
    monkeypatch.setattr(Sweeper, "validate_batch_is_legal", lambda _, batch: checked.append(batch))
    hydra_fixes.compose_runs_once()
    launcher = argparse.Namespace(**{"composes_first": True} if composes_first else {})
    sweeper: Any = argparse.Namespace(launcher=launcher)
    Sweeper.validate_batch_is_legal(sweeper, [["seed=1"]])
    assert checked == ([] if composes_first else [[["seed=1"]]])


def test_no_number_is_true_or_false(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BooleanNode, "_validate_and_convert_impl", BooleanNode._validate_and_convert_impl)
    assert BooleanNode(2)._value() is True
    hydra_fixes.refuse_numbers_as_booleans()
    for number in (0, 1, 2, "1"):
        with pytest.raises(ValidationError):
            BooleanNode(number)
    for word in (True, "yes", "on", "True", "y"):
        assert BooleanNode(word)._value() is True
    for word in (False, "no", "OFF", "n"):
        assert BooleanNode(word)._value() is False
