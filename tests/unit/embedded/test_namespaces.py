from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.namespaces import forbidden

if TYPE_CHECKING:
    from pathlib import Path

DENIED = PermissionError(errno.EPERM, "Operation not permitted")


def test_the_setting_that_forbids_namespaces_is_named_with_its_remedy(tmp_path: Path) -> None:
    setting = tmp_path / "apparmor_restrict_unprivileged_userns"
    setting.write_text("1\n")
    error = forbidden(DENIED, settings=((str(setting), "1", "sudo sysctl -w the.setting=0"),))
    assert error.code == "namespaces-forbidden"
    assert setting.name in error.message
    assert "sudo sysctl -w the.setting=0" in error.hint
    assert "kind backend" in error.hint


def test_a_setting_that_allows_them_is_not_blamed(tmp_path: Path) -> None:
    setting = tmp_path / "setting"
    setting.write_text("0\n")
    error = forbidden(DENIED, settings=((str(setting), "1", "no"), (str(tmp_path / "absent"), "1", "no")))
    assert "setting" not in error.message
    assert "seccomp" in error.hint


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EUSERS])
def test_a_limit_that_is_reached_is_told_from_a_refusal(code: int) -> None:
    assert "limit" in forbidden(OSError(code, "no"), settings=()).message
