"""Incompatible versions of TensorFlow, TFP and Keras raise one clear error when `nllfit` is imported."""

import configparser
import os
import pathlib
import re
import subprocess
import sys

import pytest

from nllfit.versions import LOWEST, mismatch

ROOT = pathlib.Path(__file__).parents[1]
FITTING = {"tensorflow": "2.21.0", "tensorflow-probability": "0.25.0", "tf-keras": "2.21.1"}


def test_compatible_versions_match_the_package_metadata():
    setup = configparser.ConfigParser(interpolation=None)
    setup.read(ROOT / "setup.cfg")
    asked = dict(re.findall(r"(\S+) >= ([\d.]+)", setup["options"]["install_requires"]))
    assert {name: asked[name] for name in LOWEST} == LOWEST
    assert mismatch(LOWEST) is None


@pytest.mark.parametrize(
    ("found", "command"),
    [
        ({}, None),
        ({"tensorflow": "2.22.0rc1", "tf-keras": "2.22.0"}, None),
        ({"tf-keras": "2.19.0"}, "'tf-keras==2.21.*'"),
        ({"tf-keras": "2.18.0"}, "'tf-keras==2.21.*'"),
        ({"tf-keras": "2.22.0"}, "'tf-keras==2.21.*'"),
        ({"tensorflow": "2.18.1"}, "'tensorflow>=2.19' tf-keras"),
        ({"tensorflow": "2.18.1", "tf-keras": "2.18.0"}, "'tensorflow>=2.19' 'tf-keras>=2.19'"),
        ({"tensorflow-probability": "0.24.0"}, "'tensorflow-probability>=0.25'"),
        (
            {"tensorflow-probability": "0.24.0", "tf-keras": "2.20.0"},
            "'tensorflow-probability>=0.25' 'tf-keras==2.21.*'",
        ),
    ],
)
def test_a_mismatch_is_reported_with_the_command_that_fixes_it(found, command):
    message = mismatch(FITTING | found)
    if command is None:
        assert message is None
    else:
        assert message.endswith(f"run `pip install --upgrade {command}`.")
        assert all(f"{name} {version}" in message for name, version in (FITTING | found).items())


def test_builds_under_another_name_are_not_checked():
    assert mismatch({"tensorflow-probability": "0.25.0", "tf-keras": "2.21.0"}) is None


def test_the_import_error_has_no_traceback(tmp_path):
    old = tmp_path / "tf_keras-2.18.0.dist-info"
    old.mkdir()
    (old / "METADATA").write_text("Metadata-Version: 2.1\nName: tf-keras\nVersion: 2.18.0\n")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    program = [sys.executable, "-c", "import nllfit"]
    result = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: nllfit needs tensorflow>=2.19")
    assert "tf-keras 2.18.0" in last
    assert "tensorflow/" not in result.stderr  # no traceback from inside TensorFlow
