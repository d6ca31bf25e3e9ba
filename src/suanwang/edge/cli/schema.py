"""`suan schema`: the JSON schema of the specification, as the server has it, for editors."""

from __future__ import annotations

import json
from typing import Any

from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.parsing import Args, Parser

ROOT = "JobSpec"
FOLDER = {"type": "string", "description": "A local folder to send and start in, or its digest."}
FILE = {"type": "string", "description": "A local file or folder to send; gives the digest."}


def _options(parser: Parser) -> None:
    parser.common()


def _schema(args: Args) -> int:
    client = client_of(args)
    document = client.api.get("/v1/openapi.json")
    print(json.dumps(job_schema(document["components"]["schemas"]), indent=2, ensure_ascii=False))
    return 0


def job_schema(schemas: dict[str, Any]) -> dict[str, Any]:
    """The specification's schema with what it refers to, and the local paths of the CLI."""
    wanted: dict[str, Any] = {}
    _gather(ROOT, schemas, wanted)
    root = wanted.pop(ROOT)
    root["properties"]["workdir"] = FOLDER
    for name, schema in wanted.items():
        if "digest" in schema.get("properties", {}):
            schema["properties"]["file"] = FILE
            schema["required"] = [field for field in schema["required"] if field != "digest"]
            wanted[name] = schema
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **root, "$defs": wanted}


def _gather(name: str, schemas: dict[str, Any], wanted: dict[str, Any]) -> None:
    if name in wanted:
        return
    text = json.dumps(schemas[name])
    prefix = "#/components/schemas/"
    wanted[name] = json.loads(text.replace(prefix, "#/$defs/"))
    for part in text.split(f'"{prefix}')[1:]:
        _gather(part.partition('"')[0], schemas, wanted)


COMMANDS = {"schema": Doing(_options, _schema)}
