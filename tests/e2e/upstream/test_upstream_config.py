"""TestNewFromConfig and TestConfigNormalization, live: which files an API server starts with, and what it does then."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.e2e.conftest import Eventually
    from tests.e2e.upstream.conftest import Ask, Plugin

pytestmark = [
    pytest.mark.about_embedded("the backend that is asked is a program of this machine on the node"),
    pytest.mark.thorough,
    pytest.mark.lab_changes,
    pytest.mark.lab_state("any"),
    pytest.mark.xdist_group("upstream-config"),
]

DENIED = "image policy webhook backend denied one or more images: not allowed"
BAD_PATH = "a bad certificate path"
NO_CONFIGURATION = (
    "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable"
)

SINGLE = "a single cluster and single user"
NO_CONTEXT = "multiple clusters with no context"
WITH_CONTEXT = "multiple clusters with a context"
OF_THE_BAD = "cluster with bad certificate path specified"
REFUSED_FORMS = {
    SINGLE: NO_CONFIGURATION,
    NO_CONTEXT: NO_CONFIGURATION,
    OF_THE_BAD: (
        f"invalid configuration: unable to read certificate-authority /etc/kubernetes/upstream/{BAD_PATH} for bad "
        f"due to open /etc/kubernetes/upstream/{BAD_PATH}: no such file or directory"
    ),
}
# Upstream sets all three at once, and sees the first error. Its values below the ranges overflow in fact; 0 and -1 are
# no such values, because they stand for the default and for nothing at all.
REFUSED_VALUES = {
    "config below normal ranges, error: allowTTL": ("allowTTL", -2, "1s and 30m0s, got -2s"),
    "config below normal ranges, error: denyTTL": ("denyTTL", -2, "1s and 30m0s, got -2s"),
    "config below normal ranges, error: retryBackoff": ("retryBackoff", -2, "1ns and 5m0s, got -2ms"),
    "config above normal ranges, error: allowTTL": ("allowTTL", 1801, "1s and 30m0s, got 30m1s"),
    "config above normal ranges, error: denyTTL": ("denyTTL", 1801, "1s and 30m0s, got 30m1s"),
    "config above normal ranges, error: retryBackoff": ("retryBackoff", 300_001, "1ns and 5m0s, got 5m0.001s"),
}


def _forms(good: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Upstream's kubeconfigs, made of a good one."""
    single = {key: value for key, value in good.items() if key not in ("contexts", "current-context")}
    bad = copy.deepcopy(good["clusters"][0])
    bad["name"] = "bad"
    bad["cluster"]["certificate-authority"] = BAD_PATH
    clusters = [bad, *good["clusters"]]
    of_the_bad = copy.deepcopy({**good, "clusters": clusters})
    of_the_bad["contexts"][0]["context"]["cluster"] = "bad"
    return {
        SINGLE: single,
        NO_CONTEXT: {**single, "clusters": clusters},
        WITH_CONTEXT: {**good, "clusters": clusters},
        OF_THE_BAD: of_the_bad,
    }


@pytest.fixture(scope="class")
def errors(plugin: Plugin) -> dict[str, str]:
    forms = _forms(plugin.kubeconfig())
    candidates: dict[str, dict[str, Any]] = {case: {"kubeconfig": forms[case]} for case in REFUSED_FORMS}
    return plugin.errors_of(candidates | {case: {key: value} for case, (key, value, _) in REFUSED_VALUES.items()})


class TestRefused:
    """The API server does not start; all of them are started together."""

    @pytest.mark.parametrize("case", REFUSED_FORMS)
    def test_new_from_config(self, errors: dict[str, str], case: str) -> None:
        assert errors[case] == _could_not_init(REFUSED_FORMS[case])

    @pytest.mark.parametrize("case", REFUSED_VALUES)
    def test_config_normalization(self, errors: dict[str, str], case: str) -> None:
        _, _, text = REFUSED_VALUES[case]
        assert errors[case] == _could_not_init(f"valid value is between {text}")


@pytest.fixture(scope="class")
def _disabled(plugin: Plugin) -> None:
    kubeconfig = _forms(plugin.kubeconfig())[WITH_CONTEXT]
    plugin.configure(kubeconfig=kubeconfig, allowTTL=-1, denyTTL=-1, retryBackoff=-1)


@pytest.mark.usefixtures("_disabled")
class TestDisabled:
    """The API server starts with a choice of clusters, and with everything switched off that can be."""

    def test_multiple_clusters_with_a_context(self, plugin: Plugin, ask: Ask) -> None:
        plugin.backend.behave()
        ask.allowed("good")
        assert plugin.backend.images == [["good"]]

    def test_config_wants_disabled_values(self, plugin: Plugin, ask: Ask) -> None:
        assert _told(plugin, "disabled") == {"backoff", "allow cache", "deny cache"}
        plugin.backend.behave()
        for _ in range(2):
            ask.allowed("good")
            ask.denied("bad", message=DENIED)
        assert plugin.backend.images == [["good"], ["bad"]] * 2
        plugin.backend.behave(statuses=(500,))
        message = 'an error on the server ("HTTP Error") has prevented the request from succeeding'
        ask.failed("good", message=f'pods "asked" is forbidden: {message}')
        tries = [review["at"] for review in plugin.backend.reviews]
        assert len(tries) == 5
        # With the default pause they take 500 ms * (1 + 1.5 + 1.5**2 + 1.5**3) at least.
        assert tries[-1] - tries[0] < 4


def test_config_wants_default_values(plugin: Plugin, ask: Ask) -> None:
    plugin.configure(allowTTL=0, denyTTL=0, retryBackoff=0)
    assert _told(plugin, "using default value") == {"backoff", "allow cache", "deny cache"}
    _both_are_cached(plugin, ask)
    plugin.backend.behave(statuses=(500, 200))
    ask.allowed("retried")
    first, second = plugin.backend.reviews
    assert second["at"] - first["at"] >= 0.5


def test_config_within_normal_ranges(plugin: Plugin, ask: Ask) -> None:
    plugin.configure(allowTTL=900, denyTTL=900, retryBackoff=150_000)
    _both_are_cached(plugin, ask)


def test_config_within_normal_ranges_for_max_values(plugin: Plugin, ask: Ask) -> None:
    plugin.configure(allowTTL=1800, denyTTL=1800, retryBackoff=300_000)
    _both_are_cached(plugin, ask)


def test_config_within_normal_ranges_for_min_values(plugin: Plugin, ask: Ask, eventually: Eventually) -> None:
    plugin.configure(allowTTL=1, denyTTL=1, retryBackoff=1)
    plugin.backend.behave()

    def both_were_asked_twice() -> bool:
        ask.allowed("good")
        ask.denied("bad", message=DENIED)
        return all(plugin.backend.images.count([image]) >= 2 for image in ("good", "bad"))

    eventually(both_were_asked_twice)
    for image in ("good", "bad"):
        reviews = [review for review in plugin.backend.reviews if review["spec"]["containers"] == [{"image": image}]]
        assert reviews[1]["at"] - reviews[0]["at"] >= 1
    plugin.backend.behave(statuses=(500, 200))
    ask.allowed("retried")
    assert plugin.backend.images == [["retried"]] * 2


def _both_are_cached(plugin: Plugin, ask: Ask) -> None:
    plugin.backend.behave()
    for _ in range(2):
        ask.allowed("good")
        ask.denied("bad", message=DENIED)
    assert plugin.backend.images == [["good"], ["bad"]]


def _could_not_init(text: str) -> str:
    return f'failed to apply admission: couldn\'t init admission plugin "ImagePolicyWebhook": {text}'


def _told(plugin: Plugin, what: str) -> set[str]:
    """The settings of which the API server told this when it started."""
    lines = [line.partition("image policy webhook ")[2] for line in plugin.log.splitlines()]
    return {line.removesuffix(f" {what}") for line in lines if line.endswith(f" {what}")}
