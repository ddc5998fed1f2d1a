"""One scenario as a section of a page: the task, a solution, what the API server answered, and what goes wrong."""

from __future__ import annotations

import json
import re
import textwrap
from typing import TYPE_CHECKING

import yaml

from docs.walkthroughs.recording import observed
from lab.cluster.protocol import Capability
from lab.scenario.result import Verdict
from lab.scenario.verbs.request import as_typed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docs.walkthroughs.recording import Verdicts
    from lab.scenario.load import Scenario
    from lab.scenario.result import Observed
    from lab.scenario.schema.scenario import Check
    from lab.scenario.schema.verbs import Probe

COLUMNS = 112
"""Messages are broken here, between words, so that they can be read without scrolling."""

_HEADING = re.compile(r"\A# .*\n+")
_TRY_IT = re.compile(r"^Try it\b", re.MULTILINE)
_CODE = re.compile(r"(`[^`]*`)")


def section(scenario: Scenario, verdicts: Verdicts) -> str:
    """A scenario as Markdown.

    Args:
        scenario: the scenario.
        verdicts: what its probes got when its solution was run.
    """
    return "\n\n".join(part.strip("\n") for part in _parts(scenario, verdicts)) + "\n"


def anchor(scenario: Scenario) -> str:
    """The anchor of its heading, as GitHub makes it."""
    title = scenario.document.metadata.title
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def inline(text: str, *, in_table: bool = False) -> str:
    """A text that is meant as it stands: nothing in it is Markdown but the code in back quotes."""
    parts = _CODE.split(text)
    escaped = "".join(
        part if part.startswith("`") and part.endswith("`") else re.sub(r"([\\*<])", r"\\\1", part) for part in parts
    )
    return escaped.replace("|", "\\|") if in_table else escaped


def _parts(scenario: Scenario, verdicts: Verdicts) -> Iterator[str]:
    metadata = scenario.document.metadata
    files = f"../../scenarios/{scenario.topic}/{scenario.name}"
    yield f"## {metadata.title}"
    yield (
        f"[{scenario.name}]({files}) · {metadata.difficulty} · {metadata.time_minutes} minutes · "
        f"do it yourself: `lab start {scenario.name}{_where(scenario)}`"
    )
    if metadata.reason:
        yield f"Why: {inline(metadata.reason.removesuffix('.'))}."
    yield "### The task"
    yield _task(scenario.text(scenario.document.task))
    yield "### A solution"
    yield f"```bash\n{scenario.text(scenario.document.solution.script).strip()}\n```"
    answers = list(_answers(scenario, verdicts))
    if answers:
        yield "### What the API server answers then"
        yield "```text\n" + "\n\n".join(answers) + "\n```"
    others = [check for check in scenario.document.checks if check.probe is None]
    if others:
        yield "Also checked:" if answers else "### What is checked"
        yield "\n".join(_checked(check) for check in others)
    yield "### What goes wrong"
    yield "\n".join(_mistakes(scenario))


def _where(scenario: Scenario) -> str:
    """The option without which a lab would be made that cannot hold the scenario."""
    return " --backend kind" if Capability.RUNS_IMAGES in scenario.document.requires else ""


def _task(text: str) -> str:
    """The task without its heading, and without what there is to try: the verdicts stand below, as they were."""
    body = _HEADING.sub("", text)
    found = _TRY_IT.search(body)
    return body if found is None else body[: found.start()]


def _answers(scenario: Scenario, verdicts: Verdicts) -> Iterator[str]:
    """What was typed, who decided, and the message in the API server's own words."""
    for check in scenario.document.checks:
        if check.probe is None:
            continue
        seen = observed(verdicts[check.id])
        lines = [f"# {check.title}", f"$ {_typed(check.probe)}", f"  {decision(seen)}"]
        for line in seen.message.splitlines():
            lines += textwrap.wrap(
                line,
                width=COLUMNS,
                initial_indent="  ",
                subsequent_indent="  ",
                break_long_words=False,
                break_on_hyphens=False,
            )
        yield "\n".join(lines)


def _checked(check: Check) -> str:
    """What is checked without a request; with the exact words that its program has to print, which every run proves."""
    title = f"- {inline(check.title)}"
    printed = None if check.exec is None or check.exec.stdout is None else check.exec.stdout.equals
    if not printed:
        return title
    return f"{title}:\n\n{textwrap.indent(printed.rstrip(), ' ' * 6)}\n"


def _typed(probe: Probe) -> str:
    command = as_typed(probe)
    if probe.object is not None:
        return f"{command} <<'YAML'\n{yaml.safe_dump(probe.object, sort_keys=False, width=COLUMNS)}YAML"
    if probe.patch is not None:
        body = json.dumps(probe.patch.body)
        return f"{command} --type={probe.patch.type} --patch='{body}'"
    return command


def decision(seen: Observed) -> str:
    """Who decided, in a few words; of an admitted request, who was asked."""
    if seen.verdict is not Verdict.ALLOWED:
        return f"{seen.verdict} by {', '.join(sorted(seen.deciders))}"
    if seen.failed_open:
        return f"allowed, because {', '.join(seen.failed_open)} failed open"
    if not seen.asked:
        return "allowed"
    about = f" about {', '.join(seen.reviewed_images)}" if seen.reviewed_images else ""
    return f"allowed; {', '.join(sorted(seen.asked))} was asked{about}"


def _mistakes(scenario: Scenario) -> Iterator[str]:
    yield "| mistake | the check that finds it | what `lab check` says |"
    yield "|---|---|---|"
    checks = {check.id: check for check in scenario.document.checks}
    for mistake in scenario.document.mistakes:
        check = checks[mistake.fails]
        said = next(rule.say for rule in check.feedback if rule.id == mistake.feedback)
        cells = (inline(cell, in_table=True) for cell in (mistake.title, check.title, said))
        yield f"| {' | '.join(cells)} |"
