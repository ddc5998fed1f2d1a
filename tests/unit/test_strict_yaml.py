"""The strict YAML reader: what it accepts, what it rejects, and where it says things stand."""

from __future__ import annotations

import pytest

from lab.strict_yaml import Document, Fault, dump, fault_error, parse, parse_all, render_path


def read(text: str) -> Document:
    document, faults = parse(text, file="f.yaml")
    assert faults == []
    assert document is not None
    return document


def faults_of(text: str) -> list[Fault]:
    return parse(text, file="f.yaml")[1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1", {"a": 1}),
        ("a: -12", {"a": -12}),
        ("a: 0x1F", {"a": 31}),
        ("a: 0o644", {"a": 420}),
        ("a: 1.5", {"a": 1.5}),
        ("a: 1e3", {"a": 1000.0}),
        ("a: .5", {"a": 0.5}),
        ("a: 1.37.0", {"a": "1.37.0"}),
        ("a: true\nb: False", {"a": True, "b": False}),
        ("a: null\nb: ~\nc:", {"a": None, "b": None, "c": None}),
        ("a: 'yes'\nb: \"no\"", {"a": "yes", "b": "no"}),
        ("a: !!str yes", {"a": "yes"}),
        ("a: 12:30", {"a": "12:30"}),
        ("a: 2026-01-02", {"a": "2026-01-02"}),
        ("1: x\ntrue: z\ny: w", {"1": "x", "true": "z", "y": "w"}),
        ("a: [1, {b: c}]", {"a": [1, {"b": "c"}]}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ("a: &x {b: 1, d: 2}\nc:\n  <<: *x\n  b: 3", {"a": {"b": 1, "d": 2}, "c": {"b": 3, "d": 2}}),
        (
            "a: &x {b: 1}\nc: &y {b: 2, d: 3}\ne:\n  <<: [*x, *y]",
            {"a": {"b": 1}, "c": {"b": 2, "d": 3}, "e": {"b": 1, "d": 3}},
        ),
        ("'<<': 1", {"<<": 1}),
    ],
)
def test_values_resolve_as_in_the_core_schema(text: str, expected: object) -> None:
    data = read(text).data
    assert data == expected
    assert isinstance(data, dict)
    assert isinstance(expected, dict)
    assert [type(value) for value in data.values()] == [type(value) for value in expected.values()]


def test_infinities_and_nan_are_floats() -> None:
    data = read("a: .inf\nb: -.inf\nc: .nan").data
    assert isinstance(data, dict)
    assert data["a"] == float("inf")
    assert data["b"] == float("-inf")
    assert str(data["c"]) == "nan"


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "Yes", "NO", "On", "OFF", "y", "N"])
def test_a_yaml_1_1_boolean_is_a_fault_with_line_and_path(word: str) -> None:
    (fault,) = faults_of(f"a:\n  b:\n  - c: 1\n  - c: {word}\n")
    assert (fault.line, fault.path) == (4, "a.b[1].c")
    assert f"'{word}' in quotes" in fault.remedy
    assert ("true" in fault.remedy) == (word.lower() in {"yes", "on", "y"})


def test_a_boolean_as_key_is_a_fault() -> None:
    (fault,) = faults_of("on: 1")
    assert (fault.line, fault.path, fault.remedy) == (1, "on", "write 'on' in quotes")


def test_an_octal_of_yaml_1_1_is_a_fault() -> None:
    (fault,) = faults_of("mode: 0644")
    assert fault.path == "mode"
    assert "0o644" in fault.remedy


def test_a_duplicate_key_names_both_lines_and_keeps_the_first_value() -> None:
    document, faults = parse("a:\n  b: 1\n  c: 2\n  b: 3\n", file="f.yaml")
    (fault,) = faults
    assert (fault.line, fault.path) == (4, "a.b")
    assert "first on line 2" in fault.message
    assert document is not None
    assert document.data == {"a": {"b": 1, "c": 2}}


def test_all_faults_are_told_at_once_in_order_of_their_lines() -> None:
    faults = faults_of("a: yes\nb: 1\nb: 2\nc: 0777\nd: off\n")
    assert [fault.line for fault in faults] == [1, 3, 4, 5]


def test_wrong_indentation_is_a_fault_with_its_line() -> None:
    document, (fault,) = parse("a: 1\nb:\n  c: 1\n d: 2\n", file="f.yaml")
    assert document is None
    assert fault.line == 4
    assert fault.message.startswith("not valid YAML")


def test_a_tab_in_the_indentation_is_named() -> None:
    (fault,) = faults_of("a:\n\tb: 1\n")
    assert (fault.line, fault.message) == (2, "a tab is used for indentation")


@pytest.mark.parametrize("text", ["a: b: c", "a: 'x", "a: [1", "a: *nothing", "a: \x01"])
def test_text_that_is_not_yaml_is_one_fault(text: str) -> None:
    document, faults = parse(text, file="f.yaml")
    assert document is None
    assert len(faults) == 1


@pytest.mark.parametrize("text", ["a: !!binary aGk=", "a: !mine 1", "a: !!set {b}", "a: !!python/object:os.system {}"])
def test_tags_are_faults(text: str) -> None:
    assert "tag" in faults_of(text)[0].message


@pytest.mark.parametrize("text", ["? [a]\n: 1", "~: 1", "? {a: b}\n: 1"])
def test_a_key_that_is_no_string_is_a_fault(text: str) -> None:
    assert faults_of(text)[0].message == "a key must be a string"


def test_merging_something_else_than_a_mapping_is_a_fault() -> None:
    assert faults_of("a:\n  <<: [1]\n")[0].path == "a"


def test_an_alias_inside_its_own_anchor_is_a_fault() -> None:
    assert "alias" in faults_of("a: &x [*x]")[0].message


def test_multiplying_aliases_end_in_a_fault() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 8)]
    assert "more than" in faults_of("\n".join(rows))[0].message


def test_deep_nesting_ends_in_a_fault() -> None:
    assert faults_of("[" * 3000 + "]" * 3000)[0].message == "nested too deeply"


def test_lines_are_those_of_the_keys_and_elements() -> None:
    document = read("a:\n  b:\n    - x\n    -\n      y: 1\nc: >-\n  text\n")
    assert document.line_of(()) == 1
    assert document.line_of(("a", "b")) == 2
    assert document.line_of(("a", "b", 0)) == 3
    assert document.line_of(("a", "b", 1, "y")) == 5
    assert document.line_of(("c",)) == 6


def test_a_path_that_is_not_there_has_its_ancestors_line() -> None:
    document = read("a:\n  b: 1\n")
    assert document.line_of(("a", "z", 3, "q")) == 1
    assert document.line_of(("nothing",)) == 1


def test_merged_values_have_the_line_of_the_mapping_that_merges_them() -> None:
    document = read("a: &x\n  b: 1\nc:\n  <<: *x\n  d: 1\n")
    assert document.line_of(("c", "b")) == 3


def test_yaml_inside_a_block_keeps_the_lines_of_the_file() -> None:
    outer = read("patches:\n- |\n  kind: A\n  x: 1\n  y: yes\n- 'z: 1'\n")
    assert outer.text_line_of(("patches", 0)) == 3
    assert outer.text_line_of(("patches", 1)) == 6
    assert isinstance(outer.data, dict)
    patches = outer.data["patches"]
    assert isinstance(patches, list)
    inner, (fault,) = parse(str(patches[0]), file="f.yaml", first_line=outer.text_line_of(("patches", 0)))
    assert inner is not None
    assert inner.line_of(("x",)) == 4
    assert (fault.line, fault.path) == (5, "y")


def test_a_syntax_error_inside_a_block_has_the_line_of_the_file() -> None:
    _, (fault,) = parse("a: 1\n b: 2\n", file="f.yaml", first_line=10)
    assert fault.line == 11


def test_one_document_is_asked_for() -> None:
    document, (fault,) = parse("a: 1\n---\nb: 2\n", file="f.yaml")
    assert document is None
    assert (fault.line, fault.message) == (3, "2 documents where one is expected")


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null"])
def test_an_empty_text_is_a_fault(text: str) -> None:
    document, (fault,) = parse(text, file="f.yaml")
    assert document is None
    assert fault.message == "there is no document in it"


def test_several_documents_are_read_and_empty_ones_left_out() -> None:
    documents, faults = parse_all("---\na: 1\n---\n---\nb: 2\n---\n", file="f.yaml")
    assert faults == []
    assert [document.data for document in documents] == [{"a": 1}, {"b": 2}]
    assert documents[1].line_of(("b",)) == 5


def test_documents_before_a_syntax_error_are_kept() -> None:
    documents, (fault,) = parse_all("a: 1\n---\nb: [\n", file="f.yaml")
    assert [document.data for document in documents] == [{"a": 1}]
    assert fault.line >= 3


def test_a_document_makes_faults_at_its_paths() -> None:
    fault = read("a:\n  b: 1\n").fault(("a", "b"), "wrong", "mend it")
    assert str(fault) == "f.yaml:2: a.b: wrong; mend it"


@pytest.mark.parametrize(
    ("path", "expected"),
    [((), ""), (("a", 0, "b"), "a[0].b"), (("a", "b.c/d"), 'a["b.c/d"]'), ((0, "x"), "[0].x")],
)
def test_paths_read_well(path: tuple[str | int, ...], expected: str) -> None:
    assert render_path(path) == expected


def test_the_error_carries_every_fault() -> None:
    error = fault_error(faults_of("a: yes\na: 1\n"), what="the scenario")
    assert error.code == "invalid-file"
    assert error.exit_code == 2
    assert "the scenario has 2 faults" in error.message
    assert "f.yaml:1: a: " in error.message
    assert "f.yaml:2: a: " in error.message


def test_paths_of_a_text_inside_a_file_begin_with_its_prefix() -> None:
    document, (fault,) = parse("a: yes", file="f.yaml", prefix=("patches", 0))
    assert document is not None
    assert fault.path == "patches[0].a"
    assert document.fault(("a",), "wrong", "mend it").path == "patches[0].a"
    assert parse("a: [", file="f.yaml", prefix=("patches", 0))[1][0].path == "patches[0]"


@pytest.mark.parametrize(
    "text",
    ["y", "N", "yes", "off", "12e5", "-1E9", "0o17", "0644", "1_000", "12:30", "1.5", "null", "", "true", "~", "a: b"],
)
def test_a_string_that_some_reader_takes_for_something_else_is_written_in_quotes(text: str) -> None:
    written = dump({"a": text})
    assert written[3] in "'\"", written
    assert read(written).data == {"a": text}


def test_several_documents_are_written_and_keys_sorted_on_request() -> None:
    assert dump({"b": 1, "a": [1]}) == "b: 1\na:\n- 1\n"
    assert dump({"b": 1, "a": 2}, sort_keys=True) == "a: 2\nb: 1\n"
    assert dump({"a": 1}, {"b": 2}) == "a: 1\n---\nb: 2\n"
