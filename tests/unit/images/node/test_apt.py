from __future__ import annotations

from lab.images.node.apt import select_options, select_sources

URI = "http://mirror.example/debian/"


def test_the_release_and_its_updates_are_taken_and_nothing_else() -> None:
    targets = [
        f"bookworm|main|{URI}",
        f"bookworm|contrib|{URI}",
        f"bookworm-updates|main|{URI}",
        f"bookworm-security|main|{URI}",
        f"bookworm-backports|main|{URI}",
        f"trixie|main|{URI}",
        "cloud-sdk-bookworm|main|https://packages.example/apt",
        "nodistro|main|https://node.example",
        f"bookworm|main|{URI}",
    ]

    assert select_sources(targets, "bookworm") == (
        f"deb {URI} bookworm main",
        f"deb {URI} bookworm-updates main",
        f"deb {URI} bookworm-security main",
    )


def test_ubuntu_keeps_some_of_the_packages_in_universe() -> None:
    assert select_sources([f"noble|universe|{URI}", f"noble|multiverse|{URI}"], "noble") == (
        f"deb {URI} noble universe",
    )


def test_without_a_code_name_nothing_is_guessed() -> None:
    assert select_sources([f"|main|{URI}", f"sid|main|{URI}"], "") == ()


def test_how_the_mirror_is_reached_is_taken_over() -> None:
    dump = [
        'Acquire "";',
        'Acquire::http "";',
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::http::Proxy::mirror.example "DIRECT";',
        'Acquire::https::CaInfo "/etc/ssl/own.pem";',
        'Acquire::http::Proxy "";',
        'Acquire::Languages "none";',
    ]

    assert select_options(dump) == (
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::http::Proxy::mirror.example "DIRECT";',
        'Acquire::https::CaInfo "/etc/ssl/own.pem";',
    )
