import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from makemore.config.schema import Init
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.models import file as checkpoint
from makemore.models.mlp import formulas as mlp

VOCABULARY = Vocabulary((".", "a", "b", "é"))


SETTINGS = {"model": "mlp", "block_size": 2}


def content(**changes: Any) -> dict[str, Any]:
    p = mlp.initial(4, 2, 3, 5, Init.normal, torch.Generator().manual_seed(1))
    described = checkpoint.describe(VOCABULARY, SETTINGS, 7, torch.tensor([3]), [], ["a", "b"])
    return {"state_dict": p._asdict(), checkpoint.KEY: described | changes}


def saved(path: Path, what: Any) -> Path:
    torch.save(what, path)
    return path


def test_a_loaded_model_has_the_saved_ones_logits_and_description(tmp_path: Path) -> None:
    original = content()
    model = checkpoint.load(saved(tmp_path / "best.ckpt", original))
    contexts = torch.tensor([[0, 0], [1, 3]])
    assert torch.equal(model.logits(contexts), mlp.logits(mlp.Parameters(**original["state_dict"]), contexts))
    assert (model.vocabulary, model.block_size, model.step) == (VOCABULARY, 2, 7)
    assert model.known.tolist() == [3]


def test_a_folder_stands_for_its_best_checkpoint_and_else_for_its_last(tmp_path: Path) -> None:
    saved(tmp_path / "last.ckpt", content(step=2))
    assert checkpoint.load(tmp_path).step == 2
    saved(tmp_path / "best.ckpt", content(step=1))
    assert checkpoint.load(tmp_path).step == 1


def test_the_newest_run_is_the_one_that_saved_last(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no checkpoint"):
        checkpoint.newest(tmp_path)
    for name, time in (("a/1", 300), ("multirun/b/2", 400), ("c/3", 200)):
        (tmp_path / name).mkdir(parents=True)
        os.utime(saved(tmp_path / name / "best.ckpt", content()), (time, time))
    assert checkpoint.newest(tmp_path) == tmp_path / "multirun/b/2/best.ckpt"


def test_what_is_not_ours_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    with pytest.raises(UserError, match="there is no such file"):
        checkpoint.load(path)
    with pytest.raises(UserError, match="is a folder without"):
        checkpoint.load(tmp_path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load(path)
    path.write_text("a text")
    with pytest.raises(UserError, match="no checkpoint at all"):
        checkpoint.load(path)
    with pytest.raises(UserError, match="is not a checkpoint of makemore"):
        checkpoint.load(saved(path, {"state_dict": {}}))
    with pytest.raises(UserError, match="format 99"):
        checkpoint.load(saved(path, content(format=99)))


def with_state(**changes: Any) -> dict[str, Any]:
    changed = content()
    changed["state_dict"] |= changes
    return changed


@pytest.mark.parametrize(
    "wrong",
    [
        content(tokens=[".", "a"]),
        content(tokens=[".", "a", "b", "bb"]),
        content(tokens=["."] * 4),
        content(tokens=["a", ".", "b", "c"]),
        content(tokens=[0, 1, 2, 3]),
        content(known=[1, 2]),
        content(step="a"),
        content(settings={}),
        content(settings=None),
        content(settings=SETTINGS | {"block_size": 0}),
        content(settings=SETTINGS | {"block_size": True}),
        content(settings=SETTINGS | {"model": "mlq"}),
        content(settings=SETTINGS | {"model": "ngram"}),
        content(settings=SETTINGS | {"model": "bigram"}),
        content(settings=SETTINGS | {"model": "mixture"}),
        content(known=torch.tensor([3]).to_sparse()),
        with_state(C=torch.zeros(4, 3, dtype=torch.int64)),
        with_state(C=torch.zeros(())),
        with_state(W1=torch.zeros(6, 5, dtype=torch.float64)),
        with_state(W1=torch.zeros(5, 6)),
        with_state(extra=torch.zeros(1)),
        {**content(), "state_dict": []},
    ],
)
def test_parts_that_do_not_fit_together_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="do not fit together"):
        checkpoint.load(saved(tmp_path / "x.ckpt", wrong))


def test_a_file_with_damaged_bytes_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.ckpt", content())
    raw = bytearray(path.read_bytes())
    parameters = content()["state_dict"]["W1"].numpy().tobytes()
    at = bytes(raw).index(parameters)
    raw[at + 3] ^= 0xFF
    path.write_bytes(raw)
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load(path)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, share: float) -> None:
    path = saved(tmp_path / "best.ckpt", content())
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(UserError, match="cannot be read"):
        checkpoint.load(path)


class Malicious:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_a_file_cannot_run_code(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for path in (saved(tmp_path / "a.ckpt", {checkpoint.KEY: Malicious(mark)}), tmp_path / "b.ckpt"):
        if not path.exists():
            path.write_bytes(pickle.dumps(Malicious(mark)))
        with pytest.raises(UserError):
            checkpoint.load(path)
    assert not mark.exists()


def ngram_content(**changes: torch.Tensor) -> dict[str, Any]:
    from makemore.config.schema import Smoothing
    from makemore.data.windows import Windows
    from makemore.models.ngram import counts as ngram

    windows = Windows.from_documents(["ab", "b", "ba"], VOCABULARY, 2)
    made = content(settings={"model": "ngram", "block_size": 2})
    made["state_dict"] = ngram.fit(windows, 4, Smoothing.kneser_ney)._asdict() | changes
    return made


def bigram_content(W: torch.Tensor, block_size: int = 1) -> dict[str, Any]:
    return {**content(settings={"model": "bigram", "block_size": block_size}), "state_dict": {"W": W}}


def test_other_models_are_read(tmp_path: Path) -> None:
    contexts = torch.tensor([[0, 0], [1, 2]])
    counts = checkpoint.load(saved(tmp_path / "ngram.ckpt", ngram_content()))
    torch.testing.assert_close(counts.logits(contexts).exp().sum(1), torch.ones(2))
    W = torch.randn(4, 4)
    network = checkpoint.load(saved(tmp_path / "bigram.ckpt", bigram_content(W)))
    assert torch.equal(network.logits(contexts[:, 1:]), W[contexts[:, 1]])


@pytest.mark.parametrize(
    "wrong",
    [
        ngram_content(keys=torch.arange(100, 100 + len(ngram_content()["state_dict"]["keys"]))),
        ngram_content(targets=ngram_content()["state_dict"]["targets"].to(torch.complex64)),
        ngram_content(backoff=-ngram_content()["state_dict"]["backoff"]),
        ngram_content(starts=ngram_content()["state_dict"]["starts"].flip(0)),
        ngram_content(V=torch.tensor(5)),
        bigram_content(torch.randn(4, 4).to_sparse()),
        bigram_content(torch.randn(4, 4, device="meta")),
        bigram_content(torch.randn(3, 4)),
        bigram_content(torch.randn(4, 4), block_size=10**12),
        content(tokens=[".", "a", "b", "\ud800"]),
    ],
)
def test_parts_of_other_models_that_do_not_fit_together_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="do not fit together"):
        checkpoint.load(saved(tmp_path / "x.ckpt", wrong))
