# SPDX-License-Identifier: Apache-2.0
"""Contexts and config.json: the same commands through docker and caisson, each with a folder of its own, leave the same files."""
import io
import json
import re
import shutil
import subprocess
import tarfile
import zipfile

import pytest

from twins import Twins, plain

pytestmark = [pytest.mark.caisson, pytest.mark.skipif(not shutil.which("docker"), reason="no docker command")]


@pytest.fixture
def twins(tmp_path):
    t = Twins(tmp_path)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", "/CN=x", "-days", "2"],
                   cwd=tmp_path, check=True, capture_output=True)
    for name in ("key.pem", "cert.pem"):
        t.write(name, (tmp_path / name).read_text())
    return t


def files(twins, which):
    """Everything in the configuration's folder with its mode: JSON as values, since docker keeps the order of a struct."""
    out = {}
    base = twins.root / which / "config"
    for p in sorted(base.rglob("*")):
        mode = oct(p.stat().st_mode & 0o7777)
        text = plain(p.read_text(), twins.root / which) if p.is_file() else None
        out[str(p.relative_to(base))] = (mode, json.loads(text) if p.suffix == ".json" else text)
    return out


def loose(result):
    """Without what follows from the default socket's name: its length."""
    return tuple(re.sub(r" +", " ", part.replace("/var/run/docker.sock", "/run/docker.sock")) if isinstance(part, str) else part for part in result)


SCRIPT = """create aa --docker host=tcp://1.2.3.4:2376,ca=cert.pem,cert=cert.pem,key=key.pem --description desc
create bb --docker host=tcp://1.2.3.4:2376,skip-tls-verify=true
create cc --docker host=unix:///c.sock
create cc
create c
create default
create a_b?
create ff --docker foo=bar
create gg --docker host=unix:///x,ca=/nonexistent
create hh --docker foo
create hh --docker host=tcp://h:1,skip-tls-verify=yes
create hh --docker host=h
create hh --docker host=tcp://
create hh --docker host=tcp://h,ca=key.pem
create hh --docker from=nosuch
create hh --docker host=ssh://u:pw@h
create hh --docker host=ssh://u@
create hh --docker host=ssh://u@h?x=y
update z --description x
export z
create ii --from bb --docker host=unix:///x
create ii --from nosuch
create ii --from aa --description copied
create jj --docker from=bb
ls
ls -q
show
use aa
use nosuch
use x
ls
inspect
inspect aa bb
inspect nosuch
inspect nosuch default nosuch2
inspect bb nosuch
show
rm aa
rm bb nosuch
rm -f nosuch
rm default
update cc --description other --docker host=unix:///d.sock
update nosuch
update default
update ii --docker host=tcp://2.2.2.2:1
export ii ii.tar
export ii ii.tar
export cc
import imported ii.tar
import imported ii.tar
import x ii.tar
import again cc.dockercontext
import bad cert.pem
import bad nosuch.tar
inspect imported
inspect again
rm -f aa
show
use default
ls
rm
ls x
show x
export
import a
inspect --nosuch
"""


def test_script(twins):
    for line in SCRIPT.splitlines():
        docker, caisson = twins.both("context", *line.split())
        if line.startswith("import bad cert"):  # not an archive: the words differ
            assert docker[0] == caisson[0] == 1 and caisson[2]
            continue
        assert loose(caisson) == loose(docker), line
    assert files(twins, "caisson") == files(twins, "docker")
    assert files(twins, "docker")["contexts"], "the script left contexts behind"


def test_each_reads_what_the_other_wrote(twins):
    twins.one("docker", "context", "create", "from-docker", "--docker", "host=tcp://1.2.3.4:5,ca=cert.pem")
    shutil.rmtree(twins.root / "caisson" / "config")
    shutil.copytree(twins.root / "docker" / "config", twins.root / "caisson" / "config")
    assert twins.one("caisson", "context", "create", "from-caisson", "--docker", "host=unix:///x.sock,skip-tls-verify=1")[0] == 0
    shutil.rmtree(twins.root / "docker" / "config")
    shutil.copytree(twins.root / "caisson" / "config", twins.root / "docker" / "config")
    status, out, _ = twins.same("context", "inspect", "from-docker", "from-caisson")
    assert status == 0 and "ca.pem" in out
    # archives, too
    for maker, reader in (("docker", "caisson"), ("caisson", "docker")):
        assert twins.one(maker, "context", "export", "from-docker", f"{maker}.tar")[0] == 0
        shutil.copy(twins.root / maker / f"{maker}.tar", twins.root / reader / f"{maker}.tar")
        assert twins.one(reader, "context", "import", f"by-{maker}", f"{maker}.tar")[0] == 0
    for name in ("by-docker", "by-caisson"):
        which = "caisson" if name == "by-docker" else "docker"
        seen = json.loads(twins.one(which, "context", "inspect", name)[1])[0]
        assert seen["Endpoints"]["docker"]["Host"] == "tcp://1.2.3.4:5" and seen["TLSMaterial"] == {"docker": ["ca.pem"]}


def test_current_context_keeps_the_rest_of_the_file(twins):
    twins.write("config/config.json", '{"auths":{"r.example":{"auth":"YTpi"}},"detachKeys":"ctrl-x","unknownKey":{"a":[1,2]}}', 0o640)
    twins.same("context", "create", "cc", "--docker", "host=unix:///c.sock")
    assert twins.one("caisson", "context", "use", "cc")[0] == 0
    config = twins.root / "caisson/config/config.json"
    assert config.stat().st_mode & 0o777 == 0o640
    assert json.loads(config.read_text()) == {"auths": {"r.example": {"auth": "YTpi"}}, "detachKeys": "ctrl-x", "unknownKey": {"a": [1, 2]}, "currentContext": "cc"}
    assert config.read_text().splitlines()[1].startswith('\t"auths"'), "docker indents with tabs"


def test_config_that_is_a_link_stays_one(twins):
    real = twins.root / "caisson/real.json"
    real.write_text('{"auths":{}}')
    config = twins.root / "caisson/config/config.json"
    config.symlink_to(real)
    twins.one("caisson", "context", "create", "cc", "--docker", "host=unix:///c.sock")
    assert twins.one("caisson", "context", "use", "cc")[0] == 0
    assert config.is_symlink() and json.loads(real.read_text())["currentContext"] == "cc"


def test_a_config_that_cannot_be_read_is_not_overwritten(tmp_path):
    """docker loses what is in it: the credentials, for a comma."""
    t = Twins(tmp_path)
    t.write("config/config.json", '{"auths": {"h": {"auth": "dTpw"}},}')
    assert t.one("caisson", "context", "create", "aa", "--docker", "host=unix:///x")[0] == 0
    status, _, err = t.one("caisson", "context", "use", "aa")
    assert status == 1 and "cannot be read, and would be lost" in err and (tmp_path / "caisson/config/config.json").read_text() == '{"auths": {"h": {"auth": "dTpw"}},}'


def test_broken_config(twins):
    twins.write("config/config.json", '{"auths": ')
    docker, caisson = twins.both("context", "show")
    assert docker[:2] == caisson[:2] and caisson[2].startswith("WARNING: Error parsing config file (FOLDER/config/config.json): ") and docker[2].startswith(caisson[2][:40])


@pytest.mark.parametrize("args, env", [
    (["-c", "nosuch", "ps"], {}), (["--context", "nosuch", "ps"], {}), (["ps"], {"DOCKER_CONTEXT": "nosuch"}), (["context", "show"], {"DOCKER_CONTEXT": "nosuch"}),
    (["context", "ls"], {"DOCKER_CONTEXT": "nosuch"}), (["-c", "a", "-H", "unix:///x.sock", "ps"], {}), (["--log-level", "x", "ps"], {}),
    (["context", "show"], {"DOCKER_CONTEXT": "nosuch", "DOCKER_HOST": "unix:///x.sock"}), (["-c", "cc", "context", "show"], {"DOCKER_HOST": "unix:///x.sock"}),
    (["-c", "cc", "ps"], {"DOCKER_HOST": "unix:///x.sock"}), (["-H", "unix:///y.sock", "ps"], {"DOCKER_CONTEXT": "cc"}), (["ps"], {"DOCKER_CONTEXT": "cc"}),
    (["context", "use", "cc"], {"DOCKER_HOST": "unix:///x.sock"}), (["context", "ls"], {"DOCKER_HOST": "unix:///x.sock"}),
    (["context", "inspect"], {"DOCKER_HOST": "tcp://1.2.3.4:5"}), (["context", "export", "default", "-"], {"DOCKER_HOST": "tcp://1.2.3.4:5"}),
    (["context", "create", "new"], {"DOCKER_HOST": "tcp://1.2.3.4:5"})])
def test_precedence(twins, args, env):
    twins.same("context", "create", "cc", "--docker", "host=unix:///c.sock")
    if args[:2] == ["context", "export"]:
        docker, caisson = twins.both(*args, **env)
        assert caisson[0] == docker[0] == 0 and "tcp://1.2.3.4:5" in caisson[1] and "tcp://1.2.3.4:5" in docker[1]
        return
    docker, caisson = twins.both(*args, **env)
    assert loose(caisson) == loose(docker)


FORMATS = ["{{.Name}}", "{{.Metadata.Metadata.Description}}", "{{.Endpoints.docker.Host}}", "{{json .}}", "json", "{{", "{{json .TLSMaterial}}", "{{.}}", "{{.Current}} {{.DockerEndpoint}} {{.Error}}",
           "table {{.Name}}\\t{{.Current}}", "table", "{{.Foo}}"]


@pytest.mark.parametrize("text", FORMATS)
def test_formats(twins, text):
    twins.same("context", "create", "cc", "--docker", "host=unix:///c.sock,ca=cert.pem", "--description", "some text")
    if text != "{{.}}":  # a pointer to a struct of docker's client
        docker, caisson = twins.both("context", "ls", "--format", text)
        assert loose(caisson) == loose(docker)
    if "Current" not in text and text not in ("table", "{{.Foo}}"):  # of fields that are not there docker speaks twice
        twins.same("context", "inspect", "-f", text, "cc")


@pytest.mark.parametrize("config, key", [({"psFormat": 5}, "psFormat"), ({"proxies": {"default": {"httpProxy": 5}}}, "proxies"), ({"cliPluginsExtraDirs": "x"}, "cliPluginsExtraDirs"),
                                         ({"HttpHeaders": {"a": ["b"]}}, "HttpHeaders"), ({"auths": {"h": "x"}}, "auths"), ({"credsStore": False}, "credsStore"),
                                         ({"psFormat": None, "auths": {"h": {}}, "ours": 5, "features": {"a": "b"}, "proxies": {"default": None}}, None)])
def test_what_cannot_be_used_is_said(twins, config, key):
    """In our words, where docker says it; and then both go on."""
    twins.write("config/config.json", json.dumps(config))
    docker, caisson = twins.both("context", "show")
    assert caisson[:2] == docker[:2] == (0, "default\n")
    said = [r[2].startswith("WARNING: Error parsing config file (FOLDER/config/config.json): ") for r in (docker, caisson)]
    assert said == [key is not None] * 2 and (key or "") in caisson[2], (docker, caisson)


@pytest.mark.parametrize("meta", [[], None, {"Name": 5}, {"Name": "x", "Metadata": []}, {"Name": "x", "Endpoints": []}, {"Name": "x", "Endpoints": {"docker": "tcp://h:1"}}], ids=json.dumps)
def test_what_is_no_context_is_not_imported(tmp_path, meta):
    """It would be there and could not be used, by docker neither."""
    t = Twins(tmp_path)
    with tarfile.open(tmp_path / "caisson/x.tar", "w") as f:
        data = json.dumps(meta).encode()
        entry = tarfile.TarInfo("meta.json")
        entry.size = len(data)
        f.addfile(entry, io.BytesIO(data))
    status, out, err = t.one("caisson", "context", "import", "imported", "x.tar")
    assert status == 1 and not out and err.startswith("invalid context: ") and "imported" not in t.one("caisson", "context", "ls", "-q")[1]


META = json.dumps({"Name": "x", "Metadata": {}, "Endpoints": {"docker": {"Host": "tcp://h:1", "SkipTLSVerify": False}, "kubernetes": {"Host": "https://k"}}}).encode()
FULL = [("meta.json", META), ("tls/docker/ca.pem", b"ca"), ("tls/docker/other", b"x" * 3000), ("tls/kubernetes/key.pem", b""), ("tls/kubernetes/" + "n" * 120, b"long"), ("tls/k\u00e9/\u00e4.pem", b"utf-8")]


def pack(t, entries, kind="tar", name="x"):
    """The archive in both folders. An entry is (name, data) or a TarInfo."""
    out = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as f:
            for path, data in entries:
                f.writestr(path, data)
    else:
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as f:
            for entry in entries:
                info = entry if isinstance(entry, tarfile.TarInfo) else tarfile.TarInfo(entry[0])
                info.size = 0 if isinstance(entry, tarfile.TarInfo) else len(entry[1])
                f.addfile(info, None if isinstance(entry, tarfile.TarInfo) else io.BytesIO(entry[1]))
    for which in ("docker", "caisson"):
        (t.root / which / name).write_bytes(out.getvalue())


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_files_of_all_endpoints(tmp_path, kind):
    """In, out, and in again through the other one."""
    t = Twins(tmp_path)
    pack(t, FULL, kind)
    assert t.same("context", "import", "first", "x")[0] == 0
    assert "kubernetes" in t.same("context", "inspect", "first", "-f", "{{json .TLSMaterial}}")[1]
    assert t.same("context", "create", "copy", "--from", "first")[0] == 0
    assert t.same("context", "export", "first", "out.tar")[0] == 0
    made = [tmp_path / which / "out.tar" for which in ("docker", "caisson")]
    swapped = [p.read_bytes() for p in reversed(made)]
    names = []
    for path, data in zip(made, swapped):
        own = path.read_bytes()
        with tarfile.open(fileobj=io.BytesIO(own + bytes(-len(own) % 512 + 1024))) as f:  # docker pads and ends nothing
            names.append(sorted((m.name, m.mode, m.type) for m in f))
        path.write_bytes(data)
    assert names[0] == names[1]
    assert t.same("context", "import", "second", "out.tar")[0] == 0
    t.same("context", "inspect", "first", "second", "copy")
    left = files(t, "caisson")
    assert left == files(t, "docker") and sum(name.endswith("n" * 120) for name in left) == 3


@pytest.mark.parametrize("args", [["--docker", "host=tcp://h:2"], ["--docker", "host=tcp://h:2,cert=cert.pem"], ["--docker", "skip-tls-verify=true"], ["--description", "new"]])
def test_an_update_replaces_all_files_of_the_endpoint(twins, args):
    """Also those that only an archive can bring; those of other endpoints stay."""
    pack(twins, FULL)
    twins.same("context", "import", "first", "x")
    assert twins.same("context", "update", "first", *args)[0] == 0
    twins.same("context", "inspect", "first")
    left = files(twins, "caisson")
    assert left == files(twins, "docker") and any("docker/other" in name for name in left) == (args[0] == "--description")


def test_create_takes_nothing_over(twins):
    """From a context of this name whose description somebody deleted by hand."""
    pack(twins, FULL)
    twins.same("context", "import", "first", "x")
    for which in ("docker", "caisson"):
        shutil.rmtree(twins.root / which / "config/contexts/meta")
    assert twins.same("context", "create", "first", "--docker", "host=tcp://h:2,ca=cert.pem")[0] == 0
    twins.same("context", "inspect", "first")
    assert files(twins, "caisson") == files(twins, "docker")


def special(name, kind, target="/etc/passwd"):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("entry", ["other", "/meta.json", "./meta.json", "tls", "../x", "/tls/docker/ca.pem", "tls/../../x", "tls/docker/../../../x", "tls//ca.pem", "tls/docker//ca.pem", "tls/./docker/ca.pem",
                                   "tls/docker/.", "tls/docker/..", "tls/a\\b/c", "tls/docker/..\\x", "tls\\docker\\ca.pem", "tls/ca.pem"])
def test_hostile_names(tmp_path, entry):
    t = Twins(tmp_path)
    pack(t, [(entry, b"x"), ("meta.json", META)])
    assert t.same("context", "import", "first", "x")[0] == 1
    assert not (tmp_path / "caisson/config/contexts").exists()


def test_hostile_archives(tmp_path):
    """What is no file is passed over, as docker does. What is too much is refused before anything is written."""
    t = Twins(tmp_path)
    links = [special("tls/docker/ca.pem", kind) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE)] + [special("tls/docker", tarfile.SYMTYPE, "/tmp")]
    pack(t, [("meta.json", META), *links, ("tls/docker/cert.pem", b"x")])
    assert t.same("context", "import", "links", "x")[0] == 0
    t.same("context", "inspect", "links")
    assert files(t, "caisson") == files(t, "docker")
    big = b"x" * (6 << 20)
    for what, entries in {"huge": [("tls/a/b", b"x" * (11 << 20))], "two": [("tls/a/b", big), ("tls/a/c", big)], "many": [(f"tls/a/{i}", b"") for i in range(200)], "deep": [("tls/a/b/c", b"")],
                          "long": [("tls/a/" + "n" * 300, b"")]}.items():
        for kind in ("tar", "zip"):
            pack(t, [("meta.json", META), *entries], kind)
            status, out, err = t.one("caisson", "context", "import", what, "x")
            assert (status, out) == (1, "") and err, what
    assert t.one("caisson", "context", "ls", "-q")[1] == "default\nlinks\n" and len(list((tmp_path / "caisson/config/contexts/tls").iterdir())) == 1


@pytest.mark.parametrize("what", ["damaged", "first damaged", "cut header", "cut data", "cut before", "no padding", "garbage", "tail"])
def test_damaged_archives(tmp_path, what):
    """Nothing is taken of an archive of which a part cannot be read, but for the end that docker itself leaves out."""
    t = Twins(tmp_path)
    pack(t, [("meta.json", META), ("tls/docker/ca.pem", b"a" * 10), ("tls/docker/key.pem", b"b" * 10)])
    whole = (tmp_path / "docker/x").read_bytes()  # a header and a block for each
    flipped = lambda at: whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:]
    data = {"damaged": flipped(2053), "first damaged": flipped(5), "cut header": whole[:2248], "cut data": whole[:2565], "cut before": whole[:2048], "no padding": whole[:2570], "garbage": whole[:2048] + b"g" * 600,
            "tail": whole[:3072] + b"x" * 700}[what]
    for which in ("docker", "caisson"):
        (tmp_path / which / "x").write_bytes(data)
    docker, caisson = t.both("context", "import", "first", "x")
    assert caisson[:2] == docker[:2] and (caisson[2] == docker[2] or docker[0])
    if docker[0]:
        assert not (tmp_path / "caisson/config/contexts").exists()
    else:
        assert files(t, "caisson") == files(t, "docker")
