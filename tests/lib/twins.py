# SPDX-License-Identifier: Apache-2.0
"""The same command line through docker and through caisson: what they say and how they end, without what must differ."""
import os
import re
import subprocess
from pathlib import Path

import caisson_fixture as fx
from unixhttp import TIME_FACTOR

CAISSON = str(fx.BUILD / "caisson")
# names of products, not of our program
KEEP = re.compile(r"docs\.docker\.com|Docker Hub|Dockerfile|docker\.io|DOCKER_HOST|/\.docker\b|Docker image|Docker host|Docker object|index\.docker")


def plain(text, folder=None):
    """Both programs by one name; the folder of a twin, ids' rest and the nearest-name hint (docker has none) away."""
    text = re.sub(r"\nDid you mean .*\?\n", "", text)
    if folder:
        text = text.replace(str(folder), "FOLDER")
    text = text.replace("SRun '", "Run '").replace('"|missing"', '"missing"')  # slips of docker's
    kept = []
    text = KEEP.sub(lambda m: kept.append(m.group()) or f"\0{len(kept) - 1}\0", text)
    text = text.replace("caisson", "docker").replace("Caisson", "Docker")
    return re.sub(r"\0(\d+)\0", lambda m: kept[int(m.group(1))] if int(m.group(1)) < len(kept) else m.group(), text)


class Twins:
    """Each program gets a folder of its own: its working directory, and config/ as DOCKER_CONFIG."""

    def __init__(self, root, **env):
        self.root, self.env = Path(root), env
        for name in ("docker", "caisson"):
            (self.root / name / "config").mkdir(parents=True)

    def one(self, name, *args, stdin=None, timeout=60, **env):
        folder = self.root / name
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "DOCKER_CONFIG": str(folder / "config"), "DOCKER_CLI_HINTS": "false", "LC_ALL": "C", **self.env, **env}
        r = subprocess.run([CAISSON if name == "caisson" else "docker", *args], cwd=folder, env=environment, text=True, capture_output=True, check=False,
                           timeout=timeout * TIME_FACTOR, **({"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}))
        return r.returncode, plain(r.stdout, folder), plain(r.stderr, folder)

    def both(self, *args, **kw):
        return self.one("docker", *args, **kw), self.one("caisson", *args, **kw)

    def same(self, *args, **kw):
        """Asserts that they agree, and returns (status, stdout, stderr)."""
        docker, caisson = self.both(*args, **kw)
        assert caisson == docker, f"{' '.join(args)}\n--- docker\n{docker}\n--- caisson\n{caisson}"
        return docker

    def write(self, path, text, mode=0o600):
        for name in ("docker", "caisson"):
            p = self.root / name / path
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_text(text)
            p.chmod(mode)

    def texts(self, path):
        return [(self.root / name / path).read_text() if (self.root / name / path).exists() else None for name in ("docker", "caisson")]
