"""What `import amago2` offers."""

import subprocess
import sys
from pathlib import Path

import pytest

import amago2
from tests.amago2.toy import Toy, small


def test_every_exported_name_exists() -> None:
    for name in amago2.__all__:
        assert getattr(amago2, name)
    assert set(amago2.__all__) <= set(dir(amago2))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = amago2.trian


@pytest.mark.parametrize("module", ["amago2", "amago2.cli"])
def test_importing_loads_no_heavy_library(module: str) -> None:
    heavy = "{'torch', 'numpy', 'pydantic', 'gymnasium'}"
    code = f"import sys, {module}; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_gpu_needs_no_compiler() -> None:
    """PyTorch reads this when it is imported, which is after `amago2` in all that is ours."""
    code = "import amago2, os; print(os.environ['TORCH_DISABLE_NATIVE_JIT'])"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "1\n"


def test_from_a_file_to_an_action(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(small(collector={"epochs": 2}).to_yaml())
    out = str(tmp_path / "run")
    amago2.train(amago2.load_config(path), out)
    observation, _ = Toy().reset(seed=0)
    assert amago2.load(out).act(observation) in range(3)
