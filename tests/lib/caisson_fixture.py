# SPDX-License-Identifier: Apache-2.0
"""A daemon of our own in a scratch root, and the proof that it left nothing behind.

CAISSON_ENGINE=dockerd runs the same tests against Debian's dockerd 20.10: that is how the tests are checked for
being right about Docker. CAISSON_BUILD names the build directory (default: build/ of the checkout).
"""
import hashlib
import json
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import rootfs
from netns import Netns
from unixhttp import TIME_FACTOR, Http, record

REPO = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("CAISSON_BUILD", REPO / "build"))
KIND = os.environ.get("CAISSON_ENGINE", "caisson")
BASE = "caisson/base:latest"
ROOTFS = "caisson-test/rootfs:latest"
# Endless or binary answers: reading them for the recording would block or waste memory.
STREAMS = ("/events", "/stats", "/logs", "/attach", "/exec/", "/images/create", "/images/load", "/export", "/wait", "/archive")


def wait_for(check, timeout=10, what="condition", step=0.02):
    """Poll for a state that nobody announces. Events are better where they exist."""
    end = time.monotonic() + timeout * TIME_FACTOR
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout} s")
        time.sleep(step)


def processes():
    """(pid, parent, command line) of every process we can see."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            cmd = Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            stat = Path("/proc", entry, "stat").read_text()
            yield int(entry), int(stat.rsplit(")", 1)[1].split()[1]), cmd
        except OSError:
            continue


def cgroup_roots():
    """Mount points of every cgroup hierarchy (v1, hybrid, v2)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        if right.split()[0] in ("cgroup", "cgroup2"):
            yield left.split()[4]


def cgroup_dir(pid, controller):
    """The cgroup directory of a process for a controller, on v1 or v2."""
    own = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    mounts = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ", 1)
        kind, _, options = right.split()[:3]
        mounts[left.split()[4]] = (kind, options.split(","), left.split()[3])
    for line in own:
        _, names, path = line.split(":", 2)
        for where, (kind, options, _root) in mounts.items():
            if kind == "cgroup" and controller in names.split(",") and controller in options:
                return Path(where + path)
    for line in own:
        if line.startswith("0::"):
            for where, (kind, _, _root) in mounts.items():
                if kind == "cgroup2":
                    return Path(where + line[3:])
    raise AssertionError(f"no cgroup of {controller} for {pid}")


def sanitized():
    """Is the build under test one with sanitizers?"""
    program = BUILD / "caissond"
    return KIND == "caisson" and program.exists() and b"__asan_init" in program.read_bytes()


def in_chroot():
    """Joining the own mount namespace again leads to its true root."""
    true_root = subprocess.run(["nsenter", "--mount=/proc/self/ns/mnt", "stat", "-c", "%d:%i", "/"], capture_output=True, text=True, check=False).stdout.strip()
    own = os.stat("/")
    return true_root not in ("", f"{own.st_dev}:{own.st_ino}")


def cgroup_is_v2():
    return os.path.exists("/sys/fs/cgroup/cgroup.controllers")


class Engine:
    """One daemon: start, kill, restart, talk to, and clean up after.

    netns: it runs in a network namespace of its own, and may make bridges and firewall rules there. Without, it makes none:
    no test touches the network of the machine."""

    def __init__(self, kind=KIND, args=(), root=None, data_root=None, config=None, netns=False, build=None):
        self.kind = kind
        self.build = Path(build or BUILD)
        self.args = list(args)
        self.root = Path(root or tempfile.mkdtemp(prefix="cst-", dir=os.environ.get("CAISSON_TEST_DIR", "/tmp")))
        self.data = Path(data_root) if data_root else self.root / "data"
        self.exec = self.root / "exec"
        self.sock = str(self.root / "caisson.sock")
        self.log = self.root / "daemon.log"
        self.config = self.root / "daemon.json"
        self.config.write_text(json.dumps(config or {}))
        self.cgroup = f"/caisson-test-{os.getpid()}-{self.root.name[4:]}"
        self.proc = None
        self.netns = Netns() if netns else None
        self.http = Http(self.sock)

    # -- life ---------------------------------------------------------------------------------------------------------
    def _command(self):
        common = ["--data-root", str(self.data), "--exec-root", str(self.exec), "--pidfile", str(self.root / "d.pid"),
                  "-H", "unix://" + self.sock, "--config-file", str(self.config), "--cgroup-parent", self.cgroup, "-D"]
        if self.kind == "dockerd":
            return ["dockerd", *common, "--bridge=none", "--iptables=false", "--ip6tables=false", *self.args]
        command = [str(self.build / "caissond"), *common, "--base-image", str(self.build / "caisson-base.tar"), *self.args]
        if self.netns:
            return self.netns.command(*command)
        return command + ["--bridge=none", "--firewall=false"]

    def start(self, timeout=30):
        with open(self.log, "ab") as log:
            self.proc = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                         start_new_session=True)

        def up():
            if self.proc.poll() is not None:
                raise AssertionError(f"{self.kind} ended with {self.proc.returncode}:\n{self.tail()}")
            try:
                return self.http.get("/_ping", timeout=5, rec=False).status == 200
            except OSError:
                return False
        wait_for(up, timeout, f"{self.kind} answering on {self.sock}\n{self.tail()}")
        return self

    def kill(self):
        """SIGKILL, no goodbye."""
        self.proc.kill()
        self.proc.wait()

    def stop(self, timeout=20):
        self.proc.terminate()
        try:
            return self.proc.wait(timeout * TIME_FACTOR)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.kind} ignored SIGTERM for {timeout} s:\n{self.tail()}") from None

    def alive(self):
        return self.proc is not None and self.proc.poll() is None

    def restart(self, graceful=False):
        self.stop() if graceful else self.kill()
        return self.start()

    def tail(self, lines=30):
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    # -- clients ------------------------------------------------------------------------------------------------------
    def api(self, version="auto", timeout=60):
        import docker
        client = docker.APIClient(base_url="unix://" + self.sock, version=version, timeout=timeout * TIME_FACTOR)

        def keep(response, **_kw):
            path = response.request.path_url.split("?")[0]
            if any(s in path for s in STREAMS):
                return
            bare = path
            if path.startswith("/v1."):
                bare = "/" + path.split("/", 2)[2]
            try:
                body = response.json() if response.content else None
            except ValueError:
                body = None
            record(response.request.method, bare, response.status_code, body, client._version)
        client.hooks["response"].append(keep)
        return client

    def client(self, timeout=60):
        import docker
        client = docker.DockerClient(base_url="unix://" + self.sock, timeout=timeout * TIME_FACTOR)
        client.api.close()
        client.api = self.api(timeout=timeout)
        return client

    def cli_env(self, **env):
        return {**os.environ, "DOCKER_HOST": "unix://" + self.sock, "DOCKER_CONFIG": str(self.root / "cli"),
                "DOCKER_CLI_HINTS": "false", **env}

    def cli(self, *args, stdin=None, timeout=60, check=False, env=None):
        """The real docker command. Returns CompletedProcess with text output."""
        out = subprocess.run(["docker", *args], input=stdin, capture_output=True, text=True, timeout=timeout * TIME_FACTOR,
                             env=self.cli_env(**(env or {})), stdin=subprocess.DEVNULL if stdin is None else None)
        if check and out.returncode:
            raise AssertionError(f"docker {' '.join(args)} -> {out.returncode}\n{out.stdout}{out.stderr}")
        return out

    # -- images -------------------------------------------------------------------------------------------------------
    def import_tar(self, data, repo, tag="latest", changes=()):
        a = self.http.post("/images/create", {"fromSrc": "-", "repo": repo, "tag": tag, "changes": list(changes)},
                           body=data, headers={"Content-Type": "application/x-tar"}, rec=False)
        assert a.status == 200, a
        last = json.loads(a.body.decode().strip().splitlines()[-1])
        assert "error" not in last, last
        return last["status"]

    def prepare(self):
        if self.kind == "dockerd":
            self.import_tar(rootfs.busybox().bytes(), "caisson/base", changes=['CMD ["sh"]'])
        self.import_tar(rootfs.busybox().bytes(), "caisson-test/rootfs", changes=['CMD ["sh"]', "ENV PATH=/bin"])
        return self

    # -- leftovers ----------------------------------------------------------------------------------------------------
    def mounts(self):
        root = str(self.root) + "/"
        data = str(self.data) + "/"
        own = [l.split()[4] for l in Path("/proc/self/mountinfo").read_text().splitlines()]
        return [m for m in own if m.startswith(root) or m.startswith(data)]

    def cgroups(self):
        """Directories below our test parent, in any hierarchy (the parent itself may stay until the end)."""
        found = []
        for where in set(cgroup_roots()):
            base = where + self.cgroup
            for dirpath, dirnames, _ in os.walk(base):
                found += [os.path.join(dirpath, d) for d in dirnames if d != "own"]     # a parent that a test asked for
        return found

    def helpers(self):
        """Processes of this root other than the daemon: workers, shims, containerd, containers in our cgroups."""
        own, root = {}, str(self.root)
        for pid, _ppid, cmd in processes():
            if pid == os.getpid() or (self.proc and pid == self.proc.pid):
                continue
            try:
                groups = Path(f"/proc/{pid}/cgroup").read_text()
            except OSError:
                continue
            try:
                holds = any(os.readlink(f"/proc/{pid}/fd/{fd}").startswith(f"{self.exec}/systems/")
                            for fd in os.listdir(f"/proc/{pid}/fd")) if "caisson" in cmd else False
            except OSError:
                holds = False
            mine = cmd.startswith(("caisson-worker", str(BUILD / "caisson-worker"))) and (holds or root in cmd)
            shim = self.kind == "dockerd" and root in cmd and cmd.split(" ")[0].rsplit("/", 1)[-1].startswith("containerd")
            if mine or shim or self.cgroup + "/" in groups:
                own[pid] = cmd
        return own

    def remove_all(self):
        """Containers, and networks that are not predefined."""
        listed = self.http.get("/containers/json", {"all": 1}, rec=False)
        for c in listed.json:
            self.http.delete("/containers/" + c["Id"], {"force": 1, "v": 1}, rec=False)
        for n in self.http.get("/networks", {"filters": json.dumps({"type": ["custom"]})}, rec=False).json if self.netns else []:
            self.http.delete("/networks/" + n["Id"], rec=False)

    def leaks(self):
        """What still exists although no container does. Empty is good."""
        found = {}
        if self.kind != "dockerd":
            mounts = [m for m in self.mounts() if m != str(self.exec / "bpf")]  # that one is the daemon's, and goes with it: close() looks
            if mounts:
                found["mounts"] = mounts
            if self.helpers():
                found["processes"] = self.helpers()
            for name in ("containers", "snapshots"):
                left = os.listdir(self.data / name) if (self.data / name).is_dir() else []
                if left:
                    found[name] = left
            systems = self.exec / "systems"
            if systems.is_dir() and os.listdir(systems):
                found["systems"] = os.listdir(systems)
        if self.cgroups():
            found["cgroups"] = self.cgroups()
        if self.kind != "dockerd":
            found.update(self.network_leaks())
        return found

    def instance(self):
        """What names of our links and our table bear."""
        return hashlib.sha256(str(self.exec).encode()).hexdigest()[:8]

    def network_leaks(self):
        """Without containers: no interface of theirs, no element of theirs in the table. Bridges of networks, and pairs kept ready, may be there."""
        found = {}
        if not self.netns:
            links = json.loads(subprocess.run(["ip", "-j", "link"], capture_output=True, text=True, check=True).stdout)
            mine = [one["ifname"] for one in links if self.instance() in one["ifname"] + one.get("ifalias", "")]
            return {"links": mine} if mine else {}
        networks = self.http.get("/networks", rec=False).json
        known = {(n["Options"] or {}).get("com.docker.network.bridge.name", "br-" + n["Id"][:12]) for n in networks}
        links = self.netns.links()
        bridges = [n for n, l in links.items() if l.get("linkinfo", {}).get("info_kind") == "bridge"]
        if set(bridges) - known:
            found["bridges"] = sorted(set(bridges) - known)
        ports = [n for n, l in links.items() if l.get("linkinfo", {}).get("info_kind") == "veth" and l.get("master") in bridges]
        if ports:
            found["links"] = ports
        found.update(self.firewall_leaks())
        return found

    def firewall_leaks(self):
        """Elements of our tables that are about interfaces or ports of containers."""
        done = self.netns.run("nft", "-j", "list", "ruleset", check=False)
        left = []
        for item in json.loads(done.stdout or "{}").get("nftables", []):
            for kind, one in item.items():
                if kind in ("set", "map") and self.instance() in one["table"]:
                    left += [f"{one['name']}: {json.dumps(e)}" for e in one.get("elem", []) if kind == "map" or "csp" in json.dumps(e)]
        return {"elements": left} if left else {}

    def check_leaks(self, timeout=5):
        """Removal of namespaces and cgroups is not waited for, so give it a moment."""
        end = time.monotonic() + timeout * TIME_FACTOR
        while True:
            left = self.leaks()
            if not left:
                return
            if time.monotonic() > end:
                raise AssertionError(f"left behind: {json.dumps(left, indent=1)}")
            time.sleep(0.05)

    def close(self, check=True):
        """Remove containers, look for leaks, stop the daemon, delete the root."""
        problem = None
        try:
            if not self.alive():
                self.start()
            self.remove_all()
            if check:
                self.check_leaks()
        except AssertionError as err:
            problem = err
        finally:
            if self.alive():
                try:
                    self.stop()
                    if not problem and check and os.path.ismount(self.exec / "bpf"):
                        problem = AssertionError("the daemon has left its bpffs behind")
                except AssertionError as err:
                    problem = problem or err
            self._sweep()
            if self.netns:
                self.netns.close()
        if problem:
            raise problem

    def _sweep(self):
        for pid in self.helpers():
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for m in sorted(self.mounts(), key=len, reverse=True):
            subprocess.run(["umount", "-l", m], capture_output=True, check=False)
        for where in set(cgroup_roots()):
            for dirpath, dirnames, _ in os.walk(where + self.cgroup, topdown=False):
                for d in dirnames:
                    self._rmdir(os.path.join(dirpath, d))
            self._rmdir(where + self.cgroup)
        if os.environ.get("CAISSON_KEEP"):
            return
        subprocess.run(["rm", "-rf", self.root], capture_output=True, check=False)  # containers make trees deeper than Python goes

    @staticmethod
    def _rmdir(path):
        for _ in range(50):
            try:
                os.rmdir(path)
                return
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.02)
