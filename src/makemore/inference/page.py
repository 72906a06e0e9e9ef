"""explore.html: a page that computes a trained network in the browser, beside count-based models of its training text.

The page is one file that opens from disk and reads nothing else. It holds the weights, as float32 in base64, and the
train and dev documents: from these it counts a bigram and a 6-gram, marks known names, and measures the counts' loss.
`browser/models.js` has the mathematics, `browser/explore.js` what a person sees.
"""

import base64
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from makemore import files
from makemore.config.schema import Layout, Level
from makemore.data.documents import Documents
from makemore.data.minibatches import EvaluationBatches
from makemore.data.vocabulary import UNKNOWN, Ids, Vocabulary, is_vowel
from makemore.data.windows import Windows
from makemore.errors import UserError
from makemore.inference.evaluation import mean_loss, read_own
from makemore.inference.projection import MOST_LABELS, lay_out, move_apart
from makemore.models.base import Layers
from makemore.models.model_file import TrainedModel

NAME = "explore.html"
PARTS = Path(__file__).parent / "browser"
MOST_PARAMETERS = 10**6  # 5 MB of page, and a few milliseconds for each distribution
MOST_CHARACTERS = 2**19  # of the train and dev documents; with more the page does without count-based models
REPLACEMENT = "\ufffd"  # stands for a character without an id, which the page reads as `<unk>`
# Of 27 tokens, as a share of the picture. explore.js draws them as circles 22 high in a space of 360 (0.061).
APART = 0.065
PREFIX = 2  # characters of the first document that the page opens with


def write_page(trained: TrainedModel, file: Path) -> Path:
    """Writes the page of a model beside its file. Returns the page's path.

    Raises UserError if a page cannot compute the model, its documents have changed, or the file cannot be written.
    """
    try:
        layers = extract_layers(trained)
    except UserError as error:
        raise UserError(f"explore=true: {error}") from None
    own = read_own(trained, "bring them back: the page counts them")
    dev_loss = mean_loss(trained.model, EvaluationBatches(Windows(own.parts[1], trained.block_size)))
    path = file.with_name(NAME)
    try:
        files.write_text(path, make_page(trained, layers, own, dev_loss))
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
    return path


def extract_layers(trained: TrainedModel) -> Layers:
    """The layers of a model that a page can compute; raises UserError for any other model."""
    name = f"model={trained.settings.get('model')}"
    if trained.level is not Level.char or trained.layout is not Layout.lines:
        raise UserError("the page is for documents of characters, one document per line, as names are")
    layers = trained.model.as_layers()
    if layers is None:
        raise UserError(f"{name} is not a lookup and layers of tanh, which is what the page computes; try model=mlp")
    tensors = [layers.C, *(tensor for product in layers.products for tensor in product)]
    if (size := sum(tensor.numel() for tensor in tensors)) > MOST_PARAMETERS:
        raise UserError(f"{name} has {size:,} parameters, and the page holds at most {MOST_PARAMETERS:,}")
    if not all(tensor.isfinite().all() for tensor in tensors):
        raise UserError(f"{name} has weights that are not finite: its training diverged")
    return layers


def make_page(trained: TrainedModel, layers: Layers, documents: Documents, dev_loss: float) -> str:
    """The page as HTML, with everything in it. `dev_loss` is the model's, in nats per character."""
    vocabulary = trained.vocabulary
    places, title, axes = lay_out(layers.C.detach().double())  # (vocabulary, 2)
    if len(vocabulary) <= MOST_LABELS:
        places = move_apart(places, APART * min(1, math.sqrt(27 / len(vocabulary))))
    train, dev = (decode_ids(vocabulary, part[1:].numpy()) for part in documents.parts[:2])
    short = len(train) + len(dev) <= MOST_CHARACTERS
    run: dict[str, Any] = {
        "model": trained.settings.get("model"),
        "text": documents.path.name,
        "parameters": trained.model.size(),
        "steps": trained.step,
        "devLoss": dev_loss,
        "blockSize": trained.block_size,
        "tokens": [None, *vocabulary.tokens[1:]],
        "labels": [vocabulary.label(i) for i in range(len(vocabulary))],
        "unknown": vocabulary.tokens.index(UNKNOWN) if UNKNOWN in vocabulary.tokens else None,
        "vowels": [i for i, token in enumerate(vocabulary.tokens) if is_vowel(token)],
        "mostLabels": MOST_LABELS,
        "embedding": {"title": title.splitlines()[0], "axes": axes, "places": places.tolist()},
        "C": encode_tensor(layers.C),
        "products": [[encode_tensor(W), encode_tensor(b)] for W, b in layers.products],
        "direct": layers.direct,
        "train": train if short else None,
        "dev": dev if short else None,
        "prefix": train[: train.index("\n")][:PREFIX],
    }
    # "<" could end the script element that holds it.
    data = json.dumps(run, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    page = read("explore.html")
    for name, text in (  # the data last: what looks like a mark in it stays as it is
        ("explore.css", read("explore.css")),
        ("models.js", read("models.js")),
        ("explore.js", read("explore.js")),
        ("run.json", data),
    ):
        page = page.replace("{{" + name + "}}", text, 1)
    return page


def read(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def encode_tensor(tensor: Tensor) -> dict[str, Any]:
    """A tensor's shape, and its numbers row by row as little-endian float32 in base64."""
    numbers = tensor.detach().numpy().astype("<f4").tobytes()
    return {"shape": list(tensor.shape), "base64": base64.b64encode(numbers).decode()}


def decode_ids(vocabulary: Vocabulary, ids: Ids) -> str:
    """The text of ids, a line feed for each boundary: `vocabulary.decode` by a table, `REPLACEMENT` for `<unk>`."""
    points = [ord("\n"), *(ord(REPLACEMENT if token == UNKNOWN else token) for token in vocabulary.tokens[1:])]
    return np.array(points, dtype="<u4")[ids].tobytes().decode("utf-32-le")
