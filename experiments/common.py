"""Functions that experiments share: flags, run folders, progress bars and one-line errors."""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import signal
import sys
import types
from collections.abc import Callable

import numpy as np
import tf_keras

import nllfit

__all__ = [
    "Toolkit",
    "checked",
    "failure",
    "kept",
    "largest_difference",
    "parser",
    "progress_bar",
    "run",
    "run_folder",
    "toolkit",
    "trained",
    "write_json",
]


HIGHEST_SEED = 2**31  # Keras and scikit-learn accept 32 bits, and experiments add small numbers to the seed


def parser(module_doc, name):
    """Returns a parser with the flags of all experiments. Its help shows the experiment's docstring."""
    result = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=f"python -m experiments.{name}",
        description=module_doc,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    result.add_argument(
        "--out",
        metavar="FOLDER",
        help="the run folder: a new or empty one, or that of an interrupted run\n(default: runs/NAME-TIME)",
    )
    result.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)")
    result.add_argument(
        "--keras", type=int, choices=(2, 3), default=2, help="tf_keras or Keras 3 (default: %(default)s)"
    )
    result.set_defaults(name=name.rpartition(".")[2])
    return result


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """One version of Keras, and the modules and the generic loss of `nllfit` for this version.

    `distribution(output)` returns the distribution that a model's output contains.
    """

    keras: types.ModuleType
    heads: types.ModuleType
    losses: types.ModuleType
    metrics: types.ModuleType
    loss: Callable
    distribution: Callable


def toolkit(version):
    """Returns the toolkit for Keras 2 (`tf_keras`) or Keras 3."""
    if version == 2:
        ours = nllfit.heads, nllfit.losses, nllfit.metrics, nllfit.negative_log_likelihood
        return Toolkit(tf_keras, *ours, lambda output: output)
    import keras

    from nllfit import keras3

    ours = keras3.heads, keras3.losses, keras3.metrics, keras3.NegativeLogLikelihood()
    return Toolkit(keras, *ours, lambda output: output.distribution)


def checked(arguments, **lowest):
    """Returns the arguments if they are valid.

    `lowest` contains the minimum valid value of each named argument. An argument may be a number or a list of numbers.
    Raises a `ValueError` if such a number is NaN or less than the minimum, or if the seed is not between 0 and
    `HIGHEST_SEED`.
    """
    for name, least in {"seed": 0, **lowest}.items():
        argument = getattr(arguments, name)
        if not np.min(argument) >= least:
            raise ValueError(f"--{name.replace('_', '-')} is {argument}: give at least {least}.")
    if arguments.seed > HIGHEST_SEED:
        raise ValueError(f"--seed is {arguments.seed}: give at most {HIGHEST_SEED}.")
    return arguments


@contextlib.contextmanager
def run_folder(arguments):
    """Opens the folder of a run. If `--out` is the folder of an interrupted run, that run is resumed.

    Until the run is complete, the subfolder `unfinished` contains intermediate results, such as trained networks.
    """
    out = _out(arguments)
    config, settings = out / "config.json", json.loads(json.dumps(vars(arguments) | {"out": None}))
    unfinished = out / "unfinished"
    if out.exists() and not unfinished.is_dir() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out} is not empty: give a new folder, so that nothing is overwritten.")
    previous = json.loads(config.read_text()) if config.exists() else settings
    if previous.get("name") != arguments.name:
        raise ValueError(f"--out {out} holds an unfinished run of {previous.get('name')}: give a new folder.")
    differ = [name for name in settings if previous.get(name) != settings[name]]
    if differ:
        raise ValueError(
            f"--out {out} holds an unfinished run with --{differ[0].replace('_', '-')} {previous.get(differ[0])}, not "
            f"{settings[differ[0]]}: give a new folder, or the flags of that run to resume it."
        )
    unfinished.mkdir(parents=True, exist_ok=True)
    write_json(config, settings)
    try:
        yield out
    except BaseException:
        print(f"\nunfinished: the same command with --out {out} resumes this run", file=sys.stderr)
        raise
    shutil.rmtree(unfinished)
    print(f"\nThe run is in {out}/", file=sys.stderr)  # on stderr, because stdout may be JSON


def kept(path, make):
    """Returns the values in a JSON file. If the file does not exist, first writes the values of `make()` to it."""
    if not path.exists():
        write_json(path, make())
    return json.loads(path.read_text())


def trained(model, path, train):
    """Trains a model with `train()`, saves weights and history in the file `path`, and returns the history.

    If the file exists, the model is not trained, and its weights and the history are read from the file.
    """
    if not path.exists():
        history, partial = train(), path.with_suffix(".part")
        with partial.open("wb") as file:
            np.savez(file, *model.get_weights(), epoch=history.epoch, **history.history)
        partial.replace(path)
    with np.load(path) as archive:
        model.set_weights([archive[f"arr_{i}"] for i in range(len(model.get_weights()))])
        history = {name: archive[name].tolist() for name in archive.files if not name.startswith("arr_")}
    return types.SimpleNamespace(epoch=history.pop("epoch"), history=history)


def _out(arguments):
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S-%f")  # %f: two runs may start in one second
    return pathlib.Path(arguments.out or f"runs/{arguments.name}-{time}")


def write_json(path, values):
    """Writes values to a JSON file in full precision. An interruption leaves no incomplete file."""
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(values, indent=2, default=float) + "\n")
    partial.replace(path)


def largest_difference(ours, theirs):
    """Returns the largest absolute difference between two lists of arrays, or NaN if one of the differences is NaN."""
    return float(np.max([np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)]))  # `max` could ignore NaN


def failure(done):
    """Returns why a process of `subprocess.run` failed: the last line of its standard error, or its signal."""
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}"
    return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]


def progress_bar(keras, title):
    """Returns a Keras callback that shows the losses and one progress bar for all epochs."""

    class ProgressBar(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            print(title)
            self.bar = keras.utils.Progbar(self.params["epochs"], unit_name="epoch")

        def on_epoch_end(self, epoch, logs=None):
            self.bar.stateful_metrics = set(logs)  # the bar shows the last values, not averages
            last = self.model.stop_training or epoch + 1 == self.bar.target
            self.bar.update(epoch + 1, list(logs.items()), finalize=last)

    return ProgressBar()


def run(main):
    """Runs an experiment from the command line. A user's mistake ends it with one line on stderr and exit status 2."""
    try:
        if callable(signal.getsignal(signal.SIGINT)):  # false in a shell's background process, which ignores SIGINT
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
        sys.stdout.flush()  # raises here if the pipe is closed
    except BrokenPipeError:  # a reader, such as `head`, closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's flush at exit must not fail
        sys.exit(128 + signal.SIGPIPE)  # the usual exit status after a closed pipe
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())  # an error may quote several lines of a file
        print("error:", "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
