"""A folder that looks like a CANN toolkit to CMake and to our tools, all of it our own text.

Its find_package(ASC) defines a language ASC by the documented variables (CMAKE_ASC_ARCHITECTURES, CMAKE_ASC_RUN_MODE);
its bisheng records its command line and compiles the kernel with g++ against the embedded simulator's headers, `<<<>>>`
taken out. So a build shows which commands we issue, and that what they name fits together; not what CANN makes of it.
"""

import json
import os
import stat
import sys
from pathlib import Path

from fastattention_npu import _core

ROOT = Path(__file__).resolve().parents[2]
MACHINE = Path(_core.__file__).parent  # libascend_sim.so

CONFIG = """
list(APPEND CMAKE_MODULE_PATH ${CMAKE_CURRENT_LIST_DIR}/asc_modules)
set(ASC_FOUND TRUE)
"""
DETERMINE = """
find_program(CMAKE_ASC_COMPILER NAMES bisheng PATHS $ENV{ASCEND_HOME_PATH}/bin NO_DEFAULT_PATH REQUIRED)
set(CMAKE_ASC_COMPILER_ENV_VAR ASC)
configure_file(${CMAKE_CURRENT_LIST_DIR}/CMakeASCCompiler.cmake.in
               ${CMAKE_PLATFORM_INFO_DIR}/CMakeASCCompiler.cmake @ONLY)
"""
COMPILER = """
set(CMAKE_ASC_COMPILER "@CMAKE_ASC_COMPILER@")
set(CMAKE_ASC_COMPILER_LOADED 1)
set(CMAKE_ASC_SOURCE_FILE_EXTENSIONS asc)
set(CMAKE_ASC_OUTPUT_EXTENSION .o)
set(CMAKE_ASC_COMPILER_ENV_VAR ASC)
set(CMAKE_ASC_LINKER_PREFERENCE 90)
"""
INFORMATION = """
include(CMakeCommonLanguageInclude)
set(CMAKE_INCLUDE_FLAG_ASC "-I")
set(CMAKE_ASC_COMPILE_OPTIONS_PIC "-fPIC")
set(CMAKE_SHARED_LIBRARY_CREATE_ASC_FLAGS "-shared")
if(NOT CMAKE_ASC_RUN_MODE MATCHES "^(npu|sim|cpu)$")
    message(FATAL_ERROR "run mode '${CMAKE_ASC_RUN_MODE}'")
endif()
set(CMAKE_ASC_FLAGS "--npu-arch=${CMAKE_ASC_ARCHITECTURES}")
if(NOT CMAKE_ASC_RUN_MODE STREQUAL npu)
    string(APPEND CMAKE_ASC_FLAGS " --run-mode=${CMAKE_ASC_RUN_MODE}")
endif()
if(CMAKE_ASC_RUN_MODE STREQUAL cpu AND EXISTS $ENV{ASCEND_HOME_PATH}/lib64/libascendcl.so)
    link_libraries($ENV{ASCEND_HOME_PATH}/lib64/libascendcl.so)  # ACL is part of the run mode
endif()
if(CMAKE_ASC_RUN_MODE STREQUAL sim)
    link_libraries(-Wl,-rpath,$ENV{ASCEND_HOME_PATH}/tools/simulator/dav_2201/lib)
endif()
set(CMAKE_ASC_COMPILE_OBJECT
    "<CMAKE_ASC_COMPILER> <DEFINES> <INCLUDES> -std=c++17 <FLAGS> -o <OBJECT> -c -x asc <SOURCE>")
set(CMAKE_ASC_CREATE_SHARED_LIBRARY
    "<CMAKE_ASC_COMPILER> <LINK_FLAGS> -shared -o <TARGET> <OBJECTS> <LINK_LIBRARIES>")
set(CMAKE_ASC_LINK_EXECUTABLE "<CMAKE_ASC_COMPILER> <FLAGS> <LINK_FLAGS> <OBJECTS> -o <TARGET> <LINK_LIBRARIES>")
set(CMAKE_ASC_INFORMATION_LOADED 1)
"""
BISHENG = """
import json, re, subprocess, sys
from pathlib import Path

arguments = sys.argv[1:]
with open({log!r}, "a") as file:
    file.write(json.dumps(arguments) + "\\n")
kept = [x for x in arguments if not x.startswith(("--npu-arch", "--run-mode"))]
if "-x" in kept:
    kept.remove("asc")
    kept.remove("-x")
    source = Path(kept.pop())
    host = Path(kept[kept.index("-o") + 1] + ".cpp")
    host.write_text(re.sub(r"<<<.*?>>>", "", source.read_text(), flags=re.S))
    kept += ["-I{root}/fastattention_npu/sim/ascendc", "-I{root}", "-w", "-O0", str(host)]
elif {stand_in!r}:
    # What is linked runs in the embedded simulator: the stand-in has the launch interface too.
    kept = [x for x in kept if not x.endswith(".o")]
    kept += ["-Wl,--no-as-needed", "-L{stand_in}", "-lascendcl", "-Wl,-rpath,{stand_in}"]
else:
    kept += ["-L{machine}", "-lascend_sim", "-Wl,-rpath,{machine}"]  # so that the library can be loaded
sys.exit(subprocess.run(["g++", *kept]).returncode)
"""


class FakeCann:
    """A toolkit in `folder`, and what its compiler was asked to do."""

    def __init__(self, folder: Path, stand_in: Path | None = None, headers: Path | None = None) -> None:
        """stand_in: folder of the libraries that run what is linked. headers: folder with acl/."""
        self.home = folder / "cann"
        self.log = folder / "bisheng.log"
        modules = {
            "lib64/cmake/asc-config.cmake": CONFIG,
            "lib64/cmake/asc_modules/CMakeDetermineASCCompiler.cmake": DETERMINE,
            "lib64/cmake/asc_modules/CMakeASCCompiler.cmake.in": COMPILER,
            "lib64/cmake/asc_modules/CMakeASCInformation.cmake": INFORMATION,
            "lib64/cmake/asc_modules/CMakeTestASCCompiler.cmake": "set(CMAKE_ASC_COMPILER_WORKS 1)\n",
        }
        for name, text in modules.items():
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.program(
            "bisheng", BISHENG.format(log=str(self.log), root=ROOT, machine=MACHINE, stand_in=str(stand_in or ""))
        )
        if stand_in is not None:
            # A linker script: the library finds its own dependencies only where it lies.
            (self.home / "lib64/libascendcl.so").write_text(f"INPUT({stand_in / 'libascendcl.so'})\n")
        if headers is not None:
            (self.home / "include").symlink_to(headers)

    def program(self, name: str, python: str) -> Path:
        """A program of the toolkit, or of the driver, written in Python."""
        path = self.home / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable}\n{python}")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    def environment(self, **extra: str) -> dict[str, str]:
        base = {name: value for name, value in os.environ.items() if name != "SOC_VERSION"}
        path = f"{self.home / 'bin'}{os.pathsep}{base['PATH']}"
        return base | {"ASCEND_HOME_PATH": str(self.home), "PATH": path} | extra

    def commands(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []
