"""The doctor, in an archive on loopback that falls ill: what it says, what it advises, and what it never shows."""

import logging
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from email.utils import formatdate
from itertools import count
from pathlib import Path

import pytest
import typer
from ill_server import SECRET, ill_server
from planetary_computer.settings import Settings
from typer.testing import CliRunner

from sarcube.acquisition.doctor import clock, diagnose, examine, files, folders, installation, patience
from sarcube.acquisition.doctor.asking import Answer
from sarcube.acquisition.doctor.findings import Finding, Trouble, check, in_time, in_units, printable
from sarcube.cli.doctor import doctor
from sarcube.errors import InputError

DOCS = Path(__file__).parents[1] / "docs" / "access.md"
PASSWORD = "hunter2secret"
NETWORK = ["connection", "catalogue", "collection", "items", "signature", "files", "speed", "clock"]
_accounts = count()  # signatures are kept in memory: each test has a storage of its own


@pytest.fixture(scope="module")
def archive():
    with ill_server() as server:
        yield server


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    """An environment in which nothing is set, and nothing is at home."""
    for name in list(os.environ):
        if re.search(r"proxy|bundle|^ssl_|^gdal|^cpl_|^vsi|^proj_|^pc_sdk|^numba|^omp_|^netrc", name, re.IGNORECASE):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SARCUBE_CACHE", str(tmp_path / "cache"))
    Settings.get.cache_clear()
    yield
    Settings.get.cache_clear()


@pytest.fixture
def well(archive):
    archive.be()
    return archive


@pytest.fixture
def signed(archive, monkeypatch):
    """An archive whose files want signatures; what leads to their storage is a proxy."""

    def be(**settings):
        href = f"http://account{next(_accounts)}.blob.core.windows.net/scenes/vv.tiff"
        archive.be(href=href, **settings)
        return href

    monkeypatch.setenv("http_proxy", archive.url)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("PC_SDK_SAS_URL", f"{archive.url}/sas")
    return be


def of(found, name):
    """Return the one finding of a name; of several connections the worst."""
    order = ["failed", "warning", "skipped", "well"]
    return min((one for one in found if one.name == name), key=lambda one: order.index(one.state))


def states(found, *names):
    return [of(found, name).state for name in names]


def closed_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# A healthy archive


def test_all_is_well(well):
    found = diagnose(catalog=well.api)
    assert [one for one in found if one.state in ("failed", "warning") and one.name in NETWORK] == []
    assert states(found, "connection", "catalogue", "collection", "items", "files", "speed") == ["well"] * 6
    assert of(found, "signature").state == "skipped"
    assert "need none" in of(found, "signature").words
    assert "track D080" in of(found, "items").words
    assert "262 kB came in" in of(found, "speed").words
    assert "1 GB takes" in of(found, "speed").words
    assert "agrees with 127.0.0.1" in of(found, "clock").words


def test_all_is_well_with_signatures_through_a_proxy(signed, archive):
    href = signed()
    found = diagnose(catalog=archive.api)
    assert states(found, *NETWORK) == ["well"] * 8
    assert "good for 45 min" in of(found, "signature").words
    assert href in of(found, "files").words
    assert "through the proxy" in " ".join(one.words for one in found if one.name == "connection")
    assert "PC_SDK_SAS_URL" in of(found, "credentials").words


def test_questions_come_in_order_and_each_has_an_answer(well):
    found = diagnose(catalog=well.api)
    names = list(dict.fromkeys(one.name for one in found))
    assert names[-8:] == NETWORK
    assert names[:3] == ["versions", "projections", "geotiff"]
    assert all(one.words for one in found)


def test_the_docs_explain_every_finding(well):
    names = {one.name for one in diagnose(catalog=well.api)}
    listed = re.findall(r"^\| \*\*(.+?)\*\* \|", DOCS.read_text(), re.MULTILINE)
    assert sorted(names) == sorted(listed)


def test_little_is_asked(well):
    """Landing page, collection, item, and twice the first bytes of one file."""
    diagnose(catalog=well.api)
    assert len(well.requests()) == 5
    assert [entry["headers"].get("Range") for entry in well.requests() if entry["path"].endswith(".tiff")] == [
        "bytes=0-15",
        "bytes=0-262143",
    ]


# An archive that is ill

LANDING, COLLECTION, SEARCH, FILE = "/stac", "/stac/collections/sentinel-1-rtc", "/stac/search", "/data/vv.tiff"
LATER = {"catalogue": ["collection", "items"], "collection": ["items"], "items": [], "files": ["speed"]}


@pytest.mark.parametrize(
    ("path", "fault", "name", "words", "advice"),
    [
        (LANDING, "403", "catalogue", "answers 403", ".netrc"),
        (LANDING, "429", "catalogue", "throttled, too much is asked of it and asks to wait 2 min", "wait 2 min"),
        (LANDING, "500", "catalogue", "broken or under repair", "staged scenes still works"),
        (LANDING, "404", "catalogue", "nothing at this address", "check the address"),
        (LANDING, "407", "catalogue", "the proxy wants a login", "https_proxy=http://USER:PASSWORD@PROXY"),
        (LANDING, "html", "catalogue", "no JSON (text/html)", "login page"),
        (LANDING, "text", "catalogue", "answers a list", "check the address"),
        (LANDING, "not STAC", "catalogue", "it is FeatureCollection", "landing page"),
        (LANDING, "no search", "catalogue", "names no item-search", "landing page"),
        (LANDING, "elsewhere", "catalogue", "another host, elsewhere.example", "names itself"),
        (LANDING, "close", "catalogue", "was broken off", "try again"),
        (COLLECTION, "404", "collection", "no collection sentinel-1-rtc; it has sentinel-1-grd", "another catalogue"),
        (COLLECTION, "503", "collection", "throttled", "one job at a time"),
        (SEARCH, "empty", "items", "no item at all", "another catalogue"),
        (SEARCH, "429", "items", "throttled", "subscription key"),
        (FILE, "403", "files", "refuses", "files of your own need a signature"),
        (FILE, "404", "files", "which is not there", "search again"),
        (FILE, "429", "files", "throttled", "wait 2 min"),
        (FILE, "503", "files", "throttled", "wait 2 min"),
        (FILE, "huge", "files", "does not know byte ranges", "items_from_folder"),
        (FILE, "no TIFF", "files", "is no TIFF, it begins with", "report it"),
        (FILE, "close", "files", "broken off", "try again"),
    ],
)
def test_an_ill_archive(archive, path, fault, name, words, advice):
    archive.be(faults={path: fault})
    found = diagnose(catalog=archive.api)
    failed = [one for one in found if one.state == "failed"]
    assert [one.name for one in failed] == [name]
    assert words in failed[0].words
    assert advice in failed[0].advice
    assert states(found, *LATER[name]) == ["skipped"] * len(LATER[name])
    assert of(found, "clock").state in ("well", "skipped")


def test_a_stalled_archive_does_not_hold_up_the_doctor(archive, monkeypatch):
    monkeypatch.setattr(patience, "ANSWER", 0.3)
    archive.be(faults={LANDING: "stall"}, seconds=3)
    finding = of(diagnose(catalog=archive.api), "catalogue")
    assert finding.state == "failed"
    assert "does not answer in time" in finding.words
    assert "https_proxy" in finding.advice


def test_a_slow_archive(archive, monkeypatch):
    monkeypatch.setattr(files, "_SLOW", 2e6)  # the server makes 800 kB/s at most
    archive.be(faults={FILE: "slow"}, seconds=0.02)
    finding = of(diagnose(catalog=archive.api), "speed")
    assert finding.state == "warning"
    assert finding.words.startswith("slow: 262 kB came in")
    assert "small area" in finding.advice


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ({"sat:orbit_state": None}, "sat:orbit_state must be"),
        ({"sat:relative_orbit": 900}, "sat:relative_orbit must be"),
        ({"proj:transform": "north"}, "proj:transform must be"),
    ],
)
def test_items_that_cannot_be_read(archive, item, words):
    archive.be(item=item)
    found = diagnose(catalog=archive.api)
    assert of(found, "items").state == "failed"
    assert words in of(found, "items").words
    assert "docs/access.md" in of(found, "items").advice
    assert states(found, "files", "speed") == ["skipped"] * 2


def test_items_that_do_not_say_where_they_lie(archive):
    archive.be(item={"proj:transform": None})
    finding = of(diagnose(catalog=archive.api), "items")
    assert finding.state == "well"
    assert "every file is opened" in finding.words


def test_a_file_of_the_machine_is_not_opened(archive):
    archive.be(href="file:///etc/passwd")
    finding = of(diagnose(catalog=archive.api), "items")
    assert finding.state == "failed"
    assert "not opened" in finding.words


# Signatures


@pytest.mark.parametrize(
    ("fault", "words", "advice"),
    [
        ("403", "answers 403", ".netrc"),
        ("429", "throttled", "subscription key"),
        ("500", "broken or under repair", "try again"),
        ("html", "answers no signature", "login page"),
        ("text", "answers no signature", "PC_SDK_SAS_URL"),
    ],
)
def test_no_signature(signed, archive, fault, words, advice):
    href = signed()
    account = href.removeprefix("http://").partition(".")[0]
    archive.be(href=href, faults={f"/sas/{account}/scenes": fault})
    found = diagnose(catalog=archive.api)
    assert of(found, "signature").state == "failed"
    assert words in of(found, "signature").words
    assert advice in of(found, "signature").advice
    assert of(found, "files") == Finding("files", "skipped", "there is no signature")


def test_a_key_is_not_led_elsewhere(signed, archive, monkeypatch):
    """A header of one's own would go along to whatever host a redirect names."""
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", PASSWORD)
    href = signed()
    account = href.removeprefix("http://").partition(".")[0]
    archive.be(href=href, faults={f"/sas/{account}/scenes": "redirect"})
    finding = of(diagnose(catalog=archive.api), "signature")
    assert finding.state == "failed"
    assert "answers 302" in finding.words
    assert "check the address" in finding.advice
    assert not any("/caught" in entry["path"] for entry in archive.requests())


def test_a_container_without_signatures_is_read_without(signed, archive):
    href = signed()
    account = href.removeprefix("http://").partition(".")[0]
    archive.be(href=href, faults={f"/sas/{account}/scenes": "404"})
    found = diagnose(catalog=archive.api)
    assert of(found, "signature").state == "well"
    assert of(found, "files").state == "failed"
    assert "403" in of(found, "files").words
    assert "look at the lines on clock" in of(found, "files").advice


def test_a_signature_that_is_stale_by_our_clock(signed, archive):
    signed(clock=-7200)
    found = diagnose(catalog=archive.api)
    assert of(found, "signature").state == "warning"
    assert "has expired 75 min ago by this machine's clock" in of(found, "signature").words
    assert "set this machine's clock" in of(found, "signature").advice
    assert of(found, "clock").state == "failed"


def test_no_secret_is_shown(signed, archive, monkeypatch, caplog, capsys):
    """Neither key, signature, passwords of proxy, catalogue and .netrc, whatever is logged."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", PASSWORD)
    monkeypatch.setenv("http_proxy", archive.url.replace("//", f"//user:{PASSWORD}@"))
    file = Path(os.environ["HOME"]) / ".netrc"
    file.write_text(f"machine somewhere.example login user password {PASSWORD}\n")
    signed()
    found = diagnose(catalog=archive.api.replace("//", f"//user:{PASSWORD}@"))
    assert states(found, "signature", "files", "speed") == ["well"] * 3
    shown = "".join(f"{one.words} {one.advice}" for one in found) + caplog.text + "".join(capsys.readouterr())
    assert PASSWORD not in shown
    assert SECRET not in shown
    assert "(with a login)" in " ".join(one.words for one in found if one.name == "connection")
    assert "a subscription key is sent" in of(found, "credentials").words
    told = [entry["path"] for entry in archive.requests() if "Ocp-Apim-Subscription-Key" in entry["headers"]]
    assert told
    assert all("/sas/" in path for path in told)


def test_no_secret_is_shown_when_all_fails(signed, archive, monkeypatch):
    href = signed()
    archive.be(href=f"{href}?sv=1&se=2000-01-01T00%3A00%3A00Z&sig={PASSWORD}", faults={"/scenes/vv.tiff": "403"})
    found = diagnose(catalog=archive.api)
    assert of(found, "files").state == "failed"
    assert not any(secret in str(found) for secret in (PASSWORD, SECRET, "sig="))


# Clocks


@pytest.mark.parametrize(
    ("ahead", "state", "words", "advice"),
    [
        (-30, "well", "agrees with", ""),
        (-150, "warning", "ahead of that of 127.0.0.1", "timedatectl"),
        (150, "warning", "signatures seem to expire", "timedatectl"),
        (3600, "failed", "60 min behind that of", "timedatectl"),
        (-86_400, "failed", "24.0 h ahead of that of", "timedatectl"),
    ],
)
def test_a_wrong_clock(archive, ahead, state, words, advice):
    archive.be(clock=ahead)
    finding = of(diagnose(catalog=archive.api), "clock")
    assert finding.state == state
    assert words in finding.words
    assert advice in finding.advice


def answer(host, ahead, *, seconds=0.0, **headers):
    now = time.time()
    date = formatdate(now + ahead, usegmt=True)
    return Answer(f"https://{host}/", 200, {"Date": date, **headers}, b"", now, seconds)


def test_a_server_with_a_wrong_clock_is_found_out():
    finding = clock.compare_clock([answer("right.example", 0), answer("wrong.example", 5000)])
    assert finding.state == "warning"
    assert "that of wrong.example is off" in finding.words
    with pytest.raises(Trouble, match=r"behind that of one\.example, two\.example"):
        clock.compare_clock([answer("one.example", 5000), answer("two.example", 5001)])


def test_a_slow_line_does_not_put_the_clock_in_the_wrong():
    """What took two minutes may have been answered at any moment of these."""
    assert clock.compare_clock([answer("far.example", -110, seconds=120.0)]).state == "well"
    assert clock.compare_clock([answer("far.example", -190, seconds=120.0)]).state == "warning"


def test_an_answer_from_a_cache_is_as_old_as_it_says():
    assert clock.compare_clock([answer("cached.example", -4000, Age="4000")]).state == "well"


def test_a_server_that_tells_no_time():
    silent = Answer("https://host/", 200, {"Date": "yesterday"}, b"", 0.0, 0.0)
    assert clock.compare_clock([silent]) == Finding("clock", "skipped", "no server told its time")


# Settings and addresses that cannot be read


def test_settings_of_planetary_computer_that_cannot_be_read(signed, archive, tmp_path, monkeypatch):
    monkeypatch.delenv("PC_SDK_SAS_URL")
    file = tmp_path / ".planetarycomputer" / "settings.env"
    file.parent.mkdir()
    file.write_bytes(b"\xff\xfe" + PASSWORD.encode())
    signed()
    found = diagnose(catalog=archive.api)
    assert states(found, "credentials", "items", "signature", "files") == ["failed", "well", "failed", "skipped"]
    assert "settings.env, cannot be read" in of(found, "credentials").words
    assert "correct that file" in of(found, "signature").advice
    assert PASSWORD not in str(found)


def test_the_address_of_a_file_that_cannot_be_parsed(archive):
    archive.be(href="https://[x/vv.tiff")
    found = diagnose(catalog=archive.api)
    assert states(found, "items", "signature", "clock") == ["well", "skipped", "well"]
    assert "failed" in states(found, "connection", "files")


def test_the_address_of_a_catalogue_that_cannot_be_parsed():
    with pytest.raises(InputError, match=r"http\(s\)://host/path, not"):
        diagnose(catalog=f"https://user:{PASSWORD}@[")


# The line


def test_a_closed_port():
    found = diagnose(catalog=f"http://127.0.0.1:{closed_port()}/stac")
    assert of(found, "connection").state == "failed"
    assert "refuses the connection" in of(found, "connection").words
    assert "firewall" in of(found, "connection").advice
    assert states(found, *NETWORK[1:]) == ["skipped"] * 7
    assert "no connection to 127.0.0.1" in of(found, "catalogue").words


def test_a_proxy_that_does_not_answer(well, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{PASSWORD}@127.0.0.1:{closed_port()}")
    found = diagnose(catalog=well.api)
    assert of(found, "proxy").state == "failed"
    assert "does not answer (Connection refused)" in of(found, "proxy").words
    assert "HTTP_PROXY" in of(found, "proxy").advice
    assert states(found, *NETWORK) == ["skipped"] * 8
    assert "the proxy on its way cannot be used" in of(found, "connection").words
    assert PASSWORD not in str(found)
    assert well.requests() == []


@pytest.mark.parametrize(
    ("status", "words", "advice"),
    [
        (403, "does not let connections through to archive.example (403 Forbidden)", "allow archive.example"),
        (407, "wants a login before it lets anything through to archive.example", "USER:PASSWORD"),
    ],
)
def test_a_proxy_that_refuses(archive, monkeypatch, status, words, advice):
    archive.be(tunnel=status)
    monkeypatch.setenv("https_proxy", archive.url)
    found = diagnose(catalog="https://archive.example/stac")
    assert of(found, "proxy").state == "well"
    assert of(found, "connection").state == "failed"
    assert words in of(found, "connection").words
    assert advice in of(found, "connection").advice


def test_a_proxy_that_is_no_address(well, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://proxy:many/")
    finding = of(diagnose(catalog=well.api), "proxy")
    assert finding.state == "failed"
    assert finding.words == "http_proxy is no address of a proxy"
    assert "http://host:port" in finding.advice


def test_no_proxy_is_heard(well, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    found = diagnose(catalog=well.api)
    assert states(found, "proxy", "connection", "files") == ["well"] * 3
    assert "asked directly" in of(found, "proxy").words


@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare, to cut off the network")
@pytest.mark.parametrize("catalog", [None, "http://198.51.100.7/stac"])
def test_without_a_network(catalog):
    """In a network namespace of its own there is not even a loopback."""
    code = (
        "from sarcube.acquisition.doctor import diagnose\n"
        f"for one in diagnose(catalog={catalog!r}): print(one.name, one.state, one.words, one.advice)"
    )
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-W", "error::ResourceWarning", "-c", code]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if "unshare" in ended.stderr:
        pytest.skip(f"no network namespace of one's own here: {ended.stderr.strip()}")
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    failed = [line for line in lines if " failed " in line]
    assert len(failed) == 1
    assert failed[0].startswith("connection failed no network: this machine has no route")
    assert "everything from staged scenes still works" in failed[0]
    assert "projections well" in ended.stdout
    assert all(f"{name} skipped" in ended.stdout for name in NETWORK[1:])


# Certificates


def make_certificate(folder, *, host, days):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl, to make a certificate")
    key, request, extra, certificate = (folder / name for name in ("key.pem", "request", "extra", "certificate.pem"))
    extra.write_text(
        f"subjectAltName=IP:{host}\nbasicConstraints=critical,CA:TRUE\nkeyUsage=digitalSignature,keyCertSign\n"
    )
    new = ["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=test"]
    sign = ["x509", "-req", "-in", request, "-signkey", key, "-days", str(days), "-extfile", extra]
    for arguments in ([*new, "-keyout", key, "-out", request], [*sign, "-out", certificate]):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True)
    return str(certificate), str(key)


def test_a_certificate_that_nobody_vouches_for(tmp_path, monkeypatch):
    certificate = make_certificate(tmp_path, host="127.0.0.1", days=2)
    with ill_server(tls=certificate) as server:
        found = diagnose(catalog=server.api)
        assert of(found, "connection").state == "failed"
        assert "is not trusted" in of(found, "connection").words
        assert "REQUESTS_CA_BUNDLE" in of(found, "connection").advice
        assert of(found, "catalogue").state == "skipped"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate[0])
        found = diagnose(catalog=server.api)
        assert states(found, "certificates", "connection", "catalogue", "items", "files", "speed") == ["well"] * 6
        assert "its certificate is trusted" in of(found, "connection").words
        assert "REQUESTS_CA_BUNDLE" in of(found, "certificates").words


@pytest.mark.parametrize(
    ("host", "days", "words", "advice"),
    [
        ("127.0.0.1", -1, "is not valid at this machine's time", "set the clock"),
        ("127.0.0.9", 2, "has the certificate of another host", "login page"),
    ],
)
def test_a_certificate_that_does_not_hold(tmp_path, monkeypatch, host, days, words, advice):
    certificate = make_certificate(tmp_path, host=host, days=days)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate[0])
    with ill_server(tls=certificate) as server:
        finding = of(diagnose(catalog=server.api), "connection")
    assert finding.state == "failed"
    assert words in finding.words
    assert advice in finding.advice


def test_what_does_not_speak_tls(well):
    finding = of(diagnose(catalog=well.api.replace("http:", "https:")), "connection")
    assert finding.state == "failed"
    assert "does not speak TLS" in finding.words
    assert "https or http" in finding.advice


def test_certificates_that_are_not_there(well, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    finding = of(diagnose(catalog=well.api), "certificates")
    assert finding.state == "failed"
    assert "are not there" in finding.words
    assert "unset it" in finding.advice
    (tmp_path / "none.pem").write_text("no certificate")
    assert "cannot be used as certificates" in of(diagnose(catalog=well.api), "certificates").words


def test_certificates_that_have_no_effect(well, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/ssl/some.pem")
    finding = of(diagnose(catalog=well.api), "certificates")
    assert finding.state == "warning"
    assert "not those of SSL_CERT_FILE" in finding.words
    assert "REQUESTS_CA_BUNDLE" in finding.advice


# Logins


def test_a_login_in_netrc(signed, archive):
    signed()
    file = Path(os.environ["HOME"]) / ".netrc"
    file.write_text(f"machine 127.0.0.1 login user password {PASSWORD}\n")
    found = diagnose(catalog=archive.api)
    assert "a login for 127.0.0.1" in of(found, "credentials").words
    assert PASSWORD not in str(found)
    file.write_text(f"machine 127.0.0.1 login user {PASSWORD}\n")
    finding = of(diagnose(catalog=archive.api), "credentials")
    assert finding.state == "warning"
    assert "is broken at line" in finding.words
    assert PASSWORD not in str(finding)


def test_no_login_is_sent_beside_a_signature(signed, archive):
    """The storage refuses a request that carries both."""
    signed()
    (Path(os.environ["HOME"]) / ".netrc").write_text(f"default login user password {PASSWORD}\n")
    assert of(diagnose(catalog=archive.api), "files").state == "well"


def test_a_small_file_of_a_server_without_ranges_is_read_all_the_same(archive):
    archive.be(faults={FILE: "whole"})
    found = diagnose(catalog=archive.api)
    assert states(found, "files", "speed") == ["warning", "well"]
    assert "does not know byte ranges" in of(found, "files").words


def test_a_key_that_was_copied_wrong(well, monkeypatch):
    monkeypatch.setenv("PC_SDK_SUBSCRIPTION_KEY", f'"{PASSWORD}" \n')
    finding = of(diagnose(catalog=well.api), "credentials")
    assert finding.state == "warning"
    assert "quotes or line ends" in finding.words
    assert PASSWORD not in str(finding)


# This machine


def test_versions():
    words = installation.versions().words
    assert all(name in words for name in ("sarcube 0", "Python 3", "GDAL 3", "rasterio", "PROJ", "zarr 3", "torch 2"))


@pytest.mark.parametrize(
    ("name", "value", "check_name"),
    [("PROJ_DATA", "{}", "projections"), ("GDAL_SKIP", "GTiff", "geotiff")],
)
def test_settings_that_break_gdal_and_proj(tmp_path, name, value, check_name):
    """In another process, as both read them once."""
    code = (
        "from sarcube.acquisition.doctor import installation\n"
        "from sarcube.acquisition.doctor.findings import check\n"
        f"print(check('x', installation.{check_name}))"
    )
    environment = {**os.environ, name: value.format(tmp_path)}
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "state='failed'" in ended.stdout
    assert f"unset {name}" in ended.stdout


@pytest.mark.parametrize(
    ("settings", "state", "words", "advice"),
    [
        ({}, "well", "no setting", ""),
        ({"PROJ_LIB": "/none"}, "warning", 'PROJ_LIB is "/none", where no proj.db lies', "unset PROJ_LIB"),
        ({"GDAL_DATA": "/none"}, "warning", "no gdalvrt.xsd lies", "unset GDAL_DATA"),
        ({"GDAL_DRIVER_PATH": "/usr/lib/gdalplugins"}, "warning", "drivers of another", "unset GDAL_DRIVER_PATH"),
        ({"GDAL_DRIVER_PATH": "disable"}, "well", "no setting", ""),
        ({"GDAL_SKIP": "JP2ECW, gtiff"}, "warning", "takes away the drivers GTIFF", "unset GDAL_SKIP"),
        ({"GDAL_SKIP": "JP2ECW"}, "well", "no setting", ""),
        ({"GDAL_CACHEMAX": "4"}, "warning", "decoded again and again", "unset GDAL_CACHEMAX"),
        ({"GDAL_CACHEMAX": "4000000"}, "warning", "decoded again and again", "unset GDAL_CACHEMAX"),
        ({"GDAL_CACHEMAX": "90%"}, "warning", "more than half", "5 %"),
        ({"GDAL_CACHEMAX": "lots"}, "warning", "expected a size", "unset GDAL_CACHEMAX"),
        ({"GDAL_CACHEMAX": "64"}, "well", "no setting", ""),
        ({"GDAL_CACHEMAX": "5%"}, "well", "no setting", ""),
        ({"GDAL_HTTP_TIMEOUT": "5"}, "well", "no effect here", ""),
        ({"GDAL_HTTP_PROXY": "http://p:1"}, "warning", "GDAL_HTTP_PROXY is set and has no effect", "set http_proxy"),
        ({"GDAL_HTTP_PROXY": "http://p:1", "https_proxy": "http://p:1"}, "well", "no effect here", ""),
    ],
)
def test_settings(settings, state, words, advice):
    finding = installation.settings(settings)
    assert finding.state == state
    assert words in finding.words
    assert advice in finding.advice


def test_the_data_of_another_installation(tmp_path):
    (tmp_path / "proj.db").touch()
    finding = installation.settings({"PROJ_DATA": str(tmp_path)})
    assert finding.state == "warning"
    assert "another installation" in finding.words
    assert "unset PROJ_DATA" in finding.advice


@pytest.mark.parametrize(
    ("settings", "state", "words"),
    [
        ({}, "well", "cores"),
        ({"OMP_NUM_THREADS": "many"}, "warning", "expected a number"),
        ({"NUMBA_NUM_THREADS": "0"}, "warning", "expected a number"),
        ({"OMP_NUM_THREADS": "100000"}, "warning", "more than the"),
        ({"NUMBA_DISABLE_JIT": "1"}, "warning", "hundreds of times slower"),
        ({"NUMBA_DISABLE_JIT": "0"}, "well", "cores"),
    ],
)
def test_threads(settings, state, words):
    finding = installation.threads(settings)
    assert finding.state == state
    assert words in finding.words
    assert bool(finding.advice) == (state == "warning")


def test_folders_that_cannot_be_written(monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("SARCUBE_CACHE", str(file / "cache"))
    finding = folders.cache_folder()
    assert (finding.state, "cannot be written" in finding.words) == ("warning", True)
    assert "SARCUBE_CACHE" in finding.advice
    finding = folders.compiled_code({"NUMBA_CACHE_DIR": str(file)})
    assert (finding.state, "NUMBA_CACHE_DIR" in finding.words) == ("warning", True)
    monkeypatch.setattr("tempfile.tempdir", str(file))
    with pytest.raises(Trouble) as raised:
        folders.temporary_folder()
    assert "TMPDIR" in raised.value.advice
    assert not (tmp_path / "cache").exists()  # only looked at


def test_the_cache_is_where_search_puts_it(tmp_path, monkeypatch):
    from sarcube.acquisition.catalogs import answers

    for settings in ({"SARCUBE_CACHE": "/a/b"}, {"XDG_CACHE_HOME": "/c"}, {"XDG_CACHE_HOME": "relative"}, {}):
        monkeypatch.delenv("SARCUBE_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        assert str(answers.answers_folder()) in folders.cache_folder().words


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    def no_home(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SARCUBE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    finding = folders.cache_folder()
    assert (finding.state, "no home folder" in finding.words) == ("warning", True)
    assert "SARCUBE_CACHE" in finding.advice


def test_little_room(monkeypatch):
    real = shutil.disk_usage(Path.cwd())
    for free, state in ((3e9, "warning"), (5e10, "well")):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: real._replace(free=int(free)))
        assert folders.working_folder().state == state
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=1000))
    with pytest.raises(Trouble, match="1 kB free") as raised:
        folders.working_folder()
    assert "make room" in raised.value.advice


# Checks that break


def test_a_check_that_breaks_stops_nothing_and_tells_no_secret():
    def breaks():
        raise RuntimeError(f"https://host/?sig={SECRET}")

    finding = check("x", breaks)
    assert finding.state == "failed"
    assert "RuntimeError" in finding.words
    assert "report it" in finding.advice
    assert SECRET not in str(finding)


def test_a_check_that_hangs_is_left_behind(monkeypatch):
    monkeypatch.setattr(patience, "CHECK", 0.05)
    finding = check("x", lambda: time.sleep(1) or Finding("x", "well", ""))
    assert finding.state == "failed"
    assert "no result within 0.05 s" in finding.words


def test_what_a_server_says_is_made_fit_for_a_terminal(archive):
    archive.be(faults={COLLECTION: "404"})
    words = of(diagnose(catalog=archive.api), "collection").words
    assert "evil?[31m?[bold]" in words
    archive.be(href=f"http://127.0.0.1:{closed_port()}/\x1b[2J/vv.tiff")
    found = diagnose(catalog=archive.api)
    assert all(one.words.isprintable() for one in found)
    archive.be(href=f"{archive.url}/data/\x1b[2J/none")
    found = diagnose(catalog=archive.api)
    assert "/data/" in of(found, "files").words
    assert all(one.words.isprintable() for one in found)
    assert printable("x" * 100).endswith("x…")


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.04, "0.04 s"), (40, "40 s"), (2700, "45 min"), (12_000, "3.3 h"), (1e6, "12 days")]
)
def test_spans_of_time(seconds, words):
    assert in_time(seconds) == words


@pytest.mark.parametrize(
    ("many", "words"), [(12, "12 B"), (262_144, "262 kB"), (838_784_900, "839 MB"), (2e13, "20 TB")]
)
def test_numbers_of_bytes(many, words):
    assert in_units(many) == words


# The command


def command(*arguments):
    app = typer.Typer()
    app.command()(doctor)
    return CliRunner().invoke(app, arguments, terminal_width=200)


def test_the_command(archive):
    archive.be()
    ended = command("--catalog", archive.api)
    assert ended.exit_code == 0, ended.output
    assert "catalogue" in ended.output
    assert "failed" not in ended.output


def test_the_command_when_something_failed(archive):
    archive.be(faults={COLLECTION: "404"})
    ended = command("--catalog", archive.api)
    assert ended.exit_code == 4
    words = " ".join(ended.output.split())
    assert "[bold]" in words  # what a server says is no markup
    assert "-> search another catalogue" in words
    assert "1 failed" in words


@pytest.mark.parametrize("catalog", ["scenes/", "http://", "ftp://host/stac"])
def test_a_folder_needs_no_doctor(catalog):
    with pytest.raises(InputError, match="a folder needs no network"):
        examine(catalog=catalog)
