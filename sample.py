"""Make new names: `python sample.py` uses the newest run. `python sample.py --help` lists every key."""

import random
import sys
from pathlib import Path

try:
    import hydra
    from omegaconf import DictConfig

    from makemore.cli import main as cli
    from makemore.cli.imports import heavy_imports
    from makemore.cli.run_folder import carry_past_hydra
    from makemore.config import compose
    from makemore.config.schema import SampleConfig
    from makemore.errors import UserError, make_printable
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: this Python has no {missing.name}; run 'make install', then 'source .venv/bin/activate'"
    ) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

CONF = Path(__file__).parent.resolve() / "conf"
OUTPUTS = Path("outputs")
compose.register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="sample")
def sample(nodes: DictConfig) -> None:
    """Prints the names, one a line."""
    with carry_past_hydra():
        settings = compose.check_use(nodes, SampleConfig)
        with heavy_imports():
            from makemore.data.vocabulary import UNKNOWN
            from makemore.inference import sampling
            from makemore.models import model_file

        path = model_file.find(settings.checkpoint, OUTPUTS)
        model = model_file.load(path)
        tokens = model.vocabulary.tokens[1:]  # the first only stands for the boundary
        unknown = [word for word in model.vocabulary.split(settings.prefix) if word not in tokens]
        if unknown and UNKNOWN in tokens:
            words = " ".join(map(make_printable, unknown))
            print(f"prefix: the model does not know {words}, and reads {UNKNOWN} instead", file=sys.stderr)
        seed = random.getrandbits(32) if settings.seed is None else settings.seed
        printed = 0
        for name, known in sampling.sample_by_settings(model, settings, seed):
            shown = sampling.format_sample(model, name)
            print(f"{shown} *" if known and settings.mark_known else shown)
            printed += 1
        if printed < settings.n:
            raise UserError(
                f"novel=true found only {printed} of n={settings.n} names before {sampling.MOST_FRUITLESS:,} known "
                "ones in a row; try a higher temperature or another prefix"
            )
        sys.stdout.flush()
        print(f"from {path} after {model.step:,} steps; seed={seed} makes these names again", file=sys.stderr)


if __name__ == "__main__":
    cli.main(sample, CONF, "sample")
