"""The data files of the tests.

Small files are in `tests/data`. Downloads are in the folder that the environment variable `NLLFIT_DATA` names.
"""

import json
import os
import pathlib

import pytest

DATA = pathlib.Path(__file__).parent / "data"


def data_file(name):
    """The path of a file or folder; skips the test if the file is a download and is missing."""
    path = DATA / name
    if path.exists():
        return path
    path = downloaded(name)
    if not path.exists():
        pytest.skip(f"{name} is a download of your own: see tests/data/README.md")
    return path


def downloaded(name):
    """The path of a file or folder in the folder that NLLFIT_DATA names, whether it exists or not."""
    return pathlib.Path(os.environ.get("NLLFIT_DATA", "no folder")) / name


def oracles():
    """Maximum-likelihood estimates from publications, from other software and from NIST's certificates."""
    return json.loads((DATA / "oracles.json").read_text())
