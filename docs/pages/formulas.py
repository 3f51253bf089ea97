"""Converts formulas in docstrings, which are plain text, to TeX, and TeX to MathML, which browsers render."""

import html
import re

__all__ = ["as_mathml", "as_tex"]

_TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]\w*'?)|(<=|>=|\.\.\.|[-+=<>/^()\[\]{}|,!]))")
_FUNCTIONS = {"log", "exp", "det", "max", "min"}
_LETTERS = {"pi", "theta", "mu", "sigma", "beta", "Gamma", "Phi"}
_NAMES = {"eps": r"\varepsilon", "integral": r"\int"}
_RELATIONS = {"=": "=", "<": "<", ">": ">", "<=": r"\le", ">=": r"\ge"}
_CLOSING = {"(": ")", "[": "]", "{": "}", "|": "|"}


def as_tex(text: str) -> str:
    """Converts a formula such as `-log p(y) = |y - loc| / scale + log(2 scale)` to TeX.

    Raises:
      ValueError: if the text is not a formula.
    """
    parser = _Parser(text)
    tex = parser.expression()
    if parser.kind:
        raise ValueError(f"{text!r} goes on with {parser.token!r}, which is not a formula.")
    return tex


def as_mathml(content: str) -> str:
    """Returns a page's HTML with MathML instead of the TeX that `pymdownx.arithmatex` has marked."""
    from latex2mathml.converter import convert  # imported here, because only the build of the site needs it

    def mathml(match):
        display = "block" if match[2] == "[" else "inline"
        found = convert(html.unescape(match[3]).strip(), display=display)
        return re.sub(r"(<mi>[a-z]{3,}</mi>)(?=<m[in])", r'\1<mspace width="0.17em" />', found)  # `log p`, not `logp`

    return re.sub(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', mathml, content, flags=re.DOTALL)


class _Parser:
    """A recursive-descent parser with one token of lookahead.

    An expression is a list of sums, with relations or commas between them. A sum is a list of products, and a product
    is a list of units. A unit is a number, a name, a call or a bracket.
    """

    def __init__(self, text):
        self.text, self.end = text.strip().replace("integral of ", "integral "), 0
        self.advance()

    def advance(self):
        """Advances to the next token and returns the old one.

        `kind` is the kind of the next token: number, word or sign, or empty at the end.
        """
        old = getattr(self, "token", "")
        self.spaced = self.text[self.end : self.end + 1].isspace()
        if self.end == len(self.text):
            self.kind = self.token = ""
            return old
        match = _TOKEN.match(self.text, self.end)
        if not match:
            raise ValueError(f"{self.text!r} has {self.text[self.end :]!r} in it, which is not a formula.")
        self.end = match.end()
        self.kind = ("number", "word", "sign")[match.lastindex - 1]
        self.token = match[match.lastindex]
        return old

    def expression(self):
        parts = [self.sum()]
        while self.token in (*_RELATIONS, ","):
            parts += [_RELATIONS.get(self.advance(), r",\,"), self.sum()]
        return " ".join(parts)

    def sum(self):
        parts = []
        while True:
            while self.token in ("+", "-"):
                parts.append(self.advance())
            parts.append(self.product())
            if self.token not in ("+", "-"):
                return " ".join(parts)

    def product(self):
        parts = []
        while True:
            tex, inner = self.unit()
            while self.token == "/":
                self.advance()
                _, below = self.unit()
                tex = inner = rf"\frac{{{inner}}}{{{below}}}"
            parts.append(tex)
            if not (self.kind in ("number", "word") or self.token in ("(", "[", "{", "...")) or self.closes():
                return r"\,".join(parts)

    def closes(self):
        return self.token in (")", "]", "}")

    def unit(self):
        """Returns the TeX of a number, a name, a call or a bracket, in two forms.

        The second form, for fractions and exponents, has no outer parentheses.
        """
        if self.kind == "word":
            name, index = self.advance(), ""
            if name.endswith("_") and self.token in ("{", "(") and not self.spaced:
                name, index = name[:-1], self.index()
            if name in _FUNCTIONS and not (self.token == "(" and not self.spaced):
                argument, _ = self.unit()
                return (rf"\{name} {argument}",) * 2
            if name.partition("_")[0] == "sum":
                return (rf"\sum_{{{index or name.partition('_')[2]}}} {self.product()}",) * 2
            tex = inner = _name(name) + (f"_{{{index}}}" if index else "")
            if self.token == "(" and not self.spaced:
                if name == "sqrt":
                    tex = inner = rf"\sqrt{{{self.bracket()[1]}}}"
                else:
                    tex = inner = tex + self.bracket()[0]
            elif name == "E" and self.token == "|":
                tex = inner = tex + self.bracket()[0]
        elif self.kind == "number":
            tex = inner = self.advance()
        elif self.token in _CLOSING:
            tex, inner = self.bracket()
        elif self.token == "...":
            self.advance()
            tex = inner = r"\ldots"
        else:
            raise ValueError(f"{self.text!r} has {self.token or 'its end'!r} where a number or a name was expected.")
        while self.token in ("^", "!"):
            if self.advance() == "!":
                tex = inner = tex + "!"
                continue
            sign = self.advance() if self.token == "-" else ""
            tex = inner = rf"{{{tex}}}^{{{sign}{self.unit()[1]}}}"
        return tex, inner

    def index(self):
        """The TeX of an index, such as `{j-1}` in `t_{j-1}` or `(k-i)` in `chi2_(k-i)`, without the brackets."""
        closing = _CLOSING[self.advance()]
        inside = self.expression()
        if self.token != closing:
            raise ValueError(f"{self.text!r} lacks a {closing!r}.")
        self.advance()
        return inside

    def bracket(self):
        opening = self.advance()
        inside = self.expression()
        if self.token != _CLOSING[opening]:
            raise ValueError(f"{self.text!r} lacks a {_CLOSING[opening]!r}.")
        self.advance()
        left, right = (r"\{", r"\}") if opening == "{" else (opening, _CLOSING[opening])
        tex = rf"\left{left} {inside} \right{right}"
        return tex, inside if opening == "(" else tex


def _name(word):
    stem, _, index = word.partition("_")
    prime = "'" if stem.endswith("'") else ""
    stem = stem.rstrip("'")
    if stem in _NAMES:
        tex = _NAMES[stem]
    elif stem in _LETTERS or stem in _FUNCTIONS:
        tex = rf"\{stem} "
    else:
        tex = stem if len(stem) == 1 else rf"\text{{{stem}}}"
    return tex + prime + (rf"_{{{_name(index)}}}" if index else "")
