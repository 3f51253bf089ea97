"""Checks and converts a user's data: tuples `(x,)`, `(x, y)` or `(x, y, sample_weight)` of nested tensors."""

import functools

import numpy as np
import tensorflow as tf

from nllfit.families.arguments import array_of_frame
from nllfit.families.masked_and_sparse_arrays import refuse_misread, refuse_shapeless

__all__ = [
    "CHUNK_BYTES",
    "as_inputs",
    "as_rows",
    "as_tensors",
    "check_dataset",
    "check_finite",
    "check_inputs",
    "check_lengths",
    "check_numbers",
    "check_rows",
    "check_weights",
    "num_bytes",
    "num_rows",
    "pack",
    "part_name",
    "rows_of",
    "specs_of_rows",
]

# Data and weights of at most this size may be copied if that saves time. Streams are read in chunks of about this size.
CHUNK_BYTES = 2**25
_NAMES = ("x", "y", "sample_weight")


def pack(x, y, sample_weight, name="", takes_sparse=False):
    """Returns the arguments that are not None as a tuple of arrays and tensors.

    With `takes_sparse`, a sparse SciPy matrix in `x` becomes a `tf.SparseTensor`. `name` is the name of the data in
    error messages; see `part_name`.
    """
    if takes_sparse:
        x = tf.nest.map_structure(_as_sparse_tensor, x)
    if y is None and sample_weight is not None:
        raise ValueError("`sample_weight` weights outcomes, and there is no `y`: give `y` as well.")
    parts = zip((x, y, sample_weight), _NAMES, strict=True)
    return tuple(_arrays(values, _label(name, part, 0)) for values, part in parts if values is not None)


def as_rows(values, label="`x`"):
    """Converts a list of numbers, or of rows of numbers, to an array. Returns any other value unchanged."""
    if not (isinstance(values, (list, tuple)) and all(np.isscalar(v) for v in tf.nest.flatten(values))):
        return values
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(f"{label} is a list whose rows differ in length: give rows of one length.") from None


def as_inputs(x):
    """Converts the inputs of `predict` to arrays and tensors, and checks them."""
    if x is None:
        raise ValueError("`x` is missing: give arrays with one row per example, or a `tf.data.Dataset`.")
    for leaf in tf.nest.flatten(as_rows(x)):
        is_array = np.isscalar(leaf) or tf.is_tensor(leaf) or any(hasattr(leaf, a) for a in ("__array__", "toarray"))
        if isinstance(leaf, (str, bytes)) or not is_array:
            raise TypeError(f"`x` is a {type(leaf).__name__}: give arrays or a `tf.data.Dataset`.")
    (x,) = pack(x, None, None)
    x = tf.nest.map_structure(lambda leaf: leaf if _is_numeric(leaf) else _tensor(leaf, "`x`"), x)
    check_lengths((x,), "")
    if num_rows((x,)) == 0:
        raise ValueError("`x` has no rows: there is nothing to predict.")
    return x


def check_dataset(dataset):
    """Raises a `ValueError` for a dataset that is infinite, sparse or ragged. No element is read."""
    for spec in tf.nest.flatten(dataset.element_spec):
        refuse_shapeless("The dataset in `x`", spec.value_type)
    if dataset.cardinality() == tf.data.INFINITE_CARDINALITY:
        raise ValueError("`x` is an infinite dataset: leave `repeat()` out, or say how many batches with `take(n)`.")


def as_tensors(data, floatx, name, takes_sparse=False):
    """Converts a tuple `(x,)`, `(x, y)` or `(x, y, sample_weight)` to structures of tensors.

    If `floatx` is given, floats in NumPy arrays and in sparse matrices are cast to this dtype. With `takes_sparse`, `x`
    may be sparse.
    """
    if not 1 <= len(data) <= 3:
        raise ValueError(f"A batch is (x,), (x, y) or (x, y, sample_weight), but one has {len(data)} parts.")

    data = tuple(_arrays(values, _label(name, part, 0)) for values, part in zip(data, _NAMES, strict=False))

    if len(data) == 3 and all(leaf is None for leaf in tf.nest.flatten(data[2])):
        raise ValueError(
            f"{_label(name, 'sample_weight', 0)} holds no weights: leave it out, or give one for each row."
        )

    def tensor(part, leaf):
        label = _label(name, part, 0)
        if leaf is None and part == "sample_weight":  # an output without weights: each weight is 1
            leaf = np.ones(num_rows(data))
        if isinstance(leaf, np.ndarray):
            leaf = leaf.astype(floatx, copy=False) if floatx and leaf.dtype.kind == "f" else leaf
        if takes_sparse and part == "x" and isinstance(leaf, tf.SparseTensor):
            return tf.cast(leaf, floatx) if floatx and leaf.dtype.is_floating else leaf
        values = _tensor(leaf, label)
        if part == "sample_weight" and values.dtype == tf.string:
            raise ValueError(f"{label} holds strings, such as {np.ravel(values)[0]}: give numbers >= 0.")
        return values

    return tuple(
        tf.nest.map_structure(functools.partial(tensor, part), values)
        for part, values in zip(_NAMES, data, strict=False)
    )


def check_rows(data, name):
    """Raises a `ValueError` if there are no rows, arrays differ in length, or `check_finite` refuses the data."""
    check_lengths(data, name)
    if num_rows(data) == 0:
        raise ValueError(f"{_label(name, 'x', 0)} is empty: there is nothing to train on.")
    check_finite(data, name)


def check_weights(data, name):
    """Raises a `ValueError` if every row has a weight of 0."""
    if len(data) == 3 and not any(np.any(weights.numpy()) for weights in tf.nest.flatten(data[2])):
        raise ValueError(
            f"{_label(name, 'sample_weight', 0)} or `class_weight` gives each row a weight of 0, so there is nothing "
            f"to learn from: give at least one row a weight > 0."
        )


def check_lengths(data, name, advice=""):
    """Raises a `ValueError` if arrays differ in length, or if an array is a single number."""
    leaves = [(_label(name, part, i), t) for part, i, t in _leaves(data)]
    for label, tensor in leaves:
        if len(tensor.shape) == 0:
            raise ValueError(f"{label} is a single number: {advice or 'give one row per example'}.")
        if tensor.shape[0] != leaves[0][1].shape[0]:
            raise ValueError(
                f"{label} has {tensor.shape[0]} rows, but {leaves[0][0]} has {leaves[0][1].shape[0]}: "
                f"{advice or 'give one row per example in each'}."
            )


def check_finite(data, name, where="row {}".format):
    """Raises a `ValueError` if `x` or a weight is not finite, or if a weight is negative. `y` is not checked."""
    for part, i, tensor in _leaves(data):
        if part == "y":
            continue
        check_numbers(tensor, _label(name, part, i), where)
        if part == "sample_weight" and (bad := np.argwhere(tensor.numpy() < 0)).size:
            value = tensor.numpy()[tuple(bad[0])]
            raise ValueError(f"{_label(name, part, i)} has {value} at {where(bad[0][0])}: give weights >= 0.")


def check_inputs(x):
    """Raises a `ValueError` if inputs of `predict` are not finite."""
    for i, leaf in enumerate(tf.nest.flatten(pack(x, None, None))):
        if isinstance(leaf, tf.Tensor) or (isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"):
            check_numbers(tf.convert_to_tensor(leaf), _label("", "x", i))


def check_numbers(tensor, label, where="row {}".format):
    """Raises a `ValueError` if a number is not finite. The message describes the row as `where(row)`."""
    is_sparse = isinstance(tensor, tf.SparseTensor)
    values = tensor.values if is_sparse else tensor
    # A sum takes a tenth of the time of checking each number. If the sum is finite, all numbers are finite.
    if not values.dtype.is_floating or np.isfinite(tf.reduce_sum(values).numpy()):
        return
    bad = np.argwhere(~np.isfinite(values.numpy()))
    if len(bad):
        row = tensor.indices.numpy()[bad[0][0], 0] if is_sparse else bad[0][0]
        raise ValueError(
            f"{label} has {values.numpy()[tuple(bad[0])]} at {where(row)}, and in all, {len(bad)} numbers are not "
            f"finite: drop such rows, or fill in the numbers."
        )


def rows_of(data, start, stop):
    """The rows `start:stop` of a structure of tensors and sparse tensors."""

    def rows(tensor):
        if not isinstance(tensor, tf.SparseTensor):
            return tensor[start:stop]
        return tf.sparse.slice(tensor, [start, *[0] * (len(tensor.shape) - 1)], [stop - start, *tensor.shape[1:]])

    return tf.nest.map_structure(rows, data)


def specs_of_rows(data):
    """Returns the specs of a structure of tensors and sparse tensors, to trace a function for any number of rows."""

    def spec(tensor):
        kind = tf.SparseTensorSpec if isinstance(tensor, tf.SparseTensor) else tf.TensorSpec
        return kind([None, *tensor.shape[1:]], tensor.dtype)

    return tf.nest.map_structure(spec, data)


def num_rows(data):
    """The number of rows of the first tensor."""
    return tf.nest.flatten(data)[0].shape[0]


def num_bytes(data):
    """The total size of all tensors in bytes. A variable of unknown shape counts as one element."""
    return sum(t.dtype.size * (t.shape.num_elements() or 1) for t in tf.nest.flatten(data))


def part_name(name: str, part: str) -> str:
    """Names a part of the data in messages: "y", or "validation_data's y" if `name` is "validation_data"."""
    return f"{name}'s {part}" if name else part


def _arrays(values, label):
    def array(leaf):
        refuse_misread(label, leaf)
        return leaf if leaf is None or tf.is_tensor(leaf) else array_of_frame(leaf)

    return tf.nest.map_structure(array, as_rows(values, label))


def _as_sparse_tensor(leaf):
    if not hasattr(leaf, "tocoo"):  # not `isinstance`, because SciPy need not be installed
        return leaf
    matrix = leaf.tocoo(copy=True)
    matrix.sum_duplicates()
    indices = np.stack([matrix.row, matrix.col], 1).astype(np.int64)
    return tf.sparse.reorder(tf.SparseTensor(indices, matrix.data, matrix.shape))


def _is_numeric(leaf):
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind in "biuf"


def _tensor(leaf, label):
    """Converts an array to a tensor of real numbers or strings. Raises a `ValueError` for other types."""
    if leaf is None:
        raise ValueError(f"{label} holds a None: give an array with one row per example.")
    refuse_shapeless(label, type(leaf))
    try:
        with tf.device("CPU"):
            values = tf.convert_to_tensor(leaf)
    except (TypeError, ValueError) as error:
        problem = f"is of dtype {leaf.dtype}: convert it to numbers, for example by `.astype('float32')`"
        others = [value for value in np.ravel(leaf) if not isinstance(value, (int, float, np.number, np.bool_))]
        if leaf.dtype == object and others:
            problem = f"holds {others[0]!r}, which is not a number: give numbers, such as 0 and 1 for a category"
        raise ValueError(f"{label} {problem}.") from error
    if values.dtype.is_complex:
        raise ValueError(f"{label} holds complex numbers: give real ones, such as real and imaginary parts.")
    return values


def _leaves(data):
    return [
        (part, i, t) for part, values in zip(_NAMES, data, strict=False) for i, t in enumerate(tf.nest.flatten(values))
    ]


def _label(name, part, i):
    return f"`{part_name(name, part)}`" + (f" (array {i})" if i else "")
