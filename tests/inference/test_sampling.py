from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from makemore.config.schema import ModelConfig
from makemore.data.documents import fingerprint
from makemore.data.vocabulary import Vocabulary
from makemore.inference import sampling
from makemore.models.base import LanguageModel
from makemore.models.model_file import TrainedModel
from tests.helpers import refused, seeded

VOCABULARY = Vocabulary((".", "a", "b", "c"))


class Table(LanguageModel):
    """A bigram: row i holds the logits after id i."""

    def __init__(self, logits: list[list[float]]) -> None:
        super().__init__(ModelConfig("table"), vocabulary=4, block_size=2)
        self.register_buffer("table", torch.tensor(logits))

    def forward(self, contexts: Tensor) -> Tensor:
        logits: Tensor = self.table[contexts[:, -1]]  # type: ignore[index]
        return logits


def model(logits: list[list[float]], known: tuple[str, ...] = ()) -> TrainedModel:
    return TrainedModel(Table(logits), VOCABULARY, {}, {}, 0, torch.from_numpy(fingerprint(known)), [])


UNIFORM = model([[0.0] * 4] * 4)
ENDLESS = model([[-torch.inf, 0.0, 0.0, 0.0]] * 4)


def drawn(p: TrainedModel, n: int, generator: torch.Generator, **settings: Any) -> Iterator[str]:
    return (name for name, _ in sampling.sample(p, n, generator, **settings))


def one_at_a_time(p: TrainedModel, generator: torch.Generator) -> str:
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


@pytest.mark.parametrize("settings", [{}, {"prefix": "ab"}, {"max_length": 5}])
def test_fewer_names_are_the_first_of_more(settings: dict[str, Any]) -> None:
    more = list(drawn(UNIFORM, sampling.BATCH + 50, seeded(3), **settings))
    for n in (1, 2, 33, sampling.BATCH + 7):
        assert list(drawn(UNIFORM, n, seeded(3), **settings)) == more[:n]


def test_fewer_long_texts_are_the_first_of_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "NUMBERS", 64)
    more = list(drawn(ENDLESS, 7, seeded(3), max_length=150))
    assert len(set(more)) == 7
    for n in (1, 2, 5):
        assert list(drawn(ENDLESS, n, seeded(3), max_length=150)) == more[:n]


def test_characters_come_as_often_as_the_model_says() -> None:
    bigram = model([[0, 3, 1, 1], [2, 0, 0, 0], [0, 0, 1, 0], [1, 0, 0, 2]])
    names = list(drawn(bigram, 20_000, seeded(0)))
    first = Counter(name[0] for name in names)
    expected = torch.tensor([3.0, 1.0, 1.0]).softmax(0)
    for character, share in zip("abc", expected.tolist(), strict=True):
        assert first[character] / len(names) == pytest.approx(share, abs=0.015)
    assert all(names)


def test_an_id_without_probability_is_never_drawn_and_others_come_as_often_as_they_should() -> None:
    probabilities = torch.tensor([[0.0, 0.7, 0.0, 0.3, 0.0]]).expand(100_000, 5)
    drawn = sampling.categorical(probabilities, torch.rand(len(probabilities), 1, generator=seeded(0))).squeeze(1)
    shares = torch.bincount(drawn, minlength=5) / len(drawn)
    assert shares.tolist() == pytest.approx([0, 0.7, 0, 0.3, 0], abs=0.01)
    assert shares[[0, 2, 4]].tolist() == [0, 0, 0]


def test_the_largest_random_number_still_draws_an_id_with_probability() -> None:
    largest = torch.full((1000, 1), 1 - 2.0**-24)
    share = torch.linspace(0.1, 0.9, 1000).unsqueeze(1)  # (1000, 1)
    probabilities = torch.cat([share / 3, 1 - share / 3, torch.zeros(1000, 1)], dim=1)  # (1000, 3)
    assert set(sampling.categorical(probabilities, largest).flatten().tolist()) == {1}


def test_the_same_seed_gives_the_same_names_and_another_others() -> None:
    a, b, c = (list(drawn(UNIFORM, 50, seeded(seed))) for seed in (1, 1, 2))
    assert a == b != c


def test_a_name_that_never_ends_is_cut() -> None:
    assert {len(name) for name in drawn(ENDLESS, 10, seeded(0), max_length=30)} == {30}


def test_every_name_begins_with_the_prefix() -> None:
    names = list(drawn(UNIFORM, 100, seeded(0), prefix="cab"))
    assert all(name.startswith("cab") for name in names)
    assert any(name == "cab" for name in names)
    assert list(drawn(ENDLESS, 1, seeded(0), prefix="cab", max_length=3)) == ["cab"]


def test_top_k_1_and_a_tiny_temperature_take_the_likeliest_character() -> None:
    bigram = model([[0, 3, 2, 1], [0, 0, 9, 0], [0, 0, 0, 9], [9, 0, 0, 0]])
    assert set(drawn(bigram, 20, seeded(0), top_k=1)) == {"abc"}
    assert set(drawn(bigram, 20, seeded(0), temperature=1e-30)) == {"abc"}


def test_novel_names_are_not_in_the_training_data() -> None:
    known = ("a", "b", "c", "ab")
    p = model([[0.0] * 4] * 4, known)
    names = list(drawn(p, 500, seeded(0), novel=True))
    assert len(names) == 500
    assert not set(names) & set(known)
    assert sampling.are_known(p, [*known, "cab"]) == [True, True, True, True, False]
    assert all(is_known == (name in known) for name, is_known in sampling.sample(p, 500, seeded(0)))


def test_a_model_that_knows_only_known_names_gives_up() -> None:
    p = model([[-torch.inf, 0, -torch.inf, -torch.inf], [0.0, *[-torch.inf] * 3], [0.0] * 4, [0.0] * 4], ("a",))
    assert list(drawn(p, 3, seeded(0), novel=True)) == []


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"prefix": "ax"}, ["prefix=ax", "'x'", "a b c"]),
        ({"prefix": "a.b"}, ["prefix=a.b"]),
        ({"prefix": "abc", "max_length": 2}, ["prefix=abc", "max_length=2"]),
        ({"top_k": 5}, ["top_k=5", 4]),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused(settings: dict[str, Any], named: list[str]) -> None:
    with refused(*named):
        list(drawn(UNIFORM, 3, seeded(0), **settings))


def test_a_diverged_model_cannot_be_sampled() -> None:
    def nothing(contexts: Tensor) -> Tensor:
        return torch.full((len(contexts), 4), torch.nan)

    with refused("diverged"):
        sampling.draw(nothing, torch.zeros(2, 0, dtype=torch.int64), block_size=2, generator=seeded(0))


def test_a_row_ends_where_nothing_that_may_be_drawn_can_follow() -> None:
    only_unknown = torch.tensor([[-torch.inf, 0.0, -torch.inf, -torch.inf]])  # id 1 alone
    ids = sampling.draw(lambda x: only_unknown.expand(len(x), -1), torch.full((3, 1), 2), 2, seeded(), never=[1])
    assert ids == [[2]] * 3
