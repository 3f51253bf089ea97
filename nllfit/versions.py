"""Checks that the installed versions of TensorFlow, TensorFlow Probability and tf-keras are compatible.

The packages are installed separately. With incompatible versions, an import fails with a traceback from inside one of
the packages. Importing this module reads the versions from the packages' metadata, without importing the packages. If
they are incompatible, it raises an `ImportError` that says what to install.
"""

import importlib.metadata
import re

__all__ = ["LOWEST", "mismatch"]

LOWEST = {"tensorflow": "2.19", "tensorflow-probability": "0.25", "tf-keras": "2.19"}  # the same as in setup.cfg


def mismatch(found: dict[str, str]) -> str | None:
    """Returns the error message for incompatible versions, or None if they are compatible.

    Args:
      found: the version of each package, by name.

    Example:
      >>> from nllfit.versions import mismatch
      >>> mismatch({"tensorflow": "2.21.0", "tensorflow-probability": "0.25.0", "tf-keras": "2.21.0"})
    """
    wrong = [name for name, version in found.items() if _minor(version) < _minor(LOWEST[name])]
    install = [f"'{name}>={LOWEST[name]}'" for name in wrong]
    tf_and_keras = found.get("tensorflow"), found.get("tf-keras")
    if None not in tf_and_keras and "tensorflow" not in wrong and _minor(tf_and_keras[0]) != _minor(tf_and_keras[1]):
        major, minor = _minor(tf_and_keras[0])
        install = [text for text in install if "tf-keras" not in text] + [f"'tf-keras=={major}.{minor}.*'"]
    elif "tensorflow" in wrong and "tf-keras" not in wrong:
        install.append("tf-keras")  # pip selects a compatible version
    if not install:
        return None
    installed = ", ".join(f"{name} {version}" for name, version in found.items())
    needed = ", ".join(f"{name}>={version}" for name, version in LOWEST.items())
    return (
        f"nllfit needs {needed} and a tf-keras of the same minor version as tensorflow, and found {installed}: run "
        f"`pip install --upgrade {' '.join(install)}`."
    )


def _minor(version):
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def _installed():
    """Returns the installed versions by package name. Does not find builds with other names, such as `tf-nightly`."""
    found = {}
    for name in LOWEST:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


if _message := mismatch(_installed()):
    raise ImportError(_message)
