"""The overlay: how a scenario's objects are renamed and narrowed, so that they reach nothing but their own.

A scenario, its scripts and its checks speak of ``default``, ``shop`` or the policy ``trusted-images``. In the cluster
these are ``lab-3f9a1c-2-default``, ``lab-3f9a1c-2-shop`` and ``lab-3f9a1c-2-trusted-images``: every name that can vary
gets a prefix, made of the lab's own number and of a count of start states. Whatever decides about other people's
requests is narrowed to these namespaces. On the way back the prefix is taken away, so that a message reads as the
scenario has it.

Pure functions over requests and objects; `lab.cluster.existing.gateway` sends them. docs/existing.md has the rules in
words.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lab.bouncer.reference import DEFAULT_TAG, parse
from lab.cluster.existing.requests import Target, is_legacy_watch
from lab.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

OWNER_LABEL = "lab.supply-chain/run"
"""On every cluster-scoped object that is the lab's own, with the lab's number: what bears it, `lab down` removes."""
SELECT_LABEL = "lab.supply-chain/namespaces-of"
"""On the namespaces of one start state; what webhooks and policies are narrowed to."""

GATEKEEPER_NAMESPACE = "gatekeeper-system"
_GATEKEEPER_NAMES = "gatekeeper-"
_GATEKEEPER_GROUPS = ".gatekeeper.sh"
_NAME_LABEL = "kubernetes.io/metadata.name"
_ADMISSION = "admissionregistration.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
_CRDS = ("apiextensions.k8s.io", "customresourcedefinitions")
_CONSTRAINTS = "constraints.gatekeeper.sh"

NAMESPACES = ("", "namespaces")
POLICIES = (_ADMISSION, "validatingadmissionpolicies")
BINDINGS = (_ADMISSION, "validatingadmissionpolicybindings")
VALIDATING_WEBHOOKS = (_ADMISSION, "validatingwebhookconfigurations")
MUTATING_WEBHOOKS = (_ADMISSION, "mutatingwebhookconfigurations")
_WEBHOOKS = frozenset({VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS})
RENAMED = frozenset({NAMESPACES, POLICIES, BINDINGS, VALIDATING_WEBHOOKS, MUTATING_WEBHOOKS})
"""Cluster-scoped kinds whose names can vary."""
_GATEKEEPERS_OWN = _WEBHOOKS | {(_RBAC, "clusterroles"), (_RBAC, "clusterrolebindings")}
"""Kinds of which Gatekeeper has some, by names that begin with its own."""

_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_SERVER_NAME = re.compile(r"(?<![\w.-])(DNS:[a-z0-9-]+\.)([a-z0-9-]+)\.svc(?![\w-])")
"""As openssl takes it for ``subjectAltName``."""
_CONTAINERS = frozenset({"containers", "initContainers"})
_STREAMS = frozenset({"exec", "attach", "portforward", "proxy"})


class OverlayError(Exception):
    """A request that would reach beyond the lab's own objects; its text says why, for the client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlay:
    """The names of one start state in a cluster.

    Attributes:
        run: the lab's number, six hexadecimal digits.
        count: number of the start state.
        has_gatekeeper: whether Gatekeeper, whose names cannot vary, is this lab's for the time being.
        place: what the images that the cluster gets from the user's registry begin with.
        images: the scenario's names of those images, registry and tag included.
    """

    run: str
    count: int
    has_gatekeeper: bool = False
    place: str = ""
    images: frozenset[str] = frozenset()

    @property
    def prefix(self) -> str:
        """What names begin with."""
        return f"lab-{self.run}-{self.count}-"

    @property
    def selection(self) -> str:
        """Value of `SELECT_LABEL`."""
        return f"{self.run}-{self.count}"

    # --- names -----------------------------------------------------------------------------------------------------

    def namespace(self, name: str) -> str:
        """A namespace's name in the cluster."""
        fixed = self.has_gatekeeper and name == GATEKEEPER_NAMESPACE
        return name if fixed else self.prefix + name

    def user(self, name: str) -> str:
        """A user or group in the cluster: the ServiceAccounts of a namespace are named after it."""
        for service_accounts in ("system:serviceaccount:", "system:serviceaccounts:"):
            if name.startswith(service_accounts):
                namespace, colon, rest = name.removeprefix(service_accounts).partition(":")
                return f"{service_accounts}{self.namespace(namespace)}{colon}{rest}"
        return name

    def _name(self, kind: tuple[str, str], name: str) -> str:
        """The name in the cluster of a cluster-scoped object."""
        if kind == NAMESPACES:
            return self.namespace(name)
        if kind not in RENAMED or self._is_gatekeepers(kind, name):
            return name
        return self.prefix + name

    def _is_gatekeepers(self, kind: tuple[str, str], name: str) -> bool:
        """Whether it belongs to Gatekeeper, and Gatekeeper to this lab."""
        if not self.has_gatekeeper:
            return False
        if kind == NAMESPACES:
            return name == GATEKEEPER_NAMESPACE
        if kind == _CRDS:
            return name.endswith(_GATEKEEPER_GROUPS)
        return kind[0].endswith(_GATEKEEPER_GROUPS) or (kind in _GATEKEEPERS_OWN and name.startswith(_GATEKEEPER_NAMES))

    def image(self, name: str) -> str:
        """An image's name in the cluster."""
        try:
            reference = parse(name)
        except InputError:
            return name  # it is for the API server to say what is wrong with it
        whole = f"{reference.domain}/{reference.path}:{reference.tag or DEFAULT_TAG}"
        return f"{self.place}{whole}" if whole in self.images and reference.digest is None else name

    def script(self, text: str) -> str:
        """A script whose certificates are for Services under their names in the cluster, by which they are called."""
        return _SERVER_NAME.sub(lambda name: f"{name[1]}{self.namespace(name[2])}.svc", text)

    # --- requests --------------------------------------------------------------------------------------------------

    def target(self, target: Target) -> Target:
        """The same request under the names in the cluster."""
        if target.namespace is not None:
            return replace(target, namespace=self.namespace(target.namespace))
        if target.name is None:
            return target
        return replace(target, name=self._name(target.kind, target.name))

    def query(self, target: Target, query: Mapping[str, str]) -> dict[str, str]:
        """A query under the names in the cluster: a selection by name, as ``kubectl wait`` sends it."""
        selector = query.get("fieldSelector", "")
        if target.namespace is not None or not selector:
            return dict(query)
        terms = []
        for term in selector.split(","):
            field, _, value = term.replace("==", "=").partition("=")
            if field == "metadata.name":
                terms.append(f"{field}={self._name(target.kind, value)}")
            elif field == "metadata.namespace":
                terms.append(f"{field}={self.namespace(value)}")
            else:
                terms.append(term)
        return {**query, "fieldSelector": ",".join(terms)}

    def refuse(self, method: str, target: Target, name: str | None) -> None:
        """See that a request stays within what is the lab's own.

        Args:
            method: of HTTP.
            target: what it is about, as the scenario names it.
            name: of the object, which for a new one stands in its body.

        Raises:
            OverlayError: it does not.
        """
        last = target.subresource.rpartition("/")[2]
        if is_legacy_watch(target) or last in _STREAMS:
            raise OverlayError(f"{target.path} is not handed on to a cluster that is not the lab's")
        if method in _READS or target.namespace is not None:
            return
        if target.group == "authorization.k8s.io":
            return  # a question, which leaves nothing behind
        if name is None:
            raise OverlayError(f"{method} of every object of {target.resource} would reach objects of others")
        if target.kind not in RENAMED and not self._is_gatekeepers(target.kind, name):
            raise OverlayError(
                f"{target.resource} {name} belongs to the whole cluster, and the lab has no other name for it"
            )

    def has_fixed_name(self, target: Target) -> bool:
        """Whether an object has the same name in every lab, so that it must be seen whose it is."""
        return target.namespace is None and target.name is not None and self._is_gatekeepers(target.kind, target.name)

    def narrows(self, target: Target) -> bool:
        """Whether objects of this kind decide about requests, so that a change must not widen them."""
        return target.kind in _WEBHOOKS | {POLICIES, BINDINGS} or target.group == _CONSTRAINTS

    # --- objects ---------------------------------------------------------------------------------------------------

    def object(self, target: Target, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """An object as it is sent to the cluster: renamed, labelled, narrowed.

        Args:
            target: what the request is about, as the scenario names it.
            manifest: the whole object.

        Raises:
            OverlayError: it cannot be narrowed.
        """
        adapted = self._placed(manifest)
        if target.subresource:
            return adapted
        if target.namespace is not None:
            return self._supplied(adapted) if self._supplies(target) else adapted
        metadata = dict(adapted.get("metadata") or {})
        name = str(metadata.get("name", target.name or ""))
        labels = dict(metadata.get("labels") or {}) | {OWNER_LABEL: self.run}
        if target.kind == NAMESPACES and not self._is_gatekeepers(target.kind, name):
            labels[SELECT_LABEL] = self.selection
        if "name" in metadata:
            metadata["name"] = self._name(target.kind, name)
        adapted["metadata"] = metadata | {"labels": labels}
        if not self.narrows(target) or not isinstance(adapted.get("spec", {}), dict):
            return adapted
        if target.kind in _WEBHOOKS:
            own = self._is_gatekeepers(target.kind, name)
            adapted["webhooks"] = [self._webhook(one, own=own) for one in adapted.get("webhooks") or []]
        elif target.kind == POLICIES:
            adapted["spec"] = self._policy(adapted.get("spec") or {})
        elif target.kind == BINDINGS:
            adapted["spec"] = self._binding(adapted.get("spec") or {})
        else:
            adapted["spec"] = self._constraint(adapted.get("spec") or {})
        return adapted

    def _placed(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The object in its namespace's name in the cluster."""
        metadata = manifest.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("namespace"):
            return dict(manifest)
        return {**manifest, "metadata": metadata | {"namespace": self.namespace(str(metadata["namespace"]))}}

    def patch(self, target: Target, body: bytes) -> bytes:
        """A change as it is sent to the cluster: what it says about images is about those of the user's registry."""
        if not self._supplies(target):
            return body
        try:
            change = json.loads(body)
        except ValueError:
            return body  # it is for the API server to say what is wrong with it
        if isinstance(change, dict):
            return json.dumps(self._supplied(change)).encode()
        return json.dumps([self._supplied_step(step) for step in change]).encode()

    def _supplied_step(self, step: dict[str, Any]) -> dict[str, Any]:
        """One step of a JSON patch."""
        value = step.get("value")
        return {**step, "value": self.image(value)} if isinstance(value, str) else self._with_images(step)

    def _supplies(self, target: Target) -> bool:
        """Whether the Pods that an object of this kind makes get images from the user's registry.

        Not a Pod by itself: what is asked about it is asked about the image that it names.
        """
        return bool(self.images) and target.namespace is not None and target.kind != ("", "pods")

    def _supplied(self, thing: dict[str, Any]) -> dict[str, Any]:
        """An object whose Pods get the lab's images from the user's registry."""
        return {key: self._with_images(value) if key == "spec" else value for key, value in thing.items()}

    def _with_images(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_images(one) for one in value]
        if not isinstance(value, dict):
            return value
        return {
            key: [
                {**one, "image": self.image(one["image"])} if isinstance(one, dict) and "image" in one else one
                for one in below
            ]
            if key in _CONTAINERS and isinstance(below, list)
            else self._with_images(below)
            for key, below in value.items()
        }

    def _webhook(self, webhook: Mapping[str, Any], *, own: bool) -> dict[str, Any]:
        rules = [_namespaced(rule) for rule in webhook.get("rules") or []]
        if own:
            rules += [
                about
                for rule in rules
                if "*" in rule.get("apiGroups", []) and (about := _about_gatekeepers_objects(rule)) not in rules
            ]
        narrowed = {
            **webhook,
            "rules": rules,
            "namespaceSelector": self._selector(webhook.get("namespaceSelector"), whole=own),
        }
        client = webhook.get("clientConfig") or {}
        service = client.get("service")
        if service and not own:
            place = {**service, "namespace": self.namespace(str(service.get("namespace", "")))}
            narrowed["clientConfig"] = {**client, "service": place}
        return narrowed

    def _policy(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        constraints = spec.get("matchConstraints")
        if not isinstance(constraints, dict):
            return dict(spec)
        rules = [_namespaced(rule) for rule in constraints.get("resourceRules") or []]
        narrowed = {**constraints, "namespaceSelector": self._selector(constraints.get("namespaceSelector"))}
        return {**spec, "matchConstraints": narrowed | ({"resourceRules": rules} if rules else {})}

    def _binding(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        resources = spec.get("matchResources") or {}
        narrowed = {**resources, "namespaceSelector": self._selector(resources.get("namespaceSelector"))}
        policy = {"policyName": self.prefix + str(spec["policyName"])} if "policyName" in spec else {}
        return {**spec, **policy, "matchResources": narrowed}

    def _constraint(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        match = spec.get("match")
        match = dict(match) if isinstance(match, dict) else {}
        chosen = [self._pattern(str(name)) for name in match.get("namespaces") or ["*"]]
        match["namespaces"] = list(dict.fromkeys(chosen))
        if match.get("excludedNamespaces"):
            match["excludedNamespaces"] = [self._pattern(str(name)) for name in match["excludedNamespaces"]]
        return {**spec, "match": match}

    def _pattern(self, name: str) -> str:
        """A namespace as Gatekeeper takes it, which may end with an asterisk.

        Raises:
            OverlayError: it begins with one, so that nothing can be put in front of it.
        """
        if name.startswith("*") and name != "*":
            raise OverlayError(f"the namespace {name} of a constraint has no beginning that could be the lab's own")
        return self.prefix + name

    def _selector(self, selector: Mapping[str, Any] | None, *, whole: bool = False) -> dict[str, Any]:
        """A selector of namespaces that selects none but those of this start state, or of the whole lab."""
        selector = dict(selector or {})
        key, value = (OWNER_LABEL, self.run) if whole else (SELECT_LABEL, self.selection)
        ours = {"key": key, "operator": "In", "values": [value]}
        asked = [one for one in selector.get("matchExpressions") or [] if one.get("key") != key]
        selector["matchExpressions"] = [*map(self._expression, asked), ours]
        labels = selector.get("matchLabels") or {}
        if _NAME_LABEL in labels:
            selector["matchLabels"] = {**labels, _NAME_LABEL: self.namespace(labels[_NAME_LABEL])}
        return selector

    def _expression(self, expression: Mapping[str, Any]) -> dict[str, Any]:
        if expression.get("key") != _NAME_LABEL:
            return dict(expression)
        return {**expression, "values": [self.namespace(str(name)) for name in expression.get("values") or []]}

    # --- answers ---------------------------------------------------------------------------------------------------

    def text(self, answer: str) -> str:
        """An answer under the scenario's names."""
        answer = answer.replace(self.prefix, "")
        return answer.replace(self.place, "") if self.place else answer

    def answer(self, target: Target | None, answer: str) -> str:
        """An answer under the scenario's names, without what is not the lab's own.

        Args:
            target: what the request was about, as the scenario names it.
            answer: its body: JSON, or whatever else the API server says.
        """
        if target is None or target.namespace is not None or target.name is not None:
            return self.text(answer)
        try:
            body = json.loads(answer)
        except ValueError:
            return self.text(answer)
        for part in ("items", "rows"):
            if isinstance(body.get(part), list):
                body[part] = [one for one in body[part] if self._is_seen(target, one.get("object", one))]
        return self.text(json.dumps(body))

    def event(self, target: Target, line: str) -> str | None:
        """One line of a watch under the scenario's names; None for one about what is not the lab's own."""
        if target.namespace is not None:
            return self.text(line)
        try:
            seen = json.loads(line)
        except ValueError:
            return self.text(line)
        about = seen.get("object") or {}
        rows = about.get("rows")
        if isinstance(rows, list):
            about["rows"] = [row for row in rows if self._is_seen(target, row.get("object", {}))]
            if rows and not about["rows"]:
                return None
        elif seen.get("type") not in ("BOOKMARK", "ERROR") and not self._is_seen(target, about):
            return None
        return self.text(json.dumps(seen)) + "\n"

    def _is_seen(self, target: Target, thing: Mapping[str, Any]) -> bool:
        """Whether an object of a list is the lab's own, or of a kind that everybody may read."""
        metadata = thing.get("metadata") or {}
        name, namespace = str(metadata.get("name", "")), str(metadata.get("namespace", ""))
        if namespace:
            return namespace.startswith(self.prefix) or self._is_gatekeepers(NAMESPACES, namespace)
        if target.kind in RENAMED:
            return name.startswith(self.prefix) or self._is_gatekeepers(target.kind, name)
        return self.has_gatekeeper or not target.group.endswith(_GATEKEEPER_GROUPS)


def _namespaced(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule that matches objects in namespaces only.

    A selector of namespaces does not hold back a rule for cluster-scoped objects, other than namespaces themselves
    (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-namespaceselector).

    Raises:
        OverlayError: that would leave nothing of it.
    """
    resources = rule.get("resources") or []
    if resources and all(str(one).partition("/")[0] == "namespaces" for one in resources):
        return dict(rule)
    if rule.get("scope") == "Cluster":
        if any(str(group).endswith(_GATEKEEPER_GROUPS) for group in rule.get("apiGroups", [])):
            return dict(rule)
        raise OverlayError(f"a rule for {', '.join(resources)} of the whole cluster cannot be narrowed to a namespace")
    return {**rule, "scope": "Namespaced"}


def _about_gatekeepers_objects(rule: Mapping[str, Any]) -> dict[str, Any]:
    """A rule by which Gatekeeper still examines its own objects, which are cluster-scoped."""
    groups = [f"{name}{_GATEKEEPER_GROUPS}" for name in ("constraints", "expansion", "mutations", "templates")]
    return {**rule, "apiGroups": groups, "apiVersions": ["*"], "resources": ["*"], "scope": "Cluster"}
