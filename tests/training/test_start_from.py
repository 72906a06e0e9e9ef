from pathlib import Path

import pytest
import torch

from tests.helpers import QUIET, Train, refused


def test_a_run_starts_from_the_weights_of_another(train: Train, tmp_path: Path) -> None:
    first = train("steps=50", "model.hidden=20", *QUIET)
    (tmp_path / "other.txt").write_text("\n".join(["abcdefghijklmnopqrstuvwxyz", *["emma", "ava", "mia"] * 10]))
    other = ("data=text", f"data.path={tmp_path}/other.txt", "model.hidden=20", *QUIET)
    second = train(f"start_from={first.folder}", *other, "steps=1", "schedule.lr=1e-30")
    for name, tensor in first.parameters.items():
        assert torch.equal(second.parameters[name], tensor)
    assert second.metrics["steps"] == 1


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (("model.hidden=21",), "W1"),
        (("model.emb_dim=3",), "C"),
        (("data.block_size=4",), "data.block_size"),
        (("model.recency=0.5",), "model.recency"),
        (("model=wavenet", "data.block_size=4"), "wavenet"),
        (("model=ngram",), "ngram"),
    ],
)
def test_weights_of_another_model_are_refused(train: Train, settings: tuple[str, ...], named: str) -> None:
    first = train("steps=1", "model.hidden=20", *QUIET)
    own = () if settings[0].startswith("model=") else ("model.hidden=20",)
    with refused(f"start_from={first.folder}", named):
        train(f"start_from={first.folder}", *own, *settings, "steps=1", *QUIET)


def test_weights_of_a_transformer_with_other_heads_are_refused(train: Train) -> None:
    small = ("model=transformer", "model.width=8", "model.layers=1", "steps=1", *QUIET)
    first = train(*small, "model.heads=2")
    with refused(f"start_from={first.folder}", "model.heads"):
        train(*small, "model.heads=4", f"start_from={first.folder}")


@pytest.mark.parametrize("layers", [(1, 2), (2, 1)])
def test_weights_of_more_layers_or_fewer_are_refused(train: Train, layers: tuple[int, int]) -> None:
    small = ("model=rnn", "model.hidden=4", "steps=1", *QUIET)
    first = train(*small, f"model.layers={layers[0]}")
    with refused(f"start_from={first.folder}"):
        train(*small, f"model.layers={layers[1]}", f"start_from={first.folder}")


def test_weights_for_other_characters_are_refused(train: Train, few_names: Path) -> None:
    first = train("steps=1", *QUIET)
    with refused(f"start_from={first.folder}", "tokens=a e i l m v"):
        train(f"start_from={first.folder}", "steps=1", "data=text", f"data.path={few_names}", *QUIET)


def test_a_missing_model_is_refused(train: Train, tmp_path: Path) -> None:
    with refused(f"start_from={tmp_path}/nowhere"):
        train(f"start_from={tmp_path}/nowhere", "steps=1", *QUIET)
