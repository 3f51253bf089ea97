"""Draws the figure of the README and of the site's home page by running the program in the README.

    python -m docs.pages.figures

The file of the figure also contains, as text, the coordinates of some points of each line, and the labels. A test
compares this text with the text of a new drawing.
"""

import json
import pathlib
import re

import numpy as np

__all__ = ["QUICKSTART", "content", "drawn", "program", "recorded"]

ROOT = pathlib.Path(__file__).parents[2]
QUICKSTART = ROOT / "docs" / "figures" / "quickstart.png"
_POINTS = 9  # the number of points that are recorded for each line


def program() -> str:
    """The text of the Python program in the README."""
    (source,) = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return source


def drawn():
    """The figure that the program draws from a fixed seed."""
    import keras
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    keras.utils.set_random_seed(0)
    pyplot.close("all")
    exec(program(), {})
    return pyplot.gcf()


def content(figure) -> dict[str, dict]:
    """The content of a figure: its labels, and for each line the two ends and some points between them."""
    (ax,) = figure.axes
    lines = {}
    for line in ax.lines:
        points = np.transpose(line.get_data())
        lines[line.get_label()] = points[np.linspace(0, len(points) - 1, _POINTS).astype(int)].round(4).tolist()
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    return {"lines": lines, "labels": labels}


def recorded(path: pathlib.Path = QUICKSTART) -> dict[str, dict]:
    """The content that is recorded in the file of the figure."""
    from PIL import Image

    with Image.open(path) as image:
        return json.loads(image.text["Description"])


def main() -> None:
    """Draws the figure and saves it. The file also contains the labels and the coordinates as text."""
    figure = drawn()
    QUICKSTART.parent.mkdir(exist_ok=True)
    figure.savefig(QUICKSTART, dpi=120, metadata={"Software": None, "Description": json.dumps(content(figure))})


if __name__ == "__main__":
    main()
