import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore.config.compose import read_data
from makemore.config.schema import Layout
from makemore.inference.comparison import compare, estimate_difference, format_comparison
from makemore.models import model_file
from makemore.models.model_file import TrainedModel
from tests.helpers import QUIET, Script, Train, refused, seeded


def draw_lengths(count: int, seed: int) -> torch.Tensor:
    """The tokens of so many documents."""
    return torch.randint(2, 13, (count,), generator=seeded(seed))


def draw_losses(tokens: torch.Tensor, seed: int) -> torch.Tensor:
    """Noise that grows with the length of a document."""
    noise = torch.randn(len(tokens), generator=seeded(seed), dtype=torch.float64)
    return 2 * tokens + noise * tokens.sqrt()


@given(st.integers(0, 1000))
def test_the_standard_error_is_that_of_a_bootstrap_over_documents(seed: int) -> None:
    tokens = draw_lengths(400, seed)
    first, second = (draw_losses(tokens, seed + shift) for shift in (1, 2))
    found = estimate_difference(first, second, tokens)
    chosen = torch.randint(400, (2000, 400), generator=seeded(seed + 3))
    resampled = (first - second)[chosen].sum(1) / tokens[chosen].sum(1)  # (2000,)
    assert found["standard_error"] == pytest.approx(float(resampled.std()), rel=0.1)


def test_equal_models_differ_significantly_as_often_as_the_level_says() -> None:
    tokens = draw_lengths(200, 0)
    p = torch.tensor(
        [
            estimate_difference(draw_losses(tokens, seed), draw_losses(tokens, seed + 5000), tokens)["p"]
            for seed in range(1, 2001)
        ]
    )
    for level in (0.01, 0.05, 0.5):
        assert float((p < level).double().mean()) == pytest.approx(level, abs=4 * (level * (1 - level) / 2000) ** 0.5)


@pytest.fixture
def models(train: Train, few_names: Path) -> list[TrainedModel]:
    data = ("data=text", f"data.path={few_names}", *QUIET)
    runs = [train("steps=5", *data), train("model=ngram", "data.block_size=2", *data)]
    trained = [model_file.load(run.folder) for run in runs]
    for model, run in zip(trained, runs, strict=True):
        model.settings["dev"] = run.metrics["dev_loss"]
    return trained


def test_the_losses_compared_are_those_of_the_runs(models: list[TrainedModel]) -> None:
    found = compare(models[0], models[1], None)
    assert found["losses"] == pytest.approx([model.settings["dev"] for model in models], rel=1e-6)
    assert found["difference"] == pytest.approx(found["losses"][0] - found["losses"][1])
    assert (found["name"], found["documents"]) == ("dev", 3)
    back = compare(models[1], models[0], None)
    assert (back["difference"], back["p"]) == pytest.approx((-found["difference"], found["p"]))
    assert "B" in format_comparison(found, "A", "B", Layout.lines)


def test_few_documents_prove_nothing() -> None:
    tokens = draw_lengths(20, 0)
    found = estimate_difference(draw_losses(tokens, 1), draw_losses(tokens, 2) + 100, tokens)
    assert found["p"] < 0.01
    assert "better" not in format_comparison({"name": "dev", "left_out": 0, **found}, "A", "B", Layout.lines)


def test_a_model_does_not_differ_from_itself(models: list[TrainedModel]) -> None:
    found = compare(models[0], models[0], None)
    assert (found["difference"], found["standard_error"], found["p"]) == (0, 0, 1)


def test_documents_that_one_of_the_models_does_not_know_are_left_out(
    models: list[TrainedModel], tmp_path: Path
) -> None:
    (tmp_path / "others.txt").write_text("emma\nzoe\nava\n")
    source = read_data({**models[0].data, "source": "text", "path": str(tmp_path / "others.txt")})
    found = compare(models[0], models[1], source)
    assert (found["documents"], found["left_out"]) == (2, 1)
    assert "1 with unknown tokens" in format_comparison(found, "A", "B", Layout.lines)
    (tmp_path / "others.txt").write_text("emma\nzoe\n")
    with refused("others.txt", "1"):
        compare(models[0], models[1], source)


def test_models_with_other_dev_documents_are_refused(models: list[TrainedModel], train: Train, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("emma\nava\nmia\nlea\nval\n" * 3)
    other = model_file.load(train("data=text", f"data.path={tmp_path / 'more.txt'}", "steps=5", *QUIET).folder)
    with refused("dev", "data.path=FILE"):
        compare(models[0], other, None)


def test_a_comparison_says_how_likely_chance_is() -> None:
    result = {"losses": (2.0, 2.1), "documents": 500, "name": "dev", "left_out": 0, "difference": 0.1}
    for p, said in ((0.2, "p = 0.2"), (0.0, "p < 1e-9")):
        assert said in format_comparison(result | {"standard_error": 0.01, "p": p}, "one", "other", Layout.lines)


def test_evaluate_compares_two_runs(script: Script) -> None:
    for name in ("first", "second"):
        command = ("train.py", "experiment=smoke", "steps=20", f"seed={len(name)}", f"hydra.run.dir={name}", *QUIET)
        assert script(*command).returncode == 0
    done = script("evaluate.py", "checkpoint=first", "against=second", "json=true")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["against"]["losses"]) == 2
    assert "second/best.safetensors is better" in script("evaluate.py", "checkpoint=first", "against=second").stdout
    assert "against=third" in script("evaluate.py", "checkpoint=first", "against=third").stderr


def test_rare_characters_count_once_as_in_the_runs(train: Train, few_names: Path) -> None:
    data = ("data=text", f"data.path={few_names}", "data.min_count=10", *QUIET)
    runs = [train("steps=5", *data), train("model=ngram", "data.block_size=2", *data)]
    first, second = (model_file.load(run.folder) for run in runs)
    assert "<unk>" in first.vocabulary.tokens
    found = compare(first, second, None)
    assert found["losses"] == pytest.approx([run.metrics["dev_loss"] for run in runs], rel=1e-6)


def test_the_same_dev_documents_may_have_other_ids(train: Train, tmp_path: Path) -> None:
    for name, names in (("dev", ["mia", "ava"]), ("one", ["mia", "zoe", "ava"]), ("other", ["ava", "mia", "bea"])):
        (tmp_path / f"{name}.txt").write_text("\n".join(names * 5))
    held_out = [f"data.{part}_path={tmp_path / 'dev.txt'}" for part in ("dev", "test")]
    settings = ("data=text", *held_out, "steps=5", *QUIET)
    runs = [train(*settings, f"data.path={tmp_path / name}.txt") for name in ("one", "other")]
    found = compare(model_file.load(runs[0].folder), model_file.load(runs[1].folder), None)
    assert found["losses"] == pytest.approx([run.metrics["dev_loss"] for run in runs], rel=1e-6)


def test_a_model_that_considers_a_document_impossible_is_not_compared(
    models: list[TrainedModel], train: Train, tmp_path: Path
) -> None:
    (tmp_path / "others.txt").write_text("emma\nmaila\n")
    source = read_data({**models[0].data, "source": "text", "path": str(tmp_path / "others.txt")})
    data = ("data=text", f"data.path={models[0].data['path']}", *QUIET)
    run = train("model=ngram", "model.smoothing=none", "data.block_size=6", *data)
    impossible = model_file.load(run.folder)
    with refused("against", "others.txt"):
        compare(models[0], impossible, source)
    with refused("checkpoint", "others.txt"):
        compare(impossible, impossible, source)
