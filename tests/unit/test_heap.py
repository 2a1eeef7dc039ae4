"""What a burst has taken goes back to the system, and without the setting it does not."""

import platform
import subprocess
import sys

import pytest

BURST = """
import sys
from streaming.heap import give_back_freed_memory
if sys.argv[1] == "on":
    assert give_back_freed_memory()

def resident_mb():
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096 / 1e6

grown = [bytes([n % 256]) * 20_000_000 for n in range(1, 3)]
del grown  # from here on the library would serve as large blocks from its heap
before = resident_mb()
burst, pins = [], []
for n in range(60):
    burst.append(b"x" * 1_000_000)
    pins.append(b"y" * 2_000)
del burst
print(resident_mb() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
@pytest.mark.parametrize(("setting", "returned"), [("on", True), ("off", False)])
def test_a_burst_is_given_back_only_with_the_setting(setting: str, returned: bool) -> None:
    done = subprocess.run([sys.executable, "-c", BURST, setting], check=True, capture_output=True, text=True)
    kept_mb = float(done.stdout)
    assert (kept_mb < 10) is returned, kept_mb
