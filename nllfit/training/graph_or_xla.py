"""Decides whether the next call of a program runs in the graph or in XLA, and for how many steps.

XLA takes time to compile a program, and saves time in all runs that share the program. So `_is_worth_compiling` adds
the time of past runs to the time that this run still needs. `next_call` is a pure function of the request, the
operations in a step and the timings so far: it reads no clock and does not call TensorFlow. `epoch_programs.Program`
stores the timings, under a lock, and executes the returned `Call`.
"""

import dataclasses
from collections.abc import Collection, Mapping

__all__ = ["Call", "Request", "Timings", "draws_outside_variables", "next_call"]

# The maximum planned duration of a call, in seconds. Ctrl-C and the progress bar wait until a call ends.
MAX_CALL_SECONDS = 0.25
# The number of steps in a call if the duration of a step is not known yet.
UNTIMED_CALL_STEPS = 4
# The number of steps in each call if several machines train one model. All machines must make the same calls, so the
# number of steps must not depend on measured times, which differ between machines.
LOCKSTEP_CALL_STEPS = 32
# XLA compiles a program if two durations add up to more than this number of seconds: the duration of the program's
# timed calls in the graph, for all models that share the program, and the expected duration of this run's remaining
# steps in the graph.
MIN_GRAPH_SECONDS_FOR_XLA = 0.1
# The assumed duration of a step in the graph, in seconds, before it is measured.
ASSUMED_STEP_SECONDS = 2e-4
# Until a step in XLA is timed, a call in XLA has only as many steps as the graph can run in this number of seconds, but
# at least `UNTIMED_CALL_STEPS`. So a slow XLA program costs little.
XLA_TRIAL_GRAPH_SECONDS = 0.015
# XLA gets more than this number of calls before we decide whether the graph is faster. Each time the number of calls in
# the graph has grown 16-fold, XLA gets one more call, because a busy machine can hide that XLA is faster.
XLA_TRIAL_CALLS = 2
# A step with convolutions is slow if it takes longer than `SLOW_CONVOLUTION_STEP_SECONDS` in the graph. XLA seldom
# makes a slow step faster, and takes seconds to compile it. Therefore XLA compiles such a step only if at least
# `MIN_STEPS_FOR_SLOW_CONVOLUTIONS` steps are left.
SLOW_CONVOLUTION_STEP_SECONDS = 0.002
MIN_STEPS_FOR_SLOW_CONVOLUTIONS = 1000
# A repeatable run waits for XLA's compilation, about 0.7 s, at the start of the epoch in which the run exceeds this
# number of steps. A small network takes 0.15 s for these steps in the graph.
REPEATABLE_GRAPH_STEPS = 2000
_CONVOLUTION = "Conv2D"
# Prefixes of operations that are slow in XLA on a CPU. `ResourceGather` reads embeddings.
_SLOW_IN_XLA = ("Conv", "DepthwiseConv", "ResourceGather")
# Prefixes of operations that draw random numbers from a state that is not in a variable.
_DRAWS = ("Random", "Multinomial", "TruncatedNormal", "ParameterizedTruncatedNormal")


@dataclasses.dataclass(frozen=True)
class Request:
    """The state of a run, from which `next_call` chooses the next call.

    Attributes:
      compile: `"auto"`, `"graph"` or `"xla"`.
      steps_to_come: the number of training steps left in the run; infinite if unknown.
      repeatable: whether the choice must not depend on a clock.
      steps_before: the number of steps from epoch 0 to the start of this epoch; None if unknown.
      epoch_steps: the number of training steps in this epoch; None if unknown.
      in_lockstep: whether other machines make the same calls.
    """

    compile: str
    steps_to_come: float
    repeatable: bool = False
    steps_before: int | None = None
    epoch_steps: int | None = None
    in_lockstep: bool = False


@dataclasses.dataclass(frozen=True)
class Timings:
    """The timings of a program, which all models of its architecture share.

    Attributes:
      seconds: the smallest time of a step in `"graph"` and in `"xla"`. The first call of each is not timed, because it
        also loads the program.
      calls: the number of calls in `"graph"` and in `"xla"`.
      graph_seconds: the total time of all timed calls in the graph.
      xla: `"not compiled"`, `"compiling"`, `"ready"` or `"impossible"`.
    """

    seconds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    calls: Mapping[str, int] = dataclasses.field(default_factory=dict)
    graph_seconds: float = 0.0
    xla: str = "not compiled"

    def after(self, executor: str, steps: int, seconds: float) -> "Timings":
        """Returns the timings after one more call."""
        calls = {**self.calls, executor: self.calls.get(executor, 0) + 1}
        if calls[executor] == 1:
            return dataclasses.replace(self, calls=calls)
        fastest = min(seconds / max(1, steps), self.seconds.get(executor, float("inf")))
        graph_seconds = self.graph_seconds + (seconds if executor == "graph" else 0.0)
        return dataclasses.replace(
            self, calls=calls, seconds={**self.seconds, executor: fastest}, graph_seconds=graph_seconds
        )


@dataclasses.dataclass(frozen=True)
class Call:
    """The next call of a program.

    Attributes:
      executor: `"graph"` or `"xla"`.
      max_steps: the maximum number of steps.
      compiles: whether to start compilation in another thread, unless it was started before.
      waits: whether to wait until the compilation ends, and then to call `next_call` again.
    """

    executor: str
    max_steps: int
    compiles: bool = False
    waits: bool = False


def next_call(request: Request, operations: Collection[str], timings: Timings) -> Call:
    """Returns the next call of a program.

    Under `"auto"`, a program first runs in the graph. If the past and remaining steps together take long in the graph
    (see `MIN_GRAPH_SECONDS_FOR_XLA`), XLA compiles the program in another thread. Then XLA is timed, and the program
    runs in the graph or in XLA, whichever is faster. If the request is `repeatable`, the run switches to XLA at the
    start of an epoch, and waits there until XLA has compiled. The choice of the epoch depends only on numbers of steps.
    A step stays in the graph if it draws random numbers from a state that is not in a variable, because XLA's draws
    from such a state cannot be repeated.

    Args:
      request: the request of a run.
      operations: the types of TensorFlow operations in a step.
      timings: the timings of the program so far.
    """
    if request.compile != "auto":
        return Call(request.compile, _max_steps(request.compile, request, timings))
    if timings.xla == "impossible" or draws_outside_variables(operations):
        return Call("graph", _max_steps("graph", request, timings))
    if request.repeatable:
        return _next_repeatable_call(request, operations, timings)
    compiles = timings.xla == "not compiled" and _is_worth_compiling(request, operations, timings)
    executor = "xla" if timings.xla == "ready" and not _is_graph_faster(timings) else "graph"
    return Call(executor, _max_steps(executor, request, timings), compiles)


def draws_outside_variables(operations: Collection[str]) -> bool:
    """Returns whether a step draws random numbers from a state that is not in a variable.

    Backups do not contain such a state.
    """
    return any(name.startswith(_DRAWS) for name in operations)


def _next_repeatable_call(request, operations, timings):
    max_steps = _max_steps("graph", request, timings)
    stays_in_graph = None in (request.steps_before, request.epoch_steps) or request.in_lockstep
    if stays_in_graph or any(name.startswith(_SLOW_IN_XLA) for name in operations):
        return Call("graph", max_steps)
    graph_steps_left = REPEATABLE_GRAPH_STEPS - request.steps_before
    if request.epoch_steps <= graph_steps_left:
        return Call("graph", min(max_steps, graph_steps_left), compiles=request.steps_to_come > graph_steps_left)
    if timings.xla == "ready":
        return Call("xla", _max_steps("xla", request, timings))
    return Call("graph", max_steps, compiles=True, waits=True)


def _is_worth_compiling(request, operations, timings):
    convolves = _CONVOLUTION in operations
    seconds = timings.seconds.get("graph", 0.0 if convolves else ASSUMED_STEP_SECONDS)
    is_slow = convolves and seconds > SLOW_CONVOLUTION_STEP_SECONDS
    if is_slow and request.steps_to_come < MIN_STEPS_FOR_SLOW_CONVOLUTIONS:
        return False
    return timings.graph_seconds + request.steps_to_come * seconds > MIN_GRAPH_SECONDS_FOR_XLA


def _is_graph_faster(timings):
    """Whether to choose the graph. True if XLA was slower in all its trials, or if the graph is not timed yet."""
    if "graph" not in timings.seconds:
        return True
    trials = XLA_TRIAL_CALLS + timings.calls["graph"].bit_length() // 4
    tried = timings.calls.get("xla", 0) > trials
    return tried and timings.seconds["xla"] > timings.seconds["graph"]


def _max_steps(executor, request, timings):
    if request.in_lockstep:
        return LOCKSTEP_CALL_STEPS
    if executor in timings.seconds:
        return max(1, int(MAX_CALL_SECONDS / timings.seconds[executor]))
    if executor == "xla" and "graph" in timings.seconds:
        return max(UNTIMED_CALL_STEPS, int(XLA_TRIAL_GRAPH_SECONDS / timings.seconds["graph"]))
    return UNTIMED_CALL_STEPS
