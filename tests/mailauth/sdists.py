"""Source packages whose test data we are measured against. They are fetched and unpacked into
`target/blackbox/sdists` and never become part of this tree."""

import os
import pathlib
import subprocess
import sys
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "blackbox" / "sdists"


def sdist(name, version):
    """The folder of an unpacked source package. Whoever cannot fetch it gets an error, not a pass."""
    folder = FOLDER / f"{name}-{version}"
    if folder.is_dir():
        return folder
    FOLDER.mkdir(parents=True, exist_ok=True)
    archive = FOLDER / f"{name}-{version}.tar.gz"
    if not archive.exists():
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        subprocess.run([*command, "--dest", str(FOLDER), f"{name}=={version}"], check=True)
    with tarfile.open(archive) as files:
        files.extractall(FOLDER, filter="data")
    return folder
