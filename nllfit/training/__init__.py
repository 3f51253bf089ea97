"""Training: `fit`, whole epochs in one compiled call, and `fit_lbfgs`, the optimum of a small model.

The way of the data through `fit`:

    fit.py            checks the arguments
    batches.py        makes a source of the data: `Arrays`, or a `Stream` with a reader of readers.py
    callback_loop.py  calls Keras's callbacks around the epochs of a `Run`; some see a watched_model.py
    runs.py           gives chunks of the source (chunks.py) to programs, and restores the model after an error
    engine.py         decides for each call: graph or XLA, and how many steps
    programs.py       traces the loops of loops.py once for an architecture (architecture.py), and calls them

Another rule of when to compile is a line in `engine.next_call` and a row in test_engine.py. A rule of when to stop is a
Keras callback. A new kind of source is a reader, and its line in `readers.reader_of`. A program keeps shapes and
dtypes, and no data.
"""

from nllfit.training.fit import fit
from nllfit.training.lbfgs import fit_lbfgs

__all__ = ["fit", "fit_lbfgs"]
