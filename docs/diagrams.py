"""Sphinx: draws Mermaid's diagrams while the site is built, into the page, so that reading it needs no network.

mermaidx is Mermaid itself in a small JavaScript engine of its own: neither a browser nor Node.js is needed.
"""

from typing import Any, ClassVar

import mermaidx
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective


class Mermaid(SphinxDirective):
    """A `mermaid` fence becomes SVG."""

    has_content: ClassVar[bool] = True

    def run(self) -> list[nodes.Node]:
        """Draw it; a diagram that Mermaid refuses is a warning of the build, so an error."""
        text = "\n".join(self.content)
        number = self.env.new_serialno("mermaid")
        # Each drawing has names of its own, since two of them may stand on one page.
        drawn = mermaidx.render(text).svg().replace("my-svg", f"mermaid-{number}")
        return [nodes.raw("", f'<figure class="mermaid">{drawn}</figure>', format="html")]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register it."""
    app.add_directive("mermaid", Mermaid)
    return {"parallel_read_safe": True}
