"""YAML as a person means it: takes a file, gives plain data; what two readers of YAML would read differently is refused.

PyYAML keeps the last of two equal keys and reads 0040 as 32 and 1:30 as 90 (YAML 1.1); DVC's reader refuses the first and reads
40 and text (YAML 1.2). Anchors, aliases and merge keys (<<) work. Nothing but plain data is ever constructed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from bayes_sgd.core.errors import UserError

_OCTAL = re.compile(r"[-+]?0[0-9_]+")


class _Ambiguous(yaml.YAMLError):
    """Well-formed YAML that not all readers agree on."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without its surprises."""

    def compose_mapping_node(self, anchor: dict[Any, yaml.Node]) -> yaml.MappingNode:
        """The mapping as it is written; merge keys are resolved later, so that an explicit key may override a merged one."""
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            name, line = (key.tag, key.value), key.start_mark.line + 1
            if name in lines:
                raise _Ambiguous(f"key {key.value!r} stands twice (lines {lines[name]} and {line})")
            lines[name] = line
        return node

    def number(self, node: yaml.ScalarNode) -> int | float:
        """A number, unless readers of YAML 1.1 and 1.2 take it for different ones."""
        text, line = self.construct_scalar(node), node.start_mark.line + 1
        is_whole = node.tag.endswith(":int")
        value = self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)
        if is_whole and _OCTAL.fullmatch(text):
            raise _Ambiguous(f"line {line}: {text} is {value} to some readers (octal); write it without the 0, or quote a text")
        if ":" in text:
            raise _Ambiguous(f"line {line}: {text} is {value:g} to some readers (base 60); write the number, or quote a text")
        return value


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


def read_yaml(path: Path) -> Any:
    """Read a YAML file (JSON is YAML too) as plain data.

    Raises:
        UserError: no such file, no YAML, a key that stands twice in one mapping, or a number that readers
            of YAML 1.1 and 1.2 read differently.
    """
    try:
        # a safe loader: no object of any other type is made
        return _plain_data(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file") from None
    except _Ambiguous as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError, ValueError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from None


def _plain_data(text: str) -> Any:
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
