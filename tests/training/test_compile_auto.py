"""`compile="auto"` chooses between the graph and XLA."""

import threading

import numpy as np
import pytest
import tf_keras

import nllfit
from nllfit.training import graph_or_xla
from nllfit.training.epoch_programs import Program
from tests.training.networks import assert_same_run, dense, rows_of, sequential

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # raised by Keras 3's variables
    pytest.mark.filterwarnings("ignore:.shuffle=True. was passed:UserWarning"),  # Keras 3 warns about its own default
]


def large_convolutions():
    return sequential(tf_keras, (28, 28, 1), lambda: [tf_keras.layers.Conv2D(64, 3), tf_keras.layers.Flatten()])


def test_auto_uses_xla_when_compiled_unless_it_is_slower(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    monkeypatch.setattr(graph_or_xla, "MIN_STEPS_FOR_SLOW_CONVOLUTIONS", 0)
    model, reference = dense(tf_keras), dense(tf_keras)
    x, y, _ = rows_of(model)
    losses, fitted, compiles = [], threading.Event(), Program._compile
    monkeypatch.setattr(Program, "_compile", lambda program, tensors: fitted.wait() and compiles(program, tensors))

    def fit():
        losses.extend(nllfit.fit(model, x, y, epochs=3, shuffle=False, verbose=0).history["loss"])

    fit()
    (program,) = traced
    assert "xla" not in program.timings.calls
    fitted.set()
    program.compiling.join()
    fit()
    assert program.timings.calls["xla"] > 0
    for faster in ("xla", "graph"):
        # The test sets the timings, because measured timings are random on a busy machine.
        calls = {**program.timings.calls, "xla": 99}
        program.timings = graph_or_xla.Timings({"xla": 1e-3, "graph": 1e-3} | {faster: 1e-9}, calls, 1.0, "ready")
        fit()
        assert {way for way in calls if program.timings.calls[way] > calls[way]} == {faster}
    # The losses and weights of graph and XLA are the same, up to rounding.
    expected = nllfit.fit(reference, x, y, epochs=12, shuffle=False, verbose=0, compile="graph").history
    assert_same_run({"loss": losses}, {"loss": expected["loss"]}, model, reference)


@pytest.mark.thorough
def test_auto_never_compiles_strings_with_xla(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    words = tf_keras.layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    model = sequential(tf_keras, (1,), lambda: [words], "string")
    nllfit.fit(model, np.array([["a"], ["b"]] * 64), rows_of(dense(tf_keras))[1], verbose=0, epochs=99)
    assert [program.compiling for program in traced] == [None]


@pytest.mark.thorough  # `test_graph_or_xla.py` tests the rule without training
def test_auto_does_not_try_xla_on_a_few_steps_of_large_convolutions(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    monkeypatch.setattr(graph_or_xla, "SLOW_CONVOLUTION_STEP_SECONDS", 0.0)
    model = large_convolutions()
    nllfit.fit(model, *rows_of(model)[:2], verbose=0, epochs=2)
    assert [program.compiling for program in traced] == [None]


@pytest.mark.thorough  # `test_graph_or_xla.py` tests the rule without training
def test_auto_after_xla_times_the_graph_before_it_compares(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    model = dense(tf_keras)
    x, y, _ = rows_of(model)
    for compile in ("xla", "xla", "xla", "xla", "auto"):
        nllfit.fit(model, x, y, verbose=0, compile=compile)
    (program,) = traced
    program.compiling.join()
    assert program.timings.calls == {"xla": 4, "graph": 1}
    nllfit.fit(model, x, y, verbose=0)
    assert program.timings.calls == {"xla": 4, "graph": 2}


@pytest.mark.thorough
def test_a_seeded_run_switches_to_xla_at_a_fixed_epoch(monkeypatch, traced):
    monkeypatch.setattr(graph_or_xla, "REPEATABLE_GRAPH_STEPS", 8)  # two epochs of four steps
    monkeypatch.setattr(graph_or_xla, "MIN_GRAPH_SECONDS_FOR_XLA", 0.0)
    x, y, _ = rows_of(dense(tf_keras))
    ways, run = [], Program.run

    def listed(program, chunk, variables, way):
        ways.extend([way] * chunk.bounds.epochs)
        return run(program, chunk, variables, way)

    monkeypatch.setattr(Program, "run", listed)

    def fit(model=None, **arguments):
        model = model or dense(tf_keras, optimizer=tf_keras.optimizers.Adam(0.05))
        nllfit.fit(model, x, y, seed=1, verbose=0, **{"epochs": 5} | arguments)
        return model

    whole = fit()
    assert ways == ["graph"] * 2 + ["xla"] * 3
    (program,) = traced
    for faster in ("xla", "graph"):
        # The run switches to XLA after two epochs, even if these timings say that the graph is faster.
        program.timings = graph_or_xla.Timings(
            {"xla": 1e-3, "graph": 1e-3} | {faster: 1e-9}, {"xla": 99, "graph": 9}, 9.0, "ready"
        )
        ways.clear()
        resumed = fit(fit(epochs=3), initial_epoch=3)
        assert ways == ["graph"] * 2 + ["xla"] * 3
        for weight, other in zip(resumed.get_weights(), whole.get_weights(), strict=True):
            np.testing.assert_array_equal(weight, other)


@pytest.mark.thorough
@pytest.mark.parametrize("rows", [64, 20_000])  # the training program evaluates only small validation data
def test_evaluations_do_not_count_as_steps_to_come(rows, monkeypatch):
    asked = []
    choose = graph_or_xla.next_call
    monkeypatch.setattr(
        "nllfit.training.epoch_programs.next_call",
        lambda request, *args: asked.append(request) or choose(request, *args),
    )
    model = dense(tf_keras)
    x, y, _ = rows_of(model)
    held_out = tuple(np.resize(part, (rows, *part.shape[1:])) for part in (x, y))
    nllfit.fit(model, x, y, batch_size=16, epochs=5, seed=0, verbose=0, validation_data=held_out)
    steps = [request.steps_to_come for request in asked]
    assert steps[0] == 5 * -(-len(x) // 16)
    assert min(steps) >= 0
