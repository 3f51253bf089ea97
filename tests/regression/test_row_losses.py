"""The likelihood of a regression is traced once for each family and each kind of observation."""

import numpy as np

import nllfit
from nllfit.regression import row_losses


def test_a_family_is_traced_once_for_any_rows(monkeypatch):
    traced = []
    original = row_losses._traced
    monkeypatch.setattr(row_losses, "_traced", lambda family: traced.append(family) or original(family))
    rng = np.random.default_rng(0)
    for n in (20, 30):
        data = {"x": rng.normal(size=n), "t": rng.weibull(1.5, n), "seen": rng.integers(0, 2, n)}
        fit = nllfit.regression("Surv(t, seen) ~ x", data, "Weibull", concentration=1.375)
        assert fit.converged
    assert sorted(family.kind for family in traced) == ["above", "exact"]
