"""Measure a trained model: `python evaluate.py` uses the newest run. `python evaluate.py --help` lists every key."""

from pathlib import Path
from typing import Any

try:
    import hydra
    from omegaconf import DictConfig

    from makemore import files
    from makemore.cli import main as cli
    from makemore.cli.imports import heavy_imports
    from makemore.cli.run_folder import carry_past_hydra
    from makemore.config import compose
    from makemore.config.schema import EvaluateConfig
except ModuleNotFoundError as missing:
    raise SystemExit(
        f"error: this Python has no {missing.name}; run 'make install', then 'source .venv/bin/activate'"
    ) from None
except KeyboardInterrupt:
    raise SystemExit(130) from None

CONF = Path(__file__).parent.resolve() / "conf"
OUTPUTS = Path("outputs")
compose.register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="evaluate")
def evaluate(nodes: DictConfig) -> None:
    """Prints losses in nats per token, and what else was asked for."""
    with carry_past_hydra():
        settings = compose.check_use(nodes, EvaluateConfig)
        with heavy_imports():
            from makemore.inference import comparison, evaluation, neighbours, page
            from makemore.models import model_file

        path = model_file.find(settings.checkpoint, OUTPUTS)
        trained = model_file.load(path)
        result: dict[str, Any] = {"checkpoint": str(path), "steps": trained.step}
        # The splits, unless only something else was asked for; with `against`, `data` is for the comparison.
        asked = settings.words or settings.neighbours or settings.explore
        if settings.against is None and (settings.data is not None or not asked):
            result["losses"] = evaluation.measure_documents(trained, settings.data)
        if settings.words:
            result["words"] = evaluation.measure_words(trained, settings.words)
        text = evaluation.format_result(trained, result)
        if settings.neighbours:
            result["neighbours"] = neighbours.measure_neighbours(trained, settings.neighbours)
            text += "\n\nnearest, with the cosine\n" + neighbours.format_neighbours(result["neighbours"])
        if settings.against is not None:
            other = model_file.find_file(Path(settings.against), "against")
            compared = comparison.compare(trained, model_file.load(other, "against"), settings.data)
            result["against"] = {"checkpoint": str(other), **compared}
            text += "\n\n" + comparison.format_comparison(compared, str(path), str(other), trained.layout)
        if settings.explore:
            written = page.write_page(trained, path)
            result["explore"] = str(written)
            text += f"\n\n{written} is for a browser: type a name, and see what the network expects next"
        # Flushed here, because Hydra passes over errors when it does it.
        print(files.to_json(result) if settings.json else text, flush=True)


if __name__ == "__main__":
    cli.main(evaluate, CONF, "evaluate")
