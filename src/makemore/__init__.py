"""makemore: train neural probabilistic language models on names, look at what they learned, generate new names.

Every folder is a layer. Read the modules in this order; each imports only from those before it.

    errors, files, threads, machine, memory, standard_streams, randomness
    config: status, schema, compose
    data: brown, corpus, vocabulary, split, documents, cache, windows, spans, dataset, minibatches, datamodule
    models: base, sequence, registry, model_file, contract
    inference: units, spacing, sampling, evaluation, comparison, neighbours, tsne, projection, page
    views: style, show, tokens, and a file for each figure
    training: processes, parallel, schedule, instantiation, distillation, steps, execution, memory, hyperparameters
    training: saving, module, callbacks, pruning, mlflow_logger, report, start_from, run
    sweeps: folder, progress, command, job, table, figures, report
    cli: hydra_fixes, imports, arguments, resume, run_folder, mistakes, main, console
    api

`config` turns what Hydra composed into checked settings. `data` turns a text file into documents, ids, examples and
batches. `models` holds what every model has, and a folder for each: `NAME/config`, `NAME/model` and its mathematics.
`inference` draws names and measures losses; `views` has one file for each figure; `training` is one run, start to
finish; `sweeps` is many runs; `cli` is how the scripts speak to a person, and `api` is for Python.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from makemore.api import Model, add_model, load, train

__all__ = ["Model", "add_model", "load", "train"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Loads `makemore.api`, and PyTorch with it, only when something of it is used."""
    if name not in __all__:
        raise AttributeError(f"module 'makemore' has no attribute {name!r}")
    from makemore import api

    return getattr(api, name)
