"""The workflows are what CONTRIBUTING says of them: make targets, pinned actions, the least rights, no endless job."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / ".github" / "workflows").glob("*"))
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
MAKE = re.compile(r"make (?:--no-print-directory )?([\w-]+)(?: [A-Z]+=\S.*?)*(?: >>\"\$GITHUB_\w+\")?")
PINNED = re.compile(r"^ *(?:- )?uses: [\w-]+/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$")
CALLED = re.compile(r"^ *uses: \./\.github/workflows/[\w-]+\.yaml$")

workflows = pytest.mark.parametrize("file", FILES, ids=[file.name for file in FILES])


def jobs(file: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(file.read_text())["jobs"]
    return found


def steps(file: Path) -> Iterator[dict[str, Any]]:
    for job in jobs(file).values():
        yield from job.get("steps", ())


def test_there_are_those_that_the_docs_name() -> None:
    assert [file.name for file in FILES] == ["checks.yaml", "nightly.yaml"]


@workflows
def test_every_step_that_runs_something_runs_a_make_target(file: Path) -> None:
    for step in steps(file):
        if "run" not in step:
            continue
        match = MAKE.fullmatch(step["run"])
        assert match is not None, step["run"]
        assert match[1] in TARGETS, step["run"]


@workflows
def test_every_action_is_pinned_by_commit_and_says_its_version(file: Path) -> None:
    lines = [line for line in file.read_text().splitlines() if re.match(r" *(- )?uses:", line)]
    assert lines
    assert [line for line in lines if not PINNED.match(line) and not CALLED.match(line)] == []


def test_an_action_is_pinned_to_one_commit_only() -> None:
    text = "".join(file.read_text() for file in FILES)
    pins = set(re.findall(r"uses: ([\w-]+/[\w-]+)[\w/-]*@([0-9a-f]{40}) # (v\S+)", text))
    assert len({action for action, _, _ in pins}) == len(pins)


@workflows
def test_a_workflow_may_read_the_repository_and_nothing_else(file: Path) -> None:
    assert yaml.safe_load(file.read_text())["permissions"] == {"contents": "read"}
    assert not any("permissions" in job for job in jobs(file).values())
    assert "secrets" not in file.read_text()
    checkouts = [step for step in steps(file) if "actions/checkout@" in step.get("uses", "")]
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


@workflows
def test_no_job_is_endless_and_no_run_is_in_anothers_way(file: Path) -> None:
    assert all("timeout-minutes" in job or "uses" in job for job in jobs(file).values())
    assert "group" in yaml.safe_load(file.read_text())["concurrency"]


def test_the_checks_do_not_wait_for_the_night_that_calls_them() -> None:
    groups = [yaml.safe_load(file.read_text())["concurrency"]["group"] for file in FILES]
    assert not any("github.workflow" in group for group in groups)
    assert len(set(groups)) == len(groups)


def test_every_python_that_the_package_names_is_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [name.rsplit(" ", 1)[-1] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)]
    assert jobs(ROOT / ".github/workflows/checks.yaml")["test"]["strategy"]["matrix"]["python"] == named


@workflows
def test_programs_are_cached_by_the_hash_of_their_pins(file: Path) -> None:
    used = [step["with"] for step in steps(file) if "actions/cache" in step.get("uses", "")]
    caches = [cache for cache in used if "components" in cache["path"]]
    assert caches
    for cache in caches:
        assert cache["path"].split() == ["~/.cache/k8s-supply-chain-lab/components", "~/go/pkg/mod"]
        assert "hashFiles('lab/components/pins.py', 'lab/components/go/**'" in cache["key"]


def test_labs_start_only_where_user_namespaces_are_allowed() -> None:
    for job in (jobs(file)[name] for file, name in zip(FILES, ("test", "verdicts"), strict=True)):
        runs = [step.get("run", "") for step in job["steps"]]
        starts = next(i for i, run in enumerate(runs) if run.startswith(("make test ", "make verdicts ")))
        assert "make user-namespaces" in runs[:starts]


def test_installing_says_nothing_where_a_workflow_reads_what_make_prints() -> None:
    told = re.findall(r"^\t@echo \"installing .*$", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert told
    assert all(line.endswith(" >&2") for line in told)
