# SPDX-License-Identifier: Apache-2.0
"""/_ping, /version, /info, version negotiation, what is not there, and what never will be."""
import pytest

from box import IS_DOCKERD

API = "1.41" if IS_DOCKERD else "1.55"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_ping_headers(http, method):
    a = http.request(method, "/_ping")
    assert a.status == 200
    assert a.body == (b"OK" if method == "GET" else b"")
    assert a.headers["Api-Version"] == API
    assert a.headers["Ostype"] == "linux"
    assert a.headers["Docker-Experimental"] == "false"
    assert IS_DOCKERD or a.headers["Builder-Version"]
    assert a.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert a.headers["Pragma"] == "no-cache"
    assert a.headers["Content-Type"].startswith("text/plain")
    assert a.headers["Server"]


@pytest.mark.parametrize("version", ["1.24", "1.30", "1.41"])
def test_ping_versioned(http, version):
    assert http.get("/_ping", version=version).status == 200


@pytest.mark.parametrize("version", ["1.24", "1.41"])
def test_what_came_with_1_25_answers_all_versions(http, version):
    """As dockerd: newer routes are not hidden from older clients."""
    df = http.get("/system/df", version=version)
    assert df.status == 200 and {"LayersSize", "Images", "Containers", "Volumes"} <= set(df.json)
    for what, key in [("containers", "ContainersDeleted"), ("images", "ImagesDeleted"), ("networks", "NetworksDeleted"), ("volumes", "VolumesDeleted")]:
        a = http.post(f"/{what}/prune", {"filters": {"label": ["nobody-has-this"]}}, version=version)
        assert a.status == 200 and key in a.json
    assert http.get("/info", version=version).json.get("ExecutionDriver") == ("<not supported>" if version == "1.24" else None)


def test_version(http):
    a = http.get("/version")
    v = a.json
    assert a.status == 200 and a.headers["Content-Type"].startswith("application/json")
    assert v["ApiVersion"] == API
    assert v["Os"] == "linux" and v["Arch"] in ("amd64", "arm64") and v["KernelVersion"]
    assert v["Version"] and v["GitCommit"] is not None
    assert v["Components"][0]["Name"] == "Engine"
    assert v["Components"][0]["Details"]["ApiVersion"] == API
    assert v["MinAPIVersion"] == ("1.12" if IS_DOCKERD else "1.24")


@pytest.mark.caisson
def test_version_says_what_was_built(http):
    """The commit, and a time that is not the build's own: the same source gives the same program."""
    import os
    import subprocess
    from datetime import datetime
    from caisson_fixture import REPO
    v = http.get("/version").json
    stamp = v["BuildTime"]
    assert v["Components"][0]["Details"]["BuildTime"] == stamp and v["Components"][0]["Details"]["GitCommit"] == v["GitCommit"]
    git = subprocess.run(["git", "-C", REPO, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if git.returncode or os.environ.get("SOURCE_DATE_EPOCH") or os.environ.get("CAISSON_COMMIT"):
        pytest.skip("not built from a checkout")
    assert datetime.fromisoformat(stamp[:19]) and stamp.endswith(".000000000+00:00")
    assert len(v["GitCommit"]) == 7 and int(v["GitCommit"], 16) >= 0


def test_build_id_is_reproducible(tmp_path):
    import os
    import subprocess
    from caisson_fixture import REPO
    out = tmp_path / "build-id.h"
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1000000000", "CAISSON_COMMIT": "abcdef0"}
    for _ in range(2):
        subprocess.run([REPO / "scripts/build-id", REPO, out], env=env, check=True)
        before = out.stat().st_mtime_ns
    assert '"abcdef0"' in out.read_text() and '"2001-09-09T01:46:40.000000000+00:00"' in out.read_text()
    subprocess.run([REPO / "scripts/build-id", REPO, out], env=env, check=True)
    assert out.stat().st_mtime_ns == before, "nothing is built again for it"
    subprocess.run([REPO / "scripts/build-id", tmp_path, tmp_path / "none.h"], env={"PATH": os.environ["PATH"]}, check=True)
    assert '#define CAISSON_COMMIT ""' in (tmp_path / "none.h").read_text(), "an archive has no commit"


@pytest.mark.caisson
@pytest.mark.parametrize("version", ["1.41", "1.49", "1.50", "1.55"])
def test_what_is_off_is_shown_as_docker_shows_it(http, version):
    """No CDI: an empty list of directories. Devices, firewall and NRI are left out where there are none."""
    info = http.get("/info", version=version).json
    assert info["CDISpecDirs"] == []
    assert not {"DiscoveredDevices", "FirewallBackend", "NRI"} & set(info)


def test_version_1_24_has_no_components(http):
    assert http.get("/version", version="1.24").status == 200


def test_too_new_version(http):
    a = http.get("/version", version="9.99")
    assert a.status == 400
    assert a.message == f"client version 9.99 is too new. Maximum supported API version is {API}"


def test_too_old_version(http):
    a = http.get("/version", version="1.5")
    low = "1.12" if IS_DOCKERD else "1.24"
    assert a.status == 400
    # 20.10 answers this one in plain text
    assert f"client version 1.5 is too old. Minimum supported API version is {low}, please upgrade" in a.body.decode()


@pytest.mark.caisson
@pytest.mark.parametrize("version", [f"1.{n}" for n in range(24, 56)])
def test_every_version_is_served(http, version):
    assert http.get("/containers/json", version=version).status == 200
    a = http.get("/info", version=version)
    assert a.status == 200 and a.headers["Api-Version"] == "1.55"


@pytest.mark.caisson
def test_compose_of_python_is_answered_as_it_expects(http):
    """It asks in the newest version there is, and breaks without these members."""
    def image(agent):
        return http.get("/images/caisson/base/json", version=API, headers={"User-Agent": agent}, rec=False).json
    assert image("docker-compose/1.29.2 docker-py/5.0.3 Linux/6.1")["ContainerConfig"]["Labels"] is None
    assert not any("ContainerConfig" in image(agent) for agent in ("compose/v2.27.0", "docker-compose/v2.27.0", "docker-sdk-python/5.0.3", "docker-compose/2.0"))


def test_unknown_path(http):
    a = http.get("/nosuch")
    assert a.status == 404 and a.message == "page not found"


def test_wrong_method(http):
    # gorilla/mux answers 405 where the path matches another method, except under a HEAD
    assert http.request("PATCH", "/containers/json").status in (404, 405)


def test_options(http):
    a = http.request("OPTIONS", "/v1.41/containers/create", rec=False)
    assert a.status == 200 and a.body == b""


def test_info(http, boxes):
    b = boxes.sleeper()
    boxes.create("true")
    i = http.get("/info").json
    assert i["Containers"] >= 2 and i["ContainersRunning"] >= 1 and i["ContainersStopped"] >= 1
    assert i["Containers"] == i["ContainersRunning"] + i["ContainersPaused"] + i["ContainersStopped"]
    assert i["Images"] >= 2
    assert i["NCPU"] == __import__("os").cpu_count() and i["MemTotal"] > 1 << 20
    assert i["OSType"] == "linux" and i["Architecture"] in ("x86_64", "aarch64")
    assert i["ID"] and i["Name"] and i["OperatingSystem"] and i["ServerVersion"] and i["KernelVersion"]
    assert i["CgroupVersion"] in ("1", "2") and i["CgroupDriver"] in ("cgroupfs", "systemd")
    assert i["LoggingDriver"] == "json-file" and i["Driver"].startswith("overlay")
    assert {"json-file", "local", "none"} <= set(i["Plugins"]["Log"]) | ({"none"} if IS_DOCKERD else set())
    assert "name=seccomp,profile=default" in i["SecurityOptions"] or "name=seccomp,profile=builtin" in i["SecurityOptions"]
    assert i["Swarm"]["LocalNodeState"] == "inactive"
    assert i["DockerRootDir"] and i["Debug"] is True
    assert b.state["Running"]


def test_info_without_what_is_gone(http):
    assert [("AllowNondistributableArtifactsCIDRs" in http.get("/info", version=v).json["RegistryConfig"]) for v in ("1.41", *(() if IS_DOCKERD else ("1.48",)))] == [True, False][:1 if IS_DOCKERD else 2]


def test_info_by_docker_py(client):
    assert client.ping() is True
    assert client.info()["OSType"] == "linux"
    assert client.version()["ApiVersion"] == API


@pytest.mark.parametrize("method,path", [("GET", "/swarm"), ("GET", "/services"), ("GET", "/tasks"), ("GET", "/nodes"),
                                         ("GET", "/secrets"), ("GET", "/configs"), ("POST", "/swarm/leave")])
def test_outside_a_swarm(http, method, path):
    a = http.request(method, path)
    assert a.status == 503
    if method == "GET":
        assert a.message == ('This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to connect this '
                             'node to swarm and try again.')
    else:
        assert a.message == "This node is not part of a swarm"


@pytest.mark.caisson
@pytest.mark.parametrize("method,path", [("POST", "/build"), ("POST", "/plugins/pull?remote=x"),
                                         ("POST", "/session")])
def test_not_built_yet(http, method, path):
    a = http.request(method, path, body={} if method == "POST" else None)
    assert a.status == 501 and a.message, a


def test_system_df(http, boxes):
    b = boxes.run("echo 123456 > /file")
    df = http.get("/system/df", version="1.41").json
    assert df["LayersSize"] > 0
    assert any(c["Id"] == b.id for c in df["Containers"])
    assert any("caisson/base:latest" in (i["RepoTags"] or []) for i in df["Images"])


@pytest.mark.caisson        # 1.52
def test_system_df_of_now(http, boxes):
    """Totals, with their items or without; and who does not say which gets the lists of before, too, as clients of before look for them."""
    boxes.create("true")
    plain = http.get("/system/df", version="1.52").json
    assert len(plain["Containers"]) == plain["ContainerUsage"]["TotalCount"] and plain["Images"] and plain["Volumes"] is not None and plain["LayersSize"] > 0
    assert "Items" not in plain["ContainerUsage"]
    few, all_ = (http.get("/system/df", {"verbose": v}, version="1.52").json for v in ("false", "true"))
    assert "Containers" not in few and "Items" not in few["ContainerUsage"] and "Containers" not in all_ and all_["ContainerUsage"]["Items"]
    assert sorted(http.get("/system/df", {"type": "image"}, version="1.52").json) == ["ImageUsage", "Images", "LayersSize"]
    a = http.get("/system/df", {"verbose": "x"}, version="1.52")
    assert a.status == 400 and a.message == "invalid value for verbose: x"


def test_auth_without_registry(http):
    a = http.post("/auth", body={"username": "u", "password": "p", "serveraddress": "127.0.0.1:1"})
    assert a.status in (401, 500, 501) and a.message
