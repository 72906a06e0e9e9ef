"""Save and load a trained model without Lightning and without running code.

A checkpoint is Lightning's own file with one more entry, `makemore`: vocabulary, the model's description, settings and
fingerprints of the training documents, as tensors and plain values. `torch.load(weights_only=True)` reads nothing else,
so a file from a stranger may be invalid but cannot run code.
"""

import itertools
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import Tensor

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
    """Reads a model from a run's checkpoint or folder onto the CPU. Raises UserError if it cannot be read."""
    path = find_file(path)
    foreign = UserError(f"checkpoint={path} is not a checkpoint of makemore; name a run's {BEST} or its folder")
    damaged = UserError(f"checkpoint={path} cannot be read: it is cut short, damaged, or no checkpoint at all")
    try:
        if path.exists() and not path.is_file():  # a device or a pipe
            raise damaged
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:  # `torch.load` does not compare checksums
                raise damaged
        content = torch.load(path, map_location="cpu", weights_only=True)
        ours = content.get(KEY)
        given = ours.get("format")
    except FileNotFoundError:
        raise UserError(f"checkpoint={path}: there is no such file; name a run's {BEST} or its folder") from None
    except OSError as error:
        raise UserError(f"checkpoint={path} cannot be read: {error.strerror}") from None
    except (zipfile.BadZipFile, EOFError):
        raise damaged from None
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise foreign from error  # whatever the unpickler makes of an archive that this project did not write
    if given != FORMAT:
        raise UserError(f"checkpoint={path} has format {given}; this version of makemore reads {FORMAT}")
    try:
        vocabulary = Vocabulary(tuple(ours["tokens"]))
        model = restore(ours["model"], len(vocabulary), ours["block_size"])
        model.load_state_dict({name.removeprefix(PREFIX): part for name, part in content["state_dict"].items()})
        return TrainedModel(model, vocabulary, ours["settings"], ours["step"], ours["known"], ours["held_out"])
    except UserError as error:
        raise UserError(f"checkpoint={path}: {error}") from None
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError, OmegaConfBaseException) as error:
        raise UserError(
            f"checkpoint={path} is incomplete, or its parts do not fit together; train the model again"
        ) from error


def find_file(path: Path) -> Path:
    """A checkpoint's own path; of a run's folder, the best checkpoint on dev, else the last; UserError if none."""
    if not os.path.isdir(path):  # noqa: PTH112 (Path's raises for names that are too long)
        return path
    for name in (BEST, LAST):
        if (path / name).is_file():
            return path / name
    raise UserError(f"checkpoint={path} is a folder without {BEST} or {LAST}; name the folder of a run")


def find_newest(outputs: Path) -> Path:
    """The checkpoint of the run that wrote one last, single or part of a sweep. Raises UserError if there is none."""
    checkpoints = [*outputs.rglob(BEST), *outputs.rglob(LAST)]
    if not checkpoints:
        raise UserError(
            f"there is no checkpoint under {outputs}/ yet; run 'python train.py' first, or give checkpoint=PATH"
        )
    return find_file(max(checkpoints, key=lambda path: path.stat().st_mtime).parent)


def restore(description: dict[str, Any], vocabulary: int, block_size: int) -> LanguageModel:
    """Builds the model that `LanguageModel.describe` described, without its weights."""
    config = OmegaConf.merge(OmegaConf.structured(registry.config_of(description["name"])), description)
    return registry.build(OmegaConf.to_object(config), vocabulary, block_size)  # type: ignore[arg-type]
