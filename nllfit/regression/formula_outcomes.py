"""The outcomes of a regression. The left side of a formula defines numbers, class labels or censored times."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from nllfit.families import interval_censored, left_censored, right_censored
from nllfit.families.masked_and_sparse_arrays import refuse_dates
from nllfit.regression.data_columns import as_numbers, check_present, named_columns
from nllfit.regression.optional_packages import pandas as pd

__all__ = ["Outcome", "survival_times"]


def _surv(*columns):
    if len(columns) != 2:
        raise ValueError(
            "a regression takes `Surv(time, event)`; for late entry, `Surv(start, stop, event)`, call `cox_regression`"
        )
    return right_censored(*columns)


_FUNCTIONS: Mapping[str, Callable] = {
    **{name: getattr(np, name) for name in ("abs", "exp", "log", "log10", "log1p", "log2", "sqrt")},
    "I": lambda values: values,
    "Surv": _surv,
    "interval_censored": interval_censored,
    "left_censored": left_censored,
    "right_censored": right_censored,
}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcomes of a regression.

    Attributes:
      name: the left side of the formula.
      values: numbers or class indices `[n]`. Censored outcomes are pairs `[n, 2]`.
      labels: the labels of the classes, in the order of their indices; None for numbers.
      index: the index of the table.
      has_order: whether the outcomes are numbers, or labels of an ordered categorical column.
    """

    name: str
    values: np.ndarray
    labels: tuple[str, ...] | None
    index: Any
    has_order: bool = True

    @classmethod
    def of(cls, text: str, data: Any) -> "Outcome":
        """Evaluates the left side of a formula on a table."""
        if not text:
            raise ValueError("The formula has nothing before its `~`: name the column of outcomes, such as 'y ~ x'.")
        check_present(text, data)
        column = _evaluated(text, data)
        if isinstance(column, pd.Series):
            column = column.infer_objects()  # a column of dtype object may hold numbers
        refuse_dates(f"The outcome `{text}`", column)
        if isinstance(column, pd.Series) and not pd.api.types.is_numeric_dtype(column):
            column = column.astype("category")
            levels = column.cat.remove_unused_categories().cat
            if len(levels.categories) < 2:
                raise ValueError(
                    f"The outcome `{text}` is {column.iloc[0]!r} in all rows: there is nothing to predict."
                )
            if (levels.codes < 0).any():
                raise ValueError(f"The outcome `{text}` is missing in some row: drop such rows.")
            names = tuple(map(str, levels.categories))
            return cls(text, np.asarray(levels.codes, np.float64), names, data.index, levels.ordered)
        values = np.asarray(column)
        if values.dtype.kind not in "buif" or values.shape not in ((len(data),), (len(data), 2)):
            raise ValueError(
                f"The outcome `{text}` is of dtype {values.dtype} and shape {values.shape}: give one number or label "
                f"a row, or `Surv(time, event)`."
            )
        values = values.astype(np.float64)
        if np.isnan(values).any() or (values.ndim == 1 and np.isinf(values).any()):
            raise ValueError(f"The outcome `{text}` is not finite in some row: drop such rows.")
        return cls(text, values, None, data.index)

    @property
    def is_censored(self) -> bool:
        """Whether the outcomes are pairs `[lower, upper]`."""
        return self.values.ndim == 2


def survival_times(left: str, data: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns `start`, `stop` and `event` of a Cox model, three arrays `[n]`. By default `start` is -inf."""
    if not left.startswith("Surv("):
        raise ValueError(f"The outcome is `{left}`: give `Surv(time, event)` or `Surv(start, stop, event)`.")
    check_present(left, data)
    surv_columns = _evaluated(left, data, Surv=lambda *columns: columns)
    if len(surv_columns) not in (2, 3):
        raise ValueError(
            f"`{left}` has {len(surv_columns)} columns: give `Surv(time, event)` or `Surv(start, stop, event)`."
        )
    *times, event = (as_numbers(f"{left}", np.asarray(column), data) for column in surv_columns)
    start, stop = times if len(times) == 2 else (np.full(len(data), -np.inf), times[0])
    if not np.isin(event, (0, 1)).all() or not event.any():
        raise ValueError(f"The events of `{left}` are {np.unique(event)[:5]}: give 1 for an event and 0 for censoring.")
    if not (start < stop).all():
        row = data.index[np.flatnonzero(~(start < stop))[0]]
        raise ValueError(f"`{left}` stops in row {row} before it starts: give rows with `start < stop`.")
    return start, stop, event.astype(bool)


def _evaluated(text, data, **functions):
    """Evaluates a column, or an expression that may call the functions in `_FUNCTIONS` and `functions`."""
    if (name := text.strip("`")) in data.columns:
        return data[name]
    columns = {str(column): data[column] for column in named_columns(text, data)}  # other columns could hide a function
    shown = ", ".join(map(str, data.columns))
    try:
        quoted = re.sub(r"`([^`]*)`", lambda match: f"_columns[{match[1]!r}]", text)
        namespace = {"np": np, "_columns": columns, **_FUNCTIONS, **functions}
        return eval(quoted, namespace, columns)  # no new risk: formulaic also calls `eval` for the right side
    except NameError as error:
        raise ValueError(f"{str(error).capitalize()} in the outcome `{text}`: the columns are {shown}.") from None
    except KeyError as error:
        raise ValueError(f"{error} in the outcome `{text}` is not a column: the columns are {shown}.") from None
    except Exception as error:
        raise ValueError(f"The outcome `{text}` cannot be evaluated: {error}") from None
