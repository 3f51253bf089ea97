"""`DistributionClassifier` predicts calibrated class probabilities for each row of a table."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import ClassifierMixin
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets
from tensorflow_probability import distributions as tfd

from nllfit.evaluation import Evaluation, evaluate
from nllfit.families.masked_and_sparse_arrays import refuse_misread
from nllfit.tabular.base import TabularEstimator, checked_rows
from nllfit.tabular.class_and_value_target import Classes

__all__ = ["DistributionClassifier"]


class DistributionClassifier(ClassifierMixin, TabularEstimator):
    """Predicts class probabilities from a table, by temperature scaling of an ensemble of networks or a forest.

    This class is the counterpart of `DistributionRegressor` for class labels. The log-likelihood of held-out rows
    selects the network and the temperature. The temperature is a number by which log-probabilities are divided. The
    prediction is a mixture of the resulting probabilities and the class frequencies of the training set. For `n` rows,
    the frequencies have the weight `1 / (validation_fraction * n)`, so no class has a probability of 0. `score` is the
    accuracy, as in scikit-learn.

    Args:
      network, num_members, max_epochs, validation_fraction, shuffle, random_state, warm_start, verbose: as in
        `DistributionRegressor`; `network="auto"` compares `"smooth"`, `"steep"` and `"trees"`.

    Attributes:
      classes_: the labels, sorted.
      trials_: the trials, sorted from the best to the worst. The `spread` of a trial is its temperature.
      n_features_in_, feature_names_in_: the number of columns of `X`, and their names if it is a frame.

    Example:
      >>> from nllfit.tabular import DistributionClassifier
      >>> X = np.linspace(-1, 1, 100)[:, None]
      >>> y = np.where(X[:, 0] > 0, "high", "low")
      >>> model = DistributionClassifier(num_members=2, max_epochs=20, random_state=0).fit(X, y)
      >>> model.predict(X[:2]), model.predict_proba(X[:2]).shape
      (array(['low', 'low'], dtype='<U4'), (2, 2))

    Source: Guo, Pleiss, Sun and Weinberger, On calibration of modern neural networks, 2017.
    """

    def __init__(
        self,
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
        self.network = network
        self.num_members = num_members
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.shuffle = shuffle
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    def fit(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "DistributionClassifier":
        """Selects a network and a temperature, and trains the final model on all rows.

        Args:
          X: an array of numbers `[n, m]`, or a frame of pandas or polars.
          y: class labels `[n]`, numbers or text.
          sample_weight: the number of times that each row counts, `[n]`; rows of weight 0 are left out.

        Returns:
          The estimator itself.

        Raises:
          ValueError: if the table, the labels, the weights or an argument is invalid; the message names it.
          FloatingPointError: if a network's weights become infinite or NaN, because of extreme values in `X`.
        """
        return self._fit_or_restore(X, y, sample_weight)

    def _fit_table(self, x, y, sample_weight=None, observed=None, *, stream=None):
        if y is None:
            raise ValueError("This DistributionClassifier requires y to be passed, but the target y is None.")
        refuse_misread("`y`", y)
        y_column = column_or_1d(y, warn=True)
        assert_all_finite(y_column, input_name="y")
        try:
            check_classification_targets(y_column)
        except TypeError:  # NumPy cannot sort labels of several types
            type_names = ", ".join(sorted({type(label).__name__ for label in y_column.tolist()}))
            raise ValueError(
                f"`y` mixes labels of the types {type_names}: give labels of one type, and leave out rows without one."
            ) from None
        rows = self._learn(x, y_column[:, None], sample_weight)
        self.classes_, labels = np.unique(rows.y[:, 0], return_inverse=True)
        num_classes = len(self.classes_)
        if num_classes < 2:
            raise ValueError(f"`y` has one class, {self.classes_.tolist()[0]!r}: give rows of at least two classes.")

        def make_target(_, rows):
            return Classes(rows.y, num_classes, rows.weights)

        rows = type(rows)(rows.x, labels[:, None], rows.weights)
        self._fit(rows, ["Categorical"], self._networks(["smooth", "steep", "trees"]), make_target, stream)
        return self

    def _rows_of(self, x, y, sample_weight):
        return checked_rows(self._read(x, warns=False), self._indices(y)[:, None], sample_weight, least=0)

    def _indices(self, y):
        """Returns the index of each label in `classes_`. Raises a `ValueError` for a label that is not there."""
        refuse_misread("`y`", y)
        y = column_or_1d(y)
        unknown = np.setdiff1d(y, self.classes_).tolist()
        if unknown:
            raise ValueError(f"`y` holds {unknown[0]!r}, which is not one of the classes {self.classes_.tolist()}.")
        return np.searchsorted(self.classes_, y)

    def predict_distribution(self, X: Any) -> tfd.Distribution:
        """Returns a `tfd.Categorical` of batch `[n]`. Its outcomes are indices into `classes_`.

        Raises:
          NotFittedError: if the estimator is not fitted.
          ValueError: if the columns of `X` are not those of `fit`.
        """
        return self._distribution(self._read(X))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Returns the probability of each class, `[n, num_classes]`. The classes are in the order of `classes_`."""
        return self.predict_distribution(X).probs_parameter().numpy()

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Returns the logarithm of each class probability, in nats, `[n, num_classes]`."""
        return np.log(self.predict_proba(X))

    def predict(self, X: Any) -> np.ndarray:
        """Returns the class with the largest probability, `[n]`."""
        largest = self.predict_proba(X).argmax(axis=1)
        return self.classes_[largest]

    def score(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Returns the accuracy: the share of rows whose most probable class is their label. See `fit` for arguments.

        Raises:
          ValueError: if labels or weights have masked values, or the columns of `X` are not those of `fit`.
        """
        refuse_misread("`y`", y)
        refuse_misread("`sample_weight`", sample_weight)
        return super().score(X, y, sample_weight)

    def evaluate(self, X: Any, y: ArrayLike, **arguments: Any) -> Evaluation:
        """Scores the predictions for `X` with `nllfit.evaluate`: log-likelihood, accuracy, Brier score, calibration.

        Raises:
          ValueError: if a label is masked or not in `classes_`, if the columns of `X` are not those of `fit`, or for a
            reason given at `nllfit.evaluate`.
        """
        rows = checked_rows(self._read(X), self._indices(y)[:, None], least=0)
        return evaluate(self._distribution(rows.x), y=rows.y[:, 0], **arguments)
