"""Entry point of the `fastattn` command: the parser, and the one place where errors become a message and a status.

Exit status: 0 the result is right, 1 it is not (or the simulator refused the kernel), 2 the input cannot be used.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from .. import __version__, _native
from ..dispatch import DEFAULT_SOC
from ..errors import BackendUnavailableError, RefusedError
from ..limits import BACKENDS
from . import bench, doctor, npu_sim, plan, report, run, selftest, trace, tune
from .arguments import positive, seed

OK, WRONG, UNUSABLE = 0, 1, 2


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where the help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(UNUSABLE, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="fastattn",
        description="FlashAttention for Ascend 910B: run it, plan it, see what works here.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastattention-npu {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    shape_help = "shape file, or the name of one in configs/shapes"
    item = commands.add_parser("run", help="run a shape and check it against float64", allow_abbrev=False)
    item.add_argument("shape", metavar="SHAPE.yaml", help=shape_help)
    item.add_argument("--backend", choices=BACKENDS, default="sim", help="where to run (default sim, simulated)")
    _add_target(item, default_soc=None)
    item.add_argument("--seed", type=seed, default=0, help="of the random inputs (default 0)")
    item.add_argument("--threads", type=positive, help="CPU threads of the simulator (default all); changes no bit")
    item.add_argument("--checks", choices=("on", "off"), default="on", help="race and poison checks (default on)")
    item.set_defaults(function=run.command)

    item = commands.add_parser("plan", help="show the tiling, buffer maps and modelled cost", allow_abbrev=False)
    item.add_argument("shape", metavar="SHAPE.yaml", help=shape_help)
    _add_target(item)
    item.set_defaults(function=plan.command)

    trace.add_parser(commands)
    report.add_parser(commands)
    tune.add_parser(commands, positive)
    bench.add_parser(commands)
    npu_sim.add_parser(commands)
    selftest.add_parser(commands)

    item = commands.add_parser("doctor", help="what this machine has and what works", allow_abbrev=False)
    item.add_argument("--json", action="store_true", help="one JSON object on standard output")
    item.add_argument("--rules", action="store_true", help="the rules of the chip that the simulator checks")
    item.add_argument(
        "--bundle", metavar="FILE.zip", help="write what a bug report needs: versions, SoC, self-test; no user data"
    )
    item.set_defaults(function=doctor.command)
    return parser


def _add_target(item: argparse.ArgumentParser, default_soc: str | None = DEFAULT_SOC) -> None:
    more = "" if default_soc else ", on an NPU the card's own"
    item.add_argument(
        "--soc", default=default_soc, help=f"SoC file or name in configs/soc (default {DEFAULT_SOC}{more})"
    )
    item.add_argument(
        "--tiling", metavar="FILE", help="tiling file or name in configs/tiling; default: op_host chooses"
    )
    item.add_argument("--json", action="store_true", help="one JSON object on standard output")


def main(argv: Sequence[str] | None = None) -> int:
    options = make_parser().parse_args(argv)
    try:
        status = options.function(options)
        sys.stdout.flush()
        return status
    except (RefusedError, BackendUnavailableError) as error:
        return _fail(str(error), UNUSABLE)
    except BrokenPipeError:  # the reader has gone, as in `fastattn plan ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except KeyboardInterrupt:
        return _fail("interrupted", 130)
    except MemoryError:
        return _fail("out of memory: use a smaller shape", UNUSABLE)
    except RuntimeError as error:
        if _native.is_available() and isinstance(error, _native.core().SimulatorError):
            return _fail(f"the simulated chip refused the kernel: {error}", WRONG)
        raise


def _fail(message: str, status: int) -> int:
    print(f"fastattn: {message}", file=sys.stderr)
    return status
