"""Probes in a test: the block that stands under ``probe:`` in a scenario, sent from a test, judged the same way."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from lab.errors import InputError, LabError
from lab.scenario.evidence import AuditLog, BouncerRecord
from lab.scenario.load import Scenario
from lab.scenario.result import Outcome
from lab.scenario.schema.scenario import Metadata, ScenarioDocument
from lab.scenario.schema.verbs import Probe
from lab.scenario.sighting import Context
from lab.scenario.verbs import probe as probe_verb
from lab.testing.objects import api_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from lab.cluster.protocol import Cluster
    from lab.scenario.result import ProbeResult
    from lab.scenario.sighting import Sighting

POLL_S = 0.25


def decode(spec: Mapping[str, Any] | str) -> Probe:
    """A probe from its block, as an object or as YAML text.

    Raises:
        InputError: ``probe-invalid``.
    """
    try:
        data = yaml.safe_load(spec) if isinstance(spec, str) else spec
        # As JSON, because the models are strict and a list in a file is a tuple in them.
        probe = Probe.model_validate_json(json.dumps(data))
    except (yaml.YAMLError, ValidationError, TypeError) as error:
        raise InputError(
            "probe-invalid", f"this is no probe: {error}", hint="write it as under probe: in a scenario"
        ) from error
    if probe.bracket is not None:
        raise InputError(
            "probe-invalid",
            "bracket names a check of a scenario, and there is none here",
            hint="leave bracket out, and send the probe that must be denied before and after",
        )
    return probe


def send(probe: Probe, cluster: Cluster, *, directory: Path, within_s: float) -> Sighting:
    """Send a probe; again until it gets its verdict or the time is over.

    Args:
        probe: the probe.
        cluster: where.
        directory: where the manifests lie that it names.
        within_s: for how long to try, in seconds; 0: once.

    Raises:
        LabError: it could not be sent.
    """
    api = api_of(cluster)
    audit = AuditLog(cluster)
    audit.skip_to_end()
    context = Context(
        scenario=_scenario_at(directory), cluster=cluster, api=api, audit=audit, record=BouncerRecord(api)
    )
    deadline = time.monotonic() + within_s
    while True:
        sighting = probe_verb.look(probe, context)
        if sighting.outcome is Outcome.PASS or time.monotonic() + POLL_S > deadline:
            return sighting
        time.sleep(POLL_S)


def _scenario_at(directory: Path) -> Scenario:
    """The scenario that a probe in a test belongs to: one without content, known by the place of its files."""
    document = ScenarioDocument.model_construct(
        api_version="lab.supply-chain/v1alpha1",
        kind="Scenario",
        metadata=Metadata(
            name="pytest", topic="pytest", title="A test", reason="a test", difficulty="easy", weight=1, timeMinutes=1
        ),
        hints=(),
        checks=(),
        mistakes=(),
    )
    return Scenario(directory=directory, document=document)


def mismatch_text(sighting: Sighting) -> str:
    """What was expected and what was seen, for a person."""
    lines = [] if sighting.probe is None else [f"$ {sighting.probe.request}"]
    for mismatch in sighting.mismatches:
        lines.append(f"  {mismatch.what}: expected {mismatch.expected}")
        lines.append(f"  {' ' * len(mismatch.what)}  actually {mismatch.actual}")
    if sighting.probe is not None and sighting.probe.observed is not None:
        lines += [f"  {sentence}" for sentence in sighting.probe.observed.proof]
    return "\n".join(lines)


def proved(sighting: Sighting) -> ProbeResult:
    """The probe behind a sighting that has no mismatch.

    Raises:
        LabError: ``verdict-not-proved``: the verdict is as expected, its cause is not proved.
    """
    if sighting.outcome is not Outcome.PASS or sighting.probe is None:
        raise LabError(
            "verdict-not-proved",
            f"the probe could not be judged: {sighting.problem}",
            hint="see that the API server writes its audit log, and that the bouncer's log can be read",
        )
    return sighting.probe
