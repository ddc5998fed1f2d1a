"""The part of kubectl's JSONPath that checks use."""

from __future__ import annotations

import pytest

from lab.scenario import jsonpath

POD = {
    "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
    "spec": {"containers": [{"name": "a", "image": "nginx"}, {"name": "b", "image": "httpd"}]},
    "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}]},
}


@pytest.mark.parametrize(
    ("path", "values"),
    [
        (".spec.containers[*].image", ("nginx", "httpd")),
        ("{.spec.containers[*].image}", ("nginx", "httpd")),
        (".spec.containers[0].image", ("nginx",)),
        (".spec.containers[-1].image", ("httpd",)),
        (".spec.containers[2].image", ()),
        (".spec.nothing.image", ()),
        (".metadata.labels['app.kubernetes.io/name']", ("web",)),
        (r".metadata.labels.app\.kubernetes\.io/name", ("web",)),
        ('.status.conditions[?(@.type=="Ready")].status', ("True",)),
        ("[?(@.type=='Ready')].status", ()),
        ('.status.conditions[?(@.type!="Ready")].status', ("False",)),
        (".metadata.labels.*", ("web",)),
    ],
)
def test_values_at_a_path(path: str, values: tuple[str, ...]) -> None:
    assert jsonpath.values(path, POD) == values


@pytest.mark.parametrize("path", ["spec", ".spec[", ".spec..x", ".a b", ".a[?(@.b>1)]", ""])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="JSONPath"):
        jsonpath.parse(path)
