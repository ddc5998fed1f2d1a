from __future__ import annotations

import pytest

from lab.components import download

SUM = "ab" * 32
OTHER = "cd" * 32


@pytest.mark.parametrize(
    "text",
    [
        SUM,
        f"{SUM}\n",
        f"{SUM.upper()}\n",
        f"{SUM}  tool.tar.gz\n",
        f"{SUM} *tool.tar.gz\n",
        f"{OTHER}  tool.zip\n{SUM}  tool.tar.gz\n",
    ],
)
def test_a_published_checksum_is_read_in_every_form_that_projects_use(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_first_answer", lambda _: text)

    assert download._published_checksum("https://x.example/sums", "tool.tar.gz") == SUM


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html>Please log in</html>",
        SUM[:-1],
        f"{SUM}  other.tar.gz\n",
        f"{SUM}  tool.tar.gz\n{OTHER}  tool.tar.gz\n",
    ],
)
def test_what_is_no_checksum_of_the_file_is_not_taken_for_one(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_first_answer", lambda _: text)

    with pytest.raises(download._UnavailableError, match=r"holds no sha256 of tool\.tar\.gz"):
        download._published_checksum("https://x.example/sums", "tool.tar.gz")
