"""The pictures show the screens as they are now."""

import xml.etree.ElementTree as ET

from docs.pictures import FOLDER, PICTURES, stale


def test_pictures_are_current() -> None:
    """Drawn anew on virtual time they come out the same; `python docs/pictures.py` draws them."""
    assert sorted(stale()) == []


def test_pictures_are_whole_and_load_nothing() -> None:
    """They parse, and name no address that a browser would fetch from."""
    for name in PICTURES:
        text = (FOLDER / name).read_text(encoding="utf-8")
        ET.fromstring(text)
        assert not [sign for sign in ("@import", "url(http", "href", "<script") if sign in text]
