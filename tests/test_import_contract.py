import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_rooms_import_only_downwards() -> None:
    script = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([str(script)], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


def test_importing_the_packages_loads_no_heavy_library() -> None:
    code = (
        "import sys, activations, figures, finetune, interp, probes\n"
        "assert not {'torch', 'transformers', 'pandas', 'numpy', 'plotly'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_every_name_a_package_offers_can_be_had() -> None:
    import importlib

    for room in ("activations", "figures", "finetune", "interp", "probes"):
        module = importlib.import_module(room)
        assert dir(module)
        for name in dir(module):
            assert getattr(module, name) is not None
