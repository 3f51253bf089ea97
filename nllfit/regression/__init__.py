"""Regressions from a formula and a table, with the results that statisticians read."""

from nllfit.regression.cox import CoxRegression, cox_regression
from nllfit.regression.fitting import regression
from nllfit.regression.results import Regression

__all__ = ["CoxRegression", "Regression", "cox_regression", "regression"]
