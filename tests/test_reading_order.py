"""The package's docstring lists every module in an order in which it can be read."""

import ast
from pathlib import Path

import makemore

ROOT = Path(makemore.__file__).parent


def list_modules() -> list[str]:
    """The modules of the docstring, in order: `errors`, `config.schema`, ..."""
    assert makemore.__doc__ is not None
    modules = []
    for line in makemore.__doc__.split("\n\n")[2].splitlines():
        folder, _, names = line.strip().rpartition(": ")
        modules += [f"{folder}.{name}".lstrip(".") for name in names.split(", ")]
    return modules


def imports_of(path: Path) -> set[str]:
    """What a module imports from the package when it is imported itself, without `makemore.`."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("makemore."):
            module = node.module.removeprefix("makemore.")
            is_folder = (ROOT / module.replace(".", "/")).is_dir()
            found |= {f"{module}.{name.name}" for name in node.names} if is_folder else {module}
    return found


def is_in_a_model(module: str) -> bool:
    return module.startswith("models.") and module.count(".") == 2


def test_every_module_is_listed_once() -> None:
    there = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in ROOT.rglob("*.py")
        if path.name != "__init__.py"
    }
    listed = list_modules()
    assert sorted(listed) == sorted(module for module in there if not is_in_a_model(module))


def test_modules_import_only_from_those_above_them() -> None:
    listed = list_modules()
    for place, module in enumerate(listed):
        path = ROOT / f"{module.replace('.', '/')}.py"
        for imported in imports_of(path):
            assert is_in_a_model(imported) or imported in listed[:place], f"{module} imports {imported}"
