"""Training by maximum likelihood with TensorFlow Probability and Keras."""

import nllfit.versions as _versions  # noqa: F401 - first, because `versions` explains import errors
from nllfit import calibration, equivalence, heads, layers, losses, metrics, survival_scores
from nllfit.bayes import KLDivergence
from nllfit.calibration import (
    Conformalized,
    Recalibrated,
    TemperatureScaled,
    conformalize,
    recalibrate,
    scale_temperature,
)
from nllfit.cdf_and_quantiles import cdf, interval, mode, quantile, survival
from nllfit.ensembles import Ensemble
from nllfit.estimation import (
    Comparison,
    Estimate,
    GoodnessOfFit,
    LikelihoodRatioTest,
    compare,
    goodness_of_fit,
    likelihood,
    likelihood_ratio_test,
    log_likelihood,
    maximum_likelihood,
)
from nllfit.evaluation import ClassScores, Evaluation, ScoreComparison, class_scores, compare_scores, evaluate
from nllfit.families import (
    ByMean,
    Censored,
    Family,
    Hurdle,
    MixtureFamily,
    Truncated,
    ZeroInflated,
    interval_censored,
    left_censored,
    right_censored,
)
from nllfit.inference import Coefficients, standard_errors
from nllfit.initialization import initialize
from nllfit.laplace_posterior import Laplace, laplace
from nllfit.losses import negative_log_likelihood
from nllfit.prediction import predict_distribution
from nllfit.regression import CoxRegression, Regression, cause_specific_risks, cox_loss, cox_regression, regression
from nllfit.safety import keep_safe_mode
from nllfit.scores import crps
from nllfit.training import fit, fit_lbfgs

__version__ = "0.2.4.dev0"

keep_safe_mode()

__all__ = [
    "ByMean",
    "Censored",
    "ClassScores",
    "Coefficients",
    "Comparison",
    "Conformalized",
    "CoxRegression",
    "Ensemble",
    "Estimate",
    "Evaluation",
    "Family",
    "GoodnessOfFit",
    "Hurdle",
    "KLDivergence",
    "Laplace",
    "LikelihoodRatioTest",
    "MixtureFamily",
    "Recalibrated",
    "Regression",
    "ScoreComparison",
    "TemperatureScaled",
    "Truncated",
    "ZeroInflated",
    "calibration",
    "cause_specific_risks",
    "cdf",
    "class_scores",
    "compare",
    "compare_scores",
    "conformalize",
    "cox_loss",
    "cox_regression",
    "crps",
    "equivalence",
    "evaluate",
    "fit",
    "fit_lbfgs",
    "goodness_of_fit",
    "heads",
    "initialize",
    "interval",
    "interval_censored",
    "laplace",
    "layers",
    "left_censored",
    "likelihood",
    "likelihood_ratio_test",
    "log_likelihood",
    "losses",
    "maximum_likelihood",
    "metrics",
    "mode",
    "negative_log_likelihood",
    "predict_distribution",
    "quantile",
    "recalibrate",
    "regression",
    "right_censored",
    "scale_temperature",
    "standard_errors",
    "survival",
    "survival_scores",
]
