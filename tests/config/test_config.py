import re
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


@pytest.mark.parametrize("choice", CHOICES)
def test_help_names_every_choice(choice: str) -> None:
    group, _, name = choice.partition("=")
    listed = (ROOT / "conf/hydra/help/train.yaml").read_text()
    assert any(
        name in line.split()[0].removeprefix(f"{group}=").split("|")
        for line in listed.splitlines()
        if line.strip().startswith(f"{group}=")
    )


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["model=bigram", "data.block_size=2"], "data.block_size=2 is not for model=bigram"),
        (["model=ngram", "model.k=-1"], "model.k=-1.0 is out of range"),
        (
            ["model=ngram", "model.discount=1.5"],
            "model.discount=1.5 is out of range",
        ),
        (["model=ngram", "model.name=mlp"], "model.name=mlp is not what model=ngram is called"),
        (["model=mixture", "model.members=[a,b]", "model.weights=[1]"], "has 1 weights for 2 members"),
        (["model=mixture", "model.members=[a]", "model.weights=[-1]"], "model.weights=[-1.0] is out of range"),
        (["model=mixture", "model.members=[a]", "model.weights=[0]"], "model.weights=[0.0] is out of range"),
        (["model=mixture", "model.members=[a,b]", "model.weights=[1e308,1e308]"], "their sum finite"),
        (["model=mixture", "model.members=[[a]]"], "must name runs"),
        (["experiment=context_table", "data.block_size=260"], "data.block_size=260 is too long"),
    ],
)
def test_what_does_not_go_with_a_model_is_refused(overrides: list[str], complaint: str) -> None:
    with pytest.raises(UserError, match=re.escape(complaint)):
        config.checked(composed(*overrides))


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("model.hidden=0", "model.hidden=0 is out of range: it must be at least 1"),
        ("model.emb_dim=-3", "model.emb_dim=-3 is out of range"),
        ("model.dropout=1", "model.dropout=1.0 is out of range: it must be at least 0 and below 1"),
        ("data.block_size=0", "data.block_size=0 is out of range"),
        ("data.batch_size=0", "data.batch_size=0 is out of range"),
        ("data.splits=[0.8,0.1]", "has 2 shares"),
        ("data.splits=[0.8,0.1,0.2]", "must each be above 0 and sum to 1"),
        ("data.splits=[1,0,0]", "must each be above 0 and sum to 1"),
        ("data.path=names.txt", "is read only by data=text"),
        ("data=text", "data=text needs a file"),
        ("model=mixture", "model.members is empty"),
        ("steps=0", "steps=0 is out of range"),
        ("steps_per_execution=0", "steps_per_execution=0 is out of range"),
        ("steps=100000000000000000000", "steps=100000000000000000000 is out of range"),
        ("seed=-1", "seed=-1 is out of range"),
        ("seed=9223372036854775808", "must be at least 0 and at most 9,223,372,036,854,775,807"),
        ("schedule.lr=nan", "schedule.lr=nan is out of range: it must be finite and above 0"),
        ("schedule.lr=inf", "schedule.lr=inf is out of range: it must be finite and above 0"),
        ("callbacks.samples=-1", "callbacks.samples=-1 is out of range"),
        ("logger.log_every=0", "logger.log_every=0 is out of range"),
        ("trainer.threads=0", "trainer.threads=0 is out of range"),
    ],
)
def test_values_out_of_range_are_refused_with_what_is_allowed(override: str, complaint: str) -> None:
    with pytest.raises(UserError) as error:
        config.checked(composed(override))
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["typo", "model.typo", "data.typo"])
def test_a_key_added_with_a_plus_is_refused(key: str) -> None:
    with pytest.raises(UnknownKeyError) as error:
        config.checked(composed(f"+{key}=1"))
    assert error.value.key == key


@pytest.mark.parametrize("betas", [[0.9], [0.9, 1.0], [-0.1, 0.9], [0.9, 0.9, 0.9]])
def test_betas_are_two_shares(betas: list[float]) -> None:
    with pytest.raises(UserError, match="must be two numbers"):
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
    with pytest.raises(UserError, match="is not allowed"):
        config.build(part, OmegaConf.create({"_target_": target, "_partial_": True}))


def test_a_configuration_cannot_hide_code_to_call_in_an_argument() -> None:
    hidden = {"_target_": "torch.optim.SGD", "_partial_": True, "x": {"_target_": "os.getcwd"}}
    with pytest.raises(UserError, match="keys of its own"):
        config.build("optimizer", OmegaConf.create(hidden))
    hidden = {"_target_": "torch.optim.SGD", "_partial_": True, "x": [{"_target_": "os.getcwd"}]}
    with pytest.raises(UserError, match="keys of its own"):
        config.build("optimizer", OmegaConf.create(hidden))


def test_an_optimizer_of_ones_own_choice_can_be_configured() -> None:
    node = OmegaConf.create({"_target_": "torch.optim.RMSprop", "_partial_": True, "alpha": 0.9})
    made = config.build("optimizer", node, lr=0.1)
    assert made.keywords == {"alpha": 0.9, "lr": 0.1}


def test_a_configuration_without_schema_is_refused() -> None:
    with pytest.raises(UserError, match="names no schema"):
        config.checked(OmegaConf.create({"steps": 3}))


def test_file_names_have_no_separators_and_fit_file_systems() -> None:
    assert config.file_name("data.path=../a/b") == "data.path=.._a_b"
    assert len(config.file_name("x" * 1000)) <= 255
    assert Path(config.file_name("../x")).name == config.file_name("../x")
