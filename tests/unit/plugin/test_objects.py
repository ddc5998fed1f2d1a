"""Namespaces, manifests and probes in the session's lab."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.unit.plugin.conftest import Session


def _requests(session: Session) -> list[str]:
    """The requests, with a placeholder for the names that are made up."""
    return [re.sub(r"(test|probe)-[0-9a-f]{10}", r"\1-NAME", line) for line in session.log if "/api" in line]


def test_a_namespace_is_made_and_deleted_for_each_test(session: Session) -> None:
    session.pytester.makepyfile(
        """
        seen = set()

        def test_one(lab_namespace): seen.add(lab_namespace)

        def test_two(lab_namespace): assert lab_namespace not in seen and len(seen) == 1
        """
    )
    session.run().assert_outcomes(passed=2)
    assert _requests(session) == ["POST /api/v1/namespaces", "DELETE /api/v1/namespaces/test-NAME"] * 2


def test_manifests_are_applied_from_a_file_beside_the_test_from_text_and_as_an_object(session: Session) -> None:
    session.pytester.path.joinpath("maps.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: one}\n---\n"
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: two}}\n"
    )
    session.pytester.makepyfile(
        """
        from pathlib import Path

        def test_apply(lab_apply):
            lab_apply(Path("maps.yaml"))
            lab_apply("{apiVersion: v1, kind: ConfigMap, metadata: {name: three}}")
            lab_apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "four"}})

        def test_next(lab_cluster): pass
        """
    )
    session.run("--rootdir", str(session.pytester.path)).assert_outcomes(passed=2)
    applied = [line for line in _requests(session) if line.startswith("PATCH")]
    assert applied == [
        f"PATCH /api/v1/namespaces/test-NAME/configmaps/{name}" for name in ("one", "two", "three", "four")
    ]
    assert "reset enforced+bouncer" not in session.log


def test_what_was_applied_outside_the_namespace_is_put_back(session: Session) -> None:
    session.pytester.makepyfile(
        """
        def test_apply(lab_apply):
            lab_apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "four"}}, namespace="default")

        def test_next(lab_cluster): pass
        """
    )
    session.run().assert_outcomes(passed=2)
    assert "PATCH /api/v1/namespaces/default/configmaps/four" in session.log
    assert "reset enforced+bouncer" in session.log


def test_what_is_no_manifest_is_told(session: Session) -> None:
    session.pytester.makepyfile(
        """
        from pathlib import Path

        def test_name(lab_apply): lab_apply("maps.yaml")

        def test_empty(lab_apply): lab_apply("---")

        def test_missing(lab_apply): lab_apply(Path("maps.yaml"))
        """
    )
    result = session.run()
    result.assert_outcomes(failed=3)
    for text in (
        "*file name must be a pathlib.Path*",
        "*the manifest holds what is no Kubernetes object: null*",
        "*maps.yaml cannot be read*",
    ):
        result.stdout.fnmatch_lines([text])


MESSAGE = 'pods "podx" is forbidden: image policy webhook backend denied one or more images: quay.io/x is not trusted'
DENIED = {
    "run": {"name": "podx", "image": "quay.io/x"},
    "expect": {"verdict": "denied", "decider": "image-policy-backend", "message": MESSAGE},
}


def test_a_probe_that_gets_its_verdict_passes_and_is_given_back(session: Session) -> None:
    session.pytester.makepyfile(
        f"""
        def test_denied(lab_probe):
            assert lab_probe({DENIED}).observed.deciders == {{"image-policy-backend"}}

        def test_as_text(lab_probe):
            lab_probe('''
            run: {{name: podx, image: docker.io/nginx}}
            expect: {{verdict: allowed}}
            ''')
        """
    )
    session.run().assert_outcomes(passed=2)


def test_a_probe_that_gets_another_verdict_fails_with_both(session: Session) -> None:
    session.pytester.makepyfile(
        """
        def test_allowed(lab_probe):
            lab_probe({"run": {"name": "podx", "image": "quay.io/x"}, "expect": {"verdict": "allowed"}})
        """
    )
    result = session.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "E *kubectl run podx --image=quay.io/x",
            "E *verdict: expected allowed",
            "E *actually denied",
            "E *decider: expected nobody",
            "E *actually image-policy-backend",
        ]
    )


def test_a_probe_for_another_decider_fails_although_the_request_was_denied(session: Session) -> None:
    session.pytester.makepyfile(
        f"""
        def test_it(lab_probe):
            probe = {DENIED}
            probe["expect"]["decider"] = "gatekeeper:pod-trusted-images"
            lab_probe(probe)
        """
    )
    result = session.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["E *decider: expected gatekeeper:pod-trusted-images", "E *actually image-policy-backend"]
    )


def test_a_block_that_is_no_probe_is_told(session: Session) -> None:
    session.pytester.makepyfile("def test_it(lab_probe): lab_probe({'run': {'name': 'x', 'image': 'y'}})")
    result = session.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*InputError: this is no probe: *"])
