"""How pictures of an embedding table draw its tokens."""

import math

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.text import Text
from torch import Tensor

from makemore.config.schema import Level
from makemore.data.vocabulary import UNKNOWN, Vocabulary, is_vowel
from makemore.inference.projection import MOST_LABELS
from makemore.views import style

COLORS = {"vowel": style.LIGHT_ORANGE, "other": style.LIGHT_BLUE, "boundary": style.LIGHT_GREY}

Dots = list[tuple[PathCollection, list[int]]]  # those of a kind, with the ids of their tokens


def mark_tokens(axes: Axes, vocabulary: Vocabulary, places: Tensor) -> tuple[Dots, list[Text]]:
    """Draws each token at its place (vocabulary, 2): dots for each kind, and labels, if they are not too many."""
    count, diameter = len(vocabulary), choose_diameter(vocabulary)
    dots, labels = [], list[Text]()
    for kind, chosen in find_kinds(vocabulary).items():
        x, y = places[chosen].T
        drawn = axes.scatter(x, y, s=diameter**2, c=choose_color(kind), label=kind, edgecolors="white", linewidths=0.5)
        dots.append((drawn, chosen))
    for i, (x, y) in enumerate(places.tolist() if count <= MOST_LABELS else []):
        label = vocabulary.label(i)
        size = max(2.0, 0.75 * diameter / max(1, 0.45 * len(label)))  # an escape such as \t is written smaller
        labels.append(axes.text(x, y, label, ha="center", va="center", fontsize=size, clip_on=True, parse_math=False))
    return dots, labels


def choose_diameter(vocabulary: Vocabulary) -> float:
    """Of a token's dot, in points."""
    return max(3.0, 19 * min(1.0, math.sqrt(27 / len(vocabulary))))


def choose_color(kind: str) -> str:
    return COLORS.get(kind, COLORS["other"])


def name_kind(vocabulary: Vocabulary, index: int) -> str:
    token = vocabulary.tokens[index]
    if index == 0:
        return "boundary"
    if vocabulary.level is Level.word:
        return "unknown" if token == UNKNOWN else "word"
    if is_vowel(token):
        return "vowel"
    return "consonant" if token.isalpha() else "other"


def find_kinds(vocabulary: Vocabulary) -> dict[str, list[int]]:
    """The ids of the kinds that a legend names: vowels, other tokens or words, the boundary, if there are any."""
    rest = "word" if vocabulary.level is Level.word else "other"
    kinds: dict[str, list[int]] = {"vowel": [], rest: [], "boundary": []}
    for i in range(len(vocabulary)):
        kind = name_kind(vocabulary, i)
        kinds[kind if kind in kinds else rest].append(i)
    return {kind: ids for kind, ids in kinds.items() if ids}
