import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from makemore.data.dataset import Dataset
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.models import model_file, registry
from makemore.models.base import LanguageModel
from makemore.models.mlp.config import Gradients, Init
from makemore.models.model_file import KEY, TrainedModel
from makemore.models.ngram.config import Smoothing
from tests.helpers import build, refused

VOCABULARY = Vocabulary((".", "a", "b", "é"))
CONTEXTS = torch.tensor([[0, 0], [1, 3]])


def mlp(block_size: int = 2) -> LanguageModel:
    network = {"emb_dim": 3, "hidden": 5, "init": Init.normal, "dropout": 0.0, "gradients": Gradients.auto}
    return build("mlp", 4, block_size, 1, **network)


def bigram() -> LanguageModel:
    return build("bigram", 4, 1)


def wavenet() -> LanguageModel:
    return build("wavenet", 4, 2, emb_dim=3, hidden=5)


def ngram() -> LanguageModel:
    windows = Windows.from_documents(["ab", "b", "ba"], VOCABULARY, 2)
    model = build("ngram", 4, 2, smoothing=Smoothing.kneser_ney, k=1.0, discount=None)
    model.fit(Dataset(Path(), 3, VOCABULARY, torch.tensor([3]), [], ([], [], []), windows, windows, windows))
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
    "bigram": bigram,
    "wavenet": wavenet,
    "ngram": ngram,
    "mixture": nested,
}


def content(model: LanguageModel | None = None, /, **changes: Any) -> dict[str, Any]:
    """What a checkpoint holds, as far as it is read."""
    model = model or mlp()
    described = TrainedModel(model, VOCABULARY, {"model": "mlp"}, 7, torch.tensor([3]), ["a", "b"]).describe()
    state = {f"{model_file.PREFIX}{name}": tensor for name, tensor in model.state_dict().items()}
    return {"state_dict": state, KEY: described | changes}


def saved(path: Path, what: Any) -> Path:
    torch.save(what, path)
    return path


@pytest.mark.parametrize("name", MODELS)
def test_a_loaded_model_has_the_saved_ones_logits_and_description(tmp_path: Path, name: str) -> None:
    original = MODELS[name]().eval()
    contexts = CONTEXTS[:, -original.block_size :]
    model = model_file.load(saved(tmp_path / "best.ckpt", content(original)))
    assert torch.equal(model.logits(contexts), original(contexts))
    assert (model.vocabulary, model.block_size, model.step) == (VOCABULARY, original.block_size, 7)
    assert model.known.tolist() == [3]
    assert model.model.size() == original.size()
    assert model.model.describe() == original.describe()


def test_a_folder_stands_for_its_best_checkpoint_and_else_for_its_last(tmp_path: Path) -> None:
    saved(tmp_path / "last.ckpt", content(step=2))
    assert model_file.load(tmp_path).step == 2
    saved(tmp_path / "best.ckpt", content(step=1))
    assert model_file.load(tmp_path).step == 1


def test_the_newest_run_is_the_one_that_saved_last(tmp_path: Path) -> None:
    with refused(tmp_path):
        model_file.find_newest(tmp_path)
    for name, at in (("a/1", 300), ("multirun/b/2", 400), ("c/3", 200)):
        (tmp_path / name).mkdir(parents=True)
        os.utime(saved(tmp_path / name / "best.ckpt", content()), (at, at))
    assert model_file.find_newest(tmp_path) == tmp_path / "multirun/b/2/best.ckpt"


def test_what_is_not_ours_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    for other in (path, tmp_path, tmp_path / ("x" * 300)):
        with refused(f"checkpoint={other}"):
            model_file.load(other)
    for raw in (b"", b"a text"):
        path.write_bytes(raw)
        with refused(f"checkpoint={path}"):
            model_file.load(path)
    foreigners: list[Any] = [3, [], {"state_dict": {}}, {KEY: 3}, torch.zeros(3)]
    for foreign in foreigners:
        with refused(f"checkpoint={path}"):
            model_file.load(saved(path, foreign))
    with refused(f"checkpoint={path}", 99, model_file.FORMAT):
        model_file.load(saved(path, content(format=99)))


def test_a_model_of_another_name_is_refused_with_the_names_that_there_are(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.ckpt", content(model=mlp().describe() | {"name": "gru"}))
    with refused(f"checkpoint={path}", "gru", *registry.names()):
        model_file.load(path)


def described(**changes: Any) -> dict[str, Any]:
    return content(model=mlp().describe() | changes)


def with_state(model: LanguageModel | None = None, /, **changes: Tensor | None) -> dict[str, Any]:
    """A checkpoint some of whose tensors are others, or left out."""
    changed = content(model)
    changed["state_dict"] |= {f"{model_file.PREFIX}{name}": tensor for name, tensor in changes.items()}
    changed["state_dict"] = {name: tensor for name, tensor in changed["state_dict"].items() if tensor is not None}
    return changed


def without(key: str) -> dict[str, Any]:
    changed = content()
    del changed[KEY][key]
    return changed


def refuse(tmp_path: Path, wrong: dict[str, Any]) -> None:
    path = saved(tmp_path / "x.ckpt", wrong)
    with refused(f"checkpoint={path}"):
        model_file.load(path)


@pytest.mark.parametrize("key", ["tokens", "model", "block_size", "settings", "step", "known", "held_out", "format"])
def test_a_missing_part_is_refused(tmp_path: Path, key: str) -> None:
    refuse(tmp_path, without(key))


@pytest.mark.parametrize(
    "wrong",
    [
        content(tokens=[".", "a"]),
        content(tokens=4),
        content(block_size=0),
        content(block_size=3),
        content(model=None),
        content(model={"name": "mlp"}),
        content(model=bigram().describe()),
        content(model=ngram().describe()),
        content(model=nested().describe()),
        described(hidden=6),
        described(hidden="many"),
        described(init="lazy"),
        described(more=1),
        {**content(), "state_dict": {}},
        {KEY: content()[KEY]},
        with_state(W1=torch.zeros(5, 6)),
        with_state(extra=torch.zeros(1)),
        with_state(b1=None),
        with_state(wavenet(), **{"levels.0.norm.running_var": None}),
        with_state(ngram(), keys=None),
        with_state(mixture(bigram()), **{"members.0.W": None}),
        with_state(mixture(bigram(), bigram()), weights=torch.ones(1)),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    refuse(tmp_path, wrong)


def test_a_file_with_damaged_bytes_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.ckpt", content())
    raw = bytearray(path.read_bytes())
    at = bytes(raw).index(mlp().state_dict()["W1"].numpy().tobytes())
    raw[at + 3] ^= 0xFF
    path.write_bytes(raw)
    with refused(f"checkpoint={path}"):
        model_file.load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path / "best.ckpt", content())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with refused(f"checkpoint={path}"):
        model_file.load(path)


class Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    named = mlp().describe() | {"init": {"_target_": "pathlib.Path.touch", "_args_": [str(mark)]}}
    for wrong in ({KEY: Malicious(mark)}, content(settings={"a": Malicious(mark)}), content(model=named)):
        refuse(tmp_path, wrong)
    path = tmp_path / "b.ckpt"
    path.write_bytes(pickle.dumps(Malicious(mark)))
    with pytest.raises(UserError):
        model_file.load(path)
    assert not mark.exists()
