"""What every experiment shares: its flags, its run folder, its progress bar and its one-line errors."""

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
    "kept",
    "parser",
    "progress_bar",
    "run",
    "run_folder",
    "toolkit",
    "trained",
    "write_json",
]


def parser(module_doc, name):
    """A parser that shows the experiment's docstring and has the flags that all experiments have."""
    result = argparse.ArgumentParser(
        allow_abbrev=False,
        prog=f"python -m experiments.{name}",
        description=module_doc,
        formatter_class=argparse.RawTextHelpFormatter,
    )
    result.add_argument(
        "--out",
        metavar="FOLDER",
        help="the run folder: new, empty, or of this command cut short\n(default: runs/NAME-TIME)",
    )
    result.add_argument("--seed", type=int, default=0, help="of all random numbers (default: %(default)s)")
    result.add_argument(
        "--keras", type=int, choices=(2, 3), default=2, help="tf_keras or Keras 3 (default: %(default)s)"
    )
    result.set_defaults(name=name)
    return result


@dataclasses.dataclass(frozen=True)
class Toolkit:
    """One Keras, what `nllfit` has for it, the generic loss, and the distribution of a model's output."""

    keras: types.ModuleType
    heads: types.ModuleType
    losses: types.ModuleType
    metrics: types.ModuleType
    loss: Callable
    distribution: Callable


def toolkit(version):
    """The toolkit of Keras 2, which is `tf_keras`, or 3."""
    if version == 2:
        ours = nllfit.heads, nllfit.losses, nllfit.metrics, nllfit.negative_log_likelihood
        return Toolkit(tf_keras, *ours, lambda output: output)
    import keras

    from nllfit import keras3

    ours = keras3.heads, keras3.losses, keras3.metrics, keras3.NegativeLogLikelihood()
    return Toolkit(keras, *ours, lambda output: output.distribution)


def checked(arguments, **lowest):
    """The arguments, if each one named in `lowest` is at least that."""
    for name, value in {"seed": 0, **lowest}.items():
        if getattr(arguments, name) < value:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}: give at least {value}.")
    return arguments


@contextlib.contextmanager
def run_folder(arguments):
    """A folder to write a run to: a new one, or one in which the same command was cut short, which goes on.

    Until all of it is written it holds a folder `unfinished`, with the parts that need not be made twice.
    """
    out = _out(arguments)
    config, given = out / "config.json", json.loads(json.dumps(vars(arguments) | {"out": None}))
    unfinished = out / "unfinished"
    if out.exists() and not unfinished.is_dir() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"--out {out} holds something already: name a new folder, so that nothing is overwritten.")
    begun = json.loads(config.read_text()) if config.exists() else given
    other = [name for name in given if begun.get(name) != given[name]]
    if other:
        raise ValueError(
            f"--out {out} holds an unfinished run with --{other[0].replace('_', '-')} {begun.get(other[0])}, not "
            f"{given[other[0]]}: name a new folder, or give what was given there to go on with it."
        )
    unfinished.mkdir(parents=True, exist_ok=True)
    write_json(config, given)
    try:
        yield out
    except BaseException:
        print(f"\nunfinished: the same command with --out {out} goes on from here", file=sys.stderr)
        raise
    shutil.rmtree(unfinished)
    print(f"\nThe run is in {out}/", file=sys.stderr)  # standard output may be JSON


def kept(path, make):
    """The plain values that `make()` gives; or gave, where a run that was cut short has written them."""
    if not path.exists():
        write_json(path, make())
    return json.loads(path.read_text())


def trained(model, path, train):
    """The history of a model's training by `train()`; where a run that was cut short did, it gets the weights."""
    if not path.exists():
        history, part = train(), path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez(file, *model.get_weights(), epoch=history.epoch, **history.history)
        part.replace(path)
    with np.load(path) as found:
        model.set_weights([found[f"arr_{i}"] for i in range(len(model.get_weights()))])
        history = {name: found[name].tolist() for name in found.files if not name.startswith("arr_")}
    return types.SimpleNamespace(epoch=history.pop("epoch"), history=history)


def _out(arguments):
    time = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return pathlib.Path(arguments.out or f"runs/{arguments.name}-{time}")


def write_json(path, values):
    """Writes plain values to a file, numbers in full, whole or not at all."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(values, indent=2, default=float) + "\n")
    part.replace(path)


def progress_bar(keras, title):
    """A callback of that Keras: one bar over all the epochs, with the losses."""

    class ProgressBar(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            print(title)
            self.bar = keras.utils.Progbar(self.params["epochs"], unit_name="epoch")

        def on_epoch_end(self, epoch, logs=None):
            self.bar.stateful_metrics = set(logs)  # shown as they are; the bar would average them over the epochs
            last = self.model.stop_training or epoch + 1 == self.bar.target
            self.bar.update(epoch + 1, list(logs.items()), finalize=last)

    return ProgressBar()


def run(main):
    """Runs an experiment from the command line: what the user can mend is one line on standard error and status 2."""
    try:
        if callable(signal.getsignal(signal.SIGINT)):  # it is not ignored, as in a shell's background
            signal.signal(signal.SIGINT, signal.default_int_handler)
        main()
        sys.stdout.flush()  # so that a closed pipe is told here
    except BrokenPipeError:  # the reader, such as `head`, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more as it ends
        sys.exit(128 + signal.SIGPIPE)  # as of other programs in a pipe
    except (OSError, ValueError) as error:
        text = " ".join(str(error).split())  # a file's own words may be in it
        print("error:", "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
