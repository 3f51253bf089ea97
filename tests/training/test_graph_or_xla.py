"""The choices of `next_call` for given timings: whether a call runs in the graph or in XLA, and for how many steps."""

import dataclasses

import pytest

from nllfit.training.graph_or_xla import Call, Request, Timings, next_call

DENSE = {"MatMul", "AddV2"}
SEEDED = {"RngReadAndSkip", "StatelessRandomGetKeyCounter", "StatelessRandomNormalV2", "StatelessTruncatedNormalV2"}
LONG, SHORT = Request("auto", steps_to_come=10_000), Request("auto", steps_to_come=10)
TIMED = Timings({"graph": 1e-4}, {"graph": 5}, graph_seconds=0.05)
READY = dataclasses.replace(TIMED, xla="ready")
BOTH = Timings({"graph": 1e-4, "xla": 2**-16}, {"graph": 5, "xla": 9}, 0.05, "ready")
SLOW = dataclasses.replace(BOTH, seconds={"graph": 1e-4, "xla": 5e-3})


@pytest.mark.parametrize(
    ("request_", "operations", "timings", "expected"),
    [
        pytest.param(SHORT, DENSE, Timings(), Call("graph", 4), id="a short run stays in the graph"),
        pytest.param(LONG, DENSE, Timings(), Call("graph", 4, compiles=True), id="a long run compiles at its start"),
        pytest.param(LONG, DENSE, TIMED, Call("graph", 2500, compiles=True), id="a timed call takes 0.25 s"),
        pytest.param(SHORT, DENSE, TIMED, Call("graph", 2500), id="not enough work, what was done included"),
        pytest.param(
            SHORT,
            DENSE,
            dataclasses.replace(TIMED, graph_seconds=0.2),
            Call("graph", 2500, compiles=True),
            id="many short runs compile",
        ),
        pytest.param(
            LONG,
            DENSE,
            dataclasses.replace(TIMED, xla="compiling"),
            Call("graph", 2500),
            id="in the graph meanwhile",
        ),
        pytest.param(LONG, DENSE, Timings(xla="ready"), Call("graph", 4), id="nothing is timed: the graph first"),
        pytest.param(
            LONG, DENSE, Timings({"xla": 1e-5}, {"xla": 9}, 0.0, "ready"), Call("graph", 4), id="only XLA is timed"
        ),
        pytest.param(
            LONG,
            DENSE,
            Timings(calls={"graph": 1, "xla": 9}, xla="ready"),
            Call("graph", 4),
            id="the first call is not timed",
        ),
        pytest.param(LONG, DENSE, READY, Call("xla", 150), id="XLA is tried for 0.015 s of the graph's work"),
        pytest.param(LONG, DENSE, BOTH, Call("xla", 2**14), id="XLA is faster"),
        pytest.param(LONG, DENSE, SLOW, Call("graph", 2500), id="the graph is faster"),
        pytest.param(
            LONG,
            DENSE,
            dataclasses.replace(SLOW, calls={"graph": 5, "xla": 2}),
            Call("xla", 50),
            id="two calls are too few to tell",
        ),
        pytest.param(
            LONG,
            DENSE,
            dataclasses.replace(SLOW, calls={"graph": 2**40, "xla": 9}),
            Call("xla", 50),
            id="once in a while XLA is tried again",
        ),
        pytest.param(
            LONG, DENSE, dataclasses.replace(TIMED, xla="impossible"), Call("graph", 2500), id="XLA cannot compile it"
        ),
        pytest.param(LONG, DENSE | {"RandomUniform"}, READY, Call("graph", 2500), id="draws from a hidden state"),
        pytest.param(LONG, DENSE | {"Multinomial"}, READY, Call("graph", 2500), id="labels from a hidden state"),
        pytest.param(LONG, DENSE | SEEDED, READY, Call("xla", 150), id="draws from seeds in variables"),
        pytest.param(
            dataclasses.replace(LONG, steps_to_come=999),
            {"Conv2D"},
            dataclasses.replace(TIMED, seconds={"graph": 0.01}),
            Call("graph", 25),
            id="few steps of large convolutions",
        ),
        pytest.param(
            LONG,
            {"Conv2D"},
            dataclasses.replace(TIMED, seconds={"graph": 0.01}),
            Call("graph", 25, compiles=True),
            id="many steps of large convolutions",
        ),
        pytest.param(Request("graph", 10_000), DENSE, BOTH, Call("graph", 2500), id="the graph was asked for"),
        pytest.param(Request("xla", 10), DENSE, Timings(), Call("xla", 4), id="XLA was asked for"),
        pytest.param(Request("xla", 10), {"RandomUniform"}, SLOW, Call("xla", 50), id="XLA was asked for, and is slow"),
        pytest.param(Request("graph", 10_000, in_lockstep=True), DENSE, BOTH, Call("graph", 32), id="machines in step"),
    ],
)
def test_the_next_call_follows_the_timings(request_, operations, timings, expected):
    assert next_call(request_, operations, timings) == expected


def repeatable(steps_before, epoch_steps=100, **arguments):
    return Request("auto", 10_000, True, steps_before, epoch_steps, **arguments)


@pytest.mark.parametrize("timings", [Timings(), TIMED, READY, BOTH, SLOW])
def test_no_timing_decides_where_a_repeatable_run_switches(timings):
    for before, way in ((0, "graph"), (1900, "graph"), (1901, "xla"), (2000, "xla"), (10**6, "xla")):
        call = next_call(repeatable(before), DENSE, timings)
        assert call.waits or call.executor == way
        assert call.waits == (way == "xla" and timings.xla != "ready")
    # If XLA is ready, an epoch of 10^6 steps runs under XLA.
    assert next_call(repeatable(0, 10**6), DENSE, timings).executor != "graph" or timings.xla != "ready"


def test_a_repeatable_run_whose_seeds_are_in_variables_switches():
    assert next_call(repeatable(5000), DENSE | SEEDED, READY).executor == "xla"


@pytest.mark.parametrize("operation", ["Conv2D", "RandomUniform", "ResourceGather", "DepthwiseConv2dNative"])
def test_a_repeatable_run_never_switches_to_operations_that_may_be_slow(operation):
    assert next_call(repeatable(5000), DENSE | {operation}, READY) == Call("graph", 2500)


@pytest.mark.parametrize("unknown", [{"steps_before": None}, {"epoch_steps": None}, {"in_lockstep": True}])
def test_a_repeatable_run_of_unknown_length_stays_in_the_graph(unknown):
    call = next_call(dataclasses.replace(repeatable(5000), **unknown), DENSE, READY)
    assert call.executor == "graph"
    assert not call.waits


def test_a_call_of_a_repeatable_run_ends_at_its_switch():
    assert next_call(repeatable(1500), DENSE, TIMED) == Call("graph", 500, compiles=True)
    run_of_a_few_steps = dataclasses.replace(repeatable(0), steps_to_come=1000)
    # This run does not compile, because it ends before step 2000, at which a longer run switches to XLA.
    assert next_call(run_of_a_few_steps, DENSE, TIMED) == Call("graph", 2000)


def test_timings_skip_the_first_call_and_keep_the_best():
    timings = Timings().after("graph", 10, 5.0)
    assert timings == Timings(calls={"graph": 1})
    timings = timings.after("graph", 10, 0.2).after("graph", 10, 0.1).after("graph", 0, 0.3)
    assert timings.seconds == {"graph": 0.01}
    assert timings.calls == {"graph": 4}
    assert timings.graph_seconds == pytest.approx(0.6)
    assert timings.after("xla", 10, 0.1).after("xla", 10, 0.1).graph_seconds == pytest.approx(0.6)
