"""Sphinx's configuration of the documentation site; `make docs` prepares its source and runs it."""

import mmdr
from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

project = "amago2"
html_title = "AMAGO-2, reproduced"
extensions = ["myst_parser", "sphinx_copybutton"]
root_doc = "index"
include_patterns = ["*.md", "docs/**.md", "api/*.md", "keys/*.md"]
myst_enable_extensions = ["dollarmath"]
myst_fence_as_directive = ["math", "mermaid"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header"]  # measured pages begin with a subsection
html_theme = "furo"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_math_renderer = "mathml"
copybutton_exclude = ".linenos, .gp"
pygments_style = "friendly"
highlight_language = "none"  # of blocks that name none


class Mermaid(SphinxDirective):
    """A Mermaid diagram as an SVG picture, so that no page needs a script from elsewhere."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """The picture, drawn now."""
        svg = mmdr.Diagram("\n".join(self.content)).svg()
        return [nodes.raw("", f'<div class="diagram">{svg}</div>', format="html")]


def render_inline(translator, node: nodes.math) -> None:
    """A formula within a line, as MathML."""
    translator.body.append(tex2mathml(node.astext(), as_block=False))
    raise nodes.SkipNode


def render_block(translator, node: nodes.math_block) -> None:
    """A formula of its own, as MathML."""
    translator.body.append(tex2mathml(node.astext(), as_block=True))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register both."""
    app.add_directive("mermaid", Mermaid)
    app.add_html_math_renderer("mathml", (render_inline, None), (render_block, None))
