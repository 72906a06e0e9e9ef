import pytest

from makemore.cli.main import read_arguments


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        (["seed=1", "-m", "steps=1,2"], ["-m", "seed=1", "steps=1,2"]),
        (["seed=1", "--config-dir", "a=b", "steps=1"], ["--config-dir", "a=b", "seed=1", "steps=1"]),
        (["~callbacks.loss", "--cfg", "job", "+x=-1"], ["--cfg", "job", "~callbacks.loss", "+x=-1"]),
    ],
)
def test_flags_may_stand_anywhere(typed: list[str], read: list[str]) -> None:
    assert read_arguments(typed, "train", sweeps=True) == read
