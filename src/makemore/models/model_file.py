"""A trained model as one file, `best.safetensors`: tensors, and everything else as JSON in its header.

Nothing in such a file is code, and what it says of itself is checked before memory is taken for it. A digest of the
whole file is part of the header, so a damaged file is never mistaken for another model.
"""

import hashlib
import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from makemore import files
from makemore.config.schema import LONGEST_CONTEXT, Layout, Level
from makemore.data.vocabulary import BOUNDARY, OTHER_BOUNDARY, UNKNOWN, Vocabulary
from makemore.errors import UserError
from makemore.models import registry
from makemore.models.base import LanguageModel, evaluating

NAME = "best.safetensors"
FORMAT = 3
# The header's entry that holds the JSON, and the tensor that holds the fingerprints of the training documents.
ENTRY, KNOWN = "makemore", "known"
# The model's own tensors begin with this.
PREFIX = "model."
# Where the digest stands while it is computed.
NO_DIGEST = "0" * 64
# Bytes of a header: a hundred times what 27 tokens need, and enough for a vocabulary of a million.
MOST_HEADER = 2**25


@dataclass(frozen=True)
class TrainedModel:
    """A model as it is used after training."""

    model: LanguageModel
    vocabulary: Vocabulary
    settings: dict[str, Any]  # the run's, flat plain values
    data: dict[str, Any]  # the `data` part of the run's configuration, plain values
    step: int  # optimizer steps taken
    known: Tensor  # (N,) distinct fingerprints of the training documents (`makemore.data.documents.fingerprint`)
    held_out: list[str]  # digests of the dev and of the test documents (`makemore.data.documents.digest`)

    @property
    def block_size(self) -> int:
        """Ids in a context."""
        return self.model.block_size

    @property
    def level(self) -> Level:
        return self.vocabulary.level

    @property
    def layout(self) -> Layout:
        return Layout(self.data.get("layout", Layout.lines.value))

    def logits(self, contexts: Tensor) -> Tensor:
        """Logits of the next token, from and to the CPU. (B, block_size) -> (B, vocabulary)"""
        with evaluating(self.model):
            logits: Tensor = self.model(contexts.to(self.model.device)).cpu()
        return logits


def save(trained: TrainedModel, path: Path) -> None:
    """Writes a model file; the same model gives the same bytes."""
    description = {
        "format": FORMAT,
        "digest": NO_DIGEST,
        "tokens": list(trained.vocabulary.tokens),
        "level": trained.level.value,
        "model": trained.model.describe(),
        "block_size": trained.block_size,
        "settings": trained.settings,
        "data": trained.data,
        "step": trained.step,
        "held_out": trained.held_out,
    }
    # Cloned, because tensors in the file may neither share memory nor have gaps.
    state = trained.model.state_dict().items()
    tensors = {PREFIX + name: tensor.cpu().clone(memory_format=torch.contiguous_format) for name, tensor in state}
    raw = safetensors.torch.save(tensors | {KNOWN: trained.known}, {ENTRY: json.dumps(description)})
    digest = hashlib.sha256(raw).hexdigest()
    with files.replace(path) as beside:
        beside.write_bytes(raw.replace(NO_DIGEST.encode(), digest.encode(), 1))


def load(path: Path, key: str = "checkpoint") -> TrainedModel:
    """Reads a model from its file, or from the folder of its run, onto the CPU.

    `key` is the setting that named it, for messages.

    Raises:
        UserError: the file is missing, damaged, or not a model file of this project.
    """
    path = find_file(path, key)
    try:
        return _restore(*_read(path))
    except FileNotFoundError:
        raise UserError(f"{key}={path}: there is no such file; name a run's {NAME} or its folder") from None
    except OSError as error:
        raise UserError(f"{key}={path} cannot be read: {error.strerror or error}") from None
    except UserError as error:
        raise UserError(f"{key}={path}: {error}") from None
    except (
        safetensors.SafetensorError,
        OmegaConfBaseException,
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        ArithmeticError,
        RuntimeError,
    ) as error:  # what parts that do not fit together raise
        raise UserError(
            f"{key}={path} is a model file whose parts do not fit together; train the model again"
        ) from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON and the tensors of a file that has not changed since it was written.

    Raises:
        UserError: it has, or it is another kind of file.
    """
    foreign = UserError(f"this is not a model file of makemore, or it is damaged; name a run's {NAME} or its folder")
    if not stat.S_ISREG(path.stat().st_mode):
        raise foreign
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > MOST_HEADER:
            raise foreign
        header = file.read(length)
        try:
            description = json.loads(json.loads(header)["__metadata__"][ENTRY])
            digest = description["digest"].encode()
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise foreign from None
        content = hashlib.sha256(length.to_bytes(8, "little") + header.replace(digest, NO_DIGEST.encode(), 1))
        while piece := file.read(2**20):
            content.update(piece)
    if content.hexdigest().encode() != digest:
        raise foreign
    if description.get("format") != FORMAT:
        raise UserError(f"the file has format {description.get('format')}; this version of makemore reads {FORMAT}")
    with safetensors.safe_open(path, "pt") as opened:
        return description, {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


def find_file(path: Path, key: str = "checkpoint") -> Path:
    """A model file's own path, or that of the model in a run's folder.

    Raises:
        UserError: the folder has none.
    """
    try:
        is_folder = stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # missing, or no path at all
        return path
    if is_folder and not (path / NAME).is_file():
        raise UserError(f"{key}={path} is a folder without {NAME}; name the folder of a run")
    return path / NAME if is_folder else path


def find(checkpoint: str | None, outputs: Path) -> Path:
    """The file of a model that a script was given, or of the run that wrote one last, alone or in a sweep.

    Searches for a learning rate are passed over: they end at a rate that was too large for their weights.

    Raises:
        UserError: there is none.
    """
    if checkpoint is not None:
        return find_file(Path(checkpoint))
    newest_first = sorted(outputs.rglob(NAME), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in newest_first:
        if "suggestion" not in (files.read_metrics(path.parent) or {}):
            return path
    but = "but searches for a learning rate " if newest_first else ""
    raise UserError(
        f"there is no trained model {but}under {outputs}/ yet; run 'python train.py' first, or give checkpoint=PATH"
    )


def _restore(description: dict[str, Any], state: dict[str, Tensor]) -> TrainedModel:
    """The model in a file, once its parts have been checked against each other."""
    tokens, step, known = description["tokens"], description["step"], state.pop(KNOWN)
    level = Level(description.get("level", "char"))  # files from before words lack it
    sound = (
        all(is_token(token, level) for token in tokens)
        and tokens[0] in (BOUNDARY, OTHER_BOUNDARY)
        and len(set(tokens[1:])) == len(tokens) - 1
        and type(step) is int
        and isinstance(description["settings"], dict)
        and isinstance(description["data"], dict)
        and known.dtype == torch.int64
    )
    if not sound:
        raise ValueError("parts of the wrong kind")
    with torch.device("meta"):  # takes no memory, whatever sizes the file names
        needed = build_described(description["model"], len(tokens), description["block_size"]).state_dict()
    if sum(tensor.numel() for tensor in needed.values()) > sum(tensor.numel() for tensor in state.values()):
        raise ValueError("fewer numbers than the model has")
    model = build_described(description["model"], len(tokens), description["block_size"])
    model.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in state.items()}, strict=True)
    if any(tensor.dtype != state[PREFIX + name].dtype for name, tensor in model.state_dict().items()):
        raise ValueError("tensors of another type")
    trained = TrainedModel(
        model,
        Vocabulary(tuple(tokens), level),
        description["settings"],
        description["data"],
        step,
        known,
        description["held_out"],
    )
    with torch.inference_mode():
        logits = trained.logits(torch.zeros(1, trained.block_size, dtype=torch.int64))
    if logits.shape != (1, len(tokens)):
        raise ValueError("logits of another shape")
    return trained


def is_token(token: Any, level: Level) -> bool:
    """Whether a vocabulary may hold this."""
    if not isinstance(token, str) or any("\ud800" <= character <= "\udfff" for character in token):
        return False
    return token == UNKNOWN or (len(token) == 1 if level is Level.char else token.split() == [token])


def build_described(description: dict[str, Any], vocabulary: int, block_size: int) -> LanguageModel:
    """Builds the model that `LanguageModel.describe` described; its weights are yet to be loaded."""
    if type(block_size) is not int or not 1 <= block_size <= LONGEST_CONTEXT:
        raise ValueError("not a block size")
    config = OmegaConf.merge(OmegaConf.structured(registry.config_of(description["name"])), description)
    return registry.build(OmegaConf.to_object(config), vocabulary, block_size)  # type: ignore[arg-type]
