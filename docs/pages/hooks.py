"""The hooks that MkDocs calls while it builds the site."""

import logging
import os
import pathlib
import posixpath
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
_ROOT = str(pathlib.Path(__file__).parents[2])
sys.path.insert(0, _ROOT)  # so that `docs`, `experiments` and `nllfit` of this clone can be imported

from mkdocs.structure.files import File

from docs.pages import benchmarks, family_tables_and_pictures, formulas, home, reference, tutorials

_ANCHORS = reference.anchors()
logging.getLogger("tensorflow").setLevel("ERROR")  # hides warnings about TFP's deprecations and retracing


def on_files(files, config):
    """Adds the generated pages and their figures."""
    logging.getLogger("mkdocs").info("Running the tutorials that have changed")
    sys.path.insert(0, _ROOT)  # again: MkDocs resets the path, which new processes inherit
    with tutorials.running():
        generated = dict(reference.pages())
        generated["index.md"] = home.page()
        generated["benchmarks.md"] = benchmarks.page()
        generated["families.md"], pictures = family_tables_and_pictures.page()
        generated |= pictures
    for path in tutorials.tutorials():
        generated[f"learn/{path.stem}.md"], figures = tutorials.page(path)
        generated |= {f"learn/{name}": png for name, png in figures.items()}
    for name, content in generated.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown, page, config, files):
    """Adds links: to the pages of tutorials, and from each public name in code to its entry in the reference.

    In the source of a page, a link to a tutorial names its Python file, so that the link also works in a clone.
    """

    def address(name):
        anchor = _ANCHORS.get(name)
        return anchor and posixpath.relpath(anchor, posixpath.dirname(page.file.src_uri) or ".")

    markdown = tutorials.linked(markdown.replace("{{ names by area }}", reference.by_area()))
    return reference.linked(markdown, address)


def on_page_content(html, page, config, files):
    """Converts the formulas to MathML."""
    return formulas.as_mathml(html)
