"""Save and load a model without Lightning and without running code.

A checkpoint is Lightning's own file with one more entry, `makemore`: vocabulary, settings and fingerprints of the
training documents, as tensors and plain values. `torch.load(weights_only=True)` reads nothing else, so a file from a
stranger can be wrong but cannot act.
"""

import os
import pickle
import stat
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from makemore.config.schema import LONGEST_CONTEXT
from makemore.data.corpus import BOUNDARY
from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.models.bigram import formulas as bigram
from makemore.models.mixture import weights as mixture
from makemore.models.mlp import formulas as mlp
from makemore.models.ngram import counts as ngram

KEY = "makemore"
FORMAT = 1
BEST, LAST = "best.ckpt", "last.ckpt"

Logits = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class SavedModel:
    """A model as it is used after training.

    Attributes:
        logits: contexts (B, block_size) -> (B, vocabulary).
        vocabulary: the model's tokens.
        block_size: ids in a context.
        settings: the run's settings, flat plain values.
        step: optimizer steps taken.
        known: (N,) distinct fingerprints of the training documents (`makemore.data.corpus.fingerprints`).
        state: the model's tensors.
        members: settings and members of each model that a mixture consists of; empty for any other.
        size: how many free numbers the model has.
        held_out: `corpus.digest` of the dev and of the test documents of its run.
    """

    logits: Logits
    vocabulary: Vocabulary
    block_size: int
    settings: dict[str, Any]
    step: int
    known: Tensor
    state: dict[str, Tensor]
    members: list[dict[str, Any]]
    size: int
    held_out: list[str]


def describe(
    vocabulary: Vocabulary,
    settings: dict[str, Any],
    step: int,
    known: Tensor,
    members: list[dict[str, Any]],
    held_out: list[str],
) -> dict[str, Any]:
    """What stands beside the parameters in a checkpoint: tensors and plain values only."""
    return {
        "format": FORMAT,
        "tokens": list(vocabulary.tokens),
        "settings": dict(settings),
        "step": step,
        "known": known,
        "members": members,
        "held_out": held_out,
    }


def load(path: Path) -> SavedModel:
    """Reads a model from a run's checkpoint, or from its folder, onto the CPU.

    Raises:
        UserError: the file is missing, damaged, or not a checkpoint of this project.
    """
    path = file_of(path)
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode) or not intact(path):
            raise UserError(f"checkpoint={path} cannot be read: it is cut short, damaged, or no checkpoint at all")
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"checkpoint={path}: there is no such file; name a run's {BEST} or its folder") from None
    except OSError as error:
        raise UserError(f"checkpoint={path} cannot be read: {error.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:
        # Whatever the unpickler stumbles over in an archive that this project did not write.
        raise _foreign(path) from error
    return _model(path, content)


def intact(path: Path) -> bool:
    """Whether a file is an archive, as `torch.save` writes them, and each part of it has its checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, EOFError):
        return False


def file_of(path: Path) -> Path:
    """A checkpoint's own path, or that of the one to use where a folder is named."""
    return in_folder(path) if os.path.isdir(path) else path  # noqa: PTH112 (Path's raises for names that are too long)


def in_folder(folder: Path) -> Path:
    """The checkpoint to use from a run folder: the best on dev, else the last.

    Raises:
        UserError: there is none.
    """
    for name in (BEST, LAST):
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"checkpoint={folder} is a folder without {BEST} or {LAST}; name the folder of a run")


def newest(outputs: Path) -> Path:
    """The checkpoint of the run that wrote one last, single runs and sweeps alike.

    Raises:
        UserError: no run has left one.
    """
    checkpoints = [*outputs.rglob(BEST), *outputs.rglob(LAST)]
    if not checkpoints:
        raise UserError(
            f"there is no checkpoint under {outputs}/ yet; run 'python train.py' first, or give checkpoint=PATH"
        )
    return in_folder(max(checkpoints, key=lambda path: path.stat().st_mtime).parent)


def _model(path: Path, content: Any) -> SavedModel:
    """The model in a checkpoint's content, its parts held against each other."""
    if not isinstance(content, dict) or not isinstance(content.get(KEY), dict):
        raise _foreign(path)
    ours, state = content[KEY], content.get("state_dict", {})
    if ours.get("format") != FORMAT:
        raise UserError(f"checkpoint={path} has format {ours.get('format')}; this version of makemore reads {FORMAT}")
    try:
        tokens, settings, step, known = ours["tokens"], ours["settings"], ours["step"], ours["known"]
        members, held_out = ours.get("members", []), ours.get("held_out", [])
        block_size = settings["block_size"]
        sound = (
            all(isinstance(token, str) and len(token) == 1 and not "\ud800" <= token <= "\udfff" for token in tokens)
            and tokens[0] == BOUNDARY
            and len(set(tokens)) == len(tokens)
            and type(step) is int
            and known.dtype == torch.int64
            and all(dense(tensor) for tensor in (known, *state.values()))
        )
        if sound:
            logits, size = restored(settings, members, state, len(tokens))
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError):
        # Whatever a stranger's parts make of the checks, too deep a nesting among it.
        sound = False
    if not sound:
        raise UserError(f"checkpoint={path} is incomplete, or its parts do not fit together; train the model again")
    return SavedModel(
        logits=logits,
        vocabulary=Vocabulary(tuple(tokens)),
        block_size=block_size,
        settings=settings,
        step=step,
        known=known,
        state=state,
        members=members,
        size=size,
        held_out=held_out,
    )


def dense(tensor: Tensor) -> bool:
    """Whether a tensor is an ordinary one, with numbers that can be read here."""
    return tensor.layout == torch.strided and tensor.device.type == "cpu"


def restored(
    settings: dict[str, Any], members: list[dict[str, Any]], state: dict[str, Tensor], vocabulary: int
) -> tuple[Logits, int]:
    """The model in a checkpoint's state, its parts held against each other.

    Args:
        settings: the settings of its run.
        members: settings and members of each model of a mixture.
        state: its tensors by name.
        vocabulary: how many tokens it knows.

    Returns:
        contexts (B, block_size) -> logits (B, vocabulary), and how many free numbers the model has.

    Raises:
        ValueError, LookupError, TypeError, AttributeError: the parts are not a model's, or do not fit together.
    """
    block_size = settings["block_size"]
    if type(block_size) is not int or not 1 <= block_size <= LONGEST_CONTEXT:
        raise ValueError("not a block size")
    match settings["model"]:
        case "mlp":
            p = mlp.restored(state, vocabulary, block_size)
            return lambda contexts: mlp.logits(p, contexts), sum(parameter.numel() for parameter in p)
        case "bigram":
            W = bigram.restored(state, vocabulary)
            return lambda contexts: bigram.logits(W, contexts), W.numel()
        case "ngram":
            counts = ngram.restored(state, vocabulary, block_size)
            return lambda contexts: ngram.logits(counts, contexts), ngram.parameters(counts)
        case "mixture":
            return _restored_mixture(block_size, members, state, vocabulary)
    raise ValueError("not a model of this version")


def _restored_mixture(
    block_size: int, members: list[dict[str, Any]], state: dict[str, Tensor], vocabulary: int
) -> tuple[Logits, int]:
    """The models of a mixture, each of whose tensors have its number before their names."""
    weights, parts, size = state["weights"], list[mixture.Member](), len(members) - 1
    for number, member in enumerate(members):
        prefix = f"{number}_"
        its = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
        logits, its_size = restored(member["settings"], member["members"], its, vocabulary)
        parts.append(mixture.Member(logits, member["settings"]["block_size"]))
        size += its_size
    if set(state) != {"weights"} | {
        name for name in state for number in range(len(members)) if name.startswith(f"{number}_")
    }:
        raise ValueError("tensors of no member")
    sound = (
        len(parts) > 0
        and weights.dtype == torch.float64
        and weights.shape == (len(parts),)
        and bool((weights >= 0).all())
        and abs(float(weights.sum()) - 1) < 1e-6
        and max(part.block_size for part in parts) == block_size
    )
    if not sound:
        raise ValueError("not the weights of a mixture")
    return lambda contexts: mixture.logits(parts, weights, contexts), size


def _foreign(path: Path) -> UserError:
    return UserError(f"checkpoint={path} is not a checkpoint of makemore; name a run's {BEST} or its folder")
