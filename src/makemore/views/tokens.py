"""What pictures of an embedding table share: where each token goes, and how it is drawn there."""

import math

from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.text import Text
from torch import Tensor

from makemore.data.vocabulary import Vocabulary
from makemore.inference.projection import Placement, is_vowel, project
from makemore.views import style, tsne

MOST_LABELS = 300  # more would cover each other
COLORS = {"vowel": style.LIGHT_ORANGE, "other": style.LIGHT_BLUE, "boundary": style.LIGHT_GREY}
FEWEST_MAPPED, MOST_MAPPED = 5, 1000  # tokens; fewer have no neighbours to speak of, more take too long
NEAREST = 3  # neighbours that a map should keep

Dots = list[tuple[PathCollection, list[int]]]  # those of a kind, with the ids of their tokens


def lay_out(C: Tensor) -> Placement:
    """Where to draw each row of C (tokens, dimensions): a map by t-SNE if there are more dimensions than two."""
    projected = project(C)
    tokens, dimensions = C.shape
    if dimensions <= 2 or not FEWEST_MAPPED <= tokens <= MOST_MAPPED:
        return projected
    places = tsne.arrange(C, projected.places)
    kept = 100 * tsne.measure_kept(C, places, NEAREST)
    title = (
        f"embedding C: its {dimensions} dimensions by t-SNE; near means alike, far means nothing\n"
        f"of every token's {NEAREST} nearest in {dimensions} dimensions {kept:.0f} % are its nearest here"
    )
    return Placement(places, title, None)


def mark_tokens(axes: Axes, vocabulary: Vocabulary, places: Tensor) -> tuple[Dots, list[Text]]:
    """Draws each token at its place (vocabulary, 2): dots for each kind, and labels, if they are not too many."""
    count, diameter = len(vocabulary), choose_diameter(vocabulary)
    dots, labels = [], list[Text]()
    for kind, chosen in find_kinds(vocabulary).items():
        x, y = places[chosen].T
        drawn = axes.scatter(x, y, s=diameter**2, c=COLORS[kind], label=kind, edgecolors="white", linewidths=0.5)
        dots.append((drawn, chosen))
    for i, (x, y) in enumerate(places.tolist() if count <= MOST_LABELS else []):
        label = vocabulary.label(i)
        size = max(2.0, 0.75 * diameter / max(1, 0.45 * len(label)))  # an escape such as \t is written smaller
        labels.append(axes.text(x, y, label, ha="center", va="center", fontsize=size, clip_on=True, parse_math=False))
    return dots, labels


def choose_diameter(vocabulary: Vocabulary) -> float:
    """Of a token's dot, in points."""
    return max(3.0, 19 * min(1.0, math.sqrt(27 / len(vocabulary))))


def find_kinds(vocabulary: Vocabulary) -> dict[str, list[int]]:
    """The ids of the vowels, of other tokens, and of the boundary, so far as there are any."""
    kinds: dict[str, list[int]] = {"vowel": [], "other": [], "boundary": [0]}
    for i, token in list(enumerate(vocabulary.tokens))[1:]:
        kinds["vowel" if is_vowel(token) else "other"].append(i)
    return {kind: ids for kind, ids in kinds.items() if ids}
