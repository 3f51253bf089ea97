"""What does it cost to train on several machines, and is the result the same?

    python -m experiments.benchmarks.distributed --workers 2

`nllfit.fit` trains a classifier of scikit-learn's digits in one process, and then in several workers. The workers are
processes that TensorFlow's `MultiWorkerMirroredStrategy` connects. Each worker takes its share of every batch, and
finds the addresses of all workers in `TF_CONFIG`. Here all workers run on one machine; the commands for several
machines are also printed. If a worker dies, the others cannot continue without its gradients. Then all workers are
restarted and resume from the backup of the last epoch.

Expected: the weights agree to 1e-6. Steps are a few milliseconds longer, because the gradients and the metrics are
summed over the workers.
"""

import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf
from sklearn import datasets

import nllfit
from experiments import common

NUM_IMAGES = 1797
MOST_STARTS = 5
SECONDS_TO_REPORT = 10.0  # after a worker dies, the others have this time to log an error


def digits(batch_size):
    """Returns images of 64 intensities, and their labels.

    There are only whole batches, because the workers share each batch equally.
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
        raise ValueError("TF_CONFIG makes this a worker of several: give --out, a folder that all of them see.")
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


def configs(hosts):
    """Returns the value of TF_CONFIG for each worker. `hosts` are the addresses `host:port` of the workers."""
    return [
        json.dumps({"cluster": {"worker": hosts}, "task": {"type": "worker", "index": i}}) for i in range(len(hosts))
    ]


def free_ports(count):
    """Returns `count` free ports of this machine."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("localhost", 0))
        return [s.getsockname()[1] for s in sockets]


def supervise(start):
    """Runs the processes of `start()` until all succeed. If one process fails, all are restarted."""
    for _ in range(MOST_STARTS):
        processes = start()
        try:
            end = float("inf")
            while any(process.poll() is None for process in processes) and time.monotonic() < end:
                if any(process.poll() for process in processes):
                    end = min(end, time.monotonic() + SECONDS_TO_REPORT)
                time.sleep(0.1)
        finally:
            for process in processes:
                process.kill()  # no effect on a process that has ended
            codes = [process.wait() for process in processes]
        if not any(codes):
            return
        print(f"workers ended with {codes}: all are restarted from the backup", file=sys.stderr)
    raise ValueError(f"The workers died {MOST_STARTS} times: look at the logs in the run folder.")


def run_workers(arguments, folder, argv):
    """Trains with workers on this machine. Each writes a log. Returns the weights, and a dict of loss and seconds."""

    def start():
        hosts = [f"localhost:{port}" for port in free_ports(arguments.workers)]
        processes = []
        for i, config in enumerate(configs(hosts)):
            with (folder / f"worker-{i}.log").open("a") as log:
                command = [sys.executable, "-m", "experiments.benchmarks.distributed", *argv, "--out", str(folder)]
                environment = os.environ | {"TF_CONFIG": config}
                processes.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        print("workers:", *(process.pid for process in processes), file=sys.stderr)
        return processes

    supervise(start)
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
    given = ["--epochs", "--batch-size", "--units", "--seed", "--keras"]
    argv = [text for name in given for text in (name, str(getattr(arguments, name[2:].replace("-", "_"))))]
    with common.run_folder(arguments) as folder:
        model, loss, seconds = train(tools, arguments, None)
        weights, found = run_workers(arguments, folder, argv)
        metrics = {
            "parameters": int(model.count_params()),
            "weight_difference": common.largest_difference(weights, model.get_weights()),
            "loss": {"1": loss[-1], str(arguments.workers): found["loss"][-1]},
            "microseconds_per_step": {"1": 1e6 * seconds, str(arguments.workers): 1e6 * found["seconds"]},
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
    for config in configs([f"machine{i}:12345" for i in range(arguments.workers)]):
        print(
            f"  TF_CONFIG='{config}' \\\n    python -m experiments.benchmarks.distributed {' '.join(argv)} --out FOLDER"
        )


if __name__ == "__main__":
    common.run(main)
