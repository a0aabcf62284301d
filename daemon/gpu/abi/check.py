#!/usr/bin/env python3
"""Compares src/trt/slots.rs with TensorRT's headers: check.py HEADERS...

Each argument is a folder with NvInfer.h, or one that has such folders in it. For each a C++ program is made that
takes the pointer to every member in the table and reads its place out of it (Itanium C++ ABI, 2.3: on x86-64 the
place in bytes plus one), so that the compiler says where methods lie, not a reading of the text. Prints one line a
folder and, with --write FILE, the table of abi/README.md with the hash of each header. Exits 1 where something differs.
"""

import argparse
import hashlib
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LINE = re.compile(r"(\w+):\s+(\w+)::(\w+) =\s+(\w+)\s+(\w+)\s+(\w+)\s+(\w+);")
# The overload that is called, where there is more than one.
OVERLOAD = {
    "deserializeCudaEngine": {
        8: "nvinfer1::ICudaEngine* (nvinfer1::apiv::VRuntime::*)(void const*, std::size_t, nvinfer1::IPluginFactory*) noexcept",
        0: "nvinfer1::ICudaEngine* (nvinfer1::apiv::VRuntime::*)(void const*, std::size_t) noexcept",
    },
}
# Enough of CUDA's runtime for the headers to compile.
STUB = """#pragma once
struct CUstream_st; typedef CUstream_st* cudaStream_t;
struct CUevent_st; typedef CUevent_st* cudaEvent_t;
"""


def slots():
    """(class, method, {8: n, 10: n, 11: n, 'rtx': n}) of each line of the table."""
    found = LINE.findall((HERE / "../src/trt/slots.rs").read_text())
    number = lambda text: None if text == "NONE" else int(text)
    return [(c, m, dict(zip((8, 10, 11, "rtx"), map(number, columns)))) for _, c, m, *columns in found]


def version(folder):
    """(column of the table, version as text)."""
    text = (folder / "NvInferVersion.h").read_text()
    rtx = re.search(r"TRT_MAJOR_RTX +(\d+)", text)
    if rtx:
        numbers = [re.search(rf"TRT_{p}_RTX +(\d+)", text) for p in ("MAJOR", "MINOR", "PATCH")]
        return "rtx", "RTX " + ".".join(n.group(1) for n in numbers if n)
    numbers = []
    for part in ("MAJOR", "MINOR", "PATCH"):
        found = re.search(rf"NV_TENSORRT_{part} (\w+)", text).group(1)
        if not found.isdigit():
            found = re.search(rf"{found} (\d+)", text).group(1)
        numbers.append(int(found))
    return numbers[0], ".".join(map(str, numbers))


def program(column, parser):
    """The C++ that prints CLASS METHOD PLACE for each line of the table."""
    lines = [
        "#include <cstddef>", "#include <cstdio>", "#include <cstring>", '#include "NvInfer.h"',
        '#include "NvOnnxParser.h"' if parser else "",
        "template <typename M> static long place(M member) { std::ptrdiff_t p; std::memcpy(&p, &member, sizeof p); return (p - 1) / 8; }",
        "int main() {",
    ]
    for klass, method, numbers in slots():
        if numbers[column] is None or (klass.startswith("IParser") and not parser):
            continue
        scope = "nvonnxparser" if klass.startswith("IParser") else "nvinfer1::apiv"
        pointer = f"&{scope}::{klass}::{method}"
        if method in OVERLOAD:
            kind = OVERLOAD[method].get(column, OVERLOAD[method][0])
            pointer = f"static_cast<{kind}>({pointer})"
        lines.append(f'    std::printf("{klass} {method} %ld\\n", place({pointer}));')
    lines += [
        '    std::printf("Dims size %zu\\n", sizeof(nvinfer1::Dims));',
        '    std::printf("Dims most %d\\n", (int)nvinfer1::Dims::MAX_DIMS);',
        "}",
    ]
    return "\n".join(lines)


def check(folder):
    """(version, compared, [what differs], sha256 of the headers)."""
    column, name = version(folder)
    parser = (folder / "NvOnnxParser.h").exists()
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "cuda_runtime_api.h").write_text(STUB)
        (work / "check.cpp").write_text(program(column, parser))
        command = [os.environ.get("CXX", "c++"), "-std=c++17", "-w", "-I", work, "-I", folder, work / "check.cpp", "-o", work / "check"]
        # The pointers refer to pure virtual methods: no library is linked, and nothing of the headers is emitted.
        done = subprocess.run([*map(str, command), "-Wl,--unresolved-symbols=ignore-all"], capture_output=True, text=True)
        if done.returncode:
            return name, 0, ["does not compile: " + done.stderr.strip().splitlines()[0]], hashes(folder)
        said = subprocess.run([str(work / "check")], capture_output=True, text=True, check=True).stdout
    have = {tuple(line.split()[:2]): int(line.split()[2]) for line in said.splitlines()}
    wrong = []
    want_dims = 36 if column == 8 else 72
    if have[("Dims", "size")] != want_dims or have[("Dims", "most")] != 8:
        wrong.append(f"Dims has {have[('Dims', 'size')]} bytes, expected {want_dims}")
    compared = 1
    for klass, method, numbers in slots():
        if (klass, method) in have:
            compared += 1
            if have[(klass, method)] != numbers[column]:
                wrong.append(f"{klass}::{method} is {have[(klass, method)]}, slots.rs says {numbers[column]}")
    if not parser:
        name += " (no NvOnnxParser.h)"
    return name, compared, wrong, hashes(folder)


def hashes(folder):
    """One hash of all headers: of the lines `sha256  name`, sorted."""
    lines = [f"{hashlib.sha256(p.read_bytes()).hexdigest()}  {p.name}" for p in sorted(folder.glob("Nv*.h"))]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=pathlib.Path, help="file for the table")
    parser.add_argument("headers", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    folders = []
    for given in arguments.headers:
        folders += [p.parent for p in given.rglob("NvInferVersion.h")]
    if not folders:
        sys.exit("no NvInferVersion.h in " + ", ".join(map(str, arguments.headers)))
    rows, failed = {}, False
    for folder in sorted(set(folders)):
        name, compared, wrong, digest = check(folder)
        failed |= bool(wrong)
        print(f"{name}: {compared} compared, {'; '.join(wrong) or 'all as in slots.rs'}")
        main_header = hashlib.sha256((folder / "NvInferImpl.h").read_bytes()).hexdigest() if (folder / "NvInferImpl.h").exists() else "-"
        rows[name] = f"| {name} | {compared} | {len(wrong)} | `{main_header}` | `{digest}` |"
    if arguments.write:
        key = lambda name: [int(n) for n in re.findall(r"\d+", name)]
        text = "".join(rows[name] + "\n" for name in sorted(rows, key=lambda n: (n.startswith("RTX"), key(n))))
        arguments.write.write_text(
            "| version | compared | differ | sha256 of NvInferImpl.h | sha256 over all Nv*.h |\n|---|---|---|---|---|\n" + text
        )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
