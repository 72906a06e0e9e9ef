import contextlib
import gc
import importlib
import signal
import sys

import pytest

from makemore.cli.imports import UNUSED, heavy_imports


def test_libraries_that_no_run_uses_are_hidden_only_while_others_are_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in UNUSED:
        monkeypatch.delitem(sys.modules, name, raising=False)
    loaded = dict(sys.modules)
    with pytest.raises(ZeroDivisionError), heavy_imports():
        assert sys.modules["scipy.signal"].hamming is None
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("boto3")
        raise ZeroDivisionError
    assert sys.modules == loaded and gc.isenabled()


def test_a_library_that_is_loaded_already_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", sys)
    with heavy_imports():
        assert sys.modules["boto3"] is sys
    assert sys.modules["boto3"] is sys


def test_a_signal_while_libraries_are_imported_counts_afterwards() -> None:
    """Some extension modules swallow exceptions, as NumPy's importers do."""
    imported = False
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background processes ignore it
    try:
        with pytest.raises(KeyboardInterrupt), heavy_imports():
            with contextlib.suppress(BaseException):
                signal.raise_signal(signal.SIGINT)
            imported = True
        assert imported and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
