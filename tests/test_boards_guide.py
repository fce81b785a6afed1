"""What the guide to boards tells a reader to write on them."""

import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

GUIDE = (Path(__file__).parent.parent / "docs" / "boards.md").read_text(encoding="utf-8")
(UNIT,) = re.findall(r"```ini\n(.*?)```", GUIDE, re.DOTALL)


def test_the_unit_leaves_a_board_what_it_writes_to_and_always_starts_it_again():
    unit = ConfigParser()
    unit.optionxform = str
    unit.read_string(UNIT.replace("\\\n", " "))
    service = unit["Service"]
    assert service["ProtectSystem"] == "strict"
    assert service.getboolean("PrivateTmp")  # or nothing in it can make a temporary file
    store = re.search(r"--store (\S+)", service["ExecStart"])[1]
    assert service["ReadWritePaths"] == f"{service['WorkingDirectory']}/{store}"
    assert int(service["LimitNOFILE"]) >= 65536  # a connection takes one until it is refused
    assert service["Restart"] == "always"
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"  # however often it ended


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd here")
def test_systemd_has_nothing_against_the_unit(tmp_path):
    path = tmp_path / "keras-concurrent.service"
    path.write_text(UNIT.replace("/home/pi/kc/bin/keras-concurrent", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", path]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (said.returncode, said.stderr) == (0, "")
