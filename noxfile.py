"""The suite on every Python, and on the oldest and the newest TensorFlow, that setup.cfg names: `nox`."""

import configparser
import re

import nox

nox.options.default_venv_backend = "venv"

_SETUP = configparser.ConfigParser(interpolation=None)
_SETUP.read("setup.cfg")
PYTHONS = re.findall(r"Python :: (3\.\d+)", _SETUP["metadata"]["classifiers"])
_REQUIRED = _SETUP["options"]["install_requires"]
OLDEST = [f"{name}=={version}" for name, version in re.findall(r"(\S+) >= ([\d.]+)", _REQUIRED)]
PINNED = re.findall(r"(\S+).* < ", _REQUIRED)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """The newest versions that the pins allow, and all tests."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "--thorough", *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The oldest TensorFlow, TensorFlow Probability and tf-keras; only the newest tools check the style."""
    session.install("-e", ".[test]", *OLDEST)
    session.run("python", "-m", "pytest", "--ignore=tests/test_style.py", *session.posargs)


@nox.session(python=PYTHONS[-1], default=False)
def beyond(session: nox.Session) -> None:
    """Versions above the upper pins, pre-releases included: the canaries first, then the suite."""
    session.install("-e", ".[test]")
    session.install("--upgrade", "--pre", *PINNED)
    session.run("python", "-m", "pip", "list")
    session.run("python", "-m", "pytest", "tests/adapters/test_canaries.py")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=PYTHONS[-1])
def docs(session: nox.Session) -> None:
    """The site: its build runs the tutorials, and a warning is an error."""
    session.install("-e", ".[docs]")
    session.run("mkdocs", "build", "--strict")
