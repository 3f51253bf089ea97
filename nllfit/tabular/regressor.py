"""`DistributionRegressor` predicts a distribution for every row of a table."""

import functools
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike
from sklearn.base import RegressorMixin
from sklearn.utils import check_random_state
from tensorflow_probability import distributions as tfd

from nllfit.cdf_and_quantiles import interval, quantile
from nllfit.evaluation import Evaluation, evaluate
from nllfit.families import Censored
from nllfit.families.arguments import as_count
from nllfit.families.law import law_of
from nllfit.families.support_ends import is_circular
from nllfit.tabular.base import TabularEstimator, checked_rows
from nllfit.tabular.candidates import checked_names, default, plausible, target_of, values_of
from nllfit.tabular.outcome_checks import censored_pairs, checked_outcomes
from nllfit.tabular.scoring import mean_nll, shaped
from nllfit.tabular.targets import has_few_values

__all__ = ["DistributionRegressor"]


class DistributionRegressor(RegressorMixin, TabularEstimator):
    """Predicts the distribution of one or several numbers from a table, by an ensemble of networks or a forest.

    The defaults need no tuning. Inputs are standardised, and so are the outcomes of location-scale families. Three
    models are compared on held-out rows: a smooth network, a network with binned inputs, and a forest of randomised
    trees. The better network and the trees are also tried with stronger regularizations if their distributions are too
    narrow for the held-out rows. These rows also determine the spread, a factor on the width of the predicted
    distributions. If fewer than 500 rows are held out (by default, if the table has fewer than 2500 rows), the spread
    comes from cross-validation. Finally, the best model is trained on all rows. If this model is a network,
    `num_members` networks are trained, and the prediction is the mixture of their distributions. The prediction also
    contains the marginal distribution of the training set, with the weight `1 / (validation_fraction * n)`. Without
    this component, the negative log-likelihood of an unusual new row could be hundreds of nats.

    `X` is an array of numbers or a frame of pandas or polars with columns of numbers, booleans, text or categories.
    A missing number becomes the median of its column. If a column lacks values in training rows, one more input marks
    rows without a value. Otherwise, new rows without a value cause a warning. Only the 50 most frequent categories of a
    column are known. All others count as missing; `fit` warns if most rows have one of these. New rows with an unknown
    category cause a warning, unless the training rows have 50 or more categories in the column.

    Args:
      distribution: the distribution to predict, as one of:
        - None: a Normal or, for one uncensored outcome, a `"Histogram"` if that is better on the held-out rows.
        - the name of a family of `tfp.distributions`, such as `"Normal"`, `"Gamma"` or `"Poisson"`. The scale of a
          location-scale family, divided by the spread, is at least 0.001 standard deviations of the outcomes.
        - `"Mixture"`: a mixture of five Normals.
        - `"Histogram"`: a probability for each interval between quantiles of the outcomes, or for each value if there
          are few. The number of intervals is about `sqrt(n) / 2`, at least 5 and at most 50. A histogram can
          have any shape, for example two modes or many zeros. Only trees predict it.
        - `"Values"`: a probability for each distinct outcome of the training set. Other outcomes have probability 0.
        - a family object, such as `nllfit.Truncated("Normal", 0.0, event_shape=1)`, which is used unchanged.
        - a list of these. The one with the best log-likelihood of the held-out rows is selected. Likelihoods
          can be compared only within one of four groups: counts and `"Values"`; densities; densities with zeros, such
          as `nllfit.ZeroInflated("Gamma")`; a `"Histogram"` of few values. If the list is from several groups, the best
          CRPS decides. Censored outcomes have no CRPS, so they need a list from one group. But if no outcome is
          known exactly, all likelihoods are probabilities and can be compared, so any list is allowed. A distribution
          that no `network` can predict is left out, but raises an error if it is the first.
        - `"auto"`: a list of the common families whose support contains the outcomes.
      network: the network that predicts the distribution, as one of:
        - `"smooth"`: two hidden layers.
        - `"steep"`: two hidden layers, with binned inputs.
        - `"forest"`: two hidden layers, with the predictions of randomised trees as inputs.
        - `"trees"`: the trees without a network, for a Normal, a `"Histogram"` or `"Values"`.
        - a `Network`.
        - a list of these. The best is selected. The first `distribution` is tried with each network that can predict
          it. A later `distribution` is tried with only one of the networks already tried: the best one that can
          predict it. If none of them can predict it, this `distribution` is tried like the first one.
        - `"auto"`: the list of `"smooth"`, `"steep"` and `"trees"`, and also `"forest"` if `distribution` is `"auto"`.
      num_members: the number of networks in the ensemble. `joblib` trains them, in threads by default. Networks whose
        mean loss on training rows is more than 0.5 nats above the ensemble's median are left out.
      max_epochs: a limit on the number of epochs, or None. Without a limit, `n` rows get `900 / n^(1/3)` epochs.
      validation_fraction: the fraction of rows that are held out to compare networks.
      shuffle: whether the held-out rows are drawn at random. Use False for a table in order of time: the last rows are
        then held out, and there is no cross-validation.
      random_state: the seed of all random numbers. With an int, each `fit` gives the same predictions.
      warm_start: whether another `fit` on the same rows reuses earlier trials and ensembles. This saves time when you
        compare distributions. It needs an int `random_state`.
      verbose: 1 for a progress bar.

    Attributes:
      trials_: the trials, best first; each has `network`, `regularization`, `distribution`, `nll`, `spread` and `crps`.
      n_features_in_, feature_names_in_: the number of columns of `X`, and their names if it is a frame.
      n_outputs_: the number of outcomes per row.

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
        distribution: Any = None,
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
        """Selects a network, a distribution and the spread, and trains the final model on all rows.

        Args:
          X: an array of numbers `[n, m]`, or a frame of pandas or polars.
          y: outcomes `[n]`, or `[n, k]` for several outcomes per row. If `distribution` is a `nllfit.Censored` family,
            `y` are pairs `[n, 2]`: each outcome is known to lie between the two numbers of its pair.
            `nllfit.interval_censored` makes such pairs.
          sample_weight: the number of times that each row counts, `[n]`; rows of weight 0 are left out.
          observed: `[n]`, False if the outcome is right-censored: it is only known to be larger than `y`. If given, the
            networks are trained with the likelihood of right-censored outcomes.

        Returns:
          The estimator itself.

        Raises:
          ValueError: if the table, the outcomes, the weights or an argument is invalid; the message names it.
          FloatingPointError: if a network's weights become infinite or NaN, because of extreme values in `X` or `y`.
        """
        return self._fit_or_restore(X, y, sample_weight, observed)

    def _fit_table(self, x, y, sample_weight=None, observed=None, *, stream=None):
        is_automatic = isinstance(self.distribution, str) and self.distribution == "auto"
        distributions = [] if is_automatic or self.distribution is None else checked_names(self.distribution)
        self._takes_pairs = bool(distributions) and all(isinstance(item, Censored) for item in distributions)
        is_censored = self._takes_pairs or observed is not None
        self._is_vector = is_censored or np.asarray(y).ndim == 1
        rows = self._learn(x, self._outcomes(y, observed, is_fitted=False), sample_weight, is_censored)
        networks = self._networks(["smooth", "steep", *["forest"] * is_automatic, "trees"])
        self.n_outputs_ = rows.numbers().shape[1]
        distributions = distributions or (plausible(rows, stream) if is_automatic else default(rows))
        values, has_few = values_of(distributions, rows, stream), has_few_values(rows.y)
        make_target = functools.partial(target_of, values=values, has_few=has_few)
        self._fit(rows, distributions, networks, make_target, stream)
        return self

    def _rows_of(self, x, y, sample_weight):
        return checked_rows(self._read(x, warns=False), self._outcomes(y), sample_weight, self._takes_pairs, least=0)

    def predict_distribution(self, X: Any) -> tfd.Distribution:
        """Returns the predicted distribution of each row's outcome, a `tfd.Distribution` of batch `[n]`.

        Its event shape is `[k]` for `k` outcomes per row, or `[]` if the model was fitted to censored outcomes. If a
        family object was selected as `distribution`, the event shape is that of the family object.

        Pass it to `nllfit.evaluate(distribution, y=y)`, `nllfit.quantile`, `nllfit.cdf` or `nllfit.survival`.

        Raises:
          NotFittedError: if the estimator is not fitted.
          ValueError: if the columns of `X` are not those of `fit`.
        """
        return self._distribution(self._read(X))

    def predict(self, X: Any) -> np.ndarray:
        """Returns the mean of each row's predicted distribution, or its median if it has no mean.

        The shape is `[n]`, or `[n, k]` for `k` outcomes per row.
        """
        return self._like_y(_centers(self.predict_distribution(X)))

    def predict_quantile(self, X: Any, q: ArrayLike = 0.5) -> np.ndarray:
        """Returns quantiles of each row's predicted distribution.

        Args:
          X: `[n, m]`.
          q: a probability between 0 and 1, or a list of them.

        Returns:
          An array `[n]` for one probability, or `[n, len(q)]` for a list, in the unit of the outcome. For `k` outcomes
          per row, the shapes are `[n, k]` and `[n, k, len(q)]`.
        """
        found = np.asarray(quantile(self.predict_distribution(X), q), np.float64)
        return self._like_y(np.moveaxis(found, 0, -1) if np.ndim(q) else found, bool(np.ndim(q)))

    def predict_interval(self, X: Any, level: float = 0.9) -> np.ndarray:
        """Returns the central interval that contains an outcome with probability `level`.

        The shape is `[n, 2]`, or `[n, k, 2]` for `k` outcomes per row.
        """
        ends = interval(self.predict_distribution(X), level)
        return self._like_y(np.stack([np.asarray(end, np.float64) for end in ends], -1), True)

    def sample(self, X: Any, num_samples: int = 1, random_state: Any = None) -> np.ndarray:
        """Draws samples from each row's predicted distribution.

        The shape is `[num_samples, n]`, or `[num_samples, n, k]` for `k` outcomes per row.

        Args:
          X: `[n, m]`.
          num_samples: the number of samples for each row.
          random_state: the seed; None for the estimator's own `random_state`.
        """
        num_samples = as_count("num_samples", num_samples, 1)
        given = self.random_state if random_state is None else random_state
        seed = [0, check_random_state(given).randint(2**31)]
        samples = self.predict_distribution(X).sample(num_samples, seed=tf.constant(seed, tf.int32)).numpy()
        return np.stack([self._like_y(sample) for sample in samples])

    def score(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, observed: ArrayLike | None = None
    ) -> float:
        """Returns the mean log-likelihood of outcomes, in nats. Higher is better.

        Args:
          X, y, sample_weight, observed: as for `fit`. A right-censored outcome contributes `log P(Y > y)`. An interval
            contributes the logarithm of its probability.
        """
        is_censored = self._takes_pairs or observed is not None
        if observed is not None and self.n_outputs_ > 1:
            raise ValueError(f"`observed` is for one outcome a row, but the model has {self.n_outputs_}: leave it out.")
        rows = checked_rows(self._read(X), self._outcomes(y, observed), sample_weight, is_censored, least=1)
        return -mean_nll(self._distribution(rows.x), rows.y, rows.weights, is_censored)

    def evaluate(self, X: Any, y: ArrayLike, **arguments: Any) -> Evaluation:
        """Scores the predictions for `X` with `nllfit.evaluate`, which also measures calibration and coverage.

        Args:
          X: as for `fit`.
          y: outcomes that are not censored, `[n]` or `[n, k]`, also if the model was fitted to censored outcomes.
          **arguments: arguments of `nllfit.evaluate`, such as `levels`.

        Raises:
          ValueError: if the columns of `X` or the number of outcomes per row are not those of `fit`, or for a reason
            given at `nllfit.evaluate`.
        """
        rows = checked_rows(self._read(X), self._numbers(y), least=0)
        distribution = self._distribution(rows.x)
        return evaluate(distribution, y=shaped(rows.y, distribution), **arguments)

    def _outcomes(self, y, observed=None, is_fitted=True):
        """Returns the outcomes as `[n, k]`. Censored outcomes become pairs `[n, 2]`."""
        if observed is not None:
            return censored_pairs(checked_outcomes(self, y), observed)
        if self._takes_pairs:
            return censored_pairs(checked_outcomes(self, y, may_be_infinite=True))
        return self._numbers(y, is_fitted)

    def _numbers(self, y, is_fitted=True):
        """Checks outcomes that are not censored, and returns them as an array `[n, k]`."""
        shape = np.asarray(y).shape
        num_columns = shape[1] if len(shape) > 1 else 1
        if is_fitted and num_columns != self.n_outputs_:
            advice = "give numbers `[n]`, or `score` pairs" if self._takes_pairs else "give one column for each"
            raise ValueError(
                f"`y` has {num_columns} columns, but the model's number of outcomes is {self.n_outputs_}: {advice}."
            )
        y = checked_outcomes(self, y)
        return y.reshape(len(y), -1)

    def _like_y(self, values, has_last_axis=False):
        """Reshapes values `[n, *event]` like the training `y`. With `has_last_axis`, values are `[n, *event, m]`."""
        values = np.asarray(values, np.float64)
        last = values.shape[values.ndim - has_last_axis :]
        return values.reshape([len(values), *([] if self._is_vector else [self.n_outputs_]), *last])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # scikit-learn's checks expect an R2 above 0.5, but `score` is not an R2
        return tags


def _centers(distribution):
    """Returns the mean of each element of an outcome, or the median if the mean does not exist."""
    if is_circular(distribution):  # the mean of angles near pi and -pi would be 0, the opposite direction
        return np.asarray(law_of(distribution).central_value(), np.float64)
    try:
        mean = np.asarray(distribution.mean(), np.float64)
    except NotImplementedError:
        mean = np.full([*distribution.batch_shape, *distribution.event_shape], np.nan)
    if np.all(np.isfinite(mean)):
        return mean
    return np.where(np.isfinite(mean), mean, np.asarray(quantile(distribution, 0.5), np.float64))
