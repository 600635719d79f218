"""What importing the doctor brings along, in an interpreter of its own."""

import subprocess
import sys
from pathlib import Path

CODE = """
import sys
import vae_lightning.doctor, vae_lightning.doctor.losses.functions, vae_lightning.doctor.losses.selftest
ours = [name for name in sys.modules if name.startswith("vae_lightning.") and ".doctor" not in name]
print(*sorted(ours))
import vae_lightning.doctor as doctor
assert all(hasattr(doctor, name) for name in doctor.__all__)
heavy = {"lightning", "hydra", "omegaconf", "scipy", "pandas", "keras", "tensorflow", "jax"}
print(*sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
"""


def test_losses_bring_none_of_our_layers_and_the_doctor_no_framework() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", CODE], cwd=root, check=True, capture_output=True, text=True)
    ours, heavy = done.stdout.splitlines()
    assert ours.split() == ["vae_lightning.errors", "vae_lightning.shell", "vae_lightning.version"]
    assert not heavy
