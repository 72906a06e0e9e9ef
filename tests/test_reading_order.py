"""The package's docstring lists every module in an order in which it can be read."""

import ast
import functools
from pathlib import Path

import makemore

ROOT = Path(makemore.__file__).parent


def list_modules() -> list[str]:
    """The modules of the docstring, in order: `errors`, `config.schema`, ..."""
    assert makemore.__doc__ is not None
    modules = []
    for line in makemore.__doc__.split("\n\n")[2].splitlines():
        folder, _, names = line.strip().rpartition(": ")
        modules += [f"{folder}.{name}".lstrip(".") for name in names.split(", ") if " " not in name]
    return modules


@functools.cache
def imports_of(path: Path) -> set[str]:
    """What a module imports from the package when it is imported itself, without `makemore.`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("makemore."):
            module = node.module.removeprefix("makemore.")
            is_folder = (ROOT / module.replace(".", "/")).is_dir()
            found |= {f"{module}.{name.name}" for name in node.names} if is_folder else {module}
    return found


def find_modules() -> set[str]:
    paths = (path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.parts) for path in paths}


def locate(module: str) -> Path:
    return ROOT / f"{module.replace('.', '/')}.py"


def is_in_a_model(module: str) -> bool:
    return module.startswith("models.") and module.count(".") == 2


def is_a_figure(module: str) -> bool:
    """Whether a module is a view that no other needs: an idea that can be added or removed alone."""
    return module.startswith("views.") and not any(module in imports_of(locate(other)) for other in find_modules())


def test_every_module_is_listed_once() -> None:
    local = {module for module in find_modules() if is_in_a_model(module) or is_a_figure(module)}
    assert sorted([*list_modules(), *local]) == sorted(find_modules())


def test_modules_import_only_from_those_above_them() -> None:
    listed = list_modules()
    for place, module in enumerate(listed):
        for imported in imports_of(locate(module)):
            assert is_in_a_model(imported) or imported in listed[:place], f"{module} imports {imported}"
    above = listed[: max(place for place, module in enumerate(listed) if module.startswith("views.")) + 1]
    for figure in filter(is_a_figure, find_modules()):
        for imported in imports_of(locate(figure)):
            assert is_in_a_model(imported) or imported in above, f"{figure} imports {imported}"
