"""How the documentation is built: `make docs`. Pages of the reference are written out of the code before each build."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

from writing import write_reference

from prolu import __version__

project = "prolu"
author = "the prolu authors"
release = version = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
# A body that goes over several lines within a console session is shown plainly; included files may begin below the first level.
suppress_warnings = ["misc.highlighting_failure", "myst.header"]
exclude_patterns = ["measured", "writing"]
html_theme = "furo"
html_title = f"prolu {__version__}"
html_show_sphinx = False
html_copy_source = False


def setup(app: Sphinx) -> None:
    """Write the reference, which is not in the repository, where Sphinx will look for it."""
    app.connect("builder-inited", lambda building: write_reference(Path(building.srcdir) / "reference"))
