"""The data files of the tests: small ones beside them, larger ones in the folder that NLLFIT_DATA names."""

import json
import os
import pathlib

import pytest

DATA = pathlib.Path(__file__).parent / "data"


def data_file(name):
    """The path of a file or folder; the test is skipped where it is a download that is not here."""
    path = DATA / name
    if path.exists():
        return path
    path = downloaded(name)
    if not path.exists():
        pytest.skip(f"{name} is a download of your own: see tests/data/README.md")
    return path


def downloaded(name):
    """The path that a file or folder has, or would have, in the folder that NLLFIT_DATA names."""
    return pathlib.Path(os.environ.get("NLLFIT_DATA", "no folder")) / name


def oracles():
    """The maximum-likelihood answers that were certified, published or computed by other software."""
    return json.loads((DATA / "oracles.json").read_text())
