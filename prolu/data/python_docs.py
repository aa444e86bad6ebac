"""English that every machine has: standard-library documentation, licences and READMEs of installed packages.

Reads source files and metadata only; imports no module that it reads. The text depends on the interpreter and on the
packages installed beside it, not on the process: two processes of one environment read the same.
"""

from __future__ import annotations

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

from prolu.data.prose import distinct_prose

# Folders of the standard library's path that hold other people's packages or test data.
_NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "lib2to3"})
_LICENCE_PREFIXES = ("LICEN", "COPYING", "NOTICE", "AUTHORS")

# Installing this project anew must not change the corpus.
_OWN_PREFIX = "prolu-"


def files() -> list[Path]:
    """Return every file that the corpus is made of, in a fixed order."""
    paths = sysconfig.get_paths()
    library = Path(paths["stdlib"])
    sources = [path for path in library.rglob("*.py") if not _NOT_LIBRARY.intersection(path.relative_to(library).parts)]
    metadata = [
        path
        for packages in {Path(paths["purelib"]), Path(paths["platlib"])}
        for folder in packages.glob("*.dist-info")
        if not folder.name.startswith(_OWN_PREFIX)
        for path in folder.rglob("*")
        if path.is_file() and (path.name == "METADATA" or path.name.upper().startswith(_LICENCE_PREFIXES))
    ]
    return sorted(sources) + sorted(metadata)


def documents() -> list[str]:
    """Return the corpus: one document per module, help topic, licence and README, deduplicated, ordered by content hash.

    The order mixes the kinds of text, so that any prefix of the corpus is a fair sample of it.
    """
    texts = (text for path in files() for text in _texts(path))
    return sorted(distinct_prose(texts), key=lambda text: hashlib.sha256(text.encode()).digest())


def _texts(path: Path) -> Iterator[str]:
    content = path.read_bytes()
    if path.name == "METADATA":
        yield str(message_from_string(content.decode(errors="replace")).get_payload())
    elif path.suffix != ".py":
        yield content.decode(errors="replace")
    else:
        yield from _documentation(content)


def _documentation(source: bytes) -> Iterator[str]:
    """Yield a module's docstrings as one text, and each long string of a top-level dictionary (the topics of `help()`)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of invalid escapes in old modules
            module = ast.parse(source)
    except (SyntaxError, ValueError):
        return  # templates and samples that are not Python of this version
    docstrings = [
        docstring
        for node in ast.walk(module)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and (docstring := ast.get_docstring(node))
    ]
    yield "\n\n".join(docstrings)
    for statement in module.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Dict):
            for value in statement.value.values:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    yield value.value
