"""The two lists of tested versions agree."""

import re
import sys

from packaging.requirements import Requirement

from tests.helpers import ROOT


def read_pins(name: str) -> dict[str, str]:
    """The versions that a file of constraints gives this Python's packages, by their normalized names."""
    lines = (line.partition("#")[0].rstrip("\\ \n") for line in (ROOT / name).read_text().splitlines())
    pins = [Requirement(line) for line in lines if "==" in line]
    # Hashes are for no later one.
    here = {"python_version": f"3.{min(sys.version_info[1], 13)}"}
    return {
        re.sub("[-_.]+", "-", pin.name).lower(): str(pin.specifier)
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(here)
    }


def test_hashed_versions_are_those_of_the_constraints() -> None:
    tested = read_pins("constraints.txt")
    del tested["torch"]
    assert read_pins("constraints-hashed.txt") == tested


def test_every_hashed_version_has_a_hash() -> None:
    entries = re.split(r"^(?=\S)", (ROOT / "constraints-hashed.txt").read_text(), flags=re.MULTILINE)
    pins = [entry for entry in entries if "==" in entry]
    assert len(pins) > 100 and all("--hash=sha256:" in entry for entry in pins)
