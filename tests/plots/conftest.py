"""The fixture `ax`. After each test it checks that the figure renders, and that matplotlib's settings are unchanged."""

import matplotlib
import pytest
from matplotlib.figure import Figure


@pytest.fixture
def ax():
    before = dict(matplotlib.rcParams)
    axes = Figure().subplots()
    yield axes
    axes.figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before


def labels(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]
