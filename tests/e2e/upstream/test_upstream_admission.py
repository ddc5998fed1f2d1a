"""TestTLSConfig, TestWebhookCache, TestContainerCombinations, TestDefaultAllow and both tests of annotations, live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.e2e.conftest import Node
    from tests.e2e.upstream.conftest import Ask, Plugin

pytestmark = [
    pytest.mark.about_embedded("the backend that is asked is a program of this machine on the node"),
    pytest.mark.thorough,
    pytest.mark.lab_changes,
    pytest.mark.lab_state("any"),
    pytest.mark.xdist_group("upstream-admission"),
]

CLIENT = "kube-apiserver-admission"
POST = 'pods "asked" is forbidden: Post "https://127.0.0.1:20000/review?timeout=30s": '
DENIED = "image policy webhook backend denied one or more images: not allowed"
SERVER_ERROR = (
    'pods "asked" is forbidden: an error on the server ("HTTP Error") has prevented the request from succeeding'
)


@pytest.fixture(scope="class")
def _cached(plugin: Plugin) -> None:
    plugin.configure(allowTTL=600, denyTTL=600)


@pytest.mark.usefixtures("_cached")
class TestCached:
    """Answers are kept for 10 min, and there is no pause between two tries."""

    def _fails(self, plugin: Plugin, ask: Ask, image: str, *, status: int, message: str, tries: int) -> None:
        plugin.backend.behave("allow", statuses=(status,))
        ask.failed(image, message=message)
        assert plugin.backend.images == [[image]] * tries

    def _is_allowed(self, plugin: Plugin, ask: Ask, image: str, *, status: int, tries: int) -> None:
        plugin.backend.behave("allow", statuses=(status,))
        ask.allowed(image)
        assert plugin.backend.images == [[image]] * tries

    def test_error_responses_are_not_cached_but_successful_ones_are(self, plugin: Plugin, ask: Ask) -> None:
        self._fails(plugin, ask, "test", status=500, message=SERVER_ERROR, tries=5)
        not_found = 'pods "asked" is forbidden: the server could not find the requested resource'
        self._fails(plugin, ask, "test", status=404, message=not_found, tries=1)
        self._fails(plugin, ask, "test", status=403, message="HTTP Error", tries=1)
        no_credentials = 'pods "asked" is forbidden: the server has asked for the client to provide credentials'
        self._fails(plugin, ask, "test", status=401, message=no_credentials, tries=1)
        self._is_allowed(plugin, ask, "test", status=200, tries=1)
        self._is_allowed(plugin, ask, "test", status=500, tries=0)

    def test_for_a_different_request_the_webhook_is_called_again(self, plugin: Plugin, ask: Ask) -> None:
        self._fails(plugin, ask, "test2", status=500, message=SERVER_ERROR, tries=5)
        self._is_allowed(plugin, ask, "test2", status=200, tries=1)
        self._is_allowed(plugin, ask, "test2", status=500, tries=0)

    def test_another_pod_with_the_same_images_is_no_different_request(self, plugin: Plugin, ask: Ask) -> None:
        self._is_allowed(plugin, ask, "test3", status=200, tries=1)
        plugin.backend.behave("deny")
        ask.probe({"run": {"name": "other", "image": "test3"}}, {"verdict": "allowed"})
        assert plugin.backend.reviews == []
        ask.denied("test3", "test3", message=DENIED)
        assert plugin.backend.images == [["test3", "test3"]]


COMBINATIONS = {
    "Single container allowed": (("good",), ()),
    "Single container denied": (("bad",), ()),
    "One good container, one bad": (("bad", "good"), ()),
    "Multiple good containers": (("good", "good"), ()),
    "Multiple bad containers": (("bad", "bad"), ()),
    "Good container, bad init container": (("good",), ("bad",)),
    "Bad container, good init container": (("bad",), ("good",)),
    "Good container, good init container": (("good",), ("good",)),
}
# Upstream has the empty key among them, which the API server refuses.
FILTERED = {
    "all annotations filtered out": ({"test": "test", "another": "annotation"}, {}),
    "image-policy annotations allowed": (
        {
            "my.image-policy.k8s.io/test": "test",
            "other.image-policy.k8s.io/test2": "annotation",
            "test": "test",
            "another": "another",
        },
        {"my.image-policy.k8s.io/test": "test", "other.image-policy.k8s.io/test2": "annotation"},
    ),
}
RETURNED: dict[str, tuple[dict[str, str] | None, dict[str, str]]] = {
    "Add valid response annotations": (
        {"foo-test": "true", "bar-test": "false"},
        {"foo-test": "true", "bar-test": "false"},
    ),
    "No returned annotations are ignored": ({}, {}),
    "Handles nil annotations": (None, {}),
}


@pytest.fixture(scope="class")
def _closed(plugin: Plugin) -> None:
    plugin.configure(defaultAllow=False)


@pytest.mark.usefixtures("_closed")
class TestClosed:
    """Nothing is cached, each side has all that mutual TLS needs, and without an answer nothing gets in."""

    @pytest.fixture(autouse=True)
    def _by_image(self, _closed: None, plugin: Plugin) -> None:
        plugin.backend.behave()

    def test_tls_setup_between_client_and_server(self, plugin: Plugin, ask: Ask) -> None:
        _allows_all_then_denies_all(plugin, ask, tls="mutual", client=CLIENT)

    def test_server_does_not_require_client_auth_client_provides_it(self, plugin: Plugin, ask: Ask) -> None:
        _allows_all_then_denies_all(plugin, ask, tls="optional", client=CLIENT)

    def test_server_does_not_trust_client(self, plugin: Plugin, ask: Ask) -> None:
        plugin.backend.behave("allow", tls="distrusts-client")
        ask.failed("good", message=f"{POST}remote error: tls: unknown certificate authority")
        assert plugin.backend.reviews == []

    def test_server_is_using_insecure_connection(self, plugin: Plugin, ask: Ask) -> None:
        plugin.backend.behave("allow", tls="plain")
        ask.failed("good", message=f"{POST}http: server gave HTTP response to HTTPS client")
        assert plugin.backend.reviews == []

    @pytest.mark.parametrize("case", COMBINATIONS)
    def test_container_combinations(self, plugin: Plugin, ask: Ask, case: str) -> None:
        images, init = COMBINATIONS[case]
        if "bad" in images + init:
            ask.denied(*images, init=init, message=DENIED)
        else:
            ask.allowed(*images, init=init)
        assert plugin.backend.images == [[*images, *init]]

    def test_bad_ephemeral_container_when_updating_ephemeralcontainers_subresource(
        self, plugin: Plugin, ask: Ask
    ) -> None:
        """Good container, good init container."""
        self._running(plugin, ask, ask.pod("good", init=("good",), name="ephemeral-bad"))
        message = f'pods "ephemeral-bad" is forbidden: {DENIED}'
        denial = {"verdict": "denied", "decider": "image-policy-backend", "message": message}
        ask.probe({"debug": {"pod": "ephemeral-bad", "image": "bad"}}, denial)
        assert plugin.backend.images == [["bad"]]

    def test_bad_ephemeral_container_when_updating_no_subresource(self, plugin: Plugin, ask: Ask) -> None:
        """Good container, good init container: only these are sent."""
        debug = {"debug": {"pod": "has-ephemeral", "image": "bad"}}
        self._running(plugin, ask, ask.pod("good", init=("good",), name="has-ephemeral"), debug)
        patch = {
            "apiVersion": "v1", "kind": "Pod", "name": "has-ephemeral", "body": {"metadata": {"labels": {"new": "yes"}}}
        }  # fmt: skip
        ask.probe({"patch": patch}, {"verdict": "allowed"})
        assert plugin.backend.images == [["good", "good"]]

    def test_bad_container_good_ephemeral_container_when_updating_ephemeralcontainers(
        self, plugin: Plugin, ask: Ask
    ) -> None:
        """Only the ephemeral containers are sent."""
        self._running(plugin, ask, ask.pod("bad", name="container-bad"))
        ask.probe({"debug": {"pod": "container-bad", "image": "good"}}, {"verdict": "allowed"})
        assert plugin.backend.images == [["good"]]

    def test_good_ephemeral_container(self, plugin: Plugin, ask: Ask) -> None:
        self._running(plugin, ask, ask.pod("good", name="ephemeral-good"))
        ask.probe({"debug": {"pod": "ephemeral-good", "image": "good"}}, {"verdict": "allowed"})
        assert plugin.backend.images == [["good"]]

    def _running(self, plugin: Plugin, ask: Ask, pod: Mapping[str, Any], *debug: Mapping[str, Any]) -> None:
        """Have a Pod that got in while everything was let in, with further containers."""
        plugin.backend.behave("allow")
        plugin.apply(pod)
        for request in debug:
            ask.probe(request, {"verdict": "allowed"}, dry_run=False)
        plugin.backend.behave()

    @pytest.mark.parametrize(
        "image",
        [
            pytest.param("good", id="DefaultAllow = false, backend unreachable, good image"),
            pytest.param("bad", id="DefaultAllow = false, backend unreachable, bad image"),
        ],
    )
    def test_default_allow(self, plugin: Plugin, ask: Ask, image: str) -> None:
        plugin.backend.behave(statuses=(500,))
        assert ask.failed(image, message=SERVER_ERROR) == {}

    @pytest.mark.parametrize("case", FILTERED)
    def test_annotation_filtering(self, plugin: Plugin, ask: Ask, case: str) -> None:
        given, expected = FILTERED[case]
        ask.allowed("good", annotations=given)
        assert [review["spec"].get("annotations", {}) for review in plugin.backend.reviews] == [expected]

    @pytest.mark.parametrize("case", RETURNED)
    def test_returned_annotation_add(self, plugin: Plugin, ask: Ask, case: str) -> None:
        returned, expected = RETURNED[case]
        plugin.backend.behave(audit_annotations=returned)
        assert ask.allowed("good") == expected

    def test_returned_annotation_add_adds_annotations_for_bad_request(self, plugin: Plugin, ask: Ask) -> None:
        plugin.backend.behave(audit_annotations={"foo-test": "false"})
        assert ask.denied("bad", message=DENIED) == {"foo-test": "false"}

    def test_a_denial_without_a_reason(self, plugin: Plugin, ask: Ask) -> None:
        plugin.backend.behave(reason="")
        ask.denied("bad", message="one or more images rejected by webhook backend")


@pytest.fixture(scope="class")
def _open(plugin: Plugin) -> None:
    plugin.configure(defaultAllow=True)


@pytest.mark.usefixtures("_open")
class TestOpen:
    """Without an answer everything gets in."""

    @pytest.mark.parametrize(
        "image",
        [
            pytest.param("bad", id="DefaultAllow = true, backend unreachable, bad image"),
            pytest.param("good", id="DefaultAllow = true, backend unreachable, good image"),
        ],
    )
    def test_default_allow(self, plugin: Plugin, ask: Ask, image: str) -> None:
        plugin.backend.behave(statuses=(500,))
        assert ask.allowed(image, failed_open=True) == {"failed-open": "true"}

    def test_the_stored_pod_does_not_tell_that_it_failed_open(self, plugin: Plugin, node: Node) -> None:
        plugin.backend.behave(statuses=(500,))
        node.kubectl("run", "let-in", "--image=bad")
        assert "alpha.image-policy.k8s.io/failed-open" not in node.get("pod", "let-in")["metadata"].get(
            "annotations", {}
        )

    def test_an_answer_still_counts(self, plugin: Plugin, ask: Ask) -> None:
        plugin.backend.behave()
        ask.denied("bad", message=DENIED)


@pytest.fixture(scope="class")
def _without_client_certificate(plugin: Plugin) -> None:
    plugin.configure(kubeconfig=plugin.kubeconfig(client=False))


@pytest.mark.usefixtures("_without_client_certificate")
class TestWithoutClientCertificate:
    def test_server_does_not_require_client_auth(self, plugin: Plugin, ask: Ask) -> None:
        _allows_all_then_denies_all(plugin, ask, tls="optional", client=None)

    def test_server_requires_client_auth(self, plugin: Plugin, ask: Ask) -> None:
        plugin.backend.behave("allow", tls="mutual")
        ask.failed("good", message=f"{POST}remote error: tls: certificate required")
        assert plugin.backend.reviews == []


def test_client_does_not_trust_server(plugin: Plugin, ask: Ask) -> None:
    plugin.configure(kubeconfig=plugin.kubeconfig(authority=False))
    plugin.backend.behave("allow")
    ask.failed(
        "good",
        message=f"{POST}tls: failed to verify certificate: x509: certificate signed by unknown authority",
    )
    assert plugin.backend.reviews == []


def test_a_webhook_at_an_http_url_is_asked_in_the_clear(plugin: Plugin, ask: Ask) -> None:
    """Upstream says that insecure configurations are not supported; the API server takes one all the same."""
    kubeconfig = plugin.kubeconfig()
    kubeconfig["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:20000/review"
    plugin.configure(kubeconfig=kubeconfig)
    _allows_all_then_denies_all(plugin, ask, tls="plain", client=None)


def _allows_all_then_denies_all(plugin: Plugin, ask: Ask, *, tls: str, client: str | None) -> None:
    plugin.backend.behave("allow", tls=tls)
    ask.allowed("bad")
    assert [review["client"] for review in plugin.backend.reviews] == [client]
    plugin.backend.behave("deny", tls=tls)
    ask.denied("good", message=DENIED)
    assert [review["client"] for review in plugin.backend.reviews] == [client]
