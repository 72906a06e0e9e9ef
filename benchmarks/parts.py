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
from makemore.data.windows import Windows
from makemore.models import registry
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp import numba_steps as compiled
from makemore.models.mlp.config import Init
from makemore.models.mlp.model import Model
from makemore.training import run as training

ROOT = Path(__file__).parent.parent

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

    return best(lambda: many(REPEATS, *arguments)) / REPEATS


def parts() -> dict[str, float]:
    """Microseconds of each part of a step."""
    chance = np.random.default_rng(0)

    def small(*shape: int) -> Any:
        return (chance.standard_normal(shape) * 1e-3).astype(np.float32)

    inputs = BLOCK_SIZE * EMB_DIM
    contexts = chance.integers(0, VOCABULARY, (ROWS, BLOCK_SIZE))
    targets = chance.integers(0, VOCABULARY, ROWS)
    C, W1, W2t = small(VOCABULARY, EMB_DIM), small(inputs, HIDDEN), small(VOCABULARY, HIDDEN)
    e, h, z = small(ROWS, inputs), small(ROWS, HIDDEN), small(ROWS, VOCABULARY)
    b1, b2, sums = small(HIDDEN), small(VOCABULARY), small(compiled.BLOCK, HIDDEN)
    return {
        "look up C": part(compiled.look_up, e, C, contexts),
        "product e W1": part(compiled.add_product, h, e, W1),
        "copy b1": part(compiled.repeat, h, b1),
        "tanh": part(compiled.tanh, h),
        "product h W2": part(compiled.inner_products, z, h, W2t),
        "add b2": part(compiled.add_to_rows, z, b2),
        "softmax and loss": part(compiled.cross_entropy, z, targets, z[:0], 0.0),
        "product dz W2'": part(compiled.add_product, h, z, W2t),
        "through tanh": part(compiled.through_tanh, h, small(ROWS, HIDDEN)),
        "product da W1'": part(compiled.inner_products, e, h, W1),
        "update W2": part(compiled.add_sums, W2t, z.T, h, sums),
        "update b2": part(compiled.add_rows, b2, z),
        "update W1": part(compiled.add_sums, W1, e.T, h, sums),
        "update b1": part(compiled.add_rows, b1, h),
        "update C": part(compiled.add_up, C, e, contexts),
    }


def whole_step() -> float:
    """Microseconds of a step as training takes it, a thousand in a call."""
    generator = torch.Generator().manual_seed(0)
    drawn = mlp.initial(VOCABULARY, BLOCK_SIZE, EMB_DIM, HIDDEN, Init.kaiming, generator)
    p = mlp.hidden_innermost(drawn)
    network = compiled.Network(p, mlp.Parameters(*map(torch.zeros_like, p)))
    contexts = torch.randint(VOCABULARY, (REPEATS, ROWS, BLOCK_SIZE), generator=generator)
    targets = torch.randint(VOCABULARY, (REPEATS, ROWS), generator=generator)
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
    times = parts()
    whole, pace = whole_step(), large_product_pace()
    for name, microseconds in times.items():
        print(f"{name:20}{microseconds:7.2f} µs  {'#' * round(10 * microseconds)}")
    products = {
        name: us for name, us in times.items() if name.startswith("product") or name in ("update W1", "update W2")
    }
    operations = 6 * ROWS * HIDDEN * (BLOCK_SIZE * EMB_DIM + VOCABULARY)
    per_term = 2 * ROWS * HIDDEN
    terms = {"product h W2": VOCABULARY, "product dz W2'": VOCABULARY, "update W2": VOCABULARY}
    paces = [per_term * terms.get(name, BLOCK_SIZE * EMB_DIM) / us for name, us in products.items()]
    floor = operations / max(*paces, pace)
    print(
        f"{'sum of the parts':20}{sum(times.values()):7.2f} µs, of which the six products {sum(products.values()):.2f}"
    )
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
