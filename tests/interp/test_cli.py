"""Bad input on the command line: one sentence, exit code 2, nothing half-written, no traceback."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from interp.recipe import load_recipe
from interp.run import Run


def turncoat(*arguments: str, cwd: Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TURNCOAT_CACHE": str(cache or cwd / "cache"), "COLUMNS": "120"}
    command = [sys.executable, "-c", "from interp.cli import main; main()", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2
    assert "Traceback" not in result.stderr + result.stdout
    for word in words:
        assert word in result.stderr


def test_help_names_every_command(tmp_path: Path) -> None:
    result = turncoat("--help", cwd=tmp_path)
    assert result.returncode == 0
    for command in ("run", "plan", "status", "recipes", "report", "export", "data", "ask", "judge", "rates", "doctor"):
        assert command in result.stdout


def test_help_imports_no_heavy_library(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['turncoat', '--help']\n"
        "from interp.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'transformers', 'peft', 'pandas', 'numpy', 'plotly', 'sklearn', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_recipes_and_plan_answer_before_anything_is_spent(tmp_path: Path) -> None:
    assert "organism-null" in turncoat("recipes", cwd=tmp_path).stdout
    plan = turncoat("plan", "organism", cwd=tmp_path)
    assert plan.returncode == 0
    for word in ("checkpoints", "disk", "tokens", "expected time", "640 steps"):
        assert word in plan.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "no-such-recipe"), ("no-such-recipe", "turncoat recipes")),
        (("run", "organism", "--set", "finetune.stepz=4"), ("finetune.stepz", "unknown key")),
        (("run", "organism", "--set", "seeds=one"), ("seeds",)),
        (("status", "nowhere"), ("nowhere", "no run directory")),
        (("report", "nowhere"), ("nowhere", "no run directory")),
    ],
)
def test_bad_input_is_one_sentence(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    refused(turncoat(*arguments, cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(turncoat("run", "organism", "--out", "mine", cwd=tmp_path), "mine", "--out")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_a_run_of_another_recipe_is_left_alone(tmp_path: Path) -> None:
    Run.create(tmp_path / "run", load_recipe("organism"))
    result = turncoat("run", "organism-null", "--out", "run", cwd=tmp_path)
    refused(result, "another recipe", "organism.sharing")
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["recipe.yaml"]


def test_a_place_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(turncoat("run", "organism", "--out", "file/run", cwd=tmp_path), "file/run", "--out")


@contextmanager
def small_disk(folder: Path, *options: str) -> Iterator[Path]:
    """A file system of 64 kB; skips the test where none can be mounted."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", ",".join(("size=64k", *options)), "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no permission to mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    tiny = ("--set", "organism.steps=1", "--set", "organism.align_steps=1")
    with small_disk(tmp_path / "small") as small:
        result = turncoat("run", "organism", *tiny, "--out", str(small / "run"), cwd=tmp_path, cache=small / "cache")
        refused(result, "disk is full", "goes on from here")
        assert not list(small.rglob("*.partial"))


def test_a_read_only_place_is_one_sentence(tmp_path: Path) -> None:
    with small_disk(tmp_path / "fixed", "ro") as fixed:
        refused(turncoat("run", "organism", "--out", str(fixed / "run"), cwd=tmp_path), "read-only", "--out")


def test_looking_whether_a_run_is_finished_needs_no_torch(tmp_path: Path) -> None:
    code = "import sys, activations.store, activations.dump, interp.experiment; assert 'torch' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
