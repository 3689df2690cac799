"""servicekit as a package."""

import pkgutil
import subprocess
import sys

import servicekit


def test_only_codec_and_placement_need_torch() -> None:
    names = {f"servicekit.{module.name}" for module in pkgutil.iter_modules(servicekit.__path__)}
    imports = ", ".join(sorted(names - {"servicekit.tensors", "servicekit.placement"}))
    script = f"import sys, {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
