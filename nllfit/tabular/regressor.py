"""`DistributionRegressor`: a predicted distribution for every row of a table."""

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import check_array, check_random_state
from tensorflow_probability import distributions as tfd

from nllfit.evaluation import Evaluation, evaluate
from nllfit.quantiles import interval, quantile
from nllfit.tabular.base import TabularEstimator, checked_number, checked_rows
from nllfit.tabular.candidates import checked_names, plausible, target_of
from nllfit.tabular.scoring import mean_nll, shaped

__all__ = ["DistributionRegressor"]


class DistributionRegressor(RegressorMixin, TabularEstimator):
    """Predicts the distribution of one or several numbers from a table, by an ensemble of networks.

    The defaults need no tuning. Inputs and outcomes are standardised. Two networks, a smooth one and one that sees the
    inputs cut into bins, are compared on rows held out of training; where the better one is too sure of itself it is
    tried with a strong weight decay, too. The rows held out tell by what factor to widen the predicted distributions.
    Then `num_members` networks are trained on all rows, and their distributions are mixed. With the probability
    `1 / (validation_fraction * n)` an outcome comes from the marginal distribution of the training set, so that no new
    row costs hundreds of nats.

    `X` is an array of numbers or a frame of pandas or polars, with columns of numbers, booleans, text or categories,
    and with gaps: a missing number becomes the median of its column and is marked by an indicator. A category that was
    not seen when fitting counts as missing.

    Args:
      distribution: the name of a family of `tfp.distributions`, such as `"Normal"`, `"Gamma"` or `"Poisson"`;
        `"Mixture"`, of five Normals; `"Values"`, a probability for each value that the outcomes of the training set
        have; a family, such as `nllfit.Truncated("Normal", 0.0, event_shape=1)`; a list of these, of which the best on
        the rows held out is taken; or `"auto"`, which lists the families that have the outcomes in their support. A
        family object is taken as it is; by name, a `scale` has a floor of a thousandth of the outcomes' spread. If a
        list has both densities and probabilities the CRPS compares them, else the log-likelihood does.
      network: `"smooth"`, `"steep"` with bins, `"forest"` with the predictions of randomised trees as inputs, a
        `Network`, or a list of these, which are compared with the first distribution. `"auto"` compares `"smooth"` and
        `"steep"`, and with `distribution="auto"` also `"forest"`.
      num_members: the number of networks in the ensemble.
      max_epochs: the most epochs to train for. None for `900 / n^(1/3)`.
      validation_fraction: the fraction of rows to hold out while networks are compared.
      shuffle: whether random rows are held out. False holds out the last ones, as for a table in the order of time.
      random_state: fixes what is random. An int gives the same predictions in each `fit`.
      warm_start: whether another `fit` on the same rows keeps the trials and the ensembles of the one before. Use it to
        compare distributions.
      verbose: 1 for a progress bar.

    Attributes:
      trials_: the trials, the best first, each with its `network`, `weight_decay`, `distribution`, `nll`, `spread` and
        `crps`.
      n_features_in_, feature_names_in_: the number of columns of `X`, and their names if it is a frame.
      n_outputs_: the number of outcomes of a row.

    Example:
      >>> from nllfit.tabular import DistributionRegressor
      >>> X = np.linspace(-1, 1, 100)[:, None]
      >>> model = DistributionRegressor(num_members=2, max_epochs=20, random_state=0).fit(X, 3 * X[:, 0])
      >>> model.predict(X[:4]).shape, model.predict_interval(X[:4], 0.9).shape
      ((4,), (4, 2))

    Source: Lakshminarayanan, Pritzel and Blundell, Simple and scalable predictive uncertainty estimation using deep
    ensembles, 2017; Seitzer et al., On the pitfalls of heteroscedastic uncertainty estimation with probabilistic neural
    networks, 2022.
    """

    def __init__(
        self,
        distribution: Any = "Normal",
        *,
        network: Any = "auto",
        num_members: int = 5,
        max_epochs: int | None = None,
        validation_fraction: float = 0.2,
        shuffle: bool = True,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
    ):
        self.distribution = distribution
        self.network = network
        self.num_members = num_members
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.shuffle = shuffle
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, observed: ArrayLike | None = None
    ) -> "DistributionRegressor":
        """Chooses a network, a family and a spread, and trains the ensemble.

        Args:
          X: `[n, m]`, numbers, or a frame of pandas or polars.
          y: `[n]`, or `[n, k]` for several outcomes of a row.
          sample_weight: `[n]`, how often each row counts; rows of weight 0 are left out.
          observed: `[n]`, False where all that is known is that the outcome is larger than `y`, as of a survival time
            that was cut off. Then the family's likelihood is that of right-censored outcomes.

        Returns:
          The estimator itself.

        Raises:
          ValueError: for a table, outcomes, weights or arguments that cannot be; the message names them.
        """
        y = checked_outcomes(self, y)
        self._is_vector = y.ndim == 1
        rows = self._learn(X, y.reshape(len(y), -1), sample_weight, observed)
        is_automatic = isinstance(self.distribution, str) and self.distribution == "auto"
        is_censored = observed is not None
        if is_censored and rows.y.shape[1] > 1:
            raise ValueError(f"`observed` is for one outcome a row, and `y` has {rows.y.shape[1]} columns.")
        names = plausible(rows.y, rows.observed) if is_automatic else checked_names(self.distribution)
        networks = self._networks(["smooth", "steep", *["forest"] * is_automatic])

        def make_target(distribution, rows):
            return target_of(distribution, rows.y, rows.weights, is_censored, rows.observed)

        self.n_outputs_ = rows.y.shape[1]
        self._fit(rows, names, networks, make_target)
        return self

    def predict_distribution(self, X: Any) -> tfd.Distribution:
        """The distribution of every row's outcome: of batch `[n]`, and event `[k]` for `k` outcomes of a row.

        Score it with `nllfit.evaluate(distribution, y=y)`, and ask it with `nllfit.quantile`, `nllfit.cdf` or
        `nllfit.survival`.
        """
        return self._distribution(self._read(X))

    def predict(self, X: Any) -> np.ndarray:
        """The mean of each row's predicted distribution, or its median if it has no mean: `[n]`, or `[n, k]`."""
        return self._like_y(_centers(self.predict_distribution(X)))

    def predict_quantile(self, X: Any, q: ArrayLike = 0.5) -> np.ndarray:
        """The quantiles of each row's predicted distribution.

        Args:
          X: `[n, m]`.
          q: a probability between 0 and 1, or a list of them.

        Returns:
          `[n]` for one probability and `[n, len(q)]` for a list; for `k` outcomes `[n, k]` and `[n, k, len(q)]`.
        """
        found = np.asarray(quantile(self.predict_distribution(X), q), np.float64)
        return self._like_y(np.moveaxis(found, 0, -1) if np.ndim(q) else found, bool(np.ndim(q)))

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:
        """The central interval that holds an outcome with the probability `level`: `[n, 2]`, or `[n, k, 2]`."""
        ends = interval(self.predict_distribution(X), level)
        return self._like_y(np.stack([np.asarray(end, np.float64) for end in ends], -1), True)

    def sample(self, X: Any, num_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Samples from each row's predicted distribution: `[num_samples, n]`, or `[num_samples, n, k]`.

        Args:
          X: `[n, m]`.
          num_samples: how many for each row.
          random_state: fixes them; None takes the estimator's own `random_state`.
        """
        checked_number("num_samples", num_samples, 1)
        given = self.random_state if random_state is None else random_state
        seed = [0, check_random_state(given).randint(2**31)]
        found = self.predict_distribution(X).sample(int(num_samples), seed=tf.constant(seed, tf.int32)).numpy()
        return np.stack([self._like_y(one) for one in found])

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, observed: ArrayLike | None = None
    ) -> float:
        """The mean log-likelihood of outcomes, in nats: the higher, the better.

        Args:
          X, y, sample_weight, observed: as `fit` takes them. An outcome that was not observed counts with
            `log P(Y > y)`.
        """
        x = self._read(X)
        outcomes = self._outcomes(y)
        rows = checked_rows(x, outcomes, sample_weight, observed, least=1)
        return -mean_nll(self._distribution(rows.x), rows.y, rows.weights, rows.observed)

    def evaluate(self, X: Any, y: ArrayLike, **arguments: Any) -> Evaluation:
        """Scores, calibration and the coverage of intervals on rows: what `nllfit.evaluate` returns.

        Args:
          X, y: as `fit` takes them.
          **arguments: of `nllfit.evaluate`, such as `levels`.
        """
        distribution = self.predict_distribution(X)
        return evaluate(distribution, y=shaped(self._outcomes(y), distribution), **arguments)

    def _outcomes(self, y):
        y = checked_outcomes(self, y)
        y = y.reshape(len(y), -1)
        if y.shape[1] != self.n_outputs_:
            raise ValueError(f"`y` has {y.shape[1]} columns, but it had {self.n_outputs_} when fitting.")
        return y

    def _like_y(self, values, has_last_axis=False):
        """Values `[n, *event]`, with one axis more at the end if they have one, in the shape that `y` had."""
        values = np.asarray(values, np.float64)
        last = values.shape[values.ndim - has_last_axis :]
        return values.reshape([len(values), *([] if self._is_vector else [self.n_outputs_]), *last])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # `score` is no R2, of which scikit-learn expects 0.5
        return tags


def checked_outcomes(estimator: Any, y: Any) -> np.ndarray:
    """Outcomes `[n]` or `[n, k]` as finite numbers; else a `ValueError`."""
    if y is None:
        raise ValueError(f"This {type(estimator).__name__} requires y to be passed, but the target y is None.")
    try:
        return check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(
            f"`y` holds text ({error}): give numbers, or fit a `DistributionClassifier` to labels."
        ) from None


def _centers(distribution):
    """The mean of each element of an outcome, or the median where there is none."""
    try:
        mean = np.asarray(distribution.mean(), np.float64)
    except NotImplementedError:
        mean = np.full([*distribution.batch_shape, *distribution.event_shape], np.nan)
    if np.all(np.isfinite(mean)):
        return mean
    return np.where(np.isfinite(mean), mean, np.asarray(quantile(distribution, 0.5), np.float64))
