"""The speed experiment measures all installed contenders and reports them as a table or as JSON."""

import contextlib
import io
import json
import types

import pytest

from experiments.benchmarks import speed

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


PAIRS = [
    (contender, model)
    for contender in speed.installed()
    for model in ("small", "cnn")
    if (model, contender) not in speed.WITHOUT
] + [("nllfit", "dataset"), ("nllfit_keras3", "sequence")]


@pytest.mark.thorough(but="nllfit_keras3-sequence")
@pytest.mark.parametrize(("contender", "model"), PAIRS)
def test_every_contender_trains_every_model(contender, model, monkeypatch):
    monkeypatch.setattr(speed, "SETTLE", 0.0)
    monkeypatch.setitem(speed.MODELS, model, (*speed.MODELS[model][:3], 4, 3, 2))
    row = speed.measure(contender, model, 2, 0)
    assert len(row["all_us"]) == 2
    assert row["first_seconds"] > 0
    assert row["peak_mib"] > 0


@pytest.fixture
def clock(monkeypatch):
    """Replaces the clock by a list with one number: the time in seconds, which changes only if a test changes it."""
    now = [0.0]
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    return now


# The expected seconds of each job. They equal the numbers of epochs, because an epoch takes one second on the clock of
# the test.
JOBS = {
    "fresh": {"fresh": 40},
    "again": {"again": 40},
    "twenty": {"twenty": 800, "further": 40},
    "stopping": {"stopping": 1000, "stopped": 40},
    "saving": {"saving": 40},
    "members": {"turns": 1000, "threads": 1000},
}


@pytest.mark.parametrize(("job", "epochs"), JOBS.items(), ids=list(JOBS))
def test_a_whole_job_takes_the_seconds_of_its_epochs(job, epochs, clock, monkeypatch):
    def train(epochs, held_out=None, path=None):
        clock[0] += epochs

    monkeypatch.setattr(speed.contenders, "nllfit", lambda *data: train)
    assert speed.whole_job("nllfit", job, 0) == epochs


def test_the_time_of_a_step_is_that_of_a_call_by_its_steps(clock):
    def train(epochs):
        clock[0] += 30e-6 * 50 * epochs

    first, steps = speed.timed(train, epochs=4, steps=50, repeats=3)
    assert first == pytest.approx(30e-6 * 50)
    assert steps == pytest.approx([30.0] * 3)


@pytest.mark.thorough
@pytest.mark.parametrize("contender", ["nllfit", "keras"])
def test_predictions_and_evaluations_are_timed(contender, monkeypatch):
    scoring = speed.contenders.scoring
    monkeypatch.setattr(speed.contenders, "scoring", lambda name, x, y, batch: scoring(name, x[:9], y[:9], batch))
    assert min(speed.whole_job(contender, "scoring", 0).values()) > 0


@pytest.mark.thorough
# If `alone` is True, each job runs in a separate process.
@pytest.mark.parametrize("alone", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_the_speed_experiment_runs_from_the_command_line(tmp_path, capsys, monkeypatch, alone):
    monkeypatch.setattr(speed, "SETTLE", 0.0)
    monkeypatch.setitem(speed.MODELS, "small", (*speed.MODELS["small"][:3], 4, 3, 2))
    of_its_own = speed.worker

    def worker(arguments, kind, *names):
        if alone and kind == "job":  # only the jobs run in a process of their own
            return of_its_own(arguments, kind, *names)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            speed.main(["--repeats", str(arguments.repeats), "--job", kind, *names])
        return json.loads(printed.getvalue().splitlines()[-1])

    monkeypatch.setattr(speed, "worker", worker)
    arguments = ["--models", "small", "--contenders", "nllfit", "--repeats", "1", "--jobs", "fresh", "--json"]
    metrics = speed.main([*arguments, "--out", str(tmp_path / "run")])
    printed = capsys.readouterr().out
    assert json.loads(printed) == metrics
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == metrics
    row = metrics["models"]["small"]["nllfit"]
    assert len(row["all_us"]) == 1
    assert min(row["us_per_step"], row["first_seconds"], row["peak_mib"]) > 0
    speed.report(metrics)
    printed = capsys.readouterr().out
    assert "16-64-2, batch 32" in printed
    assert "a fresh model, 40 epochs" in printed


def test_an_interrupted_run_keeps_what_is_measured(tmp_path, monkeypatch):
    calls = []

    def worker(arguments, *job):
        calls.append(job)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return {"us_per_step": float(len(calls)), "all_us": [1.0], "first_seconds": 1.0, "peak_mib": 1.0}

    monkeypatch.setattr(speed, "worker", worker)
    arguments = ["--models", "small", "cnn", "--contenders", "nllfit", "--jobs", "--out", str(tmp_path / "run")]
    with pytest.raises(KeyboardInterrupt):
        speed.main(arguments)
    metrics = speed.main(arguments)
    assert calls == [("model", "nllfit", name) for name in ("small", "cnn", "cnn")]
    assert [metrics["models"][name]["nllfit"]["us_per_step"] for name in ("small", "cnn")] == [1.0, 3.0]


def test_a_worker_gets_the_seed(monkeypatch):
    commands = []

    def run(command, **options):
        commands.append(command)
        return types.SimpleNamespace(returncode=0, stdout="{}")

    monkeypatch.setattr(speed.subprocess, "run", run)
    speed.worker(types.SimpleNamespace(repeats=2, seed=7), "head")
    monkeypatch.setattr(speed, "head_cost", lambda repeats, seed: {"given": [repeats, seed]})
    assert speed.main(commands[0][3:]) == {"given": [2, 7]}


@pytest.mark.parametrize("job", ["huge", "model nllfit", "model nllfit huge", "job nobody fresh", "job nllfit small"])
def test_an_unknown_job_is_refused(job):
    with pytest.raises(ValueError, match=f"--job {job} is unknown: give growth, head, model CONTENDER MODEL or job"):
        speed.main(["--job", *job.split()])


def test_unknown_names_fail(capsys):
    with pytest.raises(SystemExit):
        speed.main(["--models", "huge"])
    assert "huge" in capsys.readouterr().err
