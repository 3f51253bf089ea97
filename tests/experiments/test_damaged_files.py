"""A reader of a damaged data file returns data or raises an error that names the file.

Some files take little space on the disk, but their content is large, or their header declares a large size. A reader
refuses such a file, and uses little memory.
"""

import gzip
import os
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from experiments import labelled_data, likelihood, uci_tables
from tests.experiments.samples import npz_arrays, write_idx, write_photographs

MUTANTS = [100, pytest.param(600, marks=pytest.mark.thorough)]  # the number of damaged files of each kind


def write_npz(path, compress):
    (np.savez_compressed if compress else np.savez)(path, **npz_arrays(rows=20))


def write_pictures(path):
    write_photographs(path, count=5)


# For each reader: a function that writes a valid file, the file to damage, and the reader.
READERS = {
    "npz": (lambda path: write_npz(path, False), "", labelled_data.npz_file),
    "npz, compressed": (lambda path: write_npz(path, True), "", labelled_data.npz_file),
    "IDX, gzipped": (write_idx, "train-labels-idx1-ubyte.gz", labelled_data.idx_folder),
    "IDX": (lambda path: write_idx(path, compress=False), "train-labels-idx1-ubyte", labelled_data.idx_folder),
    "csv": (
        lambda path: path.write_text('name,size\na,1.5\n"b\n",2.5\nc,\n'),
        "",
        lambda path: likelihood.read_sample(path, "size"),
    ),
    "table": (
        lambda path: path.write_text("".join(f"{i} 0.5, {i}e2\n" for i in range(20))),
        "",
        uci_tables.read_table,
    ),
    "PNG": (write_pictures, "cats/0.png", lambda path: labelled_data._read_image(path / "cats/0.png", 8)),
    "JPEG": (write_pictures, "cats/1.jpg", lambda path: labelled_data._read_image(path / "cats/1.jpg", 8)),
}


def mutants(content, count):
    """Variants of a file's content: some bytes are changed, removed or repeated, or the end is missing."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        mutant = bytearray(content)
        for _ in range(rng.integers(1, 5)):
            kind, at, length = rng.integers(5), rng.integers(len(mutant) + 1), rng.integers(1, 20)
            if kind <= 1 and at < len(mutant):
                mutant[at] = rng.choice([0, 1, 127, 128, 255, rng.integers(256)])
            elif kind == 2:
                del mutant[at : at + length]
            elif kind == 3:
                mutant[at:at] = mutant[at : at + length]
            elif kind == 4 and rng.random() < 0.2:
                del mutant[at:]
        yield bytes(mutant)


@pytest.mark.parametrize("count", MUTANTS)
@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path, kind, count):
    write, name, read = READERS[kind]
    path = tmp_path / f"whole{'.npz' * kind.startswith('npz')}"
    write(path)
    file = path / name if name else path
    refusals = []
    for content in mutants(file.read_bytes(), count):
        file.write_bytes(content)
        try:
            read(path)
        except ValueError as error:
            refusals.append(str(error))
    assert refusals
    assert all(str(path) in refusal for refusal in refusals)


def chunk(kind, content):
    """A chunk of a PNG file."""
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def bomb(path, kind):
    """Writes a file that takes little space on the disk, but whose content or declared size is large."""
    zeros = np.zeros(2**20, "uint8").tobytes()
    if kind == "npz":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in ("x_train", "y_train", "x_test", "y_test"):
                with archive.open(f"{name}.npy", "w") as member:
                    np.lib.format.write_array_header_1_0(
                        member, {"descr": "|u1", "fortran_order": False, "shape": (2**25,)}
                    )
                    for _ in range(2**5):
                        member.write(zeros)
    elif kind == "IDX":
        write_idx(path)
        with gzip.open(path / "train-images-idx3-ubyte.gz", "wb", 1) as file:
            file.write(bytes([0, 0, 8, 3]) + np.array([2**8, 2**10, 2**10], ">u4").tobytes())
            for _ in range(2**8):
                file.write(zeros)
    elif kind == "IDX that claims":
        write_idx(path)
        header = bytes([0, 0, 8, 3]) + np.array([2**20, 2**10, 2**10], ">u4").tobytes()
        (path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(header))
    elif kind == "picture":
        header = np.array([60_000, 60_000], ">u4").tobytes() + bytes([8, 2, 0, 0, 0])
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b""))
    elif kind == "csv":
        with path.open("wb") as file:
            file.truncate(2**30)


@pytest.mark.thorough(but=("npz", "IDX that claims", "picture", "csv"))
@pytest.mark.parametrize(
    ("kind", "read", "message"),
    [
        (
            "npz",
            labelled_data.npz_file,
            "is not a complete .npz file: it claims to hold 134218240 bytes, more than 100 times",
        ),
        ("IDX", labelled_data.idx_folder, "is not a complete IDX file: it claims to hold 268435456 bytes"),
        (
            "IDX that claims",
            labelled_data.idx_folder,
            "is not a complete IDX file: it claims to hold 1099511627776 bytes",
        ),
        (
            "picture",
            lambda path: labelled_data._read_image(path, 8),
            r"bomb: Image size \(3600000000 pixels\) exceeds limit",
        ),
        ("csv", lambda path: likelihood.read_sample(path, "size"), "a line of 1048576 characters or more"),
        ("csv", uci_tables.read_table, "a line of 1048576 characters or more"),
    ],
)
def test_a_small_file_takes_little_memory(tmp_path, kind, read, message):
    bomb(tmp_path / "bomb", kind)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "bomb")
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_a_pipe_instead_of_a_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "data.npz")
    with pytest.raises(ValueError, match="is not a file: give"):
        labelled_data.npz_file(tmp_path / "data.npz")


def test_names_that_are_not_utf_8_can_be_printed(tmp_path):
    write_photographs(tmp_path)
    os.rename(os.fsencode(tmp_path / "cats"), os.fsencode(tmp_path) + b"/ch\xe4t")
    _, _, names = labelled_data.photographs(tmp_path, 8, seed=0)
    assert names == ["ch\N{REPLACEMENT CHARACTER}t", "dogs"]
