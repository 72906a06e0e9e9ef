from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.inference import sampling
from makemore.models.file import SavedModel

VOCABULARY = Vocabulary((".", "a", "b", "c"))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(log_probabilities: list[list[float]], known: tuple[str, ...] = ()) -> SavedModel:
    """A bigram: row i holds the logits after id i."""
    table = torch.tensor(log_probabilities)
    return SavedModel(
        logits=lambda contexts: table[contexts[:, -1]],
        vocabulary=VOCABULARY,
        block_size=2,
        settings={},
        step=0,
        known=torch.from_numpy(corpus.fingerprints(known)),
        state={},
        members=[],
        size=0,
        held_out=[],
    )


UNIFORM = model([[0.0] * 4] * 4)
ENDLESS = model([[-torch.inf, 0.0, 0.0, 0.0]] * 4)


def drawn(p: SavedModel, n: int, generator: torch.Generator, **settings: Any) -> Iterator[str]:
    return (name for name, _ in sampling.names(p, n, generator, **settings))


def one_at_a_time(p: SavedModel, generator: torch.Generator) -> str:
    """The lecture's loop: one character after the other, each where a random number falls among the probabilities."""
    context, name = [0] * p.block_size, ""
    while True:
        z = p.logits(torch.tensor([context]))
        if not name:
            z[:, 0] = -torch.inf
        left, drawn = float(torch.rand(1, generator=generator)), 0
        for probability in z.softmax(dim=1)[0].tolist():
            if left < probability:
                break
            left, drawn = left - probability, drawn + 1
        if drawn == 0:
            return name
        context, name = [*context[1:], drawn], name + p.vocabulary.tokens[drawn]


def test_a_single_name_is_the_one_of_the_lectures_loop() -> None:
    for seed in range(20):
        generator = seeded(seed)
        assert next(drawn(UNIFORM, 1, seeded(seed))) == one_at_a_time(UNIFORM, generator)


def test_characters_come_as_often_as_the_model_says() -> None:
    bigram = model([[0, 3, 1, 1], [2, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 2]])
    names = list(drawn(bigram, 20_000, seeded()))
    first = Counter(name[0] for name in names)
    expected = torch.tensor([3.0, 1.0, 1.0]).softmax(0)
    for character, share in zip("abc", expected.tolist(), strict=True):
        assert first[character] / len(names) == pytest.approx(share, abs=0.015)
    assert all(names)


def test_an_id_without_probability_is_never_drawn_and_others_come_as_often_as_they_should() -> None:
    probabilities = torch.tensor([[0.0, 0.7, 0.0, 0.3, 0.0]]).expand(100_000, 5)
    drawn = sampling.categorical(probabilities, seeded()).squeeze(1)
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    assert shares.tolist() == pytest.approx([0, 0.7, 0, 0.3, 0], abs=0.01)
    assert shares[[0, 2, 4]].tolist() == [0, 0, 0]


def test_the_largest_random_number_still_draws_an_id_with_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda shape, **_: torch.full(shape, 1 - 2.0**-24))
    share = torch.linspace(0.1, 0.9, 1000).unsqueeze(1)  # (1000, 1)
    probabilities = torch.cat([share / 3, 1 - share / 3, torch.zeros(1000, 1)], dim=1)  # (1000, 3)
    assert set(sampling.categorical(probabilities, seeded()).flatten().tolist()) == {1}


def test_the_same_seed_gives_the_same_names_and_another_others() -> None:
    a, b, c = (list(drawn(UNIFORM, 50, seeded(seed))) for seed in (1, 1, 2))
    assert a == b != c


def test_a_name_that_never_ends_is_cut() -> None:
    assert {len(name) for name in drawn(ENDLESS, 10, seeded(), max_length=30)} == {30}


def test_every_name_begins_with_the_prefix() -> None:
    names = list(drawn(UNIFORM, 100, seeded(), prefix="cab"))
    assert all(name.startswith("cab") for name in names)
    assert any(name == "cab" for name in names)
    assert list(drawn(ENDLESS, 1, seeded(), prefix="cab", max_length=3)) == ["cab"]


def test_top_k_1_and_a_tiny_temperature_take_the_likeliest_character() -> None:
    bigram = model([[0, 3, 2, 1], [0, 0, 9, 0], [0, 0, 0, 9], [9, 0, 0, 0]])
    assert set(drawn(bigram, 20, seeded(), top_k=1)) == {"abc"}
    assert set(drawn(bigram, 20, seeded(), temperature=1e-30)) == {"abc"}


def test_novel_names_are_not_in_the_training_data() -> None:
    known = ("a", "b", "c", "ab")
    p = model([[0.0] * 4] * 4, known)
    names = list(drawn(p, 500, seeded(), novel=True))
    assert len(names) == 500
    assert not set(names) & set(known)
    assert sampling.are_known(p, [*known, "cab"]) == [True, True, True, True, False]
    assert all(is_known == (name in known) for name, is_known in sampling.names(p, 500, seeded()))


def test_a_model_that_knows_only_known_names_gives_up() -> None:
    p = model([[-torch.inf, 0, -torch.inf, -torch.inf], [0.0, *[-torch.inf] * 3], [0.0] * 4, [0.0] * 4], ("a",))
    assert list(drawn(p, 3, seeded(), novel=True)) == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"prefix": "ax"}, "prefix=ax: 'x' is not in the model's vocabulary, which is . a b c"),
        ({"prefix": "a.b"}, "the boundary that ends a name"),
        ({"prefix": "abc", "max_length": 2}, "longer than max_length=2"),
        ({"top_k": 5}, "top_k=5 is out of range"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(settings: dict[str, Any], complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        list(drawn(UNIFORM, 3, seeded(), **settings))


def test_a_diverged_model_cannot_be_sampled() -> None:
    def nothing(contexts: Tensor) -> Tensor:
        return torch.full((len(contexts), 4), torch.nan)

    with pytest.raises(UserError, match="diverged"):
        sampling.draw(nothing, torch.zeros(2, 0, dtype=torch.int64), block_size=2, generator=seeded())
