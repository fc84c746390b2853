"""Where a claim's limit, its measure and its method are written, each with its place and its text.

The page quotes them: opened elsewhere, or inside Snakemake's report, it has no repository to link into. The place is named as
file and line.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml
from jinja2 import Environment
from markdown_it import MarkdownIt
from markupsafe import Markup

from bayes_sgd.claims.measures import MEASURES
from bayes_sgd.core.errors import UserError
from bayes_sgd.report.html.planning import METHOD, caption_title

CLAIMS, CAPTIONS, DOCUMENTS = Path("config/claims.yaml"), Path("workflow/report"), Path("docs")


@dataclass(frozen=True)
class Sources:
    """Files of the repository that a page quotes.

    Attributes:
        claims: config/claims.yaml.
        captions: of figures, by name.
        documents: pages of docs/, by name.
    """

    claims: Path
    captions: Mapping[str, Path]
    documents: Mapping[str, Path]

    @classmethod
    def of(cls, files: Iterable[Path]) -> Sources:
        """Take the claims (.yaml), captions (.rst) and documents (.md) of a list of files."""
        by_kind: dict[str, dict[str, Path]] = {".yaml": {}, ".rst": {}, ".md": {}}
        for path in files:
            by_kind[path.suffix][path.stem] = path
        if len(by_kind[".yaml"]) != 1:
            raise UserError("a report needs one file of claims")
        (claims,) = by_kind[".yaml"].values()
        return cls(claims, by_kind[".rst"], by_kind[".md"])

    @classmethod
    def beside(cls, root: Path) -> Sources:
        """Take those of a clone."""
        documents = [path for name in METHOD if (path := root / DOCUMENTS / f"{name}.md").exists()]
        return cls.of([root / CLAIMS, *sorted((root / CAPTIONS).glob("*.rst")), *documents])


class Quote(NamedTuple):
    """A piece of a file of the repository."""

    path: str
    line: int
    text: str
    name: str = ""

    @property
    def place(self) -> str:
        """File and line, as editors and compilers write them."""
        return f"{self.path}:{self.line}"


def limits(claims: Path) -> dict[str, Quote]:
    """The entry of each claim in claims.yaml, by its id."""
    text = claims.read_text(encoding="utf-8")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    entries = next(value for key, value in root.value if key.value == "claims").value
    quotes = {}
    for entry in entries:
        (name,) = [value.value for key, value in entry.value if key.value == "id"]
        first, last = entry.start_mark.line, entry.value[-1][1].end_mark.line
        lines = text.splitlines()[first : last + 1]
        quotes[name] = Quote(CLAIMS.as_posix(), first + 1, inspect.cleandoc("\n".join(["", *lines])))
    return quotes


def measures(names: Iterable[str]) -> dict[str, Quote]:
    """The functions that measure, by name."""
    quotes = {}
    for name in names:
        function = MEASURES[name]
        lines, first = inspect.getsourcelines(function)
        path = f"src/{function.__module__.replace('.', '/')}.py"
        offset = next(i for i, line in enumerate(lines) if line.startswith("def "))
        quotes[name] = Quote(path, first + offset, "".join(lines), name)
    return quotes


def method_titles(measure: str) -> list[tuple[str, str]]:
    """The document and heading that say how a measure's value is made, as its module's docstring names them."""
    words = inspect.getdoc(MEASURES[measure]) or ""
    if "\nMethod: " not in words:
        words = inspect.getdoc(inspect.getmodule(MEASURES[measure])) or ""
    return re.findall(r"docs/(\w+)\.md, ([^;.]+)", words.partition("\nMethod: ")[2])


def titles(document: Path) -> list[str]:
    """The headings of a page of docs/ below its first."""
    return re.findall(r"^##+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)


def anchor(document: str, title: str = "") -> str:
    """The id of a heading of a document on the page: its words without what brackets hold."""
    words = re.sub(r"\(.*?\)", "", title.lower())
    return "-".join(["docs", document, *re.findall(r"\w+", words)])


def document(name: str, text: str, targets: Mapping[str, str]) -> Markup:
    """A page of docs/ as HTML: its headings two levels lower, with ids.

    Args:
        name: of the page, without .md.
        text: its Markdown.
        targets: where links to pages lead, by their names: ids on the page. Links to others lead to the method.
    """
    parser = MarkdownIt("commonmark").enable("table")
    parser.add_render_rule("table_open", lambda *_: '<div class="wide" tabindex="0" role="group" aria-label="Table"><table>\n')
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    tokens = parser.parse(text)
    for token, inside in zip(tokens, [*tokens[1:], None], strict=True):
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + 2)}"
        if token.type == "heading_open" and inside is not None:
            title = "".join(child.content for child in inside.children or [])
            token.attrs["id"] = anchor(name, title) if token.markup != "#" else anchor(name)
        for child in token.children or []:
            if child.type == "link_open":
                child.attrs["href"] = _link(str(child.attrs["href"]), targets)
    return Markup(parser.renderer.render(tokens, parser.options, {}))


def _link(link: str, targets: Mapping[str, str]) -> str:
    return f"#{targets.get(link.partition('#')[0].rpartition('/')[2].removesuffix('.md'), 'method')}"


class Caption(NamedTuple):
    """A figure's caption: what the figure shows, in one sentence without its number; its number in the paper; all of it."""

    shows: str
    number: str
    html: Markup


def caption(name: str, text: str, values: Mapping[str, str], config: Mapping[str, object]) -> Caption:
    """A caption as Snakemake's report renders it, from its template, the values it prints and the configuration."""
    from docutils.core import publish_parts  # a third of a second

    params = {"caption_values": {name: values}, "config": config}
    filled = Environment(autoescape=False).from_string(text).render(snakemake={"params": params, "config": config})
    settings = {"file_insertion_enabled": False, "raw_enabled": False, "report_level": 5, "initial_header_level": 4}
    parts = publish_parts(filled, writer="html5", settings_overrides=settings)
    return Caption(*caption_title(filled), Markup(parts.get("body", "")))
