import hashlib
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor

from makemore.data.dataset import Dataset
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models import model_file, registry
from makemore.models.base import LanguageModel
from makemore.models.mlp.config import Gradients, Init
from makemore.models.model_file import TrainedModel
from makemore.models.ngram.config import Smoothing
from tests.helpers import build, refused

VOCABULARY = Vocabulary((".", "a", "b", "é"))
CONTEXTS = torch.tensor([[0, 0], [1, 3]])


def mlp(block_size: int = 2) -> LanguageModel:
    network = {"emb_dim": 3, "hidden": 5, "init": Init.normal, "dropout": 0.0, "gradients": Gradients.auto}
    return build("mlp", 4, block_size, 1, **network)


def ensemble() -> LanguageModel:
    network = {"emb_dim": 3, "hidden": 5, "init": Init.normal, "dropout": 0.0, "gradients": Gradients.auto}
    return build("ensemble", 4, 2, 1, recency=0.5, networks=2, **network)


def bigram() -> LanguageModel:
    return build("bigram", 4, 1)


def wavenet() -> LanguageModel:
    return build("wavenet", 4, 2, emb_dim=3, hidden=5)


def ngram() -> LanguageModel:
    windows = Windows.from_documents(["ab", "b", "ba"], VOCABULARY, 2)
    parts = windows.stream, windows.stream, windows.stream
    model = build("ngram", 4, 2, smoothing=Smoothing.kneser_ney, k=1.0, discount=None)
    model.fit(Dataset(Path(), 3, VOCABULARY, torch.tensor([3]), [], parts, (8, 8, 8), windows, windows, windows))
    return model


def mixture(*members: LanguageModel) -> LanguageModel:
    described = [{"model": member.describe(), "block_size": member.block_size} for member in members]
    model = build("mixture", 4, 2, members=described, weights=None)
    state = {f"members.{i}.{name}": value for i, m in enumerate(members) for name, value in m.state_dict().items()}
    weights = torch.full((len(members),), 1 / len(members), dtype=torch.float64)
    model.load_state_dict(state | {"weights": weights})
    return model


def nested() -> LanguageModel:
    return mixture(mixture(bigram(), ngram()), wavenet(), mlp(1))


MODELS: dict[str, Callable[[], LanguageModel]] = {
    "mlp": mlp,
    "ensemble": ensemble,
    "bigram": bigram,
    "wavenet": wavenet,
    "ngram": ngram,
    "mixture": nested,
}


def trained(model: LanguageModel | None = None) -> TrainedModel:
    return TrainedModel(
        model or mlp(), VOCABULARY, {"model": "mlp"}, {"source": "names"}, 7, torch.tensor([3]), ["a", "b"]
    )


def saved(path: Path, model: LanguageModel | None = None) -> Path:
    model_file.save(trained(model), path)
    return path


def rewrite(path: Path, model: LanguageModel | None = None, /, **changes: Any) -> Path:
    """A file with a valid digest whose header says something else, or whose tensors are others; None removes them."""
    raw = saved(path, model).read_bytes()
    size = int.from_bytes(raw[:8], "little")
    description = json.loads(json.loads(raw[8 : 8 + size])["__metadata__"][model_file.ENTRY])
    tensors = safetensors.torch.load(raw)
    for name, value in changes.items():
        group = tensors if isinstance(value, Tensor) or name in tensors else description
        group[name] = value
        if value is None and name != "settings":
            del group[name]
    return seal(path, tensors, description)


def seal(path: Path, tensors: dict[str, Tensor], description: Any) -> Path:
    """Writes tensors and any JSON with the digest that they have."""
    if isinstance(description, dict):
        description = description | {"digest": model_file.NO_DIGEST}
    raw = safetensors.torch.save(tensors, {model_file.ENTRY: json.dumps(description)})
    digest = hashlib.sha256(raw).hexdigest().encode()
    path.write_bytes(raw.replace(model_file.NO_DIGEST.encode(), digest, 1))
    return path


Wrong = tuple[LanguageModel | None, dict[str, Any]]


def with_changes(model: LanguageModel | None = None, /, **changes: Any) -> Wrong:
    return model, changes


def described(**changes: Any) -> Wrong:
    return None, {"model": mlp().describe() | changes}


def with_state(model: LanguageModel | None = None, /, **changes: Tensor | None) -> Wrong:
    return model, {model_file.PREFIX + name: tensor for name, tensor in changes.items()}


def refuse(tmp_path: Path, wrong: Wrong) -> None:
    model, changes = wrong
    path = rewrite(tmp_path / "x.safetensors", model, **changes)
    with refused(f"checkpoint={path}"):
        model_file.load(path)


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_has_the_saved_ones_logits_and_description(tmp_path: Path, name: str) -> None:
    original = MODELS[name]().eval()
    contexts = CONTEXTS[:, -original.block_size :]
    path = saved(tmp_path / model_file.NAME, original)
    model = model_file.load(path)
    assert torch.equal(model.logits(contexts), original(contexts))
    assert (model.vocabulary, model.block_size, model.step) == (VOCABULARY, original.block_size, 7)
    assert (model.settings, model.data) == ({"model": "mlp"}, {"source": "names"})
    assert model.known.tolist() == [3]
    assert model.model.size() == original.size()
    assert model.model.describe() == original.describe()
    model_file.save(model, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_the_file_is_an_ordinary_safetensors_file(tmp_path: Path) -> None:
    tensors = safetensors.torch.load_file(saved(tmp_path / model_file.NAME))
    assert tensors["model.W1"].equal(mlp().state_dict()["W1"])


def test_tensors_that_share_memory_are_saved_each(tmp_path: Path) -> None:
    model = bigram()
    model.tied = model.W
    tensors = safetensors.torch.load_file(saved(tmp_path / model_file.NAME, model))
    assert tensors["model.tied"].equal(tensors["model.W"])


def test_a_folder_stands_for_its_model(tmp_path: Path) -> None:
    with refused(tmp_path):
        model_file.load(tmp_path)
    saved(tmp_path / model_file.NAME)
    assert model_file.load(tmp_path).step == 7


def test_the_newest_run_is_the_one_that_saved_last(tmp_path: Path) -> None:
    with refused(tmp_path):
        model_file.find(None, tmp_path)
    for name, at in (("a/1", 300), ("multirun/b/2", 400), ("c/3", 200)):
        (tmp_path / name).mkdir(parents=True)
        os.utime(saved(tmp_path / name / model_file.NAME), (at, at))
    assert model_file.find(None, tmp_path) == tmp_path / "multirun/b/2" / model_file.NAME
    # The result of experiment=lr_range is a rate, and its model is spoilt.
    (tmp_path / "multirun/b/2/metrics.json").write_text('{"suggestion": "schedule.lr=0.1"}')
    (tmp_path / "a/1/metrics.json").write_text("null")
    assert model_file.find(None, tmp_path) == tmp_path / "a/1" / model_file.NAME
    with refused("searches"):
        model_file.find(None, tmp_path / "multirun")


def test_what_is_not_ours_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    os.mkfifo(tmp_path / "pipe")
    for other in (path, tmp_path / ("x" * 300), tmp_path / "a\0b", Path("/dev/zero"), tmp_path / "pipe"):
        with refused("checkpoint="):
            model_file.load(other)
    foreigners = [b"", b"a text", b"\xff" * 100, (2**40).to_bytes(8, "little"), safetensors.torch.save({"a": CONTEXTS})]
    for raw in foreigners:
        path.write_bytes(raw)
        with refused(f"checkpoint={path}"):
            model_file.load(path)
    torch.save({"state_dict": {}}, path)
    with refused(f"checkpoint={path}"):
        model_file.load(path)
    descriptions: list[Any] = [3, [], None, {}, "text"]
    for description in descriptions:
        with refused(f"checkpoint={path}"):
            model_file.load(seal(path, {}, description))
    with refused(f"checkpoint={path}", 99, model_file.FORMAT):
        model_file.load(rewrite(path, format=99))


def test_a_model_of_another_name_is_refused_with_the_names_that_there_are(tmp_path: Path) -> None:
    path = rewrite(tmp_path / "x", model=mlp().describe() | {"name": "nonesuch"})
    with refused(f"checkpoint={path}", "nonesuch", *registry.names()):
        model_file.load(path)


@pytest.mark.parametrize(
    "wrong",
    [
        *(with_changes(**{key: None}) for key in ("tokens", "model", "block_size", "settings", "data", "step")),
        *(with_changes(**{key: None}) for key in ("known", "held_out", "format")),
        with_changes(tokens=[".", "a"]),
        with_changes(tokens=[".", "a", "b", "bb"]),
        with_changes(tokens=["."] * 4),
        with_changes(tokens=["a", ".", "b", "c"]),
        with_changes(tokens=[0, 1, 2, 3]),
        with_changes(tokens=[".", "a", "b", "\ud800"]),
        with_changes(tokens=4),
        with_changes(tokens=[]),
        with_changes(known=torch.tensor([3.0])),
        with_changes(step="a"),
        with_changes(data=3),
        with_changes(block_size=0),
        with_changes(block_size=True),
        with_changes(block_size=2.0),
        with_changes(block_size=3),
        with_changes(model="mlp"),
        with_changes(model={}),
        with_changes(model={"name": "mlp"}),
        with_changes(model={"name": ["mlp"]}),
        with_changes(model=bigram().describe()),
        with_changes(model=ngram().describe()),
        with_changes(model=nested().describe()),
        described(hidden=6),
        described(hidden=-1),
        described(hidden="many"),
        described(hidden=None),
        described(init="lazy"),
        described(dropout="${oc.env:HOME}"),
        described(more=1),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, wrong: Wrong) -> None:
    refuse(tmp_path, wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        with_state(C=torch.zeros(4, 3, dtype=torch.int64)),
        with_state(C=torch.zeros(())),
        with_state(W1=torch.zeros(6, 5, dtype=torch.float64)),
        with_state(W1=torch.zeros(5, 6)),
        with_state(extra=torch.zeros(1)),
        with_state(b1=None),
        with_state(bigram(), W=torch.randn(3, 4)),
        with_state(bigram(), W=torch.randn(4, 4).to(torch.complex64)),
        with_state(wavenet(), **{"levels.0.norm.running_mean": torch.zeros(6)}),
        with_state(wavenet(), **{"levels.0.norm.running_var": None}),
        with_state(ngram(), keys=None),
        with_state(mixture(ngram()), **{"members.0.keys": None}),
    ],
)
def test_tensors_that_are_not_the_models_are_refused(tmp_path: Path, wrong: Wrong) -> None:
    refuse(tmp_path, wrong)


def pair(**changes: Any) -> Wrong:
    """A mixture of two bigrams whose second member is described otherwise."""
    model = mixture(bigram(), bigram())
    description = model.describe()
    description["members"][1] |= changes
    return model, {"model": description}


@pytest.mark.parametrize(
    "wrong",
    [
        with_state(mixture(bigram(), bigram()), weights=torch.tensor([1.0], dtype=torch.float64)),
        with_state(mixture(bigram()), **{"members.0.W": None}),
        pair(block_size=0),
        pair(block_size=10**12),
        pair(model=None),
        pair(model={"name": "gru"}),
        pair(model={"name": "bigram", "more": 1}),
        pair(model={"name": "mixture", "members": [], "weights": None}),
        pair(model={"name": "mixture", "members": 3, "weights": None}),
        with_changes(model={"name": "mixture", "members": [], "weights": None}),
        # The member sees more than the mixture does.
        with_changes(mixture(mlp(2)), block_size=1),
    ],
)
def test_mixtures_that_do_not_fit_together_are_refused(tmp_path: Path, wrong: Wrong) -> None:
    refuse(tmp_path, wrong)


def test_a_mixture_reads_no_other_file(tmp_path: Path) -> None:
    other = saved(tmp_path / "other", bigram())
    member = {"model": bigram().describe(), "block_size": 1}
    for members in ([str(other)], [str(other), member], [str(tmp_path / "missing")]):
        model = mixture(*[bigram() for _ in members])
        refuse(tmp_path, (model, {"model": model.describe() | {"members": members}}))


@pytest.mark.parametrize("depth", [80, 200])
def test_a_mixture_nested_too_deep_is_refused(tmp_path: Path, depth: int) -> None:
    description: dict[str, Any] = bigram().describe()
    for _ in range(depth):
        description = {"name": "mixture", "members": [{"model": description, "block_size": 1}], "weights": None}
    refuse(tmp_path, (bigram(), {"model": description}))


def test_json_nested_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x"
    metadata = '{"__metadata__": {"makemore": "' + "[" * 10**5 + '"}}'
    path.write_bytes(len(metadata).to_bytes(8, "little") + metadata.encode())
    with refused(f"checkpoint={path}"):
        model_file.load(path)


@pytest.mark.parametrize("size", [10**6, 10**9, 10**18, 10**30])
def test_a_description_of_any_size_takes_no_memory(tmp_path: Path, size: int) -> None:
    started = time.perf_counter()
    refuse(tmp_path, described(hidden=size))
    refuse(tmp_path, described(emb_dim=size, hidden=size))
    refuse(tmp_path, with_changes(block_size=size))
    refuse(tmp_path, pair(model={"name": "wavenet", "emb_dim": size, "hidden": 2}, block_size=2))
    assert time.perf_counter() - started < 5


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    """Every bit of the header, and some of the tensors'; a soak test flips more: python -m benchmarks.damage."""
    raw = saved(tmp_path / "x", bigram()).read_bytes()
    size = 8 + int.from_bytes(raw[:8], "little")
    chance = random.Random(1)
    bits = [*range(8 * size), *(chance.randrange(8 * size, 8 * len(raw)) for _ in range(200))]
    for bit in bits:
        damaged = bytearray(raw)
        damaged[bit // 8] ^= 1 << bit % 8
        (tmp_path / "x").write_bytes(damaged)
        with refused("checkpoint="):
            model_file.load(tmp_path / "x")
    for length in (*range(0, len(raw), 97), len(raw) - 1):
        (tmp_path / "x").write_bytes(raw[:length])
        with refused("checkpoint="):
            model_file.load(tmp_path / "x")


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    target = {"_target_": "pathlib.Path.touch", "_args_": [str(mark)]}
    refuse(tmp_path, described(init=target))
    loaded = model_file.load(rewrite(tmp_path / "x", settings={"a": target}))
    assert loaded.settings == {"a": target}
    assert not mark.exists()


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "x")
    before = path.read_bytes()

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        saved(path, bigram())
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["x"]
