"""Where the time of a chunk of steps goes: the parts of a compiled step of the lecture's run.

    python -m benchmarks.parts

Each part is timed by itself, a thousand times in one compiled loop, best of twenty; together they should be close to
the whole step, which is timed as training calls it. The floor is the time of the six products if all went at the pace
of the fastest of them, or of PyTorch's product of large matrices if that is faster. Then a whole run is taken apart.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numba
import numpy as np
import torch
from hydra import compose, initialize_config_dir
from lightning.pytorch.loops.evaluation_loop import _EvaluationLoop

from benchmarks import measuring
from makemore.config import compose as configuration
from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models import registry
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp import numba_steps as compiled
from makemore.models.mlp.config import Init
from makemore.models.mlp.model import Model
from makemore.models.mlp.vectors import LANES
from makemore.training import run as training

ROOT = measuring.ROOT

VOCABULARY, BLOCK_SIZE, EMB_DIM, HIDDEN, ROWS = 27, 3, 10, 200, 32
REPEATS = 1000


def best(work: Callable[[], Any], times: int = 20) -> float:
    """Microseconds of the fastest of some calls."""
    work()
    return min(measuring.seconds(work) for _ in range(times)) * 1e6


def part(function: Callable[..., Any], *arguments: Any) -> float:
    """Microseconds of one call of a compiled function, without the price of calling it from Python."""

    @numba.njit
    def many(times, *arguments):  # type: ignore[no-untyped-def]
        for _ in range(times):
            function(*arguments)

    # Copies, because what one part leaves behind, huge or tiny numbers, may slow the next one down; by PyTorch, which
    # aligns them as those of training are.
    own = [torch.from_numpy(each).clone().numpy() if isinstance(each, np.ndarray) else each for each in arguments]
    return best(lambda: many(REPEATS, *own)) / REPEATS


def examples(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random examples of the bundled names: contexts (count, ROWS, BLOCK_SIZE), targets (count, ROWS)."""
    names = corpus.read(corpus.BUNDLED)
    windows = Windows.from_documents(names, Vocabulary.from_documents(names), BLOCK_SIZE)
    return windows.gather(torch.randint(len(windows), (count, ROWS), generator=torch.Generator().manual_seed(0)))


def parts() -> tuple[dict[str, float], dict[str, int]]:
    """Microseconds of each part of a step, and the multiplications and additions in each product."""
    chance = np.random.default_rng(0)

    def small(*shape: int) -> Any:
        return (chance.standard_normal(shape) * 1e-3).astype(np.float32)

    # A minibatch with as many different contexts, and pairs of position and token, as most have.
    batches = examples(101)[0]
    contexts = sorted(batches, key=lambda each: len(torch.unique(each, dim=0)))[50].numpy()
    distinct, which = np.empty((2, ROWS), np.int64)
    slots, numbers, tokens = np.full(512, -1), np.full(VOCABULARY, -1), np.empty(BLOCK_SIZE * ROWS, np.int64)
    n = compiled.find_distinct(contexts, distinct, which, slots)
    x = contexts[distinct[:n]]
    rows, starts = np.empty((BLOCK_SIZE, n), np.int64), np.empty(BLOCK_SIZE + 1, np.int64)
    compiled.number_pairs(x, numbers, tokens, rows, starts)
    pairs = int(starts[BLOCK_SIZE])
    k = round(pairs / BLOCK_SIZE)
    targets = chance.integers(0, VOCABULARY, ROWS)
    C, W1, W2t, T = small(VOCABULARY, EMB_DIM), small(EMB_DIM, HIDDEN), small(VOCABULARY, HIDDEN), small(pairs, HIDDEN)
    Cx, h, z, one = small(pairs, EMB_DIM), small(n, HIDDEN), small(VOCABULARY, n), small(k, HIDDEN)
    b1, b2, panel = small(HIDDEN), small(VOCABULARY), small(compiled.TERMS, 2 * LANES)
    repeats, most, sums, total = np.zeros(n, np.int64), small(n), small(n), small(HIDDEN)
    by_position = {
        "product C W1": part(compiled.multiply, one, Cx[:k], W1, False, panel),
        "add up dT": part(compiled.sum_rows, one, h, rows[0] % k, 0),
        "product dT W1'": part(compiled.inner_products, Cx[:k], one, W1),
        "update W1": part(compiled.multiply, W1, Cx[:k].T, one, True, panel),
        "add up dC": part(compiled.add_up, C, Cx[:k], tokens[:k]),
    }
    times = {name: BLOCK_SIZE * microseconds for name, microseconds in by_position.items()} | {
        "find equal contexts": part(compiled.find_distinct, contexts, distinct, which, slots),
        "number pairs": part(compiled.number_pairs, x, numbers, tokens, rows, starts),
        "look up C": part(compiled.look_up, Cx, C, tokens[:pairs]),
        "add b1": part(compiled.add_to_rows, one, b1),
        "add up rows of T": part(compiled.sum_looked_up, h, T, rows, BLOCK_SIZE),
        "tanh": part(compiled.tanh, h),
        "product h W2": part(compiled.inner_products, z, W2t, h),
        "add b2": part(compiled.add_to_columns, z, b2),
        "softmax and loss": part(compiled.cross_entropy, z, which % n, targets, h[:0], 0.0, repeats, most, sums),
        "product dz W2'": part(compiled.multiply, h, z.T, W2t, False, panel),
        "through tanh": part(compiled.through_tanh, h, small(n, HIDDEN)),
        "update W2": part(compiled.multiply, W2t, z, h, True, panel),
        "update b2": part(compiled.add_columns, b2, z),
        "update b1": part(compiled.add_rows, b1, h, total),
    }
    first, second = 2 * pairs * EMB_DIM * HIDDEN, 2 * n * VOCABULARY * HIDDEN
    work = dict.fromkeys(("product C W1", "product dT W1'", "update W1"), first)
    return times, work | dict.fromkeys(("product h W2", "product dz W2'", "update W2"), second)


def whole_step() -> float:
    """Microseconds of a step as training takes it, a thousand in a call."""
    generator = torch.Generator().manual_seed(0)
    drawn = mlp.initial(VOCABULARY, BLOCK_SIZE, EMB_DIM, HIDDEN, Init.kaiming, generator)
    p = mlp.hidden_innermost(drawn)
    network = compiled.Network(p, mlp.Parameters(*map(torch.zeros_like, p)))
    contexts, targets = examples(REPEATS)
    rates = [1e-3] * REPEATS
    return best(lambda: network.descend(contexts, targets, rates)) / REPEATS


def large_product_pace() -> float:
    """Operations a microsecond in PyTorch's product of matrices that fit in the cache and are large enough."""
    torch.set_num_threads(1)
    a, b = torch.randn(512, 512), torch.randn(512, 512)
    out = torch.empty(512, 512)
    return 2 * 512**3 / best(lambda: torch.mm(a, b, out=out))


def whole_run(steps: int = 200_000) -> dict[str, float]:
    """Where the seconds of `fit` go in a run of train.py with everything on."""
    spent: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                spent[name] += time.perf_counter() - started

        return wrapped

    configuration.register()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        nodes = compose("train", [f"steps={steps}"])
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch.multiple(Model, descend=timed("compiled steps", Model.descend)),
        mock.patch.multiple(Windows, gather=timed("gathering examples", Windows.gather)),
        mock.patch.multiple(
            _EvaluationLoop, run=timed("evaluations, with checkpoints and samples", _EvaluationLoop.run)
        ),
    ):
        metrics = training.run(configuration.check_run(nodes, registry.config_of), Path(folder))
    rest = metrics["fit_seconds"] - sum(spent.values())
    return {**spent, "Lightning, schedule, log, progress bar": rest, "fit": metrics["fit_seconds"]}


def main() -> None:
    """Prints the tables; writes results/parts.json."""
    (times, work), whole, pace = parts(), whole_step(), large_product_pace()
    for name, microseconds in times.items():
        print(f"{name:20}{microseconds:7.2f} µs  {'#' * round(10 * microseconds)}")
    products, operations = sum(times[name] for name in work), sum(work.values())
    floor = operations / max(pace, *(work[name] / times[name] for name in work))
    print(f"{'sum of the parts':20}{sum(times.values()):7.2f} µs, of which the six products {products:.2f}")
    print(f"{'a step in training':20}{whole:7.2f} µs")
    print(f"{'the floor':20}{floor:7.2f} µs: the six products, all at the pace of the fastest product measured here")
    print(f"{'for comparison':20}{operations / pace:7.2f} µs: at the pace of PyTorch's product of 512 x 512 x 512")
    run = whole_run()
    print("\n200,000 steps of train.py")
    for name, seconds in run.items():
        print(f"{name:45}{seconds:7.2f} s  {seconds / run['fit']:5.0%}")
    print(measuring.machine())
    measuring.keep("parts", {"parts": times, "step": whole, "floor": floor, "pace": pace, "run": run})


if __name__ == "__main__":
    main()
