"""What differs between two replays is found, and what a rule explains is explained by that rule."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from lab.parity.json_report import json_parity
from lab.parity.parity import Parity, compare, side_of
from lab.parity.rules import ABSENT, RULES, explanation
from lab.parity.terminal import print_parity
from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from lab.parity.changes import FactChange
    from tests.unit.parity.conftest import MakeReport, Report


def parity_of(left: Report, right: Report) -> Parity:
    return compare(side_of("embedded", left), side_of("kind", right))


def checks_in(report: Report) -> list[dict[str, Any]]:
    checks: list[dict[str, Any]] = report["scenarios"][0]["phases"][0]["checks"]
    return checks


def printed(parity: Parity, *, width: int = 80) -> str:
    out = io.StringIO()
    print_parity(parity, Console(file=out, width=width))
    return out.getvalue()


def unexplained(parity: Parity) -> dict[str, FactChange]:
    return {
        f"{change.check} {fact.fact}": fact
        for scenario in parity.scenarios
        for change in scenario.changes.verdicts
        for fact in change.facts
        if not fact.rules
    }


def test_what_must_differ_is_explained_by_named_rules(embedded: MakeReport, kind: MakeReport) -> None:
    parity = parity_of(embedded(), kind())
    (scenario,) = parity.scenarios
    assert (scenario.outcome, scenario.compared, scenario.different) == (Outcome.PASS, 3, 0)
    rules = {
        f"{change.check} {fact.fact}": fact.rules for change in scenario.changes.explained for fact in change.facts
    }
    assert rules == {
        "solution: closed message": ("resolver-address",),
        "solution: digest mismatches[0]": ("image-digest",),
        "solution: open stored.metadata.namespace": ("generated-name",),
        "solution: open stored.metadata.uid": ("uid",),
        "solution: open stored.metadata.resourceVersion": ("resource-version",),
    }
    assert parity.exit_code == 0


def test_two_replays_that_are_the_same_need_no_rule(embedded: MakeReport) -> None:
    parity = parity_of(embedded(), embedded())
    assert (parity.exit_code, parity.applied.total()) == (0, 0)
    assert "explained by" not in printed(parity)


def other_decider(checks: list[dict[str, Any]]) -> None:
    checks[0]["probe"]["observed"]["deciders"] = ["gatekeeper:trusted"]


def other_message(checks: list[dict[str, Any]]) -> None:
    message = checks[0]["probe"]["observed"]["message"]
    checks[0]["probe"]["observed"]["message"] = message.replace("no such host", "server misbehaving")


def other_port(checks: list[dict[str, Any]]) -> None:
    message = checks[0]["probe"]["observed"]["message"]
    checks[0]["probe"]["observed"]["message"] = message.replace(":30080", ":30081")


def failed_open(checks: list[dict[str, Any]]) -> None:
    checks[1]["probe"]["observed"]["failedOpen"] = ["ImagePolicyWebhook"]


def other_image(checks: list[dict[str, Any]]) -> None:
    checks[1]["probe"]["stored"]["spec"]["containers"][0]["image"] = "docker.io/nginx:latest"


def more_arguments(checks: list[dict[str, Any]]) -> None:
    checks[1]["probe"]["stored"]["spec"]["containers"][0]["args"].append("c")


def another_field(checks: list[dict[str, Any]]) -> None:
    checks[1]["probe"]["stored"]["spec"]["priorityClassName"] = "urgent"


def nothing_stored(checks: list[dict[str, Any]]) -> None:
    checks[1]["probe"]["stored"] = None


def another_mismatch(checks: list[dict[str, Any]]) -> None:
    checks[2]["mismatches"].append({"what": "replicas", "expected": "1", "actual": "2"})


def other_feedback(checks: list[dict[str, Any]]) -> None:
    checks[2]["feedback"]["id"] = "no-digest"


def other_outcome(checks: list[dict[str, Any]]) -> None:
    checks[2]["outcome"] = "pass"


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (other_decider, "solution: closed deciders"),
        (other_message, "solution: closed message"),
        (other_port, "solution: closed message"),
        (failed_open, "solution: open failedOpen"),
        (other_image, "solution: open stored.spec.containers[0].image"),
        (more_arguments, "solution: open stored.spec.containers[0].args[2]"),
        (another_field, "solution: open stored.spec.priorityClassName"),
        (nothing_stored, "solution: open stored.spec.containers[0].image"),
        (another_mismatch, "solution: digest mismatches[1]"),
        (other_feedback, "solution: digest feedback"),
        (other_outcome, "solution: digest outcome"),
    ],
)
def test_what_differs_in_a_verdict_is_found_beside_what_is_explained(
    embedded: MakeReport, kind: MakeReport, change: Callable[[list[dict[str, Any]]], None], found: str
) -> None:
    right = kind()
    change(checks_in(right))
    parity = parity_of(embedded(), right)
    assert parity.exit_code == 1
    assert found in unexplained(parity)


def test_the_state_of_a_moment_is_no_difference(embedded: MakeReport) -> None:
    right = embedded()
    checks_in(right)[2]["mismatches"][0]["actual"] = "at another moment"
    assert parity_of(embedded(), right).exit_code == 0


def test_a_probe_that_could_not_be_sent_is_a_difference(embedded: MakeReport) -> None:
    right = embedded()
    checks_in(right)[0]["probe"]["observed"] = None
    assert "solution: closed verdict" in unexplained(parity_of(embedded(), right))


def test_a_check_that_one_side_lacks_is_a_difference(embedded: MakeReport, kind: MakeReport) -> None:
    right = kind()
    del checks_in(right)[1]
    parity = parity_of(embedded(), right)
    assert parity.exit_code == 1
    assert parity.scenarios[0].changes.gone == ("closed: solution: open",)
    assert "only embedded: solution: open" in printed(parity)
    assert parity_of(right, embedded()).scenarios[0].changes.added == ("closed: solution: open",)


def test_a_phase_that_one_side_lacks_is_a_difference(embedded: MakeReport) -> None:
    left = embedded()
    mistake = {**left["scenarios"][0]["phases"][0], "kind": "mistake", "name": "mistake/a", "checks": []}
    left["scenarios"][0]["phases"].append(mistake)
    parity = parity_of(left, embedded())
    assert (parity.exit_code, parity.scenarios[0].changes.gone) == (1, ("closed: mistake/a",))


def test_a_scenario_that_one_side_lacks_is_a_difference(embedded: MakeReport, kind: MakeReport) -> None:
    parity = parity_of(embedded("closed", "more"), kind("closed"))
    assert [scenario.outcome for scenario in parity.scenarios] == [Outcome.PASS, Outcome.FAIL]
    assert parity.exit_code == 1
    assert "only embedded: more" in printed(parity)


def test_a_phase_that_came_to_something_else_is_a_difference(embedded: MakeReport) -> None:
    right = embedded()
    right["scenarios"][0]["phases"][0]["outcome"] = "fail"
    right["scenarios"][0]["outcome"] = "fail"
    parity = parity_of(embedded(), right)
    assert parity.exit_code == 1
    assert "solution: embedded pass, kind fail" in printed(parity)
    assert parity.scenarios[0].different == 1, "the scenario as a whole is not told beside its phase"


def skipped(report: Report, reason: str) -> Report:
    report["scenarios"][0] |= {"outcome": "skip", "skipped": reason, "phases": []}
    return report


def test_a_scenario_that_one_side_skips_is_listed_with_the_reason(embedded: MakeReport, kind: MakeReport) -> None:
    left = embedded("closed", "more")
    parity = parity_of(skipped(left, "the backend embedded lacks runs-images"), kind("closed", "more"))
    assert [scenario.outcome for scenario in parity.scenarios] == [Outcome.SKIP, Outcome.PASS]
    assert parity.exit_code == 0
    assert "embedded: the backend embedded lacks runs-images" in printed(parity)


def test_one_that_was_skipped_first_need_not_be_replayed_on_the_other_side(embedded: MakeReport) -> None:
    left = skipped(embedded("closed", "more"), "why")
    parity = parity_of(left, embedded("more"))
    assert [scenario.outcome for scenario in parity.scenarios] == [Outcome.SKIP, Outcome.PASS]


def test_nothing_compared_is_no_parity(embedded: MakeReport, kind: MakeReport) -> None:
    assert parity_of(skipped(embedded(), "why"), kind()).exit_code == 3


def test_a_phase_that_one_side_skips_is_told_and_not_compared(embedded: MakeReport) -> None:
    left, right = embedded(), embedded()
    for report in (left, right):
        phases = report["scenarios"][0]["phases"]
        phases.append({**phases[0], "name": "mistake/a"})
    phase = right["scenarios"][0]["phases"][1]
    right["scenarios"][0]["phases"][1] = {**phase, "outcome": "skip", "checks": [], "problem": "cannot reset"}
    parity = parity_of(left, right)
    assert (parity.exit_code, parity.scenarios[0].compared) == (0, 3)
    assert "kind: mistake/a was skipped: cannot reset" in printed(parity)


def test_what_could_not_run_is_no_difference_and_no_parity(embedded: MakeReport) -> None:
    right = embedded()
    scenario = right["scenarios"][0]
    phase = {"outcome": "error", "problem": "no lab", "checks": scenario["phases"][0]["checks"][:1]}
    scenario["phases"][0] |= phase
    scenario["outcome"] = "error"
    parity = parity_of(embedded(), right)
    assert (parity.scenarios[0].outcome, parity.exit_code) == (Outcome.ERROR, 3)
    assert parity.scenarios[0].compared == 1, "what was found before counts"
    assert "kind: solution could not run: no lab" in printed(parity)
    other_decider(checks_in(right))
    assert parity_of(embedded(), right).exit_code == 1


def test_the_table_has_both_sides_of_what_differs_and_fits_80_columns(embedded: MakeReport, kind: MakeReport) -> None:
    right = kind()
    other_decider(checks_in(right))
    lines = [line.rstrip() for line in printed(parity_of(embedded(), right)).splitlines()]
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.split()[:2] == ["FAIL", "closed"])
    assert row.split() == ["FAIL", "closed", "3", "2", "1"]
    at = lines.index("    deciders")
    assert [" ".join(line.split()) for line in lines[at + 1 : at + 3]] == [
        "embedded image-policy-failed-closed",
        "kind gatekeeper:trusted",
    ]
    assert any(line.split()[:2] == ["resolver-address", "1"] for line in lines)
    assert lines[-1] == "1 different"


def test_the_json_has_everything(embedded: MakeReport, kind: MakeReport) -> None:
    right = kind()
    other_decider(checks_in(right))
    document = json.loads(json_parity(parity_of(embedded(), right)))
    assert (document["kind"], document["exitCode"]) == ("ParityReport", 1)
    assert (document["left"], document["right"]) == ("embedded", "kind")
    (scenario,) = document["scenarios"]
    (different,) = scenario["different"]
    assert different["check"] == "solution: closed"
    assert {"fact": "deciders", "left": "image-policy-failed-closed", "right": "gatekeeper:trusted", "rules": []} in (
        different["facts"]
    )
    assert [verdict["check"] for verdict in scenario["explained"]] == ["solution: digest", "solution: open"]
    assert {rule["name"]: rule["explained"] for rule in document["rules"]}["uid"] == 1
    assert document["summary"]["fail"] == 1


POD = "web-6d4cf56db6-{}"
DIAL = "dial tcp 127.0.0.1:{}: connect: connection {}"


@pytest.mark.parametrize(
    ("fact", "one", "other", "rules"),
    [
        ("message", "a on 10.0.0.1:53: no such host", "a on [::1]:53: no such host", ("resolver-address",)),
        ("message", "dial tcp 10.0.0.1:30080: refused", "dial tcp 10.0.0.2:30080: refused", ("address",)),
        ("message", "dial tcp 10.0.0.1:30080: refused", "dial tcp 10.0.0.1:30081: refused", ()),
        ("message", DIAL.format(30080, "refused"), DIAL.format(30080, "reset by peer"), ("nobody-behind",)),
        ("message", DIAL.format(30080, "refused"), DIAL.format(30080, "timed out"), ()),
        ("message", DIAL.format(8443, "refused"), DIAL.format(8443, "reset by peer"), ()),
        ("message", "read 10.0.0.1:40112: EOF", "read 10.0.0.1:50991: EOF", ("address",)),
        ("message", "at 2026-11-21T10:00:00Z", "at 2026-11-21T10:00:01.5+02:00", ("time",)),
        ("message", POD.format("x7k2p"), "web-7f9d8c5b4c-q9wzt", ("generated-name",)),
        ("message", POD.format("x7k2p"), "api-6d4cf56db6-x7k2p", ()),
        ("stored.spec.nodeName", "controlplane", "parity-1-b6bd6e-control-plane", ("node-name",)),
        ("stored.spec.nodeName", ABSENT, "controlplane", ("scheduled",)),
        ("stored.spec.nodeName", ABSENT, "worker-7", ()),
        ("stored.status.conditions[0].observedGeneration", 1, 2, ("status",)),
        ("stored.status.containerStatuses[0].imageID", "nginx@sha256:0", "", ("status",)),
        ("stored.metadata.managedFields[1].manager", ABSENT, "kubelet", ("status",)),
        ("stored.metadata.resourceVersion", "12", "3456", ("resource-version",)),
        ("stored.metadata.generation", "12", "3456", ()),
        ("message", "12", "3456", ()),
        ("stored.metadata.uid", "1", ABSENT, ()),
        ("stored.metadata.labels.lab.supply-chain/run", ABSENT, "3f9a1c", ("overlay",)),
        ("stored.metadata.labels.app", ABSENT, "web", ()),
        ("httpStatus", 403, 500, ()),
        (
            "message",
            f"a@sha256:{'a' * 64} at 10.0.0.1",
            f"a@sha256:{'b' * 64} at 10.0.0.2",
            ("image-digest", "address"),
        ),
        ("message", f"a@sha256:{'a' * 64} denied", f"a@sha256:{'b' * 64} allowed", ()),
    ],
)  # fmt: skip
def test_a_rule_explains_what_it_is_about_and_nothing_else(
    fact: str, one: object, other: object, rules: tuple[str, ...]
) -> None:
    assert explanation(fact, one, other) == rules
    assert explanation(fact, other, one) == rules


def test_every_rule_has_a_name_of_its_own_and_a_reason() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)
    assert all(rule.reason for rule in RULES)


def test_the_page_names_every_rule() -> None:
    page = (Path(__file__).parents[3] / "docs" / "parity.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \|", page, flags=re.MULTILINE)
    assert rows == [rule.name for rule in RULES]
