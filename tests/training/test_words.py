"""What works for characters works for words and running texts: runs, model files, samples, comparisons, mixtures."""

import math
from pathlib import Path

import pytest

from makemore.config.compose import read_data
from makemore.config.schema import Level
from makemore.inference import sampling
from makemore.inference.comparison import compare
from makemore.inference.evaluation import measure_documents, measure_words, read_own
from makemore.models import model_file
from tests.helpers import QUIET, Run, Train, refused, same_state, seeded

SENTENCES = ["the cat sat .", "the dog ran !", "a cat ran .", "the dog sat , and the cat ran ."] * 30
LAYOUTS = {"lines": ("data.layout=lines",), "running": ("data.layout=running", "data.splits=[300,250]")}


@pytest.fixture(params=LAYOUTS)
def words(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, ...]:
    """The settings of a run on words, of which one, `rare`, becomes `<unk>`."""
    path = tmp_path / "text.txt"
    path.write_text("\n".join([*SENTENCES, "the rare cat ."]))
    return (*("data=text", f"data.path={path}", "data.level=word", "data.min_count=2"), *LAYOUTS[request.param])


def train_few(train: Train, *settings: str) -> Run:
    return train("steps=60", "schedule.lr=0.5", "model.hidden=8", "model.init=kaiming", *settings)


def test_a_run_reports_perplexity_and_bits_per_character(train: Train, words: tuple[str, ...]) -> None:
    run = train_few(train, *words, "callbacks=none")
    for unit in ("perplexity", "bits_per_character"):
        assert run.points(f"loss/dev_{unit}")[60] == pytest.approx(run.metrics[f"dev_{unit}"])
    assert run.metrics["dev_perplexity"] == pytest.approx(math.exp(run.metrics["dev_loss"]))
    for name in ("train", "best_dev"):
        assert run.metrics[f"{name}_perplexity"] == pytest.approx(math.exp(run.metrics[f"{name}_loss"]))
        assert run.metrics[f"{name}_bits_per_character"] > 0
    _, dev, _ = measure_documents(model_file.load(run.folder), None)
    assert (dev["loss"], dev["perplexity"]) == (run.metrics["dev_loss"], run.metrics["dev_perplexity"])
    assert dev["bits_per_character"] == run.metrics["dev_bits_per_character"]
    assert dev["bits_per_character"] == pytest.approx(dev["loss"] * dev["tokens"] / dev["characters"] / math.log(2))


def test_a_model_of_words_is_saved_sampled_and_measured_with_its_vocabulary(
    train: Train, words: tuple[str, ...]
) -> None:
    model = model_file.load(train_few(train, *words, "logger=none").folder)
    assert model.level is Level.word and "<unk>" in model.vocabulary.tokens and "rare" not in model.vocabulary.tokens
    drawn = [text for text, _ in sampling.sample(model, 50, seeded(), prefix="the rare", max_length=12)]
    assert all(text.startswith("the rare") for text in drawn)
    assert not any("<unk>" in text or " ." in text or "⏎" in text for text in drawn)
    (measured,) = measure_words(model, ["the rare cat ."])
    assert [token for token, _ in measured["tokens"]][:4] == ["the", "rare as <unk>", "cat", "."]
    assert measured["perplexity"] == pytest.approx(math.exp(measured["loss"]))
    # 14 letters and spaces, and what stands behind the last word.
    nats = sum(loss for _, loss in measured["tokens"])
    assert measured["bits_per_character"] == pytest.approx(nats / 15 / math.log(2))


def test_the_steps_in_a_call_do_not_change_a_run_on_words(train: Train, words: tuple[str, ...]) -> None:
    settings = (*words, *QUIET, "model.dropout=0.2", "data.replacement=false", "eval_every=20")
    whole = train_few(train, *settings)
    part = train_few(train, *settings, "steps_per_execution=7")
    assert same_state(whole, part)


def test_models_of_words_are_compared_and_mixed(train: Train, words: tuple[str, ...]) -> None:
    runs = [train_few(train, *words, *QUIET), train("model=ngram", "data.block_size=2", *words, *QUIET)]
    models = [model_file.load(run.folder) for run in runs]
    compared = compare(models[0], models[1], None)
    for key, name in (("losses", "loss"), ("perplexities", "perplexity"), ("bits_per_character",) * 2):
        assert compared[key] == pytest.approx([run.metrics[f"dev_{name}"] for run in runs], rel=1e-4)
    members = ",".join(str(run.folder) for run in runs)
    mixed = train("model=mixture", f"model.members=[{members}]", *words, *QUIET)
    assert mixed.metrics["dev_loss"] <= min(run.metrics["dev_loss"] for run in runs) + 1e-6


def test_another_text_is_read_in_the_layout_of_the_model(train: Train, words: tuple[str, ...], tmp_path: Path) -> None:
    model = model_file.load(train_few(train, *words, *QUIET).folder)
    (tmp_path / "other.txt").write_text("the cat\nran .\n")
    (measured,) = measure_documents(model, read_data({**model.data, "path": str(tmp_path / "other.txt")}))
    running = "data.layout=running" in words
    assert (measured["documents"], measured["tokens"]) == ((1, 4) if running else (2, 6))
    assert measured["characters"] == 14


def test_bits_per_character_of_a_running_text_are_those_of_the_run(train: Train, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("the cat sat.\n" * 40)
    for level in ("char", "word"):
        layout = ("data.layout=running", f"data.level={level}", "data.splits=[60,30]", *QUIET)
        model = model_file.load(train("steps=3", "data=text", f"data.path={path}", *layout).folder)
        train_part, *_ = measure_documents(model, None)
        text = model.vocabulary.decode([*read_own(model).parts[0][1:].tolist()])
        (tmp_path / "part.txt").write_text(text)
        (again,) = measure_documents(model, read_data({**model.data, "path": str(tmp_path / "part.txt")}))
        assert (again["tokens"], again["characters"]) == (train_part["tokens"], train_part["characters"])


def test_a_blank_text_is_not_measured(train: Train, words: tuple[str, ...], tmp_path: Path) -> None:
    model = model_file.load(train("steps=3", *words, *QUIET).folder)
    (tmp_path / "blank.txt").write_text(" \n\n")
    with refused("blank.txt"):
        measure_documents(model, read_data({**model.data, "path": str(tmp_path / "blank.txt")}))


def test_a_test_loss_has_its_perplexity_too(train: Train, words: tuple[str, ...]) -> None:
    run = train_few(train, *words, *QUIET, "test=true")
    *_, test = measure_documents(model_file.load(run.folder), None)
    for name in ("loss", "perplexity", "bits_per_character"):
        assert run.metrics[f"test_{name}"] == pytest.approx(test[name])


def test_a_text_of_one_word_trains_and_has_no_map(train: Train, tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("spam spam\n" * 50)
    run = train_few(train, "data=text", f"data.path={tmp_path / 'text.txt'}", "data.level=word", "callbacks=embedding")
    assert math.isfinite(run.metrics["dev_loss"])
    assert not (run.folder / "embedding.png").exists()
