"""A new run that begins with the weights of a trained model, to train them on other data (fine-tuning)."""

from pathlib import Path

from makemore.data.vocabulary import Vocabulary
from makemore.errors import UserError
from makemore.models import model_file
from makemore.models.base import LanguageModel


def load_weights(model: LanguageModel, path: str, vocabulary: Vocabulary) -> None:
    """Gives a new model the weights of a trained one.

    Raises:
        UserError: there is none, or its name, context, vocabulary, a size or one of its `function_keys` is another.
    """
    trained = model_file.load(Path(path), "start_from")
    theirs = {
        "model": trained.model.config.name,
        "data.block_size": trained.block_size,
        "tokens": trained.vocabulary,
    }
    ours = {
        "model": model.config.name,
        "data.block_size": model.block_size,
        "tokens": vocabulary,
    }
    if theirs["model"] == ours["model"]:
        theirs |= {f"model.{key}": getattr(trained.model.config, key) for key in model.function_keys}
        ours |= {f"model.{key}": getattr(model.config, key) for key in model.function_keys}
    state = trained.model.state_dict()
    theirs |= {f"{name} of shape": list(tensor.shape) for name, tensor in state.items()}
    ours |= {f"{name} of shape": list(tensor.shape) for name, tensor in model.state_dict().items()}
    for what in ours | theirs:
        if ours.get(what) != theirs.get(what):
            raise UserError(
                f"start_from={path} has {what}={theirs.get(what)}, but this run has {what}={ours.get(what)}"
            )
    model.load_state_dict(state)
