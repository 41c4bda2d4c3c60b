#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every operation of the Engine API has a row in the tables of src/api.

usage: check-routes.py <source root> <engine-api.yaml>; exits 77 (skipped) without the description."""
import pathlib
import re
import sys

root, spec = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
if not spec.exists():
    print(f"skipped: {spec} is not here")
    sys.exit(77)

rows = set()
for f in (root / "src/api").glob("*.c"):
    text = f.read_text()
    rows |= set(re.findall(r'\{\s*"(GET|POST|PUT|DELETE|HEAD)",\s*"(/[^"]*)"', text))
    rows |= set(re.findall(r'\bN\("(GET|POST|PUT|DELETE)",\s*"(/[^"]*)"\)', text))
    rows |= {("POST", p) for p in re.findall(r'\bP\("(/[^"]*)"\)', text)}
patterns = [(m, re.compile("^" + re.sub(r"\{[^}]*\}", lambda x: ".+" if ":.*" in x[0] else "[^/]+", p) + "$")) for m, p in rows]

missing, path = [], None
for line in spec.read_text().splitlines():
    if m := re.match(r"^  (/\S+):\s*$", line):
        path = m[1]
    elif path and (m := re.match(r"^    (get|post|put|delete|head):\s*$", line)):
        concrete = re.sub(r"\{[^}]*\}", "x", path)
        if not any(meth == m[1].upper() and rx.match(concrete) for meth, rx in patterns):
            missing.append(f"{m[1].upper()} {path}")
print(f"{len(rows)} rows; missing: {missing or 'none'}")
sys.exit(1 if missing else 0)
