"""Training on two replicas, which are two devices or two processes, gives the same result as training on one."""

import json
import os
import pathlib
import subprocess
import sys
import threading
import time
import types

import pytest
import tensorflow as tf

from experiments.benchmarks import distributed
from nllfit.training.failures import lost_worker_named
from tests.keras_versions import KITS

ROOT = pathlib.Path(__file__).parents[2]

TWO_DEVICES = """
import contextlib, json, sys
import numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, 2 * [tf.config.LogicalDeviceConfiguration()])
import keras, tf_keras
import nllfit, nllfit.keras3
from experiments.benchmarks.worker_processes import free_ports
from tests.keras_versions import KITS

rng = np.random.default_rng(0)
x = rng.normal(size=[48, 3]).astype("float32")
y = x[:, :1] + rng.normal(size=[48, 1]).astype("float32")
held_out = x[:17], y[:17]  # batches of 16 rows and of one, so one replica gets no row
rows = tf.data.Dataset.from_tensor_slices((x, y)).batch(16, drop_remainder=True)


def same(ours, theirs):
    return max(float(np.max(np.abs(np.subtract(a, b)))) for a, b in zip(ours, theirs, strict=True))


def make(kit, strategy, layer=None):
    kit.keras.utils.set_random_seed(0)
    layers = kit.keras.layers
    with strategy.scope() if strategy else contextlib.nullcontext():
        layer = layer() if layer else layers.Dense(1)
        model = kit.keras.Sequential([layers.Input((3,)), layer, kit.heads.Normal(shared=("scale",))])
        optimizer = kit.keras.optimizers.SGD(0.1, momentum=0.9)  # unlike Adam, it depends on the scale of a gradient
        model.compile(optimizer, kit.loss, metrics=[kit.metrics.NegativeLogLikelihood()])
    return model


found = {}
for kit in KITS:
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    one, two = make(kit, None), make(kit, strategy)
    runs = {
        "arrays": ([x, y], [x, y], {"batch_size": 16, "validation_data": held_out, "seed": 1}),
        "a dataset": ([rows], [rows], {}),
        "a distributed dataset": ([rows], [strategy.experimental_distribute_dataset(rows)], {}),
    }
    for name, (data, of_two, options) in runs.items():
        options = options | {"epochs": 2, "verbose": 0}
        a = nllfit.fit(one, *data, compile="graph", **options).history
        b = nllfit.fit(two, *of_two, **options).history
        assert a.keys() == b.keys()
        found[f"{kit.keras.__name__}, {name}"] = [
            same(a.values(), b.values()), same(one.get_weights(), two.get_weights())
        ]
    with strategy.scope():
        head = kit.heads.Normal(as_tensor="sample", seed=1)
        head.build((None, 2))
    draws = tf.function(lambda: strategy.run(lambda: tf.convert_to_tensor(head(tf.zeros([3, 2])))))()
    draws = [part.numpy().ravel() for part in strategy.experimental_local_results(draws)]
    found[f"{kit.keras.__name__}, equal draws"] = int(np.sum(draws[0] == draws[1]))
    a, b = make(kit, None), make(kit, strategy)  # the second is trained by Keras itself
    options = {"batch_size": 16, "shuffle": False, "verbose": 0}
    a, b = nllfit.fit(a, x, y, **options).history, b.fit(x, y, **options).history
    names = sorted(a)
    found[f"{kit.keras.__name__}, by Keras"] = [same([a[n] for n in names], [b[n] for n in names]), 0]
    uncertain = {tf_keras: nllfit.layers, keras: nllfit.keras3.layers}[kit.keras].DenseVariational
    pair = [make(kit, s, lambda: uncertain(1, kl_weight="1/n", prior=10.0)) for s in (None, strategy)]
    for model in pair:  # so little spread that all draws are the means
        layer = model.layers[0]
        layer.set_weights([np.r_[[0.1] * 4, [-14.0] * 4], *layer.get_weights()[1:]])
    histories = [nllfit.fit(model, x, y, epochs=2, seed=1, **options).history.values() for model in pair]
    found[f"{kit.keras.__name__}, uncertain weights"] = same(*histories)
    weights = two.get_weights()
    central = make(kit, tf.distribute.experimental.CentralStorageStrategy(["CPU:0", "CPU:1"]))
    errors = []
    for model, arguments in (
        (two, {"batch_size": 15}), (two, {"batch_size": 32, "compile": "xla"}), (two, {"batch_size": 20}), (central, {})
    ):
        try:
            nllfit.fit(model, x[:47], y[:47], **arguments)
        except ValueError as error:
            errors.append(str(error))
    found[f"{kit.keras.__name__}, errors"] = errors
    found[f"{kit.keras.__name__}, untouched"] = same(weights, two.get_weights()) == 0

cluster = tf.train.ClusterSpec({job: [f"localhost:{port}"] for job, port in zip(("worker", "ps"), free_ports(2))})
servers = [tf.distribute.Server(cluster, job_name=job, task_index=0) for job in cluster.jobs]
of_servers = tf.distribute.ParameterServerStrategy(
    tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, rpc_layer="grpc"))
try:
    nllfit.fit(make(KITS[0], of_servers), x, y)
except ValueError as error:
    found["servers"] = str(error)
print(json.dumps(found))
"""


@pytest.mark.thorough
def test_two_devices_give_the_same_result_as_one():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", TWO_DEVICES]
    result = subprocess.run(program, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    found = json.loads(result.stdout.splitlines()[-1])
    numbers = {what: values for what, values in found.items() if what.endswith(("arrays", "dataset", "by Keras"))}
    assert {what.partition(", ")[2] for what in numbers} == {"arrays", "a dataset", "a distributed dataset", "by Keras"}
    assert [found[f"{kit.keras.__name__}, equal draws"] for kit in KITS] == [0, 0]
    assert all(number < 1e-4 for what, number in found.items() if what.endswith("uncertain weights"))
    for what, (history, weights) in numbers.items():
        assert history < 2e-6, what  # rounding of float32 in about 10 steps
        assert weights < 1e-6, what
    assert "several devices by a ParameterServerStrategyV2: give one of MirroredStrategy" in found["servers"]
    for kit in KITS:
        name = kit.keras.__name__
        assert found[f"{name}, untouched"]
        uneven, xla, last, central = found[f"{name}, errors"]
        assert "a batch has 15 rows, which 2 replicas cannot share equally" in uneven.lower()
        assert "a batch has 7 rows" in last.lower()
        assert '`compile` is "xla"' in xla
        assert "by a CentralStorageStrategy: give one of MirroredStrategy, MultiWorkerMirroredStrategy" in central


def test_a_lost_worker_is_named_with_advice(monkeypatch):
    cluster = tf.train.ClusterSpec({"worker": ["machine0:12345", "machine1:12346"]})
    strategy = types.SimpleNamespace(cluster_resolver=tf.distribute.cluster_resolver.SimpleClusterResolver(cluster))
    monkeypatch.setenv("TF_CONFIG", "{}")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "of mine"])
    found = (
        "Collective ops is aborted by: Connection reset by peer\nfrom remote target /job:worker/replica:0/task:1 while"
    )
    expected = (
        r"Worker 1 at machine1:12346 is lost \(Connection reset by peer\).* by `TF_CONFIG='\{\}' python -m 'of mine'`"
    )
    with pytest.raises(ConnectionError, match=expected), lost_worker_named(strategy):
        raise tf.errors.UnavailableError(None, None, found)
    with pytest.raises(tf.errors.UnavailableError, match="busy"), lost_worker_named(strategy):
        raise tf.errors.UnavailableError(None, None, "busy")


@pytest.mark.parametrize(
    ("workers", "message", "expected"),
    [
        (
            2,
            "{here}: Collective ops is aborted by: {other}:\nSocket closed\n",
            r"Worker 1 at m1:1 is lost \(Socket closed\)",
        ),
        (2, "{here}: Collective ops is aborted by: Shut down.", r"Worker 1 at m1:1 is lost \(Shut down\)"),
        (3, "{here}: no answer", "A worker is lost, and"),
        (3, "{here}: no answer of {other}", "Worker 1 at m1:1 is lost, and"),
    ],
)
def test_the_lost_worker_is_read_from_the_messages_of_others(workers, message, expected):
    cluster = tf.train.ClusterSpec({"worker": [f"m{i}:1" for i in range(workers)]})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(cluster, task_type="worker", task_id=0)
    here, other = (f"/job:worker/replica:0/task:{i}" for i in range(2))
    with (
        pytest.raises(ConnectionError, match=expected),
        lost_worker_named(types.SimpleNamespace(cluster_resolver=resolver)),
    ):
        raise tf.errors.UnavailableError(None, None, message.format(here=here, other=other))


@pytest.mark.parametrize(
    ("workers", "batch_size", "text"),
    [
        (3, 256, "3 workers cannot share batches of 256 rows equally"),
        (1, 256, "--workers is 1: give at least 2"),
        (2, 1798, "--batch-size is 1798: give at most 1797, the number of images"),
    ],
)
def test_batches_that_the_workers_of_the_benchmark_cannot_share_are_refused(workers, batch_size, text):
    with pytest.raises(ValueError, match=text):
        distributed.main(["--workers", str(workers), "--batch-size", str(batch_size)])


@pytest.mark.thorough  # each process takes 10 s on an idle machine, and restarting two workers takes 2 s more
@pytest.mark.parametrize(("kit", "killed"), [(KITS[0], False), (KITS[1], True)], ids=["tf_keras", "keras3, killed"])
def test_two_workers_give_the_same_result_as_one_process_even_if_one_is_killed(kit, killed, tmp_path, monkeypatch):
    started, start = [], subprocess.Popen

    def watched(*args, **kwargs):
        started.append(start(*args, **kwargs))
        return started[-1]

    def kill():
        while not [path for path in tmp_path.rglob("backup/**/*") if path.is_file()]:
            time.sleep(0.01)
        time.sleep(0.5)
        started[1].kill()

    monkeypatch.setattr(subprocess, "Popen", watched)
    if killed:
        threading.Thread(target=kill, daemon=True).start()
    argv = ["--workers", "2", "--epochs", "60" if killed else "3", "--units", "16", "--keras", str(2 + KITS.index(kit))]
    metrics = distributed.main([*argv, "--out", str(tmp_path / "run")])
    assert len(started) == (4 if killed else 2)
    assert ("error: Worker 1 at localhost:" in (tmp_path / "run" / "worker-0.log").read_text()) == killed
    assert metrics["weight_difference"] < 1e-6
    assert metrics["loss"]["1"] == pytest.approx(metrics["loss"]["2"], rel=1e-5)
    assert {path.name for path in (tmp_path / "run").iterdir()} >= {"config.json", "metrics.json", "worker-1.log"}
