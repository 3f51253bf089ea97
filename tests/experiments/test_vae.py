"""The experiment on latent variables, cut short."""

import json

import pytest

from experiments import vae


@pytest.mark.parametrize("keras", ["2", pytest.param("3", marks=pytest.mark.thorough)])
def test_a_short_run(tmp_path, capsys, keras):
    out = tmp_path / "run"
    arguments = ["--epochs", "12", "--batch-size", "128", "--samples", "40", "--keras", keras]
    metrics = vae.main([*arguments, "--out", str(out)])
    assert json.loads((out / "metrics.json").read_text()) == metrics
    assert metrics["elbo"] < metrics["log_likelihood"] < metrics["elbo"] + 3
    assert metrics["independent_pixels"] < metrics["elbo"]
    for name in ("plane.png", "images.png"):
        assert (out / name).stat().st_size > 10_000
    assert "log_likelihood" in capsys.readouterr().out


def test_a_flag_that_is_no_number_of_rows_is_refused(tmp_path):
    with pytest.raises(ValueError, match="--latent is 0: give at least 1"):
        vae.main(["--latent", "0", "--out", str(tmp_path / "run")])
