"""The base class of the estimators: it checks tables, and fits, saves and loads estimators."""

import abc
import dataclasses
import numbers
import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from tensorflow_probability import distributions as tfd

from nllfit.families.arguments import as_count
from nllfit.families.masked_and_sparse_arrays import refuse_misread
from nllfit.tabular import files
from nllfit.tabular.column_encoding import Columns, as_table
from nllfit.tabular.network_architectures import checked_network
from nllfit.tabular.table_rows import Rows, Settings, Stream, check_lengths, sample_of
from nllfit.tabular.targets import Target
from nllfit.tabular.trials_and_spread import Predictor, Search, Trial

__all__ = ["TabularEstimator", "checked_rows"]

_Estimator = TypeVar("_Estimator", bound="TabularEstimator")


class TabularEstimator(BaseEstimator, abc.ABC):
    """Base class of the estimators. `_fit` selects and trains the `Predictor` that makes the predictions."""

    network: Any
    num_members: int
    max_epochs: int | None
    validation_fraction: float
    shuffle: bool
    random_state: Any
    warm_start: bool
    verbose: int
    columns_: Columns
    predictor_: Predictor
    trials_: list[Trial]
    _search: Search | None = None  # the search of the last fit; kept only with `warm_start`

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        return tags

    def fit_batches(self: _Estimator, batches: Any) -> _Estimator:
        """Fits the estimator to a table that is larger than memory and comes in batches of rows.

        A sample of at most 32,768 rows stays in memory. The sample determines the scales, the bins, the categories and
        the classes, and it is the training set of all trials. If the best model is a network, `num_members`
        such networks are then trained on all rows, part by part. The trees of `"trees"` and `"forest"` are grown only
        on the sample.

        The batches are read twice to draw the sample, and once in each epoch. For `n` rows there are `900 / n^(1/3)`
        epochs, but at most `max_epochs`. If the distribution is `"auto"`, the batches are read once more to find the
        smallest and the largest outcome. If `"Values"` is one of the distributions, the batches are read once
        more to find all distinct outcomes.

        Shuffle the table first: batches are read in order and joined into parts of at least 16,384 rows, and the
        training shuffles rows only within a part. With `shuffle=False`, the sample is in the order of the batches, and
        its last rows are held out.

        Args:
          batches: an iterable of batches `(X, y)` or `(X, y, sample_weight)` of arrays or frames, or a function that
            returns an iterator. The iterable must be readable several times, like a list or a `tf.data.Dataset`.

        Returns:
          The estimator itself.

        Raises:
          ValueError: if `batches` is empty, or is an iterator, which can only be read once; if a batch is not a tuple
            of two or three elements; or if a label is not in the sample. The errors of `fit` also apply.

        Example:
          A Parquet file. Its column `price` contains the outcomes:

              def batches():
                  for part in pyarrow.parquet.ParquetFile("sales.parquet").iter_batches(10_000):
                      frame = part.to_pandas()
                      yield frame.drop(columns="price"), frame["price"]

              model = DistributionRegressor().fit_batches(batches)
        """
        sample, sizes = sample_of(batches, self._settings().seed)
        stream = None
        if sum(sizes) > len(sample[1]):
            mean_weight = 1.0 if sample[2] is None else float(_checked_weights(sample[2]).mean())
            stream = Stream(batches, self._rows_of, sizes, mean_weight)
        return self._fit_or_restore(*sample, stream=stream)

    def _fit_or_restore(self, *table: Any, stream: Stream | None = None) -> Any:
        """Calls `_fit_table`. If this call fails, all attributes of the estimator get their earlier values again."""
        before = self.__dict__.copy()
        try:
            return self._fit_table(*table, stream=stream)
        except BaseException:
            self.__dict__ = before
            raise

    @abc.abstractmethod
    def _fit_table(self, x: Any, y: Any, sample_weight: Any = None, observed: Any = None, *, stream: Any = None) -> Any:
        """Fits the estimator to a table. If `stream` is given, the table is a sample of the stream's rows."""

    @abc.abstractmethod
    def _rows_of(self, x: Any, y: Any, sample_weight: Any) -> Rows:
        """Returns the `Rows` of one part of a stream. The columns and labels are encoded as in the sample."""

    def _read(self, x: Any, warns: bool = True) -> np.ndarray:
        """Returns a table as numbers `[n, columns]`. Raises a `ValueError` if its columns are not those of `fit`."""
        check_is_fitted(self)
        table = as_table(x)
        validate_data(self, table, reset=False, skip_check_array=True)
        return self.columns_.matrix(table, warns)

    def _learn(self, x: Any, y: np.ndarray, sample_weight: Any = None, is_censored: bool = False) -> Rows:
        """Learns the encoding of a training table's columns. Returns the encoded rows that have a positive weight.

        The weights are scaled to a mean of 1. Equal weights become None.

        Raises:
          ValueError: if the table or the weights are invalid, or if fewer than two rows remain.
        """
        table = as_table(x)
        check_lengths(table, y, sample_weight)
        weights = None if sample_weight is None else _checked_weights(sample_weight)
        self.columns_ = Columns.of(table, slice(None) if weights is None else weights > 0)
        validate_data(self, table, reset=True, skip_check_array=True)
        rows = checked_rows(self.columns_.matrix(table, warns=False), y, sample_weight, is_censored)
        if rows.weights is None:
            return rows
        weights = rows.weights / rows.weights.mean() if np.ptp(rows.weights) else None
        return dataclasses.replace(rows, weights=weights)

    def _distribution(self, x: np.ndarray) -> tfd.Distribution:
        return self.predictor_.distribution(x, self.trials_[0].spread)

    def _fit(
        self,
        rows: Rows,
        distributions: list[Any],
        networks: list[Any],
        make_target: Callable[[Any, Rows], Target],
        stream: Stream | None,
    ) -> None:
        """Selects the network and the distribution for the rows, and trains the final model."""
        settings = self._settings()
        if settings.shuffle:
            rows = rows[np.random.default_rng(settings.seed).permutation(len(rows))]
        search = self._search if self.warm_start and stream is None else None
        if search is None or search.settings != settings or not search.rows.same_as(rows):
            search = Search(rows, settings, make_target, stream)
        # With `warm_start`, the search may have the `make_target` of an earlier `fit`. If "Values" was not among the
        # earlier distributions, the earlier `make_target` lacks the distinct outcomes that "Values" needs.
        search.make_target = make_target
        self.trials_, self.predictor_ = search.run(distributions, networks)
        if self.warm_start:
            self._search = search

    def _settings(self):
        num_members = as_count("num_members", self.num_members, 1)
        max_epochs = as_count("max_epochs", self.max_epochs, 1, optional=True)
        fraction = self.validation_fraction
        if not (isinstance(fraction, numbers.Real) and 0 < fraction < 1):
            raise ValueError(f"`validation_fraction` is {fraction!r}: give a number between 0 and 1, such as 0.2.")
        seed = self.random_state
        if not isinstance(seed, numbers.Integral):
            seed = check_random_state(seed).randint(2**31)
        return Settings(num_members, max_epochs, float(fraction), int(seed), int(self.verbose), bool(self.shuffle))

    def _networks(self, automatic: list[str]) -> list[Any]:
        """Returns the networks to try. If the user gave "auto", these are `automatic`."""
        networks = self.network
        networks = automatic if isinstance(networks, str) and networks == "auto" else networks
        networks = list(networks) if isinstance(networks, list | tuple) else [networks]
        if not networks:
            raise ValueError("`network` is empty: give at least one network, such as 'smooth'.")
        for network in networks:
            checked_network(network)
        return networks

    def save(self, folder: str | os.PathLike) -> None:
        """Writes a fitted estimator to a new or empty folder, as JSON and arrays. `load` reads it in any process.

        Unlike a `pickle` or `joblib` file, the folder contains no code that runs when it is read.

        Raises:
          NotFittedError: if the estimator is not fitted.
          ValueError: if the folder is not empty.
        """
        check_is_fitted(self)
        state = self.__getstate__() | {"random_state": None}
        files.write(folder, {"class": type(self).__name__, "state": state})

    @classmethod
    def load(cls: type[_Estimator], folder: str | os.PathLike) -> _Estimator:
        """Reads an estimator that `save` wrote. Its `random_state` is None.

        Raises:
          ValueError: if the folder is missing or contains an estimator of another class, or if a file in it is damaged.
        """
        saved = files.read(folder)
        name, state = (saved.get(key) if isinstance(saved, dict) else None for key in ("class", "state"))
        if not isinstance(name, str) or not isinstance(state, dict) or "predictor_" not in state:
            raise ValueError(f"`folder` {folder} does not contain an estimator: give one that `save` wrote.")
        if name != cls.__name__:
            raise ValueError(f"`folder` {folder} holds a {name}: load it by `{name}.load`.")
        estimator = cls()
        estimator.__dict__.update(state)
        return estimator

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state.pop("_search", None)
        return state


def checked_rows(
    x: np.ndarray, y: np.ndarray, sample_weight: Any = None, is_censored: bool = False, least: int = 2
) -> Rows:
    """Returns the rows that have a positive weight.

    Raises:
      ValueError: if the arrays differ in length, the weights are invalid, or fewer than `least` rows remain.
    """
    check_lengths(x, y, sample_weight)
    weights = None if sample_weight is None else _checked_weights(sample_weight)
    rows = Rows(x, y, weights, is_censored)
    if weights is not None:
        rows = rows[weights > 0]
    if len(rows) < least:
        weighted = "" if sample_weight is None else " with a weight above 0"
        raise ValueError(f"`X` has n_samples={len(rows)} rows{weighted}: give at least {least}.")
    return rows


def _checked_weights(sample_weight):
    refuse_misread("`sample_weight`", sample_weight)
    weights = np.asarray(sample_weight)
    try:
        weights = weights.astype(float)
    except (TypeError, ValueError):
        weights = np.array(np.nan)
    if weights.ndim != 1 or not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError(
            "`sample_weight` must be an array `[n]` of finite numbers >= 0, the number of times that each row counts."
        )
    if not np.any(weights > 0):
        raise ValueError("`sample_weight` is zero for every row: give at least two rows a weight above 0.")
    return weights
