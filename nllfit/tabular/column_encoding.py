"""Encodes a table as a matrix of numbers. The table may contain numbers, booleans, categories and missing values."""

import dataclasses
import numbers
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.utils import check_array

from nllfit.families.arguments import is_missing
from nllfit.families.masked_and_sparse_arrays import holds_dates, refuse_misread

__all__ = ["Column", "Columns", "as_table", "columns_of", "is_frame", "with_nan"]

_MOST_CATEGORIES = 50  # at most this number of categories of a column get an indicator: the most frequent ones
_ADVICE_ON_DATES = "give numbers, such as the days since a first date, the month and the weekday."
_CATEGORICAL_OF_PANDAS = "CategoricalDtype"
_CATEGORICAL = (_CATEGORICAL_OF_PANDAS, "Categorical", "Enum")  # "Categorical" and "Enum" are dtypes of polars


@dataclasses.dataclass
class Column:
    """The encoding of one column.

    Attributes:
      name: the column's name in error messages.
      categories: the categories with an indicator column; None for a column of numbers or booleans. If the training
        rows have no value in the column, the list is empty, and all values in new rows count as missing.
      fill: the number that replaces a missing number: the median of the training rows.
      has_gaps: whether a training row had a missing value. If so, one more indicator column marks missing values.
    """

    name: str
    categories: list[str] | None = None
    fill: float = 0.0
    has_gaps: bool = False

    def unknown(self, values: np.ndarray, encoded: np.ndarray) -> np.ndarray:
        """Returns the distinct categories in `values` that have no indicator in `encoded`, the encoding of `values`.

        The result is empty if 50 categories have an indicator. Then the training rows may have had other, rarer
        categories, which are not stored.
        """
        if not self.categories or len(self.categories) == _MOST_CATEGORIES:
            return np.array([])
        without = values[~np.any(encoded[:, : len(self.categories)], axis=1)]
        return np.unique(without[~is_missing(without)].astype(str))

    def encoded(self, values: np.ndarray) -> np.ndarray:
        """Returns the column `[n]` as numbers `[n, k]`. A category without an indicator counts as missing."""
        if self.categories is None:
            gaps = is_missing(values)
            parts = [np.where(gaps, self.fill, values)]
        else:
            parts = [np.isin(values, _spellings(category, self.categories)) for category in self.categories]
            gaps = ~np.any(parts, axis=0) if parts else np.ones(len(values), bool)
        if self.has_gaps:
            parts.append(gaps)
        return np.stack(parts, axis=1).astype(float) if parts else np.zeros([len(values), 0])


@dataclasses.dataclass
class Columns:
    """The encoding of a table, which is learned from the training rows.

    Numbers stay numbers, and booleans become 0 and 1. A column of text or of a categorical dtype becomes one indicator
    for each of its 50 most frequent categories; other categories count as missing. A missing number becomes the
    column's median. If a column has missing values in the training rows, one more indicator marks missing values.
    """

    columns: list[Column]

    @classmethod
    def of(cls, x: Any, rows: Any = slice(None)) -> "Columns":
        """Learns the encoding of a table.

        Args:
          x: an array of numbers `[n, m]`, or a frame of pandas or polars.
          rows: the rows to learn from, a slice or a boolean mask `[n]`.

        Raises:
          ValueError: if a column contains dates, infinite numbers, or both text and numbers; if an array contains text;
            if two columns have the same name. The message names the column.
        """
        return cls([_learned(name, values[rows]) for name, values in columns_of(x)])

    def matrix(self, x: Any, warns: bool = True) -> np.ndarray:
        """Returns the table as numbers `[n, k]` in float64.

        Raises:
          ValueError: if the table is invalid, as described for `of`; or if a column contains text but had numbers in
            training, or contains numbers but had text.

        Warns:
          UserWarning: with `warns`, if columns have missing values, but had none in training, or if they have unknown
            categories. The message names them.
        """
        parts, incomplete, unknown = [], [], []
        for column, (_, values) in zip(self.columns, columns_of(x), strict=True):
            is_text, was_text = values.dtype == object, column.categories is not None
            was_empty = column.categories == []
            if is_text != was_text and not was_empty and not is_missing(values).all():
                now, then = ("text", "numbers") if is_text else ("numbers", "text")
                raise ValueError(
                    f"`X` has {now} in column {column.name}, which had {then} when the estimator was fitted: "
                    f"convert the column to {then}."
                )
            if not column.has_gaps and not was_empty and is_missing(values).any():
                incomplete.append(column.name)
            if is_text != was_text:  # then all values are missing or count as missing
                values = np.full(len(values), None, object) if was_text else np.full(len(values), np.nan)
            parts.append(column.encoded(values))
            unknown += [f"{text!r} in {column.name}" for text in column.unknown(values, parts[-1]).tolist()]
        if incomplete and warns:
            warnings.warn(
                f"`X` lacks values of {', '.join(incomplete)}, and no row lacked them in training: the intervals of "
                f"such rows may be too narrow. Include such rows when you fit.",
                stacklevel=4,
            )
        if unknown and warns:
            more = ", ..." if len(unknown) > 3 else ""
            warnings.warn(
                f"`X` has categories that the estimator does not know, {', '.join(unknown[:3])}{more}: they count as "
                f"missing, so the predictions of such rows may be far off. Include such rows when you fit.",
                stacklevel=4,
            )
        return np.concatenate(parts, axis=1)


def _learned(name, values):
    """Learns the encoding of values `[n]`, which are floats or text. A missing value is NaN or None."""
    present = values[~is_missing(values)]
    has_gaps = len(present) < len(values)
    if values.dtype != object and len(present):
        return Column(name, None, float(np.median(present)), has_gaps)
    texts, counts = np.unique(present.astype(str), return_counts=True)
    frequent = np.sort(np.argsort(-counts, kind="stable")[:_MOST_CATEGORIES])
    num_rare = counts.sum() - counts[frequent].sum()
    if num_rare > counts[frequent].sum():
        warnings.warn(
            f"Column {name} of `X` holds {len(texts)} different texts, such as {str(texts[0])!r}. Only the "
            f"{_MOST_CATEGORIES} most frequent become categories, so {num_rare} of {len(values)} rows have none: give "
            f"dates and amounts as numbers, and leave out names and identifiers.",
            stacklevel=2,
        )
    return Column(name, texts[frequent].tolist(), 0.0, has_gaps)


def _spellings(category, categories):
    """Returns the texts that denote a category. For an int, there are two texts, such as "1" and "1.0".

    pandas converts a column of ints to floats if a value is missing, so the same category can be "1" in one table and
    "1.0" in another.
    """
    short = category.removesuffix(".0")
    other = f"{short}.0" if short == category else short
    is_number = short.removeprefix("-").isdigit()
    return [category, other] if is_number and other not in categories else [category]


def columns_of(x: Any) -> Iterator[tuple[str, np.ndarray]]:
    """Yields the name and the values of each column. Values are floats or text; a missing value is NaN or None."""
    x = as_table(x)
    if not is_frame(x):
        yield from ((str(i), x[:, i]) for i in range(x.shape[1]))
        return
    names = list(x.columns)
    if not names or not len(x):
        raise ValueError(f"`X` has {len(x)} rows and {len(names)} columns: give at least one of each.")
    if len(set(names)) < len(names):
        name = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"`X` has {names.count(name)} columns named {name!r}: give each column its own name.")
    yield from ((repr(name), _values(repr(name), x[name])) for name in names)


def is_frame(x: Any) -> bool:
    """Whether a table has named columns, as frames of pandas and polars do."""
    return hasattr(x, "columns")


def with_nan(values: Any) -> Any:
    """Replaces the missing values of an array of objects by NaN, because NumPy cannot convert pandas's NA to a float.

    Other arrays are returned unchanged.
    """
    if getattr(getattr(values, "dtype", None), "kind", None) != "O":
        return values
    return np.where(is_missing(np.asarray(values)), np.nan, values)


def as_table(x: Any) -> Any:
    """Returns a frame unchanged, and any other table as a float64 array `[n, m]`, which may contain NaN.

    Raises a `ValueError` if a table that is not a frame contains text or dates.
    """
    if is_frame(x):
        return x
    refuse_misread("`X`", x)
    x = with_nan(x)
    if getattr(getattr(x, "dtype", None), "kind", None) in ("M", "m"):
        raise ValueError(f"`X` holds dates or durations: {_ADVICE_ON_DATES}")
    try:
        return check_array(x, dtype=np.float64, ensure_all_finite="allow-nan", input_name="X")
    except TypeError:
        if hasattr(x, "dtype"):
            raise
        raise TypeError(
            f"`X` is a {type(x).__name__}: give an array of numbers, or a pandas or polars frame."
        ) from None
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(
            f"`X` is an array with text ({error}): give numbers, or a pandas or polars frame, whose columns of text "
            f"are categories."
        ) from None


def _values(name, series):
    """Returns the values of a frame's column, which are floats or text. A missing value is NaN or None."""
    kind = type(series.dtype).__name__
    is_categorical = kind in _CATEGORICAL
    if kind == _CATEGORICAL_OF_PANDAS:
        series = series.astype(object)  # otherwise pandas turns categories of ints into floats if a value is missing
    values = series.to_numpy()
    if values.dtype.kind in "biuf" and not is_categorical:
        return _checked(name, values.astype(float))
    is_gap = is_missing(values)
    if holds_dates(values[~is_gap]):
        raise ValueError(f"`X` holds dates or durations in column {name}: {_ADVICE_ON_DATES}")
    present = values[~is_gap].tolist()
    if not is_categorical:
        are_numbers = [isinstance(value, numbers.Real | np.bool_) for value in present]
        if all(are_numbers):
            column = np.full(len(values), np.nan)
            column[~is_gap] = present
            return _checked(name, column)
        other = next((value for value in present if not isinstance(value, str)), None)
        if other is not None:
            text = next((value for value in present if isinstance(value, str)), None)
            both = f"both {text!r} and {other!r}" if text is not None else f"{other!r}, a {type(other).__name__}"
            raise ValueError(f"`X` holds {both} in column {name}: give numbers, or text for categories.")
    column = np.full(len(values), None, object)
    column[~is_gap] = [str(value) for value in present]
    return column


def _checked(name, values):
    if np.any(np.isinf(values)):
        row = int(np.argmax(np.isinf(values)))
        raise ValueError(
            f"`X` has {values[row]} in column {name} at row {row}: give finite numbers, or NaN if it is missing."
        )
    return values
