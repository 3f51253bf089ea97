"""Readers of text files and tables of numbers, and random splits of tables."""

import pathlib

import numpy as np

__all__ = ["check", "lines", "read_folder", "read_table", "splits"]

# A table with more rows than this has at most five splits.
LARGE = 40_000
# Each line of a text file must have fewer characters than this.
LONGEST = 2**20


def lines(file):
    """Yields the lines of a file.

    Raises a `ValueError` if a line has `LONGEST` characters or more, because such a file is not text.
    """
    while line := file.readline(LONGEST):
        if len(line) == LONGEST:
            raise ValueError(f"{file.name} has a line of {LONGEST} characters or more: it is not a text file.")
        yield line


def read_folder(folder, only=None):
    """Returns `{name: (x [n, columns], y [n, 1])}` for the tables `NAME.txt` of a folder.

    If `only` is given, it lists the names of the tables to read.
    """
    paths = {path.stem: path for path in sorted(pathlib.Path(folder).glob("*.txt"))}
    if not paths:
        raise ValueError(
            f"--data {folder} holds no NAME.txt: give a folder of tables with the target in the last column."
        )
    unknown = set(only or ()) - paths.keys()
    if unknown:
        raise ValueError(f"--only names {', '.join(sorted(unknown))}: --data {folder} holds {', '.join(paths)}.")
    return {name: read_table(paths[name]) for name in only or paths}


def read_table(path):
    """Reads numbers separated by blanks, tabs or commas. Returns the inputs, and the last column as the target."""
    rows, first = [], None
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(lines(file), 1):
            fields = line.replace(",", " ").split()
            if not fields or fields[0].startswith("#"):
                continue
            first = first or (number, len(fields))
            if len(fields) != first[1]:
                raise ValueError(f"{path}, line {number}: {len(fields)} columns, and line {first[0]} has {first[1]}.")
            try:
                rows.append([float(field) for field in fields])
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}; a table holds nothing but numbers.") from None
            if not np.all(np.isfinite(rows[-1])):
                raise ValueError(f"{path}, line {number}: a number is not finite; leave the row out, or fill it in.")
    table = np.array(rows) if rows else np.empty([0, 1])
    check(path, table.shape[1] - 1, table[:, -1])
    return table[:, :-1], table[:, -1:]


def check(path, num_inputs, target):
    """Raises a `ValueError` if the table of a file is too small, or if the target is constant or not finite."""
    if len(target) < 20:
        raise ValueError(
            f"{path} has {len(target)} rows with a target: give at least 20, because some are held out from training."
        )
    if not num_inputs:
        raise ValueError(f"{path} has one column: give at least one input and the target in the last column.")
    if not np.isfinite(target).all():
        raise ValueError(f"{path}: an element of its target, the last column, is infinite; give finite numbers.")
    if np.ptp(target) == 0:
        raise ValueError(f"{path}: its target, the last column, is {target[0]} in every row; nothing can be learned.")


def splits(num_rows, limit=None):
    """Yields the indices of the training and the test rows of each split, as in Hernandez-Lobato and Adams (2015)."""
    state = np.random.RandomState(1)
    for _ in range(min(limit or 20, 5 if num_rows > LARGE else 20)):
        order = state.choice(range(num_rows), num_rows, replace=False)
        end = round(num_rows * 0.9)
        yield order[:end], order[end:]
