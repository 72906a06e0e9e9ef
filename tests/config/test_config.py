import re
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as L
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from makemore.config import compose as configuration
from makemore.config import schema
from makemore.errors import UnknownKeyError, UserError
from makemore.models import registry
from makemore.training import instantiation
from tests.helpers import ROOT, check, composed, refused

GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "experiment", "debug")
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_makes_a_whole_typed_configuration(choice: str) -> None:
    needs = {"data=text": ["data.path=x.txt"], "model=mixture": ["model.members=[run]"]}
    config = check(composed(choice, *needs.get(choice, [])))
    assert isinstance(config, schema.TrainConfig)
    assert isinstance(config.model, registry.config_of(config.model.name))
    assert isinstance(instantiation.instantiate("schedule", config.schedule, steps=1)(0), float)
    assert callable(instantiation.instantiate("optimizer", config.optimizer))
    assert all(instantiation.build_all("callbacks", config.callbacks, Path(), L.Callback))


@pytest.fixture(scope="module")
def words_of_help() -> set[str]:
    asked = [sys.executable, str(ROOT / "train.py"), "--help"]
    return set(re.findall(r"\w+", subprocess.run(asked, capture_output=True, text=True, check=True).stdout))


@pytest.mark.parametrize("choice", CHOICES)
def test_help_names_every_choice(words_of_help: set[str], choice: str) -> None:
    assert set(choice.split("=")) <= words_of_help


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["model=bigram", "data.block_size=2"], ["data.block_size=2", "model=bigram"]),
        (["model=wavenet", "data.block_size=3"], ["data.block_size=3", "model=wavenet"]),
        (["model=ngram", "model.k=-1"], ["model.k=-1.0"]),
        (["model=ngram", "model.discount=1.5"], ["model.discount=1.5"]),
        (["model=ngram", "model.name=mlp"], ["model."]),
        (["model.name=nothing"], ["model.name=nothing", *registry.names()]),
        (["model=mixture", "model.members=[a,b]", "model.weights=[1]"], ["model.weights=[1.0]"]),
        (["model=mixture", "model.members=[a]", "model.weights=[-1]"], ["model.weights=[-1.0]"]),
        (["model=mixture", "model.members=[a]", "model.weights=[0]"], ["model.weights=[0.0]"]),
        (["model=mixture", "model.members=[a,b]", "model.weights=[1e308,1e308]"], ["model.weights=[1e+308,1e+308]"]),
        (["model=mixture", "model.members=[[a]]"], ["model.members=[[a]]"]),
    ],
)
def test_what_does_not_go_with_a_model_is_refused(overrides: list[str], named: list[str]) -> None:
    with refused(*named):
        check(composed(*overrides))


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("model.hidden=-1", ["model.hidden=-1", "0"]),
        ("model.emb_dim=-3", ["model.emb_dim=-3"]),
        ("model.dropout=1", ["model.dropout=1.0"]),
        ("data.block_size=0", ["data.block_size=0"]),
        ("data.batch_size=0", ["data.batch_size=0"]),
        ("data.splits=[0.8,0.1]", ["data.splits=[0.8,0.1]"]),
        ("data.splits=[0.8,0.1,0.2]", ["data.splits=[0.8,0.1,0.2]"]),
        ("data.splits=[1,0,0]", ["data.splits=[1,0,0]"]),
        ("data.splits=[800,0]", ["data.splits=[800,0]"]),
        ("data.splits=[inf,1]", ["data.splits=[inf,1]"]),
        ("data.splits=[nan,0.5,0.5]", ["data.splits=[nan,0.5,0.5]"]),
        ("data.path=", ["data.path="]),
        ("data.splits=[800.5,20]", ["data.splits=[800.5,20]"]),
        ("data.splits=[1]", ["data.splits=[1]", "three"]),
        ("data.path=names.txt", ["data.path=names.txt", "data=text"]),
        ("data=text", ["data=text", "data.path"]),
        ("model=mixture", ["model.members"]),
        ("steps=0", ["steps=0"]),
        ("steps_per_execution=0", ["steps_per_execution=0"]),
        ("steps=100000000000000000000", ["steps=100000000000000000000"]),
        ("seed=-1", ["seed=-1"]),
        ("seed=9223372036854775808", ["seed=9223372036854775808", "9,223,372,036,854,775,807"]),
        ("schedule.lr=nan", ["schedule.lr=nan"]),
        ("schedule.lr=inf", ["schedule.lr=inf"]),
        ("log_every=0", ["log_every=0"]),
        ("distillation=1.5", ["distillation=1.5"]),
        ("trainer.threads=0", ["trainer.threads=0"]),
        ("+callbacks.mine=3", ["callbacks.mine=3", "_target_"]),
        ("+callbacks.mine={n: 3}", ["callbacks.mine", "_target_"]),
    ],
)
def test_values_out_of_range_are_refused_by_key_and_value(override: str, named: list[str]) -> None:
    with refused(*named):
        check(composed(override))


@pytest.mark.parametrize(
    "override", ["model.hidden=big", "model.init=lazy", "optimizer.momentum=x", "schedule.lr=[1]", "schedule.lr=null"]
)
def test_values_of_the_wrong_type_are_refused_by_key(override: str) -> None:
    nodes = composed(override)
    with pytest.raises((UserError, OmegaConfBaseException)) as error:
        check(nodes)
    assert override.partition("=")[0] in str(error.value)


@pytest.mark.parametrize("key", ["typo", "data.typo", "optimizer.typo", "schedule.typo"])
def test_a_key_added_with_a_plus_is_refused(key: str) -> None:
    with pytest.raises(UnknownKeyError) as error:
        check(composed(f"+{key}=1"))
    assert error.value.key == key


def test_a_key_that_a_model_does_not_have_is_refused_with_those_that_it_has() -> None:
    with refused("model.typo", "mlp", "hidden"):
        check(composed("+model.typo=1"))


@pytest.mark.parametrize("choice", ["ngram", "mixture"])
def test_distillation_is_for_models_that_learn_step_by_step(choice: str) -> None:
    with refused("distillation=0.5", choice):
        check(composed(f"model={choice}", "distillation=0.5"))


@pytest.mark.parametrize("key", ["steps", "model.hidden", "optimizer.momentum", "schedule.lr"])
def test_a_deleted_key_is_missed(key: str) -> None:
    with refused(key):
        check(composed(f"~{key}"))


@pytest.mark.parametrize("betas", [[0.9], [0.9, 1.0], [-0.1, 0.9], [0.9, 0.9, 0.9]])
def test_betas_are_two_shares(betas: list[float]) -> None:
    with refused(f"optimizer.betas={betas}".replace(" ", "")):
        check(composed("optimizer=adamw", f"optimizer.betas={betas}"))


def test_a_configuration_without_schema_is_refused() -> None:
    with refused("--config-name"):
        check(OmegaConf.create({"steps": 3}))


@pytest.mark.parametrize("part", ["model", "optimizer", "schedule"])
def test_a_part_that_is_no_group_of_keys_is_refused(part: str) -> None:
    nodes = composed()
    nodes[part] = 3
    with refused(f"{part}=3"):
        check(nodes)


def test_a_configuration_stays_as_it_is_when_it_is_checked() -> None:
    nodes = composed("model=ngram", "optimizer=adamw")
    before = configuration.dump(nodes)
    check(nodes)
    assert configuration.dump(nodes) == before


def test_file_names_have_no_separators_and_fit_file_systems() -> None:
    assert configuration.file_name("data.path=../a/b") == "data.path=.._a_b"
    assert len(configuration.file_name("x" * 1000)) <= 255
    assert Path(configuration.file_name("../x")).name == configuration.file_name("../x")


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        (["schedule.lr=0.1", "model.emb_dim=10", "+model.hidden=200"], "emb_dim=10,hidden=200,lr=0.1"),
        (
            ["model=mlp", "callbacks=[loss,samples]", "~callbacks.loss", "trainer.threads=1", "test=true", "seed=1"],
            "seed=1",
        ),
        (
            ["model=gru", "start_from='outputs/2018-01-01/12-00-00-mlp,seed=3'"],
            "model=gru,start_from=12-00-00-mlp,seed=3",
        ),
        (
            ['data.path="/a b/$HOME\'s (new) ${names}.txt"', "data.splits=[0.8,0.1,0.1]"],
            "path=HOMEs_new_names.txt,splits=0.8,0.1,0.1",
        ),
        (["model.hidden=${model.nothing}"], "hidden=model.nothing"),
        ([f"model.key_{i}=1" for i in range(10, 30)], ",".join(f"key_{i}=1" for i in range(10, 18))),
        (["tags=[base,wide]", "figures=pdf", "debug=profiler", "debug=limit", "log_every=5"], "debug=limit"),
        ([], ""),
    ],
)
def test_a_run_is_named_after_the_overrides_that_change_what_it_learns(typed: list[str], expected: str) -> None:
    nodes = OmegaConf.create({"name": "mlp", "hydra": {"overrides": {"task": typed}}})
    label = configuration.label_run(_root_=nodes)
    assert label == ",".join(filter(None, ["mlp", expected]))
    assert len(label) <= configuration.LONGEST_LABEL


TEXTS = st.text(min_size=1).filter(lambda text: "$" not in text)  # OmegaConf parses what follows it


@given(st.lists(TEXTS), TEXTS)
@settings(deadline=None)
def test_a_runs_name_is_one_short_plain_part_of_a_path(typed: list[str], name: str) -> None:
    nodes = OmegaConf.create({"name": name, "hydra": {"overrides": {"task": typed}}})
    label = configuration.label_run(_root_=nodes)
    assert len(label.encode()) <= configuration.LONGEST_LABEL
    assert all(letter.isalnum() or letter in "_.,=+-" for letter in label)


def test_runs_from_before_a_key_have_its_default() -> None:
    assert check(composed("~model.recency")).model.recency == 1
    assert schema.TrainerConfig().precision is schema.Precision.float32
