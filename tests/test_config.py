from pathlib import Path

import pytest
from omegaconf import OmegaConf

from makemore import config
from makemore.errors import UnknownKeyError, UserError
from tests.conftest import ROOT, composed

GROUPS = ("data", "model", "optimizer", "schedule", "trainer", "callbacks", "logger", "experiment")
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_makes_a_whole_typed_configuration(choice: str) -> None:
    extra = ["data.path=x.txt"] if choice == "data=text" else []
    nodes = composed(choice, *extra)
    settings = config.checked(nodes)
    assert isinstance(settings, config.TrainConfig)
    assert OmegaConf.is_config(nodes.optimizer)
    assert callable(config.build("schedule", nodes.schedule, steps=1))


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
        ("steps=0", "steps=0 is out of range"),
        ("steps_per_execution=0", "steps_per_execution=0 is out of range"),
        ("seed=-1", "seed=-1 is out of range"),
        ("schedule.lr=nan", "schedule.lr=nan is out of range: it must be above 0"),
        ("schedule.lr=inf", "schedule.lr=inf is out of range"),
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


@pytest.mark.parametrize("target", ["os.system", "builtins.eval", "subprocess.run"])
def test_a_configuration_cannot_name_other_code_to_call(target: str) -> None:
    with pytest.raises(UserError, match="is not allowed"):
        config.build("optimizer", OmegaConf.create({"_target_": target, "_partial_": True}))
    with pytest.raises(UserError, match="is not allowed"):
        config.build(
            "optimizer", OmegaConf.create({"_target_": "torch.optim.SGD", "_partial_": True, "x": {"_target_": target}})
        )


def test_file_names_have_no_separators_and_fit_file_systems() -> None:
    assert config.file_name("data.path=../a/b") == "data.path=.._a_b"
    assert len(config.file_name("x" * 1000)) <= 255
    assert Path(config.file_name("../x")).name == config.file_name("../x")
