"""The built site reads without network, and all that a page needs comes with it."""

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]

LOADED = {
    "script": ("src",),
    "link": ("href",),
    "img": ("src", "srcset"),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "iframe": ("src",),
    "object": ("data",),
    "source": ("src", "srcset"),
    "video": ("src",),
}
"""What a browser fetches by itself, by element; links that a reader follows are another thing."""


class Loads(HTMLParser):
    """The addresses that a page makes the browser fetch, and the text of its scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inner: list[str] = []
        self._within = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take what this element loads."""
        self._within = tag
        given = dict(attrs)
        if tag == "link" and not {"stylesheet", "icon", "preload", "modulepreload"} & set(
            (given.get("rel") or "").split()
        ):
            return
        self.addresses += [value for name in LOADED.get(tag, ()) if (value := given.get(name))]
        self.inner += [value for name in ("style",) if (value := given.get(name))]

    def handle_endtag(self, tag: str) -> None:
        """Leave it."""
        self._within = ""

    def handle_data(self, data: str) -> None:
        """Keep what could load more."""
        if self._within in {"script", "style"}:
            self.inner.append(data)


def loads(page: Path) -> Loads:
    """What a page loads."""
    found = Loads()
    found.feed(page.read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "-b", "html"]
    built = subprocess.run([*command, str(ROOT / "docs"), str(folder)], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder


def test_a_page_loads_nothing_from_elsewhere(site: Path) -> None:
    """No script, style, font, frame or picture has an address on another host."""
    far = [
        f"{page.relative_to(site)}: {address}"
        for page in sorted(site.rglob("*.html"))
        for address in loads(page).addresses
        if urlsplit(address).netloc and urlsplit(address).scheme != "data"
    ]
    assert far == []


def test_scripts_and_styles_load_nothing_from_elsewhere(site: Path) -> None:
    """Neither does what they import or paint with."""
    texts = {f"{page.relative_to(site)}": "\n".join(loads(page).inner) for page in site.rglob("*.html")}
    texts |= {f"{sheet.relative_to(site)}": sheet.read_text(encoding="utf-8") for sheet in site.rglob("*.css")}
    texts |= {f"{picture.relative_to(site)}": picture.read_text(encoding="utf-8") for picture in site.rglob("*.svg")}
    far = [
        (name, line.strip()[:120])
        for name, text in texts.items()
        for line in text.splitlines()
        for sign in ("@import", "url(http", "url('http", 'url("http', "url(//", 'import("http', "fetch(", ' href="http')
        if sign in line
    ]
    assert far == []


def test_what_a_page_loads_is_in_the_site(site: Path) -> None:
    """Every script, style and picture that a page names is there."""
    missing = [
        f"{page.relative_to(site)}: {address}"
        for page in sorted(site.rglob("*.html"))
        for address in loads(page).addresses
        if urlsplit(address).path and not (page.parent / unquote(urlsplit(address).path)).exists()
        if urlsplit(address).scheme != "data"
    ]
    assert missing == []


def test_diagrams_are_drawn(site: Path) -> None:
    """The life of a node and that of the cluster are pictures on the page, with their words in them."""
    page = (site / "reference" / "states.html").read_text(encoding="utf-8")
    assert page.count('<figure class="mermaid"><svg') == 2
    for word in ("draining", "begin_migrating"):
        assert page.count(word) > page.split("<figure")[0].count(word)
    assert "stateDiagram-v2" not in page


def test_a_page_that_loads_from_elsewhere_would_be_noticed(tmp_path: Path) -> None:
    """The reader of pages knows scripts, styles and pictures."""
    page = tmp_path / "page.html"
    page.write_text(
        '<script src="https://a/b.js"></script><img src="//c/d.png"><link rel=stylesheet href="http://e/f.css">'
    )
    assert loads(page).addresses == ["https://a/b.js", "//c/d.png", "http://e/f.css"]
