"""servicekit as a package."""

import pkgutil
import subprocess
import sys

import servicekit

NEED_TORCH = {"servicekit.tensors", "servicekit.placement", "servicekit.shards", "servicekit.weights"}


def test_only_what_handles_tensors_needs_torch() -> None:
    names = {f"servicekit.{module.name}" for module in pkgutil.iter_modules(servicekit.__path__)}
    imports = ", ".join(sorted(names - NEED_TORCH))
    script = f"import sys, {imports}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
