"""Recipes for containers and services: pinned, without root, with options and extras that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import pytest

from adcvsr.cli.commands import load_command
from adcvsr.reading import parse_toml
from adcvsr.runtime.live.live_report import LiveOptions
from adcvsr.runtime.live.stream_config import read_streams
from adcvsr.version import __version__

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGING = REPOSITORY / "packaging"
DOCKERFILES = sorted((PACKAGING / "containers").glob("*.Dockerfile"))
UNITS = sorted(PACKAGING.glob("*.service"))
LIVE = {name for parameter in load_command("live").params for name in parameter.opts}
BUILD_S = 1800


def instructions(path: Path) -> Iterator[tuple[str, str]]:
    """Words and arguments of a Dockerfile, lines that go on joined."""
    lines = [line for line in path.read_text().splitlines() if not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n", " ", "\n".join(lines)).splitlines():
        if line.strip():
            word, _, rest = line.strip().partition(" ")
            yield word, rest.strip()


def test_there_is_one_for_every_kind_of_machine() -> None:
    names = [path.name for path in DOCKERFILES]
    assert names == [f"{kind}.Dockerfile" for kind in ("cpu", "jetpack-6.2", "jetpack-7.2", "rtx")]
    operations = (REPOSITORY / "docs/operations.md").read_text()
    assert all(name in operations for name in names)


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile(path: Path) -> None:
    found = list(instructions(path))
    words = [word for word, _ in found]
    assert words[0] == "FROM"
    image = found[0][1]
    assert re.fullmatch(r"[a-z0-9./-]+:[A-Za-z0-9._-]+", image), f"'{image}' has no tag"
    assert not image.endswith(":latest")
    assert "ADD" not in words
    runs = [rest for word, rest in found if word == "RUN"]
    for rest in runs:
        assert ("apt-get install" in rest) == ("rm -rf /var/lib/apt/lists" in rest)
        if "apt-get install" in rest:
            assert "--no-install-recommends" in rest
        if "pip install" in rest:
            assert "-c /src/constraints.txt" in rest
            assert "--no-cache-dir" in rest
            assert rest.rstrip().endswith("rm -rf /src")
    given = parse_toml(
        (REPOSITORY / "pyproject.toml").read_bytes(), source="it", extra="", purpose=""
    ).value
    (extras,) = re.findall(r"/src\[([a-z,]+)\]", " ".join(runs))
    assert set(extras.split(",")) <= given["project"]["optional-dependencies"].keys()
    users = [rest for word, rest in found if word == "USER"]
    assert users == ["adcvsr"]
    entry = dict(found)["ENTRYPOINT"]
    assert json.loads(entry) == ["adcvsr"]  # not by a shell, which would keep SIGTERM to itself
    assert dict(found)["STOPSIGNAL"] == "SIGTERM"
    assert (REPOSITORY / "constraints.txt").exists()


def test_what_containers_are_started_with_exists() -> None:
    text = (PACKAGING / "containers/compose.yaml").read_text()
    (command,) = re.findall(r"command: \[(.+)\]", text)
    words = [word.strip().strip('"') for word in command.split(",")]
    assert words[0] == "live"
    assert {word for word in words if word.startswith("--")} <= LIVE
    # A token in the file would be in the repository of whoever keeps it.
    assert re.search(r"ADCVSR_PAGE_TOKEN: \$\{ADCVSR_PAGE_TOKEN:\?", text)


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_a_unit(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    (start,) = re.findall(r"^ExecStart=(.+)$", text, re.M)
    assert {word for word in start.split() if word.startswith("--")} <= LIVE
    (settings,) = re.findall(r"^EnvironmentFile=/etc/adcvsr/(.+)$", text, re.M)
    example = (PACKAGING / f"{settings}.example").read_text()
    for name in re.findall(r"\$\{?(ADCVSR_\w+)", start):
        assert re.search(rf"^{name}=", example, re.M), name
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze to check the unit with")
    copy = tmp_path / path.name
    copy.write_text(text.replace("/opt/adcvsr/bin/adcvsr", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    wrong = [line for line in done.stderr.splitlines() if path.name in line]
    assert not wrong


def test_units_are_locked_down_alike() -> None:
    """What differs is what is run and where its settings are."""
    differs = re.compile(r"^(#.*|Description=.*|ExecStart=.*|ExecReload=.*|EnvironmentFile=.*)$")
    kept = [
        [line for line in path.read_text().splitlines() if not differs.match(line)]
        for path in UNITS
    ]
    assert kept[0] == kept[1]


def test_the_example_of_cameras_is_read() -> None:
    plans = read_streams(PACKAGING / "cameras.toml.example", LiveOptions())
    assert [(plan.name, plan.options.priority) for plan in plans] == [("door", 0), ("yard", 1)]


PROJECT = parse_toml(
    (REPOSITORY / "pyproject.toml").read_bytes(), source="it", extra="", purpose=""
).value["project"]


def packages(requirements: Iterable[str]) -> set[str]:
    return {re.split(r"[^A-Za-z0-9-]", each)[0] for each in requirements} - {"adcvsr"}


EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
ASKED = packages(chain(PROJECT["dependencies"], *EXTRAS.values()))


def test_the_table_of_extras_is_true() -> None:
    """It has every extra, and the packages that it names are those an extra brings."""
    text = (REPOSITORY / "docs/install.md").read_text()
    rows = re.findall(r"^\| `([a-z]+)` \| (.+?) \|", text, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(EXTRAS)
    for name, brings in rows:
        named = set(re.findall(r"(?<!`)\b[a-z][a-z0-9-]+", brings)) & ASKED
        assert named <= packages(EXTRAS[name]), name


def test_constraints_pin_what_is_asked_for() -> None:
    text = (REPOSITORY / "constraints.txt").read_text()
    pinned = {re.split(r"[=;]", line)[0] for line in text.splitlines() if line[:1] != "#"}
    # Of GPUs' builds and of Jetsons' own the machine's version counts; no test has run spandrel.
    assert ASKED - pinned <= {"onnxruntime-gpu", "spandrel", "tensorrt", "tomli"}


def test_the_metadata_names_the_licences_of_the_weights() -> None:
    """Of bundles by their manifests, of checkpoints by what they were made from."""
    found = {"Apache-2.0"}
    for path in REPOSITORY.glob("src/adcvsr/models/*/manifest.json"):
        found |= {each.split(" ")[0] for each in json.loads(path.read_text())["licences"]}
    for path in REPOSITORY.glob("train/checkpoints/*.safetensors"):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        provenance = json.loads(header["__metadata__"]["adcvsr"])["provenance"]
        found |= {each.split(" ")[0] for each in provenance.get("licences", [])}
    assert set(PROJECT["license"].split(" AND ")) == found
    assert any("Xintao Wang" in path.read_text() for path in REPOSITORY.glob("LICENSES/*.txt"))


def test_one_version_everywhere() -> None:
    assert PROJECT["version"] == __version__
    citation = (REPOSITORY / "CITATION.cff").read_text()
    assert re.findall(r"^version: (.+)$", citation, re.MULTILINE) == [__version__]
    assert re.search(rf"^## \[(Unreleased|{re.escape(__version__)})\]", CHANGES, re.MULTILINE)


CHANGES = (REPOSITORY / "CHANGELOG.md").read_text()


@pytest.mark.slow
def test_the_container_for_cpus_builds_and_runs() -> None:
    docker = shutil.which("docker")
    if (
        docker is None
        or subprocess.run([docker, "info"], capture_output=True, check=False).returncode
    ):
        pytest.skip("no docker that builds; the recipes are checked by lint")
    file = str(PACKAGING / "containers/cpu.Dockerfile")
    build = [docker, "build", "-q", "-f", file, str(REPOSITORY)]
    done = subprocess.run(build, capture_output=True, text=True, timeout=BUILD_S, check=False)
    if done.returncode and "pull" in done.stderr.lower():
        pytest.skip(f"no base image to be had here: {done.stderr.splitlines()[-1]}")
    assert not done.returncode, done.stderr
    run = [docker, "run", "--rm", done.stdout.strip(), "models", "--json"]
    assert "nano" in subprocess.run(run, capture_output=True, text=True, check=True).stdout
