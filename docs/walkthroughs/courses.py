"""Which pages there are: one for each text of the course, and one for what goes beyond all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lab.scenario.load import Scenario
    from lab.scenario.schema.scenario import Seed


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A walkthrough page.

    Attributes:
        slug: its file's name, without ``.md``.
        title: its heading.
        about: what it is about, in a sentence or two.
        seed: the text of the course that it follows; None for what goes beyond the course.
        order: the scenarios that come first, in the order in which the text has them; others follow by name.
    """

    slug: str
    title: str
    about: str
    seed: Seed | None
    order: tuple[str, ...] = ()

    def scenarios_of(self, scenarios: Iterable[Scenario]) -> list[Scenario]:
        """The scenarios that are on it, in its order."""
        mine = [scenario for scenario in scenarios if self._shows(scenario)]
        return sorted(mine, key=lambda scenario: (self._place(scenario.name), scenario.name))

    def _shows(self, scenario: Scenario) -> bool:
        seeds = scenario.document.metadata.seeds
        return self.seed in seeds if self.seed is not None else not seeds

    def _place(self, name: str) -> int:
        return self.order.index(name) if name in self.order else len(self.order)


PAGES = (
    Page(
        slug="digests-gatekeeper-imagepolicy",
        title="Digests, Gatekeeper and ImagePolicyWebhook",
        about=(
            "First look at what a cluster runs, by tag and by digest; then decide what it may run, with Gatekeeper and "
            "with ImagePolicyWebhook, and see what happens when nobody answers."
        ),
        seed="000",
        order=(
            "private-registry-login",
            "audit-image-tags",
            "audit-image-digests",
            "pin-deployment-digest",
            "gatekeeper-install",
            "gatekeeper-trusted-images",
            "imagepolicy-enable",
            "bouncer-deploy",
            "imagepolicy-fail-closed",
        ),
    ),
    Page(
        slug="validating-webhook",
        title="A webhook of your own",
        about=(
            "A small Python server judges the images of every Pod, as a validating webhook with a certificate of the "
            "cluster's CA, then from an image of its own; and a policy file says what such a server can judge by."
        ),
        seed="001",
        order=("validating-webhook", "containerize-webhook", "policy-ideas"),
    ),
    Page(
        slug="allowed-registries",
        title="One allowed registry, three ways",
        about=(
            "The same rule in a webhook, in Open Policy Agent and in ImagePolicyWebhook. The course's snippets come "
            "from older versions: what an API server of today says about them is part of the exercise."
        ),
        seed="002",
        order=("internal-registry-webhook", "opa-webhook", "imagepolicy-fail-open", "apiserver-service-flags"),
    ),
    Page(
        slug="image-policy-for-the-exam",
        title="Image policy, as the exam asks for it",
        about=(
            "Enable ImagePolicyWebhook in the manifest of a kubeadm API server, and know the message by which you see "
            "that it is at work although its webhook is not."
        ),
        seed="003",
        order=("imagepolicy-enable", "imagepolicy-fail-closed"),
    ),
    Page(
        slug="bouncer-certificate-and-constraint",
        title="A bouncer with a certificate, and a constraint",
        about=(
            "Two ways to let in one registry only: a bouncer whose certificate the cluster's own signer has signed, "
            "and a Gatekeeper constraint whose printed YAML does not apply before it is mended."
        ),
        seed="004",
        order=("bouncer-csr", "allowed-repos"),
    ),
    Page(
        slug="beyond-the-course",
        title="Beyond the course",
        about=(
            "What the course does not ask, and a cluster does: images that come in where nobody looks, names that only "
            "look right, denials that let in, and answers that are remembered too long."
        ),
        seed=None,
        order=(
            "verdict-matrix",
            "ephemeral-bypass",
            "image-volume-bypass",
            "look-alike-registries",
            "deployment-not-pod",
            "digests-required",
            "cel-trusted-registry",
            "wrong-denial",
            "cache-ttl",
        ),
    ),
)
