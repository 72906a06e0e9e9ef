"""Save and load a trained model without Lightning and without running code.

A checkpoint is Lightning's own file with one more entry, `makemore`: vocabulary, the model's description, settings and
fingerprints of the training documents, as tensors and plain values. `torch.load(weights_only=True)` reads nothing else,
so a file from a stranger may be invalid but cannot run code.
"""

import itertools
import os
import pickle
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

from makemore.config.schema import LONGEST_CONTEXT
from makemore.data.corpus import BOUNDARY
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.models import registry
from makemore.models.base import LanguageModel, evaluating

KEY = "makemore"
FORMAT = 2
BEST, LAST = "best.ckpt", "last.ckpt"
# Where Lightning's module keeps the model.
PREFIX = "model."


@dataclass(frozen=True)
class TrainedModel:
    """A model as it is used after training."""

    model: LanguageModel
    vocabulary: Vocabulary
    settings: dict[str, Any]  # the run's, flat plain values
    step: int  # optimizer steps taken
    known: Tensor  # (N,) distinct fingerprints of the training documents (`makemore.data.split.fingerprint`)
    held_out: list[str]  # digests of the dev and of the test documents (`makemore.data.split.digest`)

    @property
    def block_size(self) -> int:
        """Ids in a context."""
        return self.model.block_size

    def logits(self, contexts: Tensor) -> Tensor:
        """Logits of the next token, from and to the CPU. (B, block_size) -> (B, vocabulary)"""
        device = next(itertools.chain(self.model.parameters(), self.model.buffers())).device
        with evaluating(self.model):
            logits: Tensor = self.model(contexts.to(device)).cpu()
        return logits

    def describe(self) -> dict[str, Any]:
        """What a checkpoint holds beside the weights: tensors and plain values only."""
        return {
            "format": FORMAT,
            "tokens": list(self.vocabulary.tokens),
            "model": self.model.describe(),
            "block_size": self.block_size,
            "settings": dict(self.settings),
            "step": self.step,
            "known": self.known,
            "held_out": self.held_out,
        }


def load(path: Path) -> TrainedModel:
    """Reads a model from a run's checkpoint, or from its folder, onto the CPU.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of this project.
    """
    path = find_file(path)
    foreign = UserError(f"checkpoint={path} is not a checkpoint of makemore; name a run's {BEST} or its folder")
    try:
        if not is_intact(path):
            raise UserError(f"checkpoint={path} cannot be read: it is cut short, damaged, or no checkpoint at all")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint={path}: there is no such file; name a run's {BEST} or its folder") from None
    except OSError as error:
        raise UserError(f"checkpoint={path} cannot be read: {error.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise foreign from error  # whatever the unpickler makes of an archive that this project did not write
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict):
        raise foreign
    ours, state = content[KEY], content.get("state_dict", {})
    if ours.get("format") != FORMAT:
        raise UserError(f"checkpoint={path} has format {ours.get('format')}; this version of makemore reads {FORMAT}")
    try:
        return _restore(ours, state)
    except UserError as error:
        raise UserError(f"checkpoint={path}: {error}") from None
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError, OmegaConfBaseException) as error:
        # Invalid contents can raise any of these, deep nesting included.
        raise UserError(
            f"checkpoint={path} is incomplete, or its parts do not fit together; train the model again"
        ) from error


def is_intact(path: Path) -> bool:
    """Whether a file is an archive as `torch.save` writes it, and every part of it matches its checksum."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError):
        return False


def find_file(path: Path) -> Path:
    """A checkpoint's own path; of a run's folder, the best checkpoint on dev, else the last.

    Raises:
        UserError: the folder has none.
    """
    if not os.path.isdir(path):  # noqa: PTH112 (Path's raises for names that are too long)
        return path
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise UserError(f"checkpoint={path} is a folder without {BEST} or {LAST}; name the folder of a run")


def find_newest(outputs: Path) -> Path:
    """The checkpoint of the run that wrote one last, whether a single run or part of a sweep.

    Raises:
        UserError: no run has left one.
    """
    checkpoints = [*outputs.rglob(BEST), *outputs.rglob(LAST)]
    if not checkpoints:
        raise UserError(
            f"there is no checkpoint under {outputs}/ yet; run 'python train.py' first, or give checkpoint=PATH"
        )
    return find_file(max(checkpoints, key=lambda path: path.stat().st_mtime).parent)


def _restore(ours: dict[str, Any], state: dict[str, Tensor]) -> TrainedModel:
    """The model in a checkpoint, once its parts have been checked against each other."""
    tokens, step, known = ours["tokens"], ours["step"], ours["known"]
    sound = (
        all(isinstance(token, str) and len(token) == 1 and not "\ud800" <= token <= "\udfff" for token in tokens)
        and tokens[0] == BOUNDARY
        and len(set(tokens)) == len(tokens)
        and type(step) is int
        and isinstance(ours["settings"], dict)
        and known.dtype == torch.int64
        and all(tensor.layout == torch.strided and tensor.device.type == "cpu" for tensor in (known, *state.values()))
    )
    if not sound:
        raise ValueError("parts of the wrong kind")
    with torch.device("meta"):  # takes no memory, whatever sizes the file names
        needed = restore(ours["model"], len(tokens), ours["block_size"]).state_dict()
    if sum(tensor.numel() for tensor in needed.values()) > sum(tensor.numel() for tensor in state.values()):
        raise ValueError("fewer numbers than the model has")
    model = restore(ours["model"], len(tokens), ours["block_size"])
    model.load_state_dict({name.removeprefix(PREFIX): tensor for name, tensor in state.items()}, strict=True)
    if any(tensor.dtype != state[PREFIX + name].dtype for name, tensor in model.state_dict().items()):
        raise ValueError("tensors of another type")
    trained = TrainedModel(model, Vocabulary(tuple(tokens)), ours["settings"], step, known, ours["held_out"])
    with torch.inference_mode():
        logits = trained.logits(torch.zeros(1, trained.block_size, dtype=torch.int64))
    if logits.shape != (1, len(tokens)):
        raise ValueError("logits of another shape")
    return trained


def restore(description: dict[str, Any], vocabulary: int, block_size: int) -> LanguageModel:
    """Builds the model that `LanguageModel.describe` described, without its weights."""
    if type(block_size) is not int or not 1 <= block_size <= LONGEST_CONTEXT:
        raise ValueError("not a block size")
    config = OmegaConf.merge(OmegaConf.structured(registry.config_of(description["name"])), description)
    return registry.build(OmegaConf.to_object(config), vocabulary, block_size)  # type: ignore[arg-type]
