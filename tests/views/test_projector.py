import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from google.protobuf import text_format  # type: ignore[import-untyped]
from tensorboard.plugins.projector.projector_plugin import ProjectorConfig

from makemore.views import projector
from tests.views.observe import NAMES, VOCABULARY, Counts, Network, Observed


def read_tables(folder: Path) -> dict[str, np.ndarray]:
    """What TensorBoard finds, by name, in its order."""
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    assert {each.metadata_path for each in config.embeddings} == {"projector/metadata.tsv"}
    return {each.tensor_name: np.loadtxt(folder / each.tensor_path, delimiter="\t") for each in config.embeddings}


def test_the_projector_has_the_table_of_every_evaluation_the_last_one_first(tmp_path: Path) -> None:
    observed = Observed(tmp_path, network := Network(), projector.Projector()).train()
    tables = read_tables(tmp_path)
    assert list(tables) == ["C after 40 steps", "C after 20 steps"]
    assert tables["C after 40 steps"] == pytest.approx(network.C.detach().numpy(), rel=1e-5)
    assert not np.allclose(tables["C after 20 steps"], tables["C after 40 steps"])
    images = observed.events.Images("pictures/embedding_while_learning")
    assert [image.step for image in images] == [20, 40]
    assert images[0].encoded_image_string != images[1].encoded_image_string


def test_the_projector_knows_the_kind_and_the_frequency_of_each_token(tmp_path: Path) -> None:
    Observed(tmp_path, Network(), projector.Projector()).train()
    with (tmp_path / "projector" / "metadata.tsv").open(newline="") as file:
        rows = {row["token"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert list(rows) == list(VOCABULARY.tokens)
    text = "".join(NAMES)
    assert {token: int(row["frequency"]) for token, row in rows.items()} == {
        ".": len(NAMES),
        **{letter: text.count(letter) for letter in sorted(set(text))},
    }
    assert [rows[token]["kind"] for token in ".al"] == ["boundary", "vowel", "consonant"]


def test_a_large_table_is_written_at_the_end_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projector, "MOST_NUMBERS", 3)
    observed = Observed(tmp_path, Network(), projector.Projector()).train()
    assert list(read_tables(tmp_path)) == ["C after 40 steps"]
    assert not observed.events.Tags()["images"]


def test_a_resumed_run_leaves_each_table_once(tmp_path: Path) -> None:
    first = projector.Projector()
    Observed(tmp_path, Network(), first).train(eval_every=15)  # 15, 30 and the end
    state = first.state_dict() | {"_steps": [15]}
    second = projector.Projector()
    second.load_state_dict(state)
    Observed(tmp_path, Network(), second).call("on_train_start")
    assert [path.name for path in (tmp_path / "projector").glob("C-*")] == ["C-15.tsv"]


def test_a_model_without_a_table_of_numbers_leaves_nothing(tmp_path: Path) -> None:
    broken = Network()
    broken.C.data[0, 0] = torch.nan
    for model in (Counts(), broken):
        Observed(tmp_path, model, projector.Projector()).fit()
    assert not (tmp_path / "projector").exists()


def test_a_picture_follows_the_one_before_by_turning_alone() -> None:
    places = torch.randn(9, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first = projector.follow(places, torch.empty(0), turn=True)
    assert float(first.abs().max()) == pytest.approx(1)
    angle = torch.tensor(2.0)
    turned = places @ torch.tensor([[angle.cos(), angle.sin()], [-angle.sin(), angle.cos()]]).double()
    mirrored = turned * torch.tensor([1.0, -1.0]) * 3
    again = projector.follow(mirrored, first, turn=True)
    scale = math.sqrt(float(again.square().sum() / first.square().sum()))
    assert torch.allclose(again, first * scale)
    assert torch.equal(projector.follow(places, -first, turn=False), first)
