"""YAML in which every scalar is text, and which remembers its lines.

PyYAML would make ``0123`` an octal number, ``1:30`` ninety and ``no`` a boolean, in passwords too; here the
fields decide what a text means. What it says about broken YAML may quote a secret, so that is blotted out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import yaml

_DEEPEST = 20  # an anchor may contain itself
_QUOTED = re.compile(r"'[^\n]{2,}'")

Place = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """What a text says.

    Attributes:
        value: None if it is blank or broken; keys are in kebab case; blank scalars are left out.
        lines: where each value begins, by its path, counted from 1.
        mistakes: text and line of each.
    """

    value: object = field(default=None, repr=False)
    lines: dict[Place, int] = field(default_factory=dict)
    mistakes: list[tuple[str, int]] = field(default_factory=list)


def read_yaml(text: str) -> Document:
    """Read one YAML document (JSON is YAML, too). Never raises."""
    document = Document()
    try:
        root = yaml.compose(text, yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        problem = _QUOTED.sub("'...'", error.problem or "")
        document.mistakes.append((f"this is not valid YAML: {problem}", line))
    except yaml.YAMLError:
        document.mistakes.append(("this is not valid YAML", 1))
    except RecursionError:
        document.mistakes.append(("too deeply nested", 1))
    else:
        if root is not None:
            document.value = _value(root, (), document)
    return document


def _value(node: yaml.Node, place: Place, document: Document) -> object:
    line = node.start_mark.line + 1
    document.lines.setdefault(place, line)
    if len(place) > _DEEPEST:
        document.mistakes.append(("too deeply nested", line))
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, place, document)
    if isinstance(node, yaml.SequenceNode):
        items = (_value(item, (*place, index), document) for index, item in enumerate(node.value))
        return ["" if item is None else item for item in items]
    return _scalar(node) if isinstance(node, yaml.ScalarNode) else None


def _mapping(node: yaml.MappingNode, place: Place, document: Document) -> dict[str, object]:
    values: dict[str, object] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.mistakes.append(("a key must be text", line))
            continue
        key = key_node.value.replace("_", "-")
        if (*place, key) in document.lines:
            document.mistakes.append((f"{key} is set twice", line))
        document.lines[(*place, key)] = line
        value = _value(value_node, (*place, key), document)
        if value is not None:
            values[key] = value
    return values


def _scalar(node: yaml.ScalarNode) -> str | None:
    text = str(node.value)
    blank = not text or (node.style is None and text in ("null", "~"))
    return None if blank else text
