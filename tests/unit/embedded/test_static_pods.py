from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from lab.cluster.embedded.static_pods import ManifestDirectory, StaticPod, StaticPodQueue, parse_manifest

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = """
apiVersion: v1
kind: Pod
metadata:
  name: kube-apiserver
  namespace: kube-system
spec:
  containers:
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.37.0
    command: [kube-apiserver, --v={v}]
"""


def pod(v: int, file: str = "kube-apiserver.yaml") -> StaticPod:
    return parse_manifest(MANIFEST.format(v=v), file=file, node_name="node")


def loaded(directory: ManifestDirectory) -> list[StaticPod] | None:
    """Poll until a change has settled, as the supervisor does."""
    directory.poll()
    return directory.poll()


class TestManifest:
    def test_gets_the_nodes_name_and_the_annotations_of_a_kubelet(self) -> None:
        read = pod(1)
        assert read.pod["metadata"]["name"] == "kube-apiserver-node"
        assert read.pod["spec"]["nodeName"] == "node"
        assert read.pod["metadata"]["annotations"] == {
            "kubernetes.io/config.hash": read.uid,
            "kubernetes.io/config.source": "file",
        }
        assert read.full_name == "kube-apiserver-node_kube-system"
        assert read.component == "kube-apiserver"

    def test_of_the_same_content_and_file_is_the_same_pod(self) -> None:
        assert pod(1).uid == pod(1).uid

    def test_of_another_content_or_file_is_another_pod_of_the_same_name(self) -> None:
        assert len({pod(1).uid, pod(2).uid, pod(1, "copy.bak").uid}) == 3
        assert pod(1).full_name == pod(2, "copy.bak").full_name

    @pytest.mark.parametrize(
        ("text", "why"),
        [
            ("kind: Deployment\napiVersion: apps/v1", "not a Pod"),
            ("just text", "not a Pod"),
            ("apiVersion: v1\nkind: Pod\nmetadata: {name: x}", "at least one container"),
            ("apiVersion: v1\nkind: Pod\nspec: {containers: [{name: a}]}", "needs a name"),
        ],
    )
    def test_that_is_no_pod_is_refused(self, text: str, why: str) -> None:
        with pytest.raises(ValueError, match=why):
            parse_manifest(text, file="x.yaml", node_name="node")


class TestDirectory:
    def test_reads_every_file_but_dot_files_whatever_its_ending(self, tmp_path: Path) -> None:
        for name in ("a.yaml", "b.bak", "c~", ".hidden.yaml"):
            (tmp_path / name).write_text(MANIFEST.format(v=1))
        (tmp_path / "directory").mkdir()
        pods = loaded(ManifestDirectory(path=tmp_path, node_name="node"))
        assert pods is not None
        assert [one.file for one in pods] == ["a.yaml", "b.bak", "c~"]

    def test_says_nothing_until_a_change_has_settled(self, tmp_path: Path) -> None:
        directory = ManifestDirectory(path=tmp_path, node_name="node")
        path = tmp_path / "a.yaml"
        path.write_text("half")
        assert directory.poll() is None, "just seen"
        path.write_text(MANIFEST.format(v=1))
        assert directory.poll() is None, "still being written"
        assert not directory.settled
        assert [one.file for one in directory.poll() or []] == ["a.yaml"]
        assert directory.settled
        assert directory.poll() is None, "nothing new"

    def test_notices_a_file_that_was_replaced_with_the_same_size_and_time(self, tmp_path: Path) -> None:
        path = tmp_path / "a.yaml"
        path.write_text(MANIFEST.format(v=1))
        before = path.stat()
        directory = ManifestDirectory(path=tmp_path, node_name="node")
        loaded(directory)
        other = tmp_path / ".new"
        other.write_text(MANIFEST.format(v=2))
        os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
        other.replace(path)
        pods = loaded(directory)
        assert pods is not None
        assert pods[0].uid == pod(2, "a.yaml").uid

    def test_leaves_out_a_file_that_is_no_manifest_and_says_why(self, tmp_path: Path) -> None:
        (tmp_path / "good.yaml").write_text(MANIFEST.format(v=1))
        (tmp_path / "bad.yaml").write_text("spec: [")
        directory = ManifestDirectory(path=tmp_path, node_name="node")
        assert [one.file for one in loaded(directory) or []] == ["good.yaml"]
        assert "expected" in directory.problems["bad.yaml"]
        (tmp_path / "bad.yaml").unlink()
        loaded(directory)
        assert directory.problems == {}


class TestQueue:
    def test_starts_what_is_there_once(self) -> None:
        queue = StaticPodQueue()
        one = pod(1)
        assert queue.update([one]) == []
        assert queue.startable() == [one]
        assert queue.update([one]) == []
        assert queue.startable() == []

    def test_ends_an_edited_pod_before_its_new_version_starts(self) -> None:
        queue = StaticPodQueue()
        old, new = pod(1), pod(2)
        queue.update([old])
        queue.startable()
        assert queue.update([new]) == [old]
        assert queue.startable() == [], "the old one has not ended"
        queue.ended(old)
        assert queue.startable() == [new]

    def test_a_copy_waits_and_takes_over_when_an_edit_ends_the_first(self) -> None:
        """The trap of a .bak in the manifests directory: the old configuration comes back."""
        queue = StaticPodQueue()
        first, copy, edited = pod(1), pod(1, "kube-apiserver.yaml.bak"), pod(2)
        queue.update([first, copy])
        assert queue.startable() == [first]
        assert queue.waiting() == [copy]
        assert queue.update([edited, copy]) == [first]
        queue.ended(first)
        assert queue.startable() == [copy]
        assert queue.waiting() == [edited]

    def test_removing_the_copy_gives_the_edited_one_its_turn(self) -> None:
        queue = StaticPodQueue()
        first, copy, edited = pod(1), pod(1, "kube-apiserver.yaml.bak"), pod(2)
        for pods in ([first, copy], [edited, copy]):
            queue.update(pods)
            queue.startable()
        queue.ended(first)
        queue.startable()
        assert queue.update([edited]) == [copy]
        queue.ended(copy)
        assert queue.startable() == [edited]

    def test_a_version_that_is_edited_away_while_it_waits_never_starts(self) -> None:
        queue = StaticPodQueue()
        first, second, third = pod(1), pod(2), pod(3)
        queue.update([first])
        queue.startable()
        queue.update([second])
        queue.update([third])
        queue.ended(first)
        assert queue.startable() == [third]
