"""What the tests did is told from pytest's own file; it is a real one, cut short."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.__main__ import main
from ci.junit import SHOWN_LINES, TRIED_TWICE, summary_of_tests
from lab import pytest_plugin
from lab.errors import InputError

REAL = Path(__file__).parent / "testdata" / "junit.xml"


def test_counts_and_the_words_of_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tests", str(REAL)]) == 0
    text = capsys.readouterr().out
    assert text.startswith(
        "# Tests\n\n4 passed, 1 failed.\n\n## failed: tests.e2e.test_scenarios.test_scenario[opa-webhook"
    )
    assert "```text\nscenario opa-webhook on embedded: FAIL\n" in text


@pytest.mark.parametrize(("tag", "word"), [("error", "1 could not run"), ("skipped", "1 skipped")])
def test_what_could_not_run_and_what_was_skipped_stay_apart(tmp_path: Path, tag: str, word: str) -> None:
    file = tmp_path / "junit.xml"
    file.write_text(
        f'<testsuites><testsuite><testcase name="a"><{tag} message="why"/></testcase></testsuite></testsuites>'
    )
    assert f"\n0 passed, {word}." in summary_of_tests(file)


def test_a_long_failure_is_cut_at_its_beginning(tmp_path: Path) -> None:
    file = tmp_path / "junit.xml"
    lines = "\n".join(f"line {number}" for number in range(SHOWN_LINES + 5))
    file.write_text(f'<testsuite><testcase name="a"><failure>{lines}</failure></testcase></testsuite>')
    text = summary_of_tests(file)
    assert "... 5 lines before these\nline 5\n" in text
    assert f"line {SHOWN_LINES + 4}" in text


def test_what_was_tried_twice_is_told_though_it_passed(tmp_path: Path) -> None:
    assert TRIED_TWICE == pytest_plugin._TRIED_TWICE
    file = tmp_path / "junit.xml"
    prop = f'<properties><property name="{TRIED_TWICE}" value="cache-ttl/solution"/></properties>'
    file.write_text(f'<testsuite><testcase name="a">{prop}</testcase></testsuite>')
    assert "1 passed.\n\nTried twice, because they could not run at first: `cache-ttl/solution`." in summary_of_tests(
        file
    )


def test_a_run_that_was_broken_off_has_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        summary_of_tests(tmp_path / "junit.xml")
