"""`makemore train|sample|evaluate ...` from any folder: the scripts of the project by one command."""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPTS = ("train", "sample", "evaluate")


def main() -> None:
    """Runs the script that the first argument names, with the arguments after it."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print(f"usage: makemore {'|'.join(SCRIPTS)} [KEY=VALUE ...]      makemore train --help lists every key")
        return
    if name not in SCRIPTS:
        sys.exit(f"error: {name} is not a command; it must be one of {', '.join(SCRIPTS)}: makemore train steps=2000")
    script = ROOT / f"{name}.py"
    if not script.exists():
        sys.exit(f"error: {script} is missing; install the project from its folder: python -m pip install -e .")
    sys.argv = [str(script), *sys.argv[2:]]
    runpy.run_path(str(script), run_name="__main__")
