"""Rows of a table in memory, and streams of rows for tables that are larger than memory."""

import dataclasses
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from sklearn.utils import _safe_indexing

from nllfit.families.masked_and_sparse_arrays import refuse_misread
from nllfit.tabular.column_encoding import as_table, is_frame

__all__ = ["Rows", "Settings", "Stream", "check_lengths", "parts_of", "sample_of"]

_SAMPLE = 2**15  # the maximum number of rows in the sample of a stream, which stays in memory
_PART = 2**14  # each part of a stream has at least this many rows, except the last one


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows of a table: inputs `[n, m]`, outcomes `[n, k]` and weights `[n]`.

    If outcomes are censored, `y` are pairs `[n, 2]`, as for `nllfit.Censored`. `row_numbers`, `[n]`, are the indices
    of the rows in the user's table, for error messages. None means that row `i` is row `i` of the table.
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray | None = None
    is_censored: bool = False
    row_numbers: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Any) -> "Rows":
        weights = None if self.weights is None else self.weights[rows]
        row_numbers = np.arange(len(self)) if self.row_numbers is None else self.row_numbers
        return Rows(self.x[rows], self.y[rows], weights, self.is_censored, row_numbers[rows])

    def same_as(self, other: "Rows") -> bool:
        parts = ((rows.x, rows.y, rows.weights, np.array(rows.is_censored)) for rows in (self, other))
        return all((a is None and b is None) or np.array_equal(a, b) for a, b in zip(*parts, strict=True))

    def numbers(self) -> np.ndarray:
        """Returns the outcomes as finite numbers, `[n, k]`.

        A censored outcome becomes the middle of its interval. If one end of the interval is infinite, the outcome
        becomes the other end. If both ends are infinite, the outcome becomes the mean of all outcomes with a finite
        end.
        """
        if not self.is_censored:
            return self.y
        lower, upper = self.y.T
        ends = np.where(np.isfinite(lower), lower, upper), np.where(np.isfinite(upper), upper, lower)
        middles = np.mean(np.where(np.isinf(ends), 0, ends), axis=0)
        is_known = np.isfinite(lower) | np.isfinite(upper)
        return np.where(is_known, middles, middles[is_known].mean() if is_known.any() else 0)[:, None]


@dataclasses.dataclass(frozen=True)
class Settings:
    """The arguments of the estimators that control the training of networks."""

    num_members: int
    max_epochs: int | None
    validation_fraction: float
    seed: int
    verbose: int
    shuffle: bool = True


class Stream:
    """A table in batches. Each iteration over a `Stream` reads all batches and yields the `Rows` of each part.

    `parts_of` joins the batches into parts of at least 16,384 rows.

    Args:
      batches: as for `parts_of`.
      read: `read(x, y, sample_weight)` returns the `Rows` of one part. `parts_of` yields these arguments.
      sizes: the number of rows of each part.
      mean_weight: an estimate of the mean weight. All weights are divided by this number to have a mean of about 1.
    """

    def __init__(self, batches: Any, read: Callable[..., Rows], sizes: list[int], mean_weight: float):
        self.batches, self.read, self.sizes, self.mean_weight = batches, read, sizes, mean_weight

    def __iter__(self) -> Iterator[Rows]:
        for part in parts_of(self.batches):
            rows = self.read(*part)
            weights = None if rows.weights is None else rows.weights / self.mean_weight
            yield dataclasses.replace(rows, weights=weights)


def parts_of(batches: Any) -> Iterator[tuple[Any, np.ndarray, np.ndarray | None]]:
    """Joins batches into parts of at least 16,384 rows. The last part may be smaller.

    Yields a tuple for each part: the columns, the outcomes, and the weights or None. Rows of weight 0 are left out.

    Args:
      batches: batches `(X, y)` or `(X, y, sample_weight)`. Give a `tf.data.Dataset` or another iterable that can be
        iterated several times, or a function that returns an iterator.

    Raises:
      ValueError: if a batch is not a tuple of two or three elements, if the elements of a batch differ in length, or if
        only some batches have weights.
    """
    waiting: list[Any] = []
    for batch in batches() if callable(batches) else batches:
        if not isinstance(batch, tuple) or len(batch) not in (2, 3):
            raise ValueError(
                f"`batches` holds {type(batch).__name__}: give batches `(X, y)` or `(X, y, sample_weight)`."
            )
        for name, values in zip(("X", "y", "sample_weight"), batch, strict=False):
            refuse_misread(f"`{name}`", values)
        table = batch[0] if is_frame(batch[0]) or np.ndim(batch[0]) else as_table(batch[0])
        table = table if is_frame(table) else np.asarray(table)
        kept = _without_zero_weights(table, *map(np.asarray, batch[1:]))
        if len(kept[1]):
            waiting.append(kept)
        if sum(len(part[1]) for part in waiting) >= _PART:
            yield _joined(waiting)
            waiting = []
    if waiting:
        yield _joined(waiting)


def sample_of(batches: Any, seed: int) -> tuple[tuple[Any, np.ndarray, np.ndarray | None], list[int]]:
    """Draws at most 32,768 random rows of batches. Returns these rows, and the number of rows in each part of the data.

    `parts_of` joins the batches into these parts. The drawn rows keep their order, because with `shuffle=False` the
    last rows of the sample are held out.

    Raises:
      ValueError: if there are no batches, or if they can only be read once.
    """
    if isinstance(batches, Iterator):
        raise ValueError(
            f"`batches` is a {type(batches).__name__}, which can only be read once: give the function that makes it."
        )
    sizes = [len(y) for _, y, _ in parts_of(batches)]
    if not sizes:
        raise ValueError("`batches` is empty: give at least one batch of rows with a weight above 0.")
    rng = np.random.default_rng(seed)
    counts = rng.multivariate_hypergeometric(sizes, min(_SAMPLE, sum(sizes)))
    chosen = []
    for part, count in zip(parts_of(batches), counts, strict=True):
        if count:
            rows = np.sort(rng.choice(len(part[1]), int(count), replace=False))
            chosen.append([_safe_indexing(value, rows) for value in part if value is not None])
    return _joined(chosen), sizes


def _without_zero_weights(*batch):
    """Returns a batch without its rows of weight 0."""
    check_lengths(*batch)
    if len(batch) == 2 or batch[2].ndim != 1:  # `fit` later raises an error for weights of another shape
        return batch
    rows = np.flatnonzero(batch[2] != 0)
    return batch if len(rows) == len(batch[2]) else tuple(_safe_indexing(values, rows) for values in batch)


def check_lengths(x: Any, y: Any, sample_weight: Any = None) -> None:
    """Raises a `ValueError` if the outcomes or the weights have another length than the table."""
    for name, values, unit in (("y", y, "outcome"), ("sample_weight", sample_weight, "weight")):
        array = np.asarray(values)
        if array.ndim and len(array) != len(x):
            raise ValueError(f"`X` has {len(x)} rows, but `{name}` has {len(array)}: give one {unit} for each row.")


def _joined(parts: Sequence[Any]) -> tuple[Any, np.ndarray, np.ndarray | None]:
    if len({len(part) for part in parts}) > 1:
        raise ValueError("`batches` holds some batches with a `sample_weight` and some without: give all or none.")
    tables, *others = zip(*parts, strict=True)
    if is_frame(tables[0]):
        names = list(tables[0].columns)
        other_names = next((list(table.columns) for table in tables if set(table.columns) != set(names)), None)
        if other_names is not None:
            raise ValueError(f"`batches` holds frames of the columns {names} and {other_names}: give the same columns.")
        tables = tuple(table[names] for table in tables)
        library = importlib.import_module(type(tables[0]).__module__.partition(".")[0])  # pandas or polars
        if library.__name__ == "pandas":
            table = library.concat([_with_text(table) for table in tables])
        else:
            table = library.concat(tables, how="vertical_relaxed")  # dtypes may differ between batches
    else:
        table = np.concatenate(tables)
    return table, np.concatenate(others[0]), np.concatenate(others[1]) if len(others) > 1 else None


def _with_text(table):
    """Converts the numeric categories of a pandas frame's columns to text.

    If the categories of a column differ between frames, `pandas.concat` returns a column that is not categorical.
    Numeric categories would then become numbers. Text stays text, and the encoding treats text as categories.
    """

    def renamed(column):
        is_numeric = column.dtype == "category" and column.cat.categories.dtype.kind in "biuf"
        return column.cat.rename_categories(str) if is_numeric else column

    return type(table)({name: renamed(table[name]) for name in table.columns})
