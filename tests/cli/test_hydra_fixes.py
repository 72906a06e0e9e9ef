import argparse
import copy
from typing import Any

import pytest
from hydra._internal.utils import get_args_parser
from hydra.core.config_store import ConfigStore
from omegaconf import BooleanNode
from omegaconf.errors import ValidationError

from makemore.cli import hydra_fixes
from tests.helpers import composed


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
