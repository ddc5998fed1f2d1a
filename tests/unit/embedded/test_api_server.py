from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.api_server import last_error

if TYPE_CHECKING:
    from pathlib import Path

TIME = "2026-01-01T00:00:00.000000000Z"


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (
            [
                'I0101 00:00:00.000000  1 options.go:1] "external host was not specified"',
                "Error: unknown flag: --enable-swagger-ui",
                "Usage:",
            ],
            "Error: unknown flag: --enable-swagger-ui",
        ),
        (
            ['E0101  1 run.go:72] "command failed" err="couldn\'t init \\"ImagePolicyWebhook\\": no config"'],
            'couldn\'t init "ImagePolicyWebhook": no config',
        ),
        (
            [r'E0101 00:00:00.0  1 run.go:72] "command failed" err="open \"/x\": no such file"', "more"],
            'open "/x": no such file',
        ),
        (["panic: something", "goroutine 1"], "goroutine 1"),
        ([], ""),
    ],
)
def test_the_programs_own_error_is_found(tmp_path: Path, lines: list[str], error: str) -> None:
    log = tmp_path / "0.log"
    log.write_text("".join(f"{TIME} stderr F {line}\n" for line in lines))
    assert last_error(log) == error


def test_a_log_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    assert last_error(tmp_path / "none.log") == ""
