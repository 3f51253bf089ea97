"""Regressions: a formula describes them, and a table contains the data. Results have coefficients and tests."""

from nllfit.regression.competing_risks import cause_specific_risks
from nllfit.regression.cox import CoxRegression, cox_regression
from nllfit.regression.cox_loss import cox_loss
from nllfit.regression.fitting import regression
from nllfit.regression.results import Regression

__all__ = ["CoxRegression", "Regression", "cause_specific_risks", "cox_loss", "cox_regression", "regression"]
