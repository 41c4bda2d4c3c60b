# SPDX-License-Identifier: Apache-2.0
"""The Engine API's response schemas, reduced to what a JSON Schema validator needs.

`scripts/check-openapi --extract engine-api.yaml` makes tests/lib/openapi.json.gz, so that a fresh clone needs nothing else.
"""
import gzip
import json
import re
from pathlib import Path

EXTRACT = Path(__file__).parent / "openapi.json.gz"
OLDEST = (1, 41)
DROP = {"description", "example", "examples", "title", "x-go-name", "x-go-type", "x-nullable", "externalDocs", "default", "discriminator", "readOnly"}


def reduce(node, in_properties=False):
    """Swagger 2 to JSON Schema: nullable by x-nullable, no prose. dockerd sends null for every empty list, map or pointer."""
    if isinstance(node, list):
        return [reduce(n) for n in node]
    if not isinstance(node, dict):
        return node
    if in_properties:
        return {k: reduce(v) for k, v in node.items()}
    out = {k: reduce(v, k in ("properties", "definitions")) for k, v in node.items() if k not in DROP}
    if out.get("format") not in (None, "int64", "uint64", "int32", "uint32", "uint16", "uint8"):
        out.pop("format")
    if "required" in out and "properties" in out:  # ImageData wants an UnpackedSize that it does not have
        out["required"] = [name for name in out["required"] if name in out["properties"]]
    kind = out.get("type")
    if isinstance(kind, str) and (node.get("x-nullable") or kind in ("array", "object")):
        out["type"] = [kind, "null"]
    if "enum" in out and (node.get("x-nullable") or "" not in out["enum"]):
        out["enum"] = [*out["enum"], None] if node.get("x-nullable") else out["enum"]
    if "$ref" in out and node.get("x-nullable"):
        out = {"anyOf": [{"$ref": out["$ref"]}, {"type": "null"}]}
    return out


def extract(spec):
    """{definitions, paths: [[method, path pattern, {status: schema}]]} of the YAML document."""
    paths = []
    shared = spec.get("responses", {})
    for path, methods in spec["paths"].items():
        pattern = "^" + re.sub(r"\\?\{[^}]+\\?\}", "[^/]+" if "images/" not in path else ".+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}")) + "$"
        for method, operation in methods.items():
            if method == "parameters":
                continue
            answers = {}
            for status, response in operation.get("responses", {}).items():
                if "$ref" in response:
                    response = shared[response["$ref"].rsplit("/", 1)[-1]]
                if "schema" in response:
                    answers[str(status)] = reduce(response["schema"])
                else:
                    answers[str(status)] = None
            paths.append([method.upper(), path, pattern, answers])
    # fixed paths before those with parameters: /containers/json is not /containers/{id}
    paths.sort(key=lambda p: p[1].count("{"))
    return {"definitions": reduce(spec["definitions"], True), "paths": paths}


def load():
    with gzip.open(EXTRACT, "rt", encoding="utf-8") as f:
        return json.load(f)


def validate(lines, api=None):
    """Complaints about recorded answers: {(method, path, status, where): example}. Also the count of those checked."""
    import jsonschema
    api = api or load()
    complaints, checked, unknown = {}, 0, set()
    compiled = [(m, p, re.compile(r), a) for m, p, r, a in api["paths"]]
    validators = {}
    for line in lines:
        entry = json.loads(line) if isinstance(line, str) else line
        path = entry["path"].split("?")[0]
        if entry.get("version") and tuple(int(n) for n in str(entry["version"]).split(".")) < OLDEST:
            continue    # older versions differ on purpose
        found = next(((p, a) for m, p, r, a in compiled if m == entry["method"] and r.match(path)), None)
        if not found:
            unknown.add((entry["method"], path))
            continue
        template, answers = found
        status = str(entry["status"])
        if status not in answers:
            if entry["status"] >= 400 and isinstance(entry["body"], dict) and isinstance(entry["body"].get("message"), str):
                checked += 1    # any error may be an ErrorResponse
                continue
            if entry["status"] < 400:
                complaints[(entry["method"], template, status, "status")] = f"status {status} is not documented"
            continue
        schema = answers[status]
        if schema is None or entry["body"] is None or entry["method"] == "HEAD":
            continue
        key = (entry["method"], template, status)
        if key not in validators:
            validators[key] = jsonschema.Draft4Validator({**schema, "definitions": api["definitions"]})
        checked += 1
        for error in validators[key].iter_errors(entry["body"]):
            where = "/".join("*" if isinstance(x, int) else str(x) for x in error.absolute_path)
            if error.instance is None and where.endswith(("HostConfig/MemorySwappiness", "ExitCode")):
                continue    # dockerd itself sends null: nothing was asked for, nothing ended
            complaints.setdefault((*key, where), error.message[:200])
    return complaints, checked, unknown
