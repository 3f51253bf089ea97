"""Training: whole epochs as one compiled program, and the optimum of a small model."""

from nllfit.training.fit import fit
from nllfit.training.lbfgs import fit_lbfgs

__all__ = ["fit", "fit_lbfgs"]
