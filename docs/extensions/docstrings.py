"""What the docstrings of captum_uq mean by their marks, said to mkdocstrings.

``Example:`` is a section of examples, and a name in single backticks, or in a role such as ``:func:`name` ``, is a
reference to what has that name where the docstring stands. A class made by ``__new__`` shows its
parameters as others do.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^([ ]*)Example:$", re.MULTILINE)
_NAME = re.compile(r"(?::(?:func|meth|class|mod|attr):)?(?<!`)`([A-Za-z_][\w.]*)`(?!`)")


class Docstrings(griffe.Extension):
    """Rewrites every docstring of the package before it is parsed."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        """Called with the package once all of it is read."""
        self._visit(pkg, set())

    def _visit(self, part: griffe.Object, seen: set[str]) -> None:
        if part.path in seen:
            return
        seen.add(part.path)
        if part.docstring is not None:
            text = _EXAMPLE.sub(r"\1Examples:", part.docstring.value)
            part.docstring.value = _NAME.sub(lambda match: _reference(part, match[1]), text)
        if part.is_class and "__new__" in part.members and "__init__" not in part.members:
            made = part.members.pop("__new__")
            made.name, made.docstring = "__init__", None
            part.set_member("__init__", made)
        for member in part.members.values():
            if not member.is_alias:
                self._visit(member, seen)


def _reference(part: griffe.Object, name: str) -> str:
    """A name as a reference, where it has one of our own; else as code."""
    path = _resolved(part, name)
    if path is None or not path.startswith("captum_uq"):
        return f"`{name}`"
    return f'<autoref identifier="{path}" optional><code>{name}</code></autoref>'


def _resolved(part: griffe.Object, name: str) -> str | None:
    if name.startswith("captum_uq"):
        return name
    if name in part.members:
        return f"{part.path}.{name}"
    try:
        return part.resolve(name)
    except griffe.NameResolutionError:
        return None
