"""Every command of the tutorials runs, in order, on clips of a few frames.

A block that begins with `# Needs` is not run: it asks for a camera, a board, a GPU or the network.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from adcvsr.cli.commands import cli
from adcvsr.pictures.clips import write_png
from adcvsr.pictures.synthetic import draw_clip
from video_facts import VideoMaker, video_facts

REPOSITORY = Path(__file__).resolve().parents[2]
TUTORIALS = REPOSITORY / "docs/tutorials"
SCRIPT = REPOSITORY / "packaging/laptop-to-board.sh"

SMALLER = {
    "--duration 60": "--duration 0.5",
    "size=320x180": "size=64x64",
    "--size 320x180": "--size 32x32 --duration 0.1",
    "--output-size 1920x1080": "--output-size 192x108",
    "--max-minutes 240": "--max-steps 2",
    "-o report.html": "-o report.html --drift-frames 8 --duration 1 --no-statement",
}
"""What a test has no time for, and what it does instead; all else is run as it is printed."""

NOT_RUN = "# Needs "


def blocks(page: Path) -> Iterator[tuple[str, str]]:
    """Language and text of every block of a page."""
    yield from re.findall(r"^```(\w+)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    lines = block.replace("\\\n", " ").splitlines()
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def run_page(name: str, but: str | None = None) -> list[str]:
    """Run a page's blocks here but for one command; returns those that were run."""
    run = []
    for language, text in blocks(TUTORIALS / f"{name}.md"):
        if language == "toml":
            Path("cameras.toml").write_text(smaller(text))
        elif language == "sh" and not text.startswith(NOT_RUN):
            for line in commands(text):
                if line == but:
                    continue
                words = shlex.split(smaller(line))
                assert words[0] == "adcvsr", f"{line}: mark its block with '# Needs'"
                done = CliRunner().invoke(cli, words[1:])
                assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"
                run.append(line)
    return run


def smaller(text: str) -> str:
    for given, instead in SMALLER.items():
        text = text.replace(given, instead)
    return text.replace("127.0.0.1:8080", f"127.0.0.1:{free_port()}")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_first_file(here: Path, make_video: VideoMaker, nano_in_fp32: None) -> None:
    make_video(audio=True)
    # Four seconds, which tests/unit/cli/test_cli.py spends on it already.
    assert len(run_page("first-file", but="adcvsr demo")) == 9
    for name, size in (("in_x4.mp4", (128, 96)), ("twice.mp4", (64, 48)), ("fine.mkv", (128, 96))):
        assert video_facts(here / name).size == size
    assert max(video_facts(here / "full-hd.mp4").size) == 144


def test_camera_to_browser(here: Path, make_video: VideoMaker, nano_in_fp32: None) -> None:
    make_video()
    assert len(run_page("camera-to-browser")) == 4
    for name in ("out.mkv", "door.mkv", "yard.mkv"):
        assert video_facts(here / name).size == (256, 256)


def test_cluster(here: Path, make_video: VideoMaker, nano_in_fp32: None) -> None:
    make_video("film.mkv")
    assert len(run_page("cluster")) == 6
    both = [video_facts(here / name) for name in ("film_x4.mkv", "hand_x4.mkv")]
    assert [facts.size for facts in both] == [(128, 96)] * 2
    assert both[0].times == both[1].times


def make_photo(path: Path, side: int = 96) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, draw_clip(1, side, side)[0])


def make_clips(make_video: VideoMaker, *paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        make_video(path, size=(160, 160), pts=tuple(range(0, 24 * 512, 512)))


@pytest.mark.slow
def test_int8_decision(here: Path, make_video: VideoMaker) -> None:
    make_clips(make_video, "in.mp4", "clips/a.mp4")
    assert len(run_page("int8-decision")) == 4
    assert "verdict" in (here / "report.html").read_text().lower()


@pytest.mark.slow
def test_own_network(here: Path, make_video: VideoMaker) -> None:
    onnx = pytest.importorskip("onnx", reason="adopting needs onnx")
    from foreign_networks import upscaler

    onnx.save(upscaler(), "model.onnx")
    make_clips(make_video, "in.mp4", "clips/a.mp4", "clips/b.mp4")
    make_photo(Path("photos/a.png"))
    assert len(run_page("own-network")) == 8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_training(here: Path, make_video: VideoMaker) -> None:
    pytest.importorskip("torch", reason="training needs torch")
    make_clips(make_video, "in.mp4", "my/videos/a.mp4", "my/videos/b.mp4", "my/other-videos/c.mp4")
    assert len(run_page("training")) == 6
    assert video_facts(here / "out.mp4").size == (640, 640)


def dry_run(*options: str) -> list[tuple[str, str]]:
    done = subprocess.run(
        [SCRIPT, "--dry-run", *options, "user@board"], capture_output=True, text=True, check=True
    )
    lines = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert [line[0] for line in lines] == [str(n) for n in range(1, len(lines) + 1)]
    return [(where, command) for _, where, command in lines]


def test_the_ten_commands_of_script_and_page_are_the_same() -> None:
    steps = dry_run()
    assert [where for where, _ in steps] == ["here"] * 3 + ["board"] * 5 + ["page", "board"]
    page = (TUTORIALS / "laptop-to-board.md").read_text()
    for number, part in enumerate(re.split(r"^### ", page, flags=re.MULTILINE)[1:], 1):
        assert part.startswith(f"{number}. ")
        (block,) = re.findall(r"^```sh\n(.*?)^```", part, re.MULTILINE | re.DOTALL)
        assert steps[number - 1][1] == commands(block)[-1]
    rtx = " ".join(command for _, command in dry_run("--kind", "rtx"))
    for option in ("[cpu,rtx]", "--backend tensorrt-rtx", "--require tensorrt-rtx"):
        assert option in rtx


def test_the_two_commands_on_the_laptop(here: Path) -> None:
    """The plan of what the page begins with is a yes, on either kind of board."""
    plans = [dry_run(*kind)[0][1] for kind in ((), ("--kind", "rtx"))]
    for command in (*plans, dry_run()[1][1]):
        done = CliRunner().invoke(cli, shlex.split(command)[1:])
        assert done.exit_code == 0, done.output


Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def on_a_laptop(here: Path) -> Script:
    """Runs the script with programs that only write down how they were called.

    `ssh` runs what is in the file `board`, with the board's command as its last argument.
    """
    bodies = {"adcvsr": "", "git": "[ ! -e outside ]", "ssh": "cat >/dev/null; . ./board"}
    for name, body in bodies.items():
        (here / name).write_text(f"#!/bin/bash\necho {name} $* >> {here}/ran\n{body}\n")
        (here / name).chmod(0o755)
    (here / "board").touch()

    def run(*options: str, to: str = "user@board") -> subprocess.CompletedProcess[str]:
        (here / "ran").write_text("")
        return subprocess.run(
            [SCRIPT, *options, to],
            env={**os.environ, "PATH": f"{here}:/usr/bin:/bin"},
            cwd=here,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )

    return run


def test_the_script_stops_at_the_step_that_failed_and_goes_on_there(
    here: Path, on_a_laptop: Script
) -> None:
    (here / "board").write_text('case "$*" in *doctor*) exit 7;; esac')
    stopped = on_a_laptop()
    assert stopped.returncode == 7
    assert "step 7 ended with status 7" in stopped.stderr
    assert "--from 7" in stopped.stderr
    # Is this a clone, then seven steps, of which the third is git and ssh.
    assert len((here / "ran").read_text().splitlines()) == 9
    (here / "board").write_text("")
    assert on_a_laptop("--from", "7").returncode == 0
    ran = (here / "ran").read_text().splitlines()
    assert [line.split("adcvsr ")[1].split()[0] for line in ran] == [
        "doctor",
        "deploy",
        "live",
        "report",
    ]
    assert on_a_laptop("--kind", "toaster").returncode == 2


def test_the_script_says_when_the_board_is_not_reached(here: Path, on_a_laptop: Script) -> None:
    (here / "board").write_text("exit 255")
    lost = on_a_laptop(to="user@nowhere")
    assert lost.returncode == 255
    assert "step 3: ssh did not reach the board" in lost.stderr
    assert "'ssh user@nowhere true'" in lost.stderr


def test_the_script_says_where_it_was_interrupted(here: Path, on_a_laptop: Script) -> None:
    for interrupt in ("exit 130", "kill -INT 0; sleep 20"):  # on the board, and Ctrl-C here
        (here / "board").write_text(f'case "$*" in *deploy*) {interrupt};; esac')
        stopped = on_a_laptop()
        assert stopped.returncode == 130
        assert stopped.stderr.splitlines()[-1].startswith("step 8 was interrupted")
        assert stopped.stderr.endswith("--from 8\n")


def test_the_script_does_nothing_outside_a_clone_or_without_adcvsr(
    here: Path, on_a_laptop: Script
) -> None:
    (here / "outside").touch()
    elsewhere = on_a_laptop()
    assert elsewhere.returncode == 1
    assert "is not the folder of a clone of adcvsr" in elsewhere.stderr
    assert on_a_laptop("--from", "4").returncode == 0  # what follows needs neither
    (here / "adcvsr").unlink()
    assert "no command 'adcvsr' here" in on_a_laptop().stderr
    assert (here / "ran").read_text() == ""


def test_pages_say_what_commands_they_have_of() -> None:
    """Whatever a tutorial tells to run is run here or marked."""
    for page in sorted(TUTORIALS.glob("*.md")):
        for language, text in blocks(page):
            assert language in ("sh", "toml"), page.name
            if language == "sh" and not text.startswith(NOT_RUN):
                known = ("adcvsr ", f"packaging/{SCRIPT.name} --dry-run")
                assert all(line.startswith(known) for line in commands(text)), page.name
