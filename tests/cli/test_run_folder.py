from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from makemore.cli import run_folder
from makemore.cli.run_folder import ClaimRunFolder, claim
from makemore.errors import UserError
from tests.helpers import refused


def test_runs_that_start_together_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        claimed = list(pool.map(lambda _: claim(tmp_path / "2018-01-01" / "12-00-00-mlp", None), range(50)))
    assert len(set(claimed)) == 50
    assert {path.name for path in claimed} == {"12-00-00-mlp", *(f"12-00-00-mlp-{i}" for i in range(2, 51))}


def test_a_folder_named_by_hand_is_used_if_it_is_empty_and_refused_if_not(tmp_path: Path) -> None:
    assert claim(tmp_path / "mine", "hydra.run.dir=") == tmp_path / "mine"
    assert claim(tmp_path / "mine", "hydra.run.dir=") == tmp_path / "mine"
    (tmp_path / "mine" / "best.safetensors").touch()
    with pytest.raises(UserError, match=r"hydra\.run\.dir=.*mine"):
        claim(tmp_path / "mine", "hydra.run.dir=")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/run"):
        claim(tmp_path / "file" / "run", None)
    (tmp_path / "outputs").symlink_to(tmp_path / "unmounted")
    with pytest.raises(UserError, match="12-00-00-mlp"):
        claim(tmp_path / "outputs" / "2018-01-01" / "12-00-00-mlp", None)


def test_folders_of_a_refused_run_are_removed_unless_they_hold_something_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs, day, run = tmp_path / "outputs", tmp_path / "outputs" / "2018-01-01", tmp_path / "outputs/2018-01-01/run"
    (run / ".hydra").mkdir(parents=True)
    (outputs / "mine.txt").touch()
    monkeypatch.setattr(ClaimRunFolder, "made", [run, day, outputs])
    (run / "samples.txt").touch()
    ClaimRunFolder.withdraw_run()
    assert run.exists()
    (run / "samples.txt").unlink()
    ClaimRunFolder.withdraw_run()
    assert [path.name for path in tmp_path.rglob("*")] == ["outputs", "mine.txt"]


def test_a_folder_that_is_gone_need_not_be_withdrawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClaimRunFolder, "made", [tmp_path / "gone", tmp_path])
    ClaimRunFolder.withdraw_run()
    assert tmp_path.is_dir()


def test_a_folder_that_another_command_uses_is_not_withdrawn(tmp_path: Path) -> None:
    lock = run_folder.lock_folder(tmp_path)
    run_folder.ClaimRunFolder.made = [tmp_path]
    with refused(tmp_path):
        run_folder.lock_folder(tmp_path)
    run_folder.ClaimRunFolder.withdraw_run()
    assert tmp_path.exists()
    lock.close()
