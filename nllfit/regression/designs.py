"""Design matrices. The right side of a formula defines their columns, the names of the columns and an offset."""

import difflib
import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nllfit.regression.data_columns import as_numbers, check_present, holds_labels, named_columns
from nllfit.regression.optional_packages import formulaic, transforms

__all__ = ["INTERCEPT", "Design", "check_rank", "sides"]

INTERCEPT = "Intercept"

# A column counts as a linear combination of the earlier columns if the norm of its residual, after a projection on the
# earlier columns, is less than `_DEPENDENT` times the norm of the column.
_DEPENDENT = 1e-10
_LEAST_COEFFICIENT = 1e-7  # smaller coefficients of a linear combination are rounding errors
_QUOTED = re.compile(r"`([^\W\d]\w*)`")  # a name in backticks that is also valid without them
_UNSEEN = "outside of the nominated levels"  # part of formulaic's warning about a level without fitted rows


def sides(formula: Any) -> tuple[str, str]:
    """Returns the left and the right side of a formula. Raises a `ValueError` if there is not exactly one `~`."""
    if not isinstance(formula, str) or formula.count("~") != 1:
        raise ValueError(f"`formula` is {formula!r}: give a text of the form 'outcome ~ terms', such as 'y ~ x + z'.")
    left, right = (side.strip() for side in formula.split("~"))
    return left, right


class Design:
    """The design matrix of a formula for a table. `of` builds the matrix of the same formula for another table.

    Attributes:
      text: the right side of the formula.
      names: the names of the columns, `[k]`.
      matrix: the columns, `[n, k]` in float64.
      offset: the sum of the formula's offsets and the argument `offset`, `[n]`; None if there are none.
      terms: `{term: indices of its columns}` for each term of the formula.
    """

    def __init__(self, text: str, data: Any, without_intercept: bool = False, offset: str | ArrayLike | None = None):
        self.text, self._offset = text, offset
        terms = _parsed(text)
        check_present(text, data)
        offset_terms = [term for term in terms if any(factor.expr.startswith("offset(") for factor in term.factors)]
        for term in offset_terms:
            if len(term.factors) > 1:
                raise ValueError(f"`{term}` in the formula `{text}` multiplies an offset: add `offset(...)` as a term.")
        column_terms = [term for term in terms if term not in offset_terms]
        if any(str(term) == INTERCEPT for term in column_terms):
            raise ValueError(f"Column `{INTERCEPT}` in the formula `{text}` has the name of the constant: rename it.")
        offsets = [_inside(term) for term in offset_terms]
        self._specs = [_spec(column_terms, data, text), *([_spec(offsets, data, text)] if offsets else [])]
        if offsets and len(self._specs[1].column_names) > len(offsets):
            raise ValueError(f"An offset of the formula `{text}` holds labels: give a column of numbers.")
        self._kept = [
            i for i, n in enumerate(self._specs[0].column_names) if not (without_intercept and n == INTERCEPT)
        ]
        self.names = [self._specs[0].column_names[i] for i in self._kept]
        self._labels = {c: data[c].dtype for c in named_columns(text, data) if holds_labels(data[c])}
        self.matrix, self.offset = self._columns(data)
        self.terms = {
            str(term): [self._kept.index(i) for i in indices if i in self._kept]
            for term, indices in self._specs[0].term_indices.items()
        }
        self._check_terms()
        check_rank(text, self.names, self.matrix, np.linalg.norm(self.matrix, axis=0))

    def of(self, data: Any) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns the matrix `[m, k]` of a table, and the offset `[m]`, or None if there is no offset.

        If `data` is None, returns the matrix and the offset of the fitted rows.

        Raises:
          ValueError: if one of these is true:
            - `data` is a table, and the argument `offset` was an array. The array has no values for other rows.
            - A column contains numbers in `data`, but labels in the fitted data. formulaic would multiply the numbers
              by the columns of the levels.
        """
        if data is None:
            return self.matrix, self.offset
        if not isinstance(self._offset, str | None):
            raise ValueError(
                "`offset` was an array of the fitted rows and is unknown for other rows: fit with the name of a "
                "column, or with `offset(...)` in the formula."
            )
        for column, dtype in self._labels.items():
            if column in data.columns and not holds_labels(data[column]):
                to = "category" if dtype == "category" else "str"
                raise ValueError(
                    f"Column `{column}` of `data` holds numbers, but labels in the fitted data: give the same labels, "
                    f"for example by `data[{column!r}].astype({to!r})`."
                )
        return self._columns(data)

    def _columns(self, data):
        check_present(self.text, data)
        matrix, *offsets = (_evaluated(spec, data, self.text) for spec in self._specs)
        if self._offset is not None:
            offsets.append(as_numbers("offset", self._offset, data)[:, None])
        return matrix[:, self._kept], np.concatenate(offsets, 1).sum(1) if offsets else None

    def _check_terms(self):
        """Raises a `ValueError` if a term has no columns, or a level has no rows."""
        for term, indices in self.terms.items():
            if not indices and term != "1":
                raise ValueError(f"`{term}` in the formula `{self.text}` has one level: there is nothing to compare.")
        empty = [name for name, column in zip(self.names, self.matrix.T, strict=True) if not column.any()]
        if empty:
            raise ValueError(
                f"Column `{empty[0]}` of the formula `{self.text}` is 0 in all rows: if it is a level that no row has, "
                f"drop it with `.cat.remove_unused_categories()`."
            )


def check_rank(text: str, names: list[str], matrix: np.ndarray, lengths: np.ndarray, contained: str = "") -> None:
    """Raises a `ValueError` that names the first column that is a linear combination of earlier columns.

    Args:
      text: the formula.
      names: the names of the columns, `[k]`.
      matrix: the columns, `[m, k]`. The caller may have subtracted a part of them, such as their means.
      lengths: the norms of the columns before this subtraction, `[k]`. A column is dependent if its residual,
        after a projection on the earlier columns, is a rounding error compared with this norm.
      contained: the name of the subtracted part in messages, such as "the baseline hazard"; empty if there is none.
    """
    scaled = matrix / lengths
    diagonal = np.abs(np.diag(np.linalg.qr(scaled, mode="r")))
    if scaled.shape[1] > len(diagonal):
        kind = "rows to compare" if contained else "rows"
        raise ValueError(
            f"The formula `{text}` has {scaled.shape[1]} columns, but `data` has only {len(scaled)} {kind}."
        )
    dependent = np.flatnonzero(diagonal < _DEPENDENT)
    if len(dependent):
        k = dependent[0]
        coefficients = np.linalg.lstsq(scaled[:, :k], scaled[:, k], rcond=None)[0] / lengths[:k] * lengths[k]
        summands = [f"{c:+.4g} {n}" for c, n in zip(coefficients, names, strict=False) if abs(c) > _LEAST_COEFFICIENT]
        if contained and not summands:
            raise ValueError(
                f"Column `{names[k]}` of the formula `{text}` is constant in the rows that are compared, so it is part "
                f"of {contained}: leave it out."
            )
        others = f"earlier columns and {contained}" if contained else "earlier columns"
        raise ValueError(
            f"Column `{names[k]}` of the formula `{text}` is a combination of {others} "
            f"({' '.join(summands) or 'it is 0'}): leave one of them out."
        )


def _parsed(text: str) -> list:
    # formulaic replaces a quoted name everywhere in the text. For a quoted `e`, it would also replace the letter in the
    # word "offset". So we remove quotes that a name does not need.
    text = _QUOTED.sub(r"\1", text)
    if not text:
        raise ValueError("The formula has no terms after its `~`: give `~ 1` for an intercept only.")
    try:
        formula = formulaic.Formula(text)
    except formulaic.errors.FormulaicError as error:
        fault = re.sub(r"⧛.*?⧚|\x1b\[[\d;]*m", "", str(error).splitlines()[0]).rstrip(".")
        raise ValueError(f"The formula `{text}` cannot be read: {fault}.") from None
    if not isinstance(formula, formulaic.SimpleFormula):
        raise ValueError(f"The formula `{text}` has several parts: give the formula of another parameter by its name.")
    if not len(formula):
        raise ValueError(f"The formula `{text}` has no terms: give `1` for an intercept only.")
    return list(formula)


def _context() -> dict[str, Any]:
    return {"spline": transforms.TRANSFORMS["bs"]}


def _inside(term: Any) -> Any:
    """Returns the term for the expression inside `offset(...)`.

    We remove `offset(...)` and do not define `offset` as a function for formulaic, because a column may have this name.
    """
    (factor,) = term.factors
    return _parsed("0 + {" + factor.expr.removeprefix("offset(").removesuffix(")") + "}")[0]


def _spec(terms: list, data: Any, text: str) -> Any:
    """Returns formulaic's specification of the columns. It stores the levels and knots that the data determine."""
    formula = formulaic.SimpleFormula(terms)
    used = data[named_columns(text, data)]  # a column that is not in the formula might hide a function
    return _guarded(
        lambda: formula.get_model_matrix(used, context=_context(), na_action="ignore"), data, text
    ).model_spec


def _evaluated(spec: Any, data: Any, text: str) -> np.ndarray:
    """Returns the columns `[m, k]` of a table. Raises a `ValueError` if a number is complex or not finite."""
    used = data[named_columns(text, data)]

    def evaluate():
        columns = np.asarray(spec.get_model_matrix(used, context=_context(), na_action="ignore"))
        return columns if np.iscomplexobj(columns) else columns.astype(np.float64)

    matrix = _guarded(evaluate, data, text)
    if np.iscomplexobj(matrix):
        raise ValueError(f"The formula `{text}` has a column of complex numbers in `data`: give real ones.")
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise ValueError(
            f"`{spec.column_names[column]}` in the formula `{text}` is {matrix[row, column]} in row "
            f"{data.index[row]} of `data`: it must be finite."
        )
    return matrix


def _guarded(make: Any, data: Any, text: str) -> Any:
    """Returns `make()`. Raises a `ValueError` for errors of formulaic and for its warning about unseen levels."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
        warnings.simplefilter("always")
        try:
            result = make()
        except formulaic.errors.FormulaicError as error:
            raise ValueError(_sentence(str(error), data, text)) from None
        except (KeyError, TypeError, ValueError, np.linalg.LinAlgError) as error:
            dates = [column for column in named_columns(text, data) if data[column].dtype.kind in "mM"]
            if dates:
                raise ValueError(
                    f"Column `{dates[0]}` of `data` holds dates, and the formula `{text}` cannot use them: give "
                    f"numbers, such as the days since a first date."
                ) from None
            raise ValueError(f"The formula `{text}` cannot be evaluated on `data`: {error}") from None
    for warning in caught:
        if _UNSEEN in str(warning.message):
            levels = re.sub(r"np\.\w+\(([^()]*)\)", r"\1", str(warning.message).split("{")[-1].split("}")[0])
            raise ValueError(f"`data` has the level {levels}, which the fitted data do not have: drop such rows.")
    return result


def _sentence(error: str, data: Any, text: str) -> str:
    """Returns formulaic's error as a sentence. For an unknown name, it lists the closest column or all columns."""
    missing = re.search(r"`?(\w[^`']*)`? is not present|name '(\w+)' is not defined", error)
    if not missing:
        return f"The formula `{text}` cannot be evaluated on `data`: {error}"
    column = missing[1] or missing[2]
    close = difflib.get_close_matches(column, map(str, data.columns), 1)
    advice = f"did you mean `{close[0]}`?" if close else f"the columns are {', '.join(map(str, data.columns))}."
    return f"`{column}` in the formula `{text}` is neither a column of `data` nor a known function: {advice}"
