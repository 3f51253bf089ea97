"""Estimators that predict a distribution for each row of a table. They follow scikit-learn's conventions.

    from nllfit.tabular import DistributionRegressor

    model = DistributionRegressor().fit(X, y)
    model.predict(X), model.predict_interval(X, 0.9), model.score(X, y)

The estimators need scikit-learn and SciPy. They build their networks with TensorFlow.
"""

from nllfit.tabular.classifier import DistributionClassifier
from nllfit.tabular.explanation import Explanation, explain
from nllfit.tabular.network_architectures import Network
from nllfit.tabular.regressor import DistributionRegressor
from nllfit.tabular.transformed import transformed_log_density

__all__ = [
    "DistributionClassifier",
    "DistributionRegressor",
    "Explanation",
    "Network",
    "explain",
    "transformed_log_density",
]
