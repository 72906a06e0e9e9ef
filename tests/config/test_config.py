from pathlib import Path

import pytest
from omegaconf import OmegaConf

from makemore.config import check as config
from makemore.config import schema as schemas
from makemore.errors import UnknownKeyError, UserError
from tests.helpers import ROOT, composed

GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "experiment")
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_makes_a_whole_typed_configuration(choice: str) -> None:
    needs = {"data=text": ["data.path=x.txt"], "model=mixture": ["model.members=[run]"]}
    nodes = composed(choice, *needs.get(choice, []))
    settings = config.checked(nodes)
    assert isinstance(settings, schemas.TrainConfig)
    assert OmegaConf.is_config(nodes.optimizer)
    assert isinstance(config.build("schedule", nodes.schedule, steps=1)(0), float)
    assert callable(config.build("optimizer", nodes.optimizer))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model=bigram", "data.block_size=2"], ["data.block_size=2", "model=bigram", "1"]),
        (["model=ngram", "model.k=-1"], ["model.k=-1.0", "0"]),
        (["model=ngram", "model.discount=1.5"], ["model.discount=1.5", "1"]),
        (["model=ngram", "model.name=mlp"], ["model.name=mlp", "ngram"]),
        (["model=mixture", "model.members=[a,b]", "model.weights=[1]"], ["model.weights", "1", "2 members"]),
        (["model=mixture", "model.members=[a]", "model.weights=[-1]"], ["model.weights=[-1.0]", "0"]),
        (["model=mixture", "model.members=[a]", "model.weights=[0]"], ["model.weights=[0.0]", "0"]),
        (["model=mixture", "model.members=[a,b]", "model.weights=[1e308,1e308]"], ["model.weights", "finite"]),
        (["model=mixture", "model.members=[[a]]"], ["model.members", "[RUN,RUN]"]),
        (["experiment=context_table", "data.block_size=260"], ["data.block_size=260", "12"]),
    ],
)
def test_values_that_do_not_fit_the_model_are_refused(overrides: list[str], said: list[str]) -> None:
    with pytest.raises(UserError) as error:
        config.checked(composed(*overrides))
    assert all(part in str(error.value) for part in said)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model.hidden=0", ["model.hidden=0", "1"]),
        ("model.emb_dim=-3", ["model.emb_dim=-3", "1"]),
        ("model.dropout=1", ["model.dropout=1.0", "0", "1"]),
        ("data.block_size=0", ["data.block_size=0", "1"]),
        ("data.batch_size=0", ["data.batch_size=0", "1"]),
        ("data.splits=[0.8,0.1]", ["data.splits=[0.8,0.1]", "three"]),
        ("data.splits=[0.8,0.1,0.2]", ["data.splits=[0.8,0.1,0.2]", "sum"]),
        ("data.splits=[1,0,0]", ["data.splits=[1.0,0.0,0.0]", "above 0"]),
        ("data.path=names.txt", ["data.path=names.txt", "data=text"]),
        ("data=text", ["data.path", "data=text"]),
        ("model=mixture", ["model.members"]),
        ("steps=0", ["steps=0", "1"]),
        ("steps_per_execution=0", ["steps_per_execution=0", "1"]),
        ("steps=100000000000000000000", ["steps=100000000000000000000", "1,000,000,000,000"]),
        ("seed=-1", ["seed=-1", "0"]),
        ("seed=9223372036854775808", ["seed=9223372036854775808", "9,223,372,036,854,775,807"]),
        ("schedule.lr=nan", ["schedule.lr=nan", "0"]),
        ("schedule.lr=inf", ["schedule.lr=inf", "0"]),
        ("schedule.lr=1e39", ["schedule.lr=1e+39"]),
        ("callbacks.samples=-1", ["callbacks.samples=-1", "0"]),
        ("logger.log_every=0", ["logger.log_every=0", "1"]),
        ("trainer.threads=0", ["trainer.threads=0", "1"]),
        ("experiment=lr_range schedule.lr=2", ["schedule.lr=2.0", "schedule.end_lr"]),
    ],
)
def test_values_out_of_range_are_refused_with_what_is_allowed(override: str, said: list[str]) -> None:
    with pytest.raises(UserError) as error:
        config.checked(composed(*override.split()))
    assert all(part in str(error.value) for part in said)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["typo", "model.typo", "data.typo"])
def test_a_key_added_with_a_plus_is_refused(key: str) -> None:
    with pytest.raises(UnknownKeyError) as error:
        config.checked(composed(f"+{key}=1"))
    assert error.value.key == key


@pytest.mark.parametrize("betas", [[0.9], [0.9, 1.0], [-0.1, 0.9], [0.9, 0.9, 0.9]])
def test_betas_are_two_shares(betas: list[float]) -> None:
    with pytest.raises(UserError, match=r"optimizer\.betas=.*two"):
        config.checked(composed("optimizer=adamw", f"optimizer.betas={betas}"))


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "makemore.checkpoint.torch.load",
        "makemore.callbacks.Path.write_text",
        "makemore.training.schedule.math.pow",
        "torch.optim.optimizer.os.system",
        "torch.optim.SGD.__init__",
        "makemore.training.schedule.step\n",
    ],
)
@pytest.mark.parametrize("part", ["optimizer", "schedule"])
def test_a_configuration_cannot_name_other_code_to_call(part: str, target: str) -> None:
    with pytest.raises(UserError, match=rf"{part}\._target_="):
        config.build(part, OmegaConf.create({"_target_": target, "_partial_": True}))


def test_a_configuration_cannot_hide_code_to_call_in_an_argument() -> None:
    hidden = {"_target_": "torch.optim.SGD", "_partial_": True, "x": {"_target_": "os.getcwd"}}
    with pytest.raises(UserError, match="optimizer"):
        config.build("optimizer", OmegaConf.create(hidden))
    hidden = {"_target_": "torch.optim.SGD", "_partial_": True, "x": [{"_target_": "os.getcwd"}]}
    with pytest.raises(UserError, match="optimizer"):
        config.build("optimizer", OmegaConf.create(hidden))


def test_an_optimizer_of_ones_own_choice_can_be_configured() -> None:
    node = OmegaConf.create({"_target_": "torch.optim.RMSprop", "_partial_": True, "alpha": 0.9})
    made = config.build("optimizer", node, lr=0.1)
    assert made.keywords == {"alpha": 0.9, "lr": 0.1}


def test_a_configuration_without_schema_is_refused() -> None:
    with pytest.raises(UserError, match="--config-name config"):
        config.checked(OmegaConf.create({"steps": 3}))


def test_file_names_have_no_separators_and_fit_file_systems() -> None:
    assert config.file_name("data.path=../a/b") == "data.path=.._a_b"
    assert len(config.file_name("x" * 1000)) <= 255
    assert Path(config.file_name("../x")).name == config.file_name("../x")
