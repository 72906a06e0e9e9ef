import json
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from makemore.config.compose import read_data
from makemore.data import cache
from makemore.data.minibatches import Batch
from makemore.inference.evaluation import format_result, mean_loss, measure_documents, measure_words
from makemore.models import base, model_file
from makemore.models.base import LanguageModel
from makemore.models.model_file import TrainedModel
from tests.helpers import QUIET, Script, Train, build, refused, seeded

CONTEXTS = torch.randint(27, (100, 4), generator=seeded())
TARGETS = torch.randint(27, (100,), generator=seeded(1))


def batches(rows: int) -> list[Batch]:
    parts = [slice(first, first + rows) for first in range(0, len(TARGETS), rows)]
    return [Batch(CONTEXTS[part], TARGETS[part]) for part in parts]


@pytest.fixture
def model() -> LanguageModel:
    """A network with BatchNorm, in train mode."""
    return build("wavenet", 27, 4, emb_dim=3, hidden=8)


def test_a_loss_is_the_mean_over_all_examples_however_they_are_batched(model: LanguageModel) -> None:
    losses = [mean_loss(model, batches(rows)) for rows in (1, 7, 64, 100)]
    expected = F.cross_entropy(model.eval()(CONTEXTS), TARGETS).item()
    assert losses == pytest.approx([expected] * 4, abs=1e-6)


def test_evaluation_leaves_the_model_as_it_is(model: LanguageModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mean_loss(model, batches(10))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_evaluation_holds_few_logits_at_a_time_and_its_loss_does_not_depend_on_it(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = mean_loss(model, batches(100))
    seen: list[int] = []
    model.register_forward_hook(lambda _module, _inputs, logits: seen.append(logits.numel()))
    monkeypatch.setattr(base, "LOGITS_BUDGET", 500)
    assert mean_loss(model, batches(100)) == pytest.approx(at_once, abs=1e-6)
    assert max(seen) <= 500


@pytest.fixture
def trained(train: Train, few_names: Path) -> TrainedModel:
    """A model of thirty names, with the characters aeilmv."""
    return model_file.load(train("data=text", f"data.path={few_names}", "steps=5", *QUIET).folder)


def test_losses_of_a_runs_own_splits_are_those_of_its_metrics(train: Train, few_names: Path) -> None:
    run = train("data=text", f"data.path={few_names}", "steps=5", "test=true", *QUIET)
    train_split, dev, test = measure_documents(model_file.load(run.folder), None)
    assert (train_split["loss"], dev["loss"], test["loss"]) == tuple(
        run.metrics[f"{name}_loss"] for name in ("train", "dev", "test")
    )
    assert [each["documents"] for each in (train_split, dev, test)] == [24, 3, 3]


def test_documents_with_unknown_characters_are_left_out_and_counted(trained: TrainedModel, tmp_path: Path) -> None:
    (tmp_path / "others.txt").write_text("emma\nzoe\nava\nzz\nliz\n")
    (others,) = measure_documents(trained, read_data(describe(trained, tmp_path / "others.txt")))
    assert (others["documents"], others["tokens"], others["left_out"]) == (2, 9, 3)
    assert others["unknown"] == {"z": 4, "o": 1}
    words = measure_words(trained, ["emma", "ava"])
    total = sum(loss for word in words for _, loss in word["tokens"])
    assert others["loss"] == pytest.approx(total / 9, rel=1e-5)
    assert "z" in format_result(trained, {"checkpoint": "x", "steps": 5, "losses": [others]})


def describe(trained: TrainedModel, path: Path) -> dict[str, object]:
    return {**trained.data, "source": "text", "path": str(path)}


def test_documents_of_which_none_is_known_are_refused_with_their_characters(
    trained: TrainedModel, tmp_path: Path
) -> None:
    (tmp_path / "others.txt").write_text("zoe\n")
    with refused("others.txt", "'z' 1x", "'o' 1x"):
        measure_documents(trained, read_data(describe(trained, tmp_path / "others.txt")))


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_a_split_that_has_changed_since_training_is_refused(
    trained: TrainedModel, few_names: Path, changed: int
) -> None:
    data = read_data(trained.data)
    before = cache.read_documents(data).parts
    names = few_names.read_text().split("\n")
    for place in range(len(names)):
        few_names.write_text("\n".join([*names[:place], "lemma", *names[place + 1 :]]))
        cache._read.clear()
        if not torch.equal(cache.read_documents(data).parts[changed], before[changed]):
            break
    with refused(few_names, "data.path=FILE"):
        measure_documents(trained, None)


def test_the_loss_of_a_word_is_the_mean_over_its_characters_and_its_end(trained: TrainedModel) -> None:
    (word,) = measure_words(trained, ["emma"])
    assert len(word["tokens"]) == 5
    assert word["loss"] == pytest.approx(math.fsum(loss for _, loss in word["tokens"]) / 5)


@pytest.mark.parametrize("word", ["", "a.b", "zoe"])
def test_a_word_that_cannot_be_measured_is_refused(trained: TrainedModel, word: str) -> None:
    with refused("words=", word):
        measure_words(trained, ["emma", word])


def test_evaluate_prints_json(script: Script, tmp_path: Path) -> None:
    assert script("train.py", "experiment=smoke", "steps=20", "hydra.run.dir=run", *QUIET).returncode == 0
    done = script("evaluate.py", "checkpoint=run", "json=true", "words=[emma]")
    assert done.returncode == 0, done.stderr
    assert [each["word"] for each in json.loads(done.stdout)["words"]] == ["emma"]
