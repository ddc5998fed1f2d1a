"""actionlint has nothing to say against the workflows, and would have if there were something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ci.__main__ import WORKFLOWS, main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.integration


def test_the_workflows_are_well_formed(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["lint"]) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("right", "wrong", "finding"),
    [
        ("timeout-minutes:", "timeout-hours:", 'unexpected key "timeout-hours"'),
        ("needs.plan.outputs.matrix", "needs.plan.outputs.other", 'property "other" is not defined'),
        ('cron: "17 2', 'cron: "77 2', "invalid CRON format"),
    ],
)
def test_a_fault_is_found(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], right: str, wrong: str, finding: str
) -> None:
    text = (WORKFLOWS / "nightly.yaml").read_text(encoding="utf-8")
    assert right in text
    file = tmp_path / "nightly.yaml"
    file.write_text(text.replace(right, wrong), encoding="utf-8")
    assert main(["lint", str(file)]) == 1
    assert finding in capfd.readouterr().out
