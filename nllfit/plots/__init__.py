"""Figures. Each function draws on the matplotlib axes `ax` and returns `ax`."""

from nllfit.plots.calibration import coverage_curve, pit_histogram, reliability_diagram
from nllfit.plots.goodness_figures import pp, qq, survival_curve
from nllfit.plots.likelihood_figures import likelihood_curve, likelihood_surface
from nllfit.plots.profile_and_density_figures import fitted_density, profile_curve
from nllfit.plots.regressions import residual_qq, survival_calibration
from nllfit.plots.training_and_prediction_figures import predictive_band, training_curves

__all__ = [
    "coverage_curve",
    "fitted_density",
    "likelihood_curve",
    "likelihood_surface",
    "pit_histogram",
    "pp",
    "predictive_band",
    "profile_curve",
    "qq",
    "reliability_diagram",
    "residual_qq",
    "survival_calibration",
    "survival_curve",
    "training_curves",
]
