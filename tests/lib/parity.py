# SPDX-License-Identifier: Apache-2.0
"""The same command line through `docker` and `caisson` against the same daemon: output, errors and exit status compared.

A table of command lines is a list of strings or (line, options) pairs; test modules parametrise over it, so that adding one is a line of text:

    LINES = ["ps -a --format json", ("rm -f {x}", {"before": ["create --name {x} IMAGE"]})]

`{x}` is a name that differs between the two clients and is made equal afterwards; IMAGE is the tests' image. Options: "before" and "after" (lines that the
real docker runs for each client, not compared), "stdin", "env", "sort" (order of lines does not matter), "stderr": False (not compared), "only": "stdout".
"""
import os
import re
import shlex
import subprocess
import uuid

import caisson_fixture as fx

IMAGE = "caisson-test/rootfs"
PROGRAMS = {"docker": "docker", "caisson": str(fx.BUILD / "caisson")}

# What may differ from run to run, and the program's name.
RULES = [
    (re.compile(r"sha256:[0-9a-f]{64}"), "sha256:ID"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "LONGID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "SHORTID12CHR"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| ?[+-]\d\d:?\d\d( [A-Z]+)?)?"), "TIME"),
    (re.compile(r"\b(Less than a second|About a minute|About an hour|1 second|\d+ (seconds|minutes|hours|days|weeks|months|years))( ago)?"), "SPAN"),
    (re.compile(r"0x[0-9a-f]{8,}"), "ADDRESS"),
    (re.compile(r"\b(docker|caisson)\b"), "PROGRAM"),
    (re.compile(r"\b(Docker|Caisson)\b"), "PROGRAM"),
    (re.compile(r"^SRun ", re.M), "Run "),  # docker's own slip
    (re.compile(r"^exit status \d+\n", re.M), ""),  # what docker says besides, when everything has been said
    (re.compile(r"[ \t]+$", re.M), ""),
]


def normalise(text, name, table=True):
    text = text.replace(name, "NAME")
    for rule, put in RULES:
        text = rule.sub(put, text)
    if table:  # spans of other lengths move columns; what stands in them does not change
        text = "\n".join(re.sub(r" {3,}", "   ", line) for line in text.split("\n"))
    return text


def command(engine, program, line, name, stdin=None, env=None):
    words = [w.replace("{x}", name).replace("IMAGE", IMAGE) if w != "{{.IMAGE}}" else w for w in shlex.split(line)]
    environment = {"PATH": os.environ["PATH"], "DOCKER_HOST": f"unix://{engine.sock}", "HOME": str(engine.root), "DOCKER_CLI_HINTS": "false", "DOCKER_API_VERSION": "1.50", **(env or {})}
    return subprocess.run([PROGRAMS[program], *words], env=environment, text=True, capture_output=True, timeout=60, check=False, errors="replace",
                          **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}))


def run(engine, program, line, options):
    """(exit status, stdout, stderr) with what may differ made equal."""
    name = "parity-" + uuid.uuid4().hex[:8]
    if "{x}" not in line and not options.get("before"):
        name = "parity-nobody"
    for before in options.get("before", ()):
        done = command(engine, "docker", before, name, env=options.get("env"))
        assert done.returncode == 0 or options.get("loose"), (before, done.stderr)
    try:
        done = command(engine, program, line, name, options.get("stdin"), options.get("env"))
    finally:
        for after in options.get("after", ()):
            command(engine, "docker", after, name, env=options.get("env"))
    out, err = (normalise(t, name) for t in (done.stdout, done.stderr))
    if options.get("sort"):
        out = "\n".join(sorted(out.split("\n")))
    if options.get("sort_words"):
        out = "\n".join(" ".join(sorted(line.split())) for line in out.split("\n"))
    return done.returncode, out, err if options.get("stderr", True) else ""


def compare(engine, case):
    line, options = case if isinstance(case, tuple) else (case, {})
    docker, caisson = (run(engine, program, line, options) for program in ("docker", "caisson"))
    assert caisson == docker, f"{line}\n--- docker: {docker[0]}\n{docker[1]}\n{docker[2]}\n--- caisson: {caisson[0]}\n{caisson[1]}\n{caisson[2]}"
    return docker


def ident(case):
    return (case if isinstance(case, str) else case[0])[:80]
