from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from makemore.errors import UserError
from makemore.sweeps import command
from tests.sweeps.made import begin, save_command


def name(folder: Path, *overrides: str, dirname: str) -> str:
    job = {"num": 3, "override_dirname": dirname}
    hydra = {"job": job, "overrides": {"task": list(overrides)}, "sweep": {"dir": str(folder)}}
    return command.run_name(_root_=OmegaConf.create({"hydra": hydra, "steps": 3}))


def test_a_run_keeps_its_folder_and_a_new_one_is_named_after_what_varies(tmp_path: Path) -> None:
    assert name(tmp_path, "model.hidden=7", dirname="model.hidden=7") == "hidden=7"
    assert name(tmp_path, dirname="") == "003"
    run = begin(tmp_path, "model.hidden=7", "seed=${steps}").rename(tmp_path / "hidden=7")
    # The seed has begun to vary; overrides may stand in any order.
    typed = ("seed=${steps}", "model.hidden=7")
    assert name(tmp_path, *typed, dirname="model.hidden=7,seed=${steps}") == run.name


def test_two_runs_never_share_a_name(tmp_path: Path) -> None:
    begin(tmp_path, "model.hidden=7").rename(tmp_path / "hidden=7")
    # The run before had a setting less.
    assert name(tmp_path, "seed=2", "model.hidden=7", dirname="model.hidden=7") == "hidden=7-2"
    texts = ["data.path=a/b", "data.path=a_b", "x=" + 300 * "y", "x=" + 301 * "y", "x=" + 300 * "ж"]
    names = [name(tmp_path, text, dirname=text) for text in texts]
    assert len(set(names)) == len(texts)
    assert names[1] == "path=a_b"
    assert all("/" not in each and len(each.encode()) <= 255 for each in names)


def test_the_digits_of_a_search_are_rounded_in_names_and_those_that_were_typed_are_not(tmp_path: Path) -> None:
    drawn = "model.hidden=50,optimizer.weight_decay=5.3219428573e-03,schedule.lr=0.017324012345678901"
    assert name(tmp_path, dirname=drawn) == "hidden=50,weight_decay=5.3219428573e-03,lr=0.017324"
    assert name(tmp_path, dirname="schedule.lr=1.2345678901234567e-05") == "lr=1.23457e-05"
    assert name(tmp_path, dirname="schedule.lr=0.10000001") == "lr=0.10000001"


def test_keys_with_a_single_value_do_not_name_runs(tmp_path: Path) -> None:
    typed = ["model.hidden=5,7", "steps=9", "optimizer=adamw", "seed=range(1,3)"]
    assert command.list_constant_keys(typed, tmp_path) == ["steps", "optimizer"]
    assert command.list_constant_keys(["steps=9"], tmp_path) == []
    assert command.list_constant_keys(["sweep=optuna", "steps=9"], tmp_path) == ["sweep", "steps"]


def test_a_key_that_the_runs_before_did_not_have_or_had_with_another_value_names_runs(tmp_path: Path) -> None:
    begin(tmp_path, "model.hidden=7", "seed=1", "steps=9")
    typed = ["model.hidden=5,7", "seed=2", "steps=9", "data.unique=true"]
    assert command.list_constant_keys(typed, tmp_path) == ["steps"]


def test_the_runs_that_a_sweep_asks_for_are_read_from_its_folder(tmp_path: Path) -> None:
    save_command(tmp_path, "model.hidden=5,7", "seed=range(1,3)", "steps=9")
    assert command.plan(tmp_path) == [
        [f"model.hidden={hidden}", f"seed={seed}", "steps=9"] for hidden in (5, 7) for seed in (1, 2)
    ]
    save_command(tmp_path, "seed=1,2,1", "eval_every=${steps}")
    assert [run[0] for run in command.plan(tmp_path)] == ["seed=1", "seed=2"]
    save_command(tmp_path, "sweep=optuna", sweeper="hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper")
    assert command.plan(tmp_path) == []
    assert command.plan(tmp_path / "elsewhere") == []


@pytest.mark.parametrize(
    ("typed", "changed"),
    [
        ([], {}),
        (["seed=1,2"], {"seed": "seed=1,2"}),
        (["+eval_every=3"], {"eval_every": "+eval_every=3"}),
        (["hydra/launcher=ray"], {"hydra/launcher": "hydra/launcher=ray", "hydra.launcher.n": None}),
    ],
)
def test_a_sweep_is_resumed_by_its_command_and_what_is_typed(
    tmp_path: Path, typed: list[str], changed: dict[str, Any]
) -> None:
    save_command(tmp_path, "seed=1,2,1", "eval_every=${steps}")
    recorded: dict[str, Any] = {
        "hydra.sweep.dir": f'hydra.sweep.dir="{tmp_path}"',
        "hydra.mode": "hydra.mode=MULTIRUN",
        "hydra/launcher": "hydra/launcher=basic",
        "hydra.launcher.n": "hydra.launcher.n=1",
        "seed": "seed=1,2,1",
        "eval_every": "eval_every=${steps}",
    }
    expanded = command.expand(["-m", f"resume_sweep={tmp_path}", *typed])
    assert expanded[:3] == ["--config-dir=/a b", "--config-name=config", "-m"]
    assert sorted(expanded[3:]) == sorted(filter(None, (recorded | changed).values()))


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_any_text_is_the_value_of_a_key(text: str) -> None:
    (override,) = command.parse([command.set_key("hydra.sweep.dir", text)])
    assert OmegaConf.create({"folder": override.value()}).folder == text


def test_other_commands_stay_as_they_are_and_other_folders_are_refused(tmp_path: Path) -> None:
    assert command.expand(["-m", "seed=1,2"]) == ["-m", "seed=1,2"]
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="resume_sweep"):
            command.expand(["-m", f"resume_sweep={folder}"])
