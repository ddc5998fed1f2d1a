"""The JUnit report: a suite for each scenario, a case for each phase.

FAIL is ``<failure>``, ERROR is ``<error>``, SKIP is ``<skipped>``: a CI job sees what could not run apart from what is
wrong.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from lab.scenario.result import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lab.scenario.result import CheckResult, PhaseResult, ScenarioResult

_NOT_XML = re.compile(r"[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, escaped or not."""


def junit_report(results: Sequence[ScenarioResult]) -> str:
    """The report of a run.

    Args:
        results: in the order in which they ran.
    """
    root = ET.Element("testsuites", name="scenarios")
    for result in results:
        root.append(_suite(result))
    _count(root, [case for suite in root for case in suite.iter("testcase")])
    root.set("time", f"{sum(result.duration_s for result in results):.3f}")
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return document.decode() + "\n"


def _suite(result: ScenarioResult) -> ET.Element:
    suite = ET.Element("testsuite", name=f"{result.topic}/{result.name}")
    if result.bundle is not None:
        properties = ET.SubElement(suite, "properties")
        ET.SubElement(properties, "property", name="bundle", value=str(result.bundle))
    if result.skipped:
        case = ET.SubElement(suite, "testcase", classname=result.name, name="scenario", time="0.000")
        ET.SubElement(case, "skipped", message=_clean(result.skipped))
    for phase in result.phases:
        suite.append(_case(result, phase))
    _count(suite, list(suite.iter("testcase")))
    suite.set("time", f"{result.duration_s:.3f}")
    return suite


def _case(result: ScenarioResult, phase: PhaseResult) -> ET.Element:
    case = ET.Element("testcase", classname=result.name, name=phase.name, time=f"{phase.duration_s:.3f}")
    tag = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.SKIP: "skipped"}.get(phase.outcome)
    if tag is None:
        return case
    finding = ET.SubElement(case, tag, message=_clean(phase.problem))
    if tag != "skipped":
        lines = [line for check in phase.checks for line in _lines(check)]
        if result.bundle is not None:
            lines.append(f"evidence: {result.bundle}")
        finding.text = _clean("\n".join(lines))
    return case


def _lines(check: CheckResult) -> Iterator[str]:
    yield f"{check.outcome.value.upper()} {check.id}: {check.title}"
    if check.probe is not None:
        yield f"  request: {check.probe.request}"
    for mismatch in check.mismatches:
        yield f"  {mismatch.what}"
        yield f"    expected: {mismatch.expected}"
        yield f"    actual:   {mismatch.actual}"
    if check.problem:
        yield f"  {check.problem}"
    if check.feedback is not None:
        yield f"  feedback: {check.feedback.text}"


def _count(element: ET.Element, cases: list[ET.Element]) -> None:
    element.set("tests", str(len(cases)))
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(attribute, str(sum(case.find(tag) is not None for case in cases)))


def _clean(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
