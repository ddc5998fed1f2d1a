from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.sandbox.runtime_wrapper import CAPABILITIES, permitted, rewrite

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("bounding", "effective", "permitted")


def process(*names: str) -> dict[str, object]:
    return {"args": ["sh"], "capabilities": {kind: list(names) for kind in KINDS}}


def test_capabilities_are_numbered_as_the_kernel_numbers_them() -> None:
    assert CAPABILITIES.index("CAP_SYS_ADMIN") == 21
    assert CAPABILITIES.index("CAP_SYS_RESOURCE") == 24
    assert CAPABILITIES.index("CAP_CHECKPOINT_RESTORE") == 40


def test_what_a_process_may_ever_have_is_its_bounding_set() -> None:
    status = "Name:\tx\nCapEff:\t0000000000000000\nCapBnd:\t000001fffeffffff\n"

    assert frozenset(CAPABILITIES) - permitted(status) == {"CAP_SYS_RESOURCE"}


@pytest.mark.parametrize("verb", ["create", "run"])
@pytest.mark.parametrize("option", ["--bundle", "-b"])
def test_what_is_missing_is_taken_out_of_a_bundle(tmp_path: Path, verb: str, option: str) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"hostname": "h", "process": process("CAP_CHOWN", "CAP_SYS_RESOURCE")}))

    rewrite(["--root", "/run/r", verb, option, str(tmp_path), "--pid-file", "p", "0123"], frozenset({"CAP_CHOWN"}))

    assert json.loads(config.read_text()) == {"hostname": "h", "process": process("CAP_CHOWN")}


def test_what_is_missing_is_taken_out_of_the_process_of_an_exec(tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps(process("CAP_CHOWN", "CAP_SYS_RESOURCE")))

    rewrite(["--root", "/run/r", "exec", "--process", str(file), "--detach", "0123"], frozenset({"CAP_CHOWN"}))

    assert json.loads(file.read_text()) == process("CAP_CHOWN")


def test_every_other_command_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # without a bundle's config.json

    rewrite(["--root", "/run/r", "delete", "--force", "0123"], frozenset())
