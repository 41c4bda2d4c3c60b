#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every operation of the Engine API has a row in the tables of src/api.

usage: check-routes.py <source root>"""
import gzip
import json
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
openapi = json.loads(gzip.decompress((root / "tests/lib/openapi.json.gz").read_bytes()))

rows = set()
for f in (root / "src/api").glob("*.c"):
    text = f.read_text()
    rows |= set(re.findall(r'\{\s*"(GET|POST|PUT|DELETE|HEAD)",\s*"(/[^"]*)"', text))
    rows |= set(re.findall(r'\bN\("(GET|POST|PUT|DELETE)",\s*"(/[^"]*)"\)', text))
    rows |= {("POST", p) for p in re.findall(r'\bP\("(/[^"]*)"\)', text)}
patterns = [(m, re.compile("^" + re.sub(r"\{[^}]*\}", lambda x: ".+" if ":.*" in x[0] else "[^/]+", p) + "$")) for m, p in rows]

missing = []
for method, path, *_ in openapi["paths"]:
    concrete = re.sub(r"\{[^}]*\}", "x", path)
    if not any(meth == method and rx.match(concrete) for meth, rx in patterns):
        missing.append(f"{method} {path}")
print(f"{len(rows)} rows; missing: {missing or 'none'}")
sys.exit(1 if missing else 0)
