"""The site's home page: the README, with its links changed to pages of the site."""

import pathlib
import re

__all__ = ["page"]

ROOT = pathlib.Path(__file__).parents[2]
_ELSEWHERE = {  # files whose page on the site has another name
    "docs/benchmarks/speed.json": "benchmarks.md",
    "docs/benchmarks/uci.json": "benchmarks.md",
    "CONTRIBUTING.md": "contributing.md",
}


def page() -> str:
    """The page's Markdown."""
    return re.sub(r"\]\((?!https?:)([^)#]+)", lambda link: f"]({_address(link[1])}", (ROOT / "README.md").read_text())


def _address(file):
    lesson = re.fullmatch(r"docs/(learn/.+)\.py", file)
    return f"{lesson[1]}.md" if lesson else _ELSEWHERE.get(file, file.removeprefix("docs/"))
