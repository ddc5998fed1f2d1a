"""The rules by which a difference between two replays is explained: what may differ, each with its reason.

A rule takes out of both sides what it is about. Sides that are the same without it differ in nothing else, and the
rules that took out different things are the explanation. Whatever no rule is about stays a difference.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

ABSENT = "(nothing)"
"""Stands for a value that one side does not have."""

_STORED = r"stored\."
_ADDRESS = r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\d.]*\d)(?::(?:3[3-9]\d{3}|[45]\d{4}|6[0-5]\d{3})\b)?"
"""With its port only where that is one which the kernel gives to a client; a NodePort is part of what was asked for."""
_RANDOM = "[bcdfghjklmnpqrstvwxz2456789]"
"""Of which Kubernetes makes names up (k8s.io/apimachinery, pkg/util/rand)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One thing that may differ.

    Attributes:
        name: kebab-case.
        reason: why it says nothing about a verdict.
        pattern: what it takes out of a text.
        where: the facts that it holds for, by their paths; all of them unless it says so.
        may_lack: whether one side may lack the fact altogether.
    """

    name: str
    reason: str
    pattern: re.Pattern[str] = re.compile(r"(?s).+")
    where: re.Pattern[str] = re.compile("")
    may_lack: bool = False


RULES = (
    Rule(
        name="resolver-address",
        reason="the address of the resolver is the node's; the answer is what counts",
        pattern=re.compile(r"(?<= on )[\[\]0-9a-fA-F.:]+(?=: no such host)"),
    ),
    Rule(
        name="nobody-behind",
        reason="nobody listens behind the node port: a kernel refuses, the embedded node takes the connection first",
        pattern=re.compile(r"(?<=dial tcp 127\.0\.0\.1:3[0-2]\d{3}: connect: connection )(?:refused|reset by peer)\b"),
    ),
    Rule(
        name="resource-version",
        reason="a cluster counts its writes, and no two have written as often",
        where=re.compile(_STORED + r"metadata\.resourceVersion"),
    ),
    Rule(
        name="uid",
        reason="every object gets a uid of its own",
        pattern=re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),
    ),
    Rule(
        name="time",
        reason="the replays did not run at the same time",
        pattern=re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)"),
    ),
    Rule(
        name="generated-name",
        reason="the end of the name is made up: by the lab for a probe's namespace, by Kubernetes for Pods and volumes",
        pattern=re.compile(
            rf"\bprobe-[0-9a-f]{{10}}\b|(?<=\bkube-api-access-){_RANDOM}{{5}}\b|"
            rf"(?<=-){_RANDOM}{{8,10}}-{_RANDOM}{{5}}\b"
        ),
    ),
    Rule(
        name="image-digest",
        reason="an image that runs on kind is made on its machine; elsewhere a stand-in of the same name is served",
        pattern=re.compile(r"(?<=\bsha256:)[0-9a-f]{64}\b"),
    ),
    Rule(
        name="node-name",
        reason="a kind node is named after its cluster",
        pattern=re.compile(r"\b[a-z0-9][a-z0-9-]*-control-plane\b|\bcontrolplane\b"),
    ),
    Rule(
        name="address",
        reason="a cluster hands out the addresses of its nodes, Services and Pods, and a kernel the ports of clients",
        pattern=re.compile(_ADDRESS),
    ),
    Rule(
        name="scheduled",
        reason="a Pod that is changed may have been scheduled by then, or not yet",
        pattern=re.compile(rf"^(?:{re.escape(ABSENT)}|controlplane|[a-z0-9][a-z0-9-]*-control-plane)$"),
        where=re.compile(_STORED + r"spec\.nodeName$"),
        may_lack=True,
    ),
    Rule(
        name="status",
        reason="an object that is changed has what others have written about it by then",
        pattern=re.compile(r"(?s)\A.*\Z"),  # an image has no id until it was pulled
        where=re.compile(_STORED + r"(?:status\.|metadata\.managedFields\b)"),
        may_lack=True,
    ),
    Rule(
        name="overlay",
        reason="as a guest in somebody else's cluster the lab labels what is its own",
        where=re.compile(_STORED + r"metadata\.labels\.lab\.supply-chain/(?:run|namespaces-of)"),
        may_lack=True,
    ),
)


def explanation(fact: str, one: Any, other: Any) -> tuple[str, ...]:
    """The rules that explain why two values differ.

    Args:
        fact: its path: ``message``, ``stored.metadata.uid``.
        one: a value; `ABSENT` if there is none.
        other: another one.

    Returns:
        Names of rules; empty when something differs that no rule is about.
    """
    lacking = ABSENT in (one, other)
    one, other = (side if isinstance(side, str) else json.dumps(side) for side in (one, other))
    found = []
    for rule in RULES:
        if not rule.where.match(fact) or (lacking and not rule.may_lack):
            continue
        if rule.pattern.findall(one) != rule.pattern.findall(other):
            found.append(rule.name)
        one, other = (rule.pattern.sub(f"({rule.name})", side) for side in (one, other))
    return tuple(found) if one == other else ()
