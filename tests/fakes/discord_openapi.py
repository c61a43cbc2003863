"""Request bodies checked against Discord's own OpenAPI document, for development.

Nothing is checked unless MOCKINGBIRD_OPENAPI names the document and jsonschema is installed.
"""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

_DOCUMENT = "urn:discord"


def schema_problems(method: str, path: str, body: Any) -> list[str]:
    """What the schema of the operation minds; [] for what the document does not have."""
    document = os.environ.get("MOCKINGBIRD_OPENAPI")
    if not document or body is None:
        return []
    template = next((t for pattern, t in _templates(document) if pattern.fullmatch(path)), None)
    validator = _validator(document, template, method.lower()) if template else None
    if validator is None:
        return []
    from jsonschema.exceptions import best_match

    problems = []
    for error in validator.iter_errors(body):
        deepest = best_match([error])
        where = ".".join(str(part) for part in deepest.absolute_path)
        problems.append(f"{template}: {where}: {deepest.message[:300]}")
    return problems


@functools.cache
def _load(document: str) -> Any:
    loaded = json.loads(Path(document).read_text())
    # Discord takes numbers for ids too, and libraries send them
    loaded["components"]["schemas"]["SnowflakeType"]["type"] = ["string", "integer"]
    return loaded


@functools.cache
def _templates(document: str) -> list[tuple[re.Pattern[str], str]]:
    """The paths with their patterns, those with the fewest variables first."""
    paths = sorted(_load(document)["paths"], key=lambda p: (p.count("{"), p))
    return [(re.compile("[^/]+".join(map(re.escape, re.split(r"\{\w+\}", p)))), p) for p in paths]


@functools.cache
def _validator(document: str, template: str, method: str) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry
    from referencing.jsonschema import DRAFT202012

    operation = _load(document)["paths"][template].get(method, {})
    if "application/json" not in operation.get("requestBody", {}).get("content", {}):
        return None
    registry = Registry().with_resource(_DOCUMENT, DRAFT202012.create_resource(_load(document)))
    escaped = template.replace("~", "~0").replace("/", "~1")
    pointer = f"#/paths/{escaped}/{method}/requestBody/content/application~1json/schema"
    return Draft202012Validator(
        {"$ref": f"{_DOCUMENT}{pointer.replace('{', '%7B').replace('}', '%7D')}"}, registry=registry
    )
