"""The table, the page and the JSON say what was measured, all of it, and nothing that a measured text could forge."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from lab.matrix import wording
from lab.matrix.json_report import json_matrix
from lab.matrix.model import Finding
from lab.matrix.page import html_page
from lab.matrix.terminal import print_matrix

if TYPE_CHECKING:
    from lab.matrix.model import Matrix

VOID = {"meta", "link", "br", "img", "input", "hr", "wbr"}


def printed(matrix: Matrix, *, width: int = 80) -> str:
    text = StringIO()
    print_matrix(matrix, Console(file=text, width=width, highlight=False))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


class Page(HTMLParser):
    """Reads a page: that its tags close, what its buttons open, and where it would fetch something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.outside: list[str] = []
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id" and value:
                self.ids.append(value)
            elif name == "popovertarget" and value:
                self.targets.append(value)
            elif name in ("src", "href", "srcset", "action"):
                self.outside.append(value or "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_json_report_is_the_recorded_one_again(matrix: Matrix, recorded_text: str) -> None:
    assert json_matrix(matrix) == recorded_text


def test_the_table_fits_80_columns_and_has_a_word_for_every_cell(matrix: Matrix) -> None:
    lines = printed(matrix).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if re.match(r"  (create|update|debug) +\w", line)]
    assert len(rows) == len(matrix.rows)
    short = {"IN", "Pods", "denied", "-"}
    for row, line in zip(matrix.rows, rows, strict=True):
        place, words = line.split(row.place, maxsplit=1)
        assert place.split() == [row.operation]
        assert len(words.split()) == len(matrix.columns)
        assert set(words.split()) <= short


def test_the_terminal_says_who_decided_what_came_in_and_what_the_api_refuses(matrix: Matrix) -> None:
    text = printed(matrix, width=200)
    assert re.search(r"^  denied 5 +by image-policy-backend$", text, flags=re.MULTILINE)
    assert re.search(r"^  Pods 4 +by image-policy-backend$", text, flags=re.MULTILINE)
    assert re.search(r"^  IN 3 of 12 +image volume: Pod create; Deployment create, update$", text, flags=re.MULTILINE)
    assert re.search(r"^  IN 12 of 12 ", text, flags=re.MULTILINE)
    assert 'Pod "app" is invalid: spec.ephemeralContainers: Forbidden: cannot be set on create' in text


def test_a_cell_that_is_not_known_is_told_with_its_reason(doubtful: Matrix) -> None:
    text = printed(doubtful, width=200)
    assert "create a Pod, container: it came in because <validation.gatekeeper.sh> failed open" in text


def test_the_page_stands_alone_and_every_cell_opens_its_details(matrix: Matrix) -> None:
    page = Page(html_page(matrix))
    assert page.open == []
    assert page.outside == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert "url(" not in html_page(matrix)
    assert len(page.ids) == len(set(page.ids)) == len(matrix.cells) + len(matrix.rows)
    assert set(page.targets) == set(page.ids)


def test_the_page_has_every_request_message_and_decider(matrix: Matrix) -> None:
    text = "".join(Page(html_page(matrix)).text)
    for cell in matrix.cells:
        assert cell.request in text
        assert cell.message in text
        assert all(decider in text for decider in cell.deciders)
    for row in matrix.rows:
        assert matrix.requests[row.key] in text
    for column in matrix.columns:
        assert column.policy in text


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><b onmouseover=x>', "$image ${facts} & &amp;"])
def test_a_measured_text_cannot_forge_a_page(matrix: Matrix, text: str) -> None:
    first, *others = matrix.cells
    assert first.observed is not None
    forged = replace(first, request=text, problem=text, finding=Finding.UNKNOWN)
    forged = replace(forged, observed=replace(first.observed, message=text))
    page = Page(html_page(replace(matrix, cells=(forged, *others), kubernetes=text)))
    honest = Page(html_page(matrix))
    assert page.open == []
    assert set(page.tags) == set(honest.tags)
    assert "".join(page.text).count(text) >= 3


def test_a_page_of_a_doubtful_matrix_says_why(doubtful: Matrix) -> None:
    assert "it came in because &lt;validation.gatekeeper.sh&gt; failed open" in html_page(doubtful)


def test_the_value_of_an_immutable_field_is_left_out_of_the_brief_message(recorded: dict[str, Any]) -> None:
    message = 'Job.batch "app" is invalid: spec.template: Invalid value: {"a":{"b: c":1}}: field is immutable'
    brief = 'Job.batch "app" is invalid: spec.template: Invalid value: {...}: field is immutable'
    assert wording.brief(message) == brief
    assert wording.brief("") == ""
    assert all("\n" not in wording.brief(cell["message"]) for cell in recorded["cells"])


def test_the_json_names_every_finding(doubtful: Matrix) -> None:
    document = json.loads(json_matrix(doubtful))
    assert document["cells"][0]["finding"] == "unknown"
    for point in document["points"]:
        cells = [cell for cell in document["cells"] if cell["point"] == point["name"]]
        assert sum(point["findings"].values()) == len(cells)
