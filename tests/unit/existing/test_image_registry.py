"""The place in a registry that an option names."""

from __future__ import annotations

import pytest

from lab.cluster.existing.image_registry import ImageRegistry
from lab.errors import InputError


@pytest.mark.parametrize(
    ("text", "place", "url"),
    [
        ("registry.example", "registry.example/", "https://registry.example/v2/a"),
        ("registry.example:5000/lab/", "registry.example:5000/lab/", "https://registry.example:5000/v2/a"),
        ("http://10.1.2.3:5000/a/b", "10.1.2.3:5000/a/b/", "http://10.1.2.3:5000/v2/a"),
        ("localhost:5001", "localhost:5001/", "http://localhost:5001/v2/a"),
        ("127.0.0.1:5001/lab", "127.0.0.1:5001/lab/", "http://127.0.0.1:5001/v2/a"),
        ("https://localhost:5001", "localhost:5001/", "https://localhost:5001/v2/a"),
    ],
)
def test_it_says_what_names_begin_with_and_where_to_push(text: str, place: str, url: str) -> None:
    registry = ImageRegistry.named(text)
    assert registry.place == place
    assert registry.endpoint.url("a") == url
    assert registry.endpoint.prefix == place.partition("/")[2]


@pytest.mark.parametrize("text", ["", "lab", "a/b", "registry.example:x", "registry.example/UPPER", "ftp://a.b/c"])
def test_what_is_no_place_is_bad_input(text: str) -> None:
    with pytest.raises(InputError) as raised:
        ImageRegistry.named(text)
    assert raised.value.code == "image-registry-invalid"
