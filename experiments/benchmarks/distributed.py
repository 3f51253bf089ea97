"""What does it cost to train on several machines, and is the result the same?

    python -m experiments.benchmarks.distributed --workers 2

`nllfit.fit` trains a classifier of scikit-learn's digits in one process, and then in several workers. The workers are
processes that TensorFlow's `MultiWorkerMirroredStrategy` connects. Each worker takes an equal part of every batch, and
finds the addresses of all workers in the environment variable `TF_CONFIG`. Here all workers run on one machine; the
commands for several machines are also printed. If a worker dies, the others cannot continue without its gradients, so
all workers are restarted and resume from the backup of the last epoch.

Expected: the weights of both runs agree to 1e-6. A step with several workers takes a few milliseconds longer than a
step in one process, because the gradients and the metrics are summed over the workers.
"""

import contextlib
import json
import os
import pathlib
import time

import numpy as np
import tensorflow as tf
from sklearn import datasets

import nllfit
from experiments import common
from experiments.benchmarks import worker_processes

NUM_IMAGES = 1797


def digits(batch_size):
    """Returns images of 64 intensities, and their labels.

    Rows that do not fill a batch are left out, because the workers must share each batch equally.
    """
    images, labels = datasets.load_digits(return_X_y=True)
    rows = len(images) // batch_size * batch_size
    return (images / 16).astype("float32")[:rows], labels[:rows]


def train(tools, arguments, strategy, callbacks=()):
    """Returns the trained model, its last loss and the seconds per step."""
    keras, layers = tools.keras, tools.keras.layers
    keras.utils.set_random_seed(arguments.seed)
    with strategy.scope() if strategy else contextlib.nullcontext():
        hidden = layers.Dense(arguments.units, "tanh")
        model = keras.Sequential([layers.Input((64,)), hidden, layers.Dense(10), tools.heads.Categorical(10)])
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), tools.loss)
    clock = _clock(keras)
    x, y = digits(arguments.batch_size)
    options = {"batch_size": arguments.batch_size, "epochs": arguments.epochs, "seed": arguments.seed}
    history = nllfit.fit(model, x, y, **options, compile="graph", callbacks=[clock, *callbacks], verbose=0)
    steps = len(x) // arguments.batch_size
    return model, history.history["loss"][-1:], np.median(clock.seconds[1:] or clock.seconds or [np.nan]) / steps


def _clock(keras):
    class Clock(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.seconds = []

        def on_epoch_begin(self, epoch, logs=None):
            self.start = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            self.seconds.append(time.perf_counter() - self.start)

    return Clock()


def work(tools, arguments):
    """Runs one worker, which trains together with the others in TF_CONFIG. The first worker writes the result."""
    if arguments.out is None:
        raise ValueError(
            "TF_CONFIG makes this process one of several workers: give --out, a folder that all of them see."
        )
    folder = pathlib.Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    is_first = strategy.cluster_resolver.task_id == 0
    backup = tools.keras.callbacks.BackupAndRestore(str(folder / "backup"))
    model, loss, seconds = train(tools, arguments, strategy, [backup])
    weights = model.get_weights()
    if is_first:
        np.savez(folder / "weights.npz", *weights)
        common.write_json(folder / "result.json", {"loss": loss, "seconds": seconds})
    return {"loss": loss, "seconds": seconds}


def run_workers(arguments, folder, argv):
    """Trains with workers on this machine, each of which writes a log.

    Returns the trained weights, and a dict with the last loss and the seconds per step.
    """
    module = ["experiments.benchmarks.distributed", *argv, "--out", str(folder)]
    worker_processes.run(arguments.workers, module, folder)
    with np.load(folder / "weights.npz") as file:
        weights = [file[name] for name in file.files]
    return weights, json.loads((folder / "result.json").read_text())


def main(argv=None):
    """Runs the experiment, or one of its workers if TF_CONFIG is set. Returns the metrics."""
    parser = common.parser(__doc__, "benchmarks.distributed")
    parser.add_argument("--workers", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=10, help="(default: %(default)s)")
    parser.add_argument(
        "--batch-size", type=int, default=192, help="rows per step of all workers (default: %(default)s)"
    )
    parser.add_argument("--units", type=int, default=256, help="units of the hidden layer (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), workers=2, epochs=1, batch_size=1, units=1)
    tools = common.toolkit(arguments.keras)
    if "TF_CONFIG" in os.environ:
        return work(tools, arguments)
    if arguments.batch_size > NUM_IMAGES:
        raise ValueError(f"--batch-size is {arguments.batch_size}: give at most {NUM_IMAGES}, the number of images.")
    if arguments.batch_size % arguments.workers:
        raise ValueError(
            f"{arguments.workers} workers cannot share batches of {arguments.batch_size} rows equally: "
            f"give a --batch-size that is divisible by {arguments.workers}."
        )
    flags = ["--epochs", "--batch-size", "--units", "--seed", "--keras"]
    argv = [text for name in flags for text in (name, str(getattr(arguments, name[2:].replace("-", "_"))))]
    with common.run_folder(arguments) as folder:
        model, loss, seconds = train(tools, arguments, None)
        weights, result = run_workers(arguments, folder, argv)
        metrics = {
            "parameters": int(model.count_params()),
            "weight_difference": common.largest_difference(weights, model.get_weights()),
            "loss": {"1": loss[-1], str(arguments.workers): result["loss"][-1]},
            "microseconds_per_step": {"1": 1e6 * seconds, str(arguments.workers): 1e6 * result["seconds"]},
        }
        common.write_json(folder / "metrics.json", metrics)
        show(metrics, arguments, argv)
    return metrics


def show(metrics, arguments, argv):
    """Prints the table, and the commands for several machines."""
    print(f"\n{metrics['parameters']} parameters, {4 * metrics['parameters'] / 1024:.0f} KiB of gradients a step")
    print(f"{'workers':>8}{'us a step':>12}{'loss':>12}{'weights differ by':>20}")
    for workers, difference in (("1", 0.0), (str(arguments.workers), metrics["weight_difference"])):
        microseconds, loss = metrics["microseconds_per_step"][workers], metrics["loss"][workers]
        print(f"{workers:>8}{microseconds:12.0f}{loss:12.6f}{difference:20.1e}")
    print("\nOn several machines, run one of these commands on each, with a FOLDER that all of them see:\n")
    for config in worker_processes.configs([f"machine{i}:12345" for i in range(arguments.workers)]):
        print(
            f"  TF_CONFIG='{config}' \\\n    python -m experiments.benchmarks.distributed {' '.join(argv)} --out FOLDER"
        )


if __name__ == "__main__":
    common.run(main)
