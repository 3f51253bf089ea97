"""Regressions that a formula and a table describe. Results have coefficient tables, tests and diagnostics."""

from nllfit.regression.competing_risks import cause_specific_risks
from nllfit.regression.cox import CoxRegression, cox_regression
from nllfit.regression.cox_loss import cox_loss
from nllfit.regression.fitting import regression
from nllfit.regression.results import Regression

__all__ = ["CoxRegression", "Regression", "cause_specific_risks", "cox_loss", "cox_regression", "regression"]
