"""The search for token blocks and projection tiles by simulation: what the planner's model is too coarse for.

Schedules whose modelled times differ by a percent can take simulated times in the other order. So a few starts are
simulated (op_host's choice, no blocks at all, and the model's least for each number of blocks, with computing scaled to
the simulated one), then the boundaries of the fastest are moved one after the other for as long as that helps.
Deterministic, whatever the number of workers. Times are simulated; nothing here was measured on a card.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..config import ShapeConfig, SocConfig, TilingConfig
from ..sim.timing import timing_options
from ..tuning import Follow
from .block_model import Problem, near_least
from .layer import call_of, rank_inputs
from .simulated import SimulatedRanks, simulate_ranks

WITHIN = 0.03  # of the modelled least: further away the simulator has found nothing
MOVES = (-3, -1, 1, 3)  # of a boundary, in granules (rows of a query block)
PASSES = 4  # over all boundaries, at most ...
GAIN = 1.001  # ... and while one gains that much
Choice = tuple[tuple[int, ...], int]  # blocks, tiles_per_step
Run = Callable[[Sequence[int] | None, int | None], SimulatedRanks]  # of blocks and tiles_per_step; None: op_host's


@dataclass(frozen=True, order=True)
class Timed:
    """A choice with its simulated time; hidden: share of the shorter of computing and links that coincides with the
    other."""

    time_us: float
    blocks: tuple[int, ...]
    tiles_per_step: int
    hidden: float


@dataclass(frozen=True)
class TunedBlocks:
    """The fastest choice, op_host's own, the sequential form, and everything that was simulated, the fastest first."""

    best: Timed
    start: Timed
    sequential: Timed
    simulated: tuple[Timed, ...]


def layer_run(shape: ShapeConfig, soc: SocConfig, tiling: TilingConfig | None) -> Run:
    """Times one rank of a shape with `allreduce`, which stands for all. tiling: attention fields that stay as they are,
    and token_blocks or tiles_per_step where they are not asked for."""
    assert shape.allreduce is not None, "a shape with allreduce"
    inputs, bias = rank_inputs(shape)
    call = call_of(shape) | {"soc": soc, "tiling": tiling or TilingConfig(), "stand_for": shape.allreduce.ranks}

    def run(blocks: Sequence[int] | None, tiles_per_step: int | None) -> SimulatedRanks:
        return simulate_ranks(
            inputs, bias, blocks=blocks, tiles_per_step=tiles_per_step, options=timing_options(), **call
        )

    return run


def timed(result: SimulatedRanks) -> Timed:
    figures, plan = result.figures, result.plan
    shorter = min(figures["compute_us"], figures["link_us"])
    hidden = figures["overlap_us"] / shorter if shorter > 0 else 0.0
    return Timed(figures["time_us"], tuple(plan["blocks"]), plan["tiles_per_step"], hidden)


def moved(choice: Timed, boundary: int, granule: int) -> Iterator[tuple[int, ...]]:
    """Blocks with that boundary elsewhere, and without it."""
    before, after = choice.blocks[:boundary], choice.blocks[boundary + 2 :]
    left, right = choice.blocks[boundary : boundary + 2]
    for granules in MOVES:
        if left + granules * granule > 0 and right - granules * granule > 0:
            yield (*before, left + granules * granule, right - granules * granule, *after)
    yield (*before, left + right, *after)


class Search:
    """Simulates choices, each once. fixed: what is not searched, token_blocks or tiles_per_step."""

    def __init__(self, run: Run, workers: int, follow: Follow, fixed: Iterable[str] = ()) -> None:
        self.run, self.workers, self.follow, self.fixed = run, workers, follow, frozenset(fixed)
        self.known: dict[Choice, Timed | None] = {}

    def add(self, known: Timed) -> None:
        self.known[known.blocks, known.tiles_per_step] = known

    def simulate(self, choices: Iterable[Choice]) -> None:
        todo = [choice for choice in dict.fromkeys(choices) if choice not in self.known]
        with ThreadPoolExecutor(self.workers) as pool:  # the simulator runs without the interpreter's lock
            for _ in self.follow(pool.map(self._time, todo), len(todo)):
                pass

    def _time(self, choice: Choice) -> float:
        try:
            self.known[choice] = timed(self.run(*choice))
        except ValueError:  # more runs of blocks than a tiling holds
            self.known[choice] = None
        found = self.known[choice]
        return found.time_us if found else 0.0

    def ranked(self) -> list[Timed]:
        return sorted(found for found in self.known.values() if found)

    def descend(self, best: Timed, granule: int) -> None:
        """Moves one boundary after the other, then changes the tiles, while that helps."""
        for _ in range(PASSES):
            before = best
            boundary = 0
            while boundary + 1 < len(best.blocks) and "token_blocks" not in self.fixed:
                best = self._better(best, ((blocks, best.tiles_per_step) for blocks in moved(best, boundary, granule)))
                boundary += 1
            best = self._better(best, ((best.blocks, tiles) for tiles in self.other_tiles(best.tiles_per_step)))
            if before.time_us < GAIN * best.time_us:
                break

    def _better(self, best: Timed, choices: Iterable[Choice]) -> Timed:
        choices = list(choices)
        self.simulate(choices)
        return min([best, *(found for choice in choices if (found := self.known[choice]))])

    def other_tiles(self, tiles: int) -> list[int]:
        return [] if "tiles_per_step" in self.fixed else sorted({max(1, tiles // 2), 2 * tiles})


def tune_blocks(
    run: Run, workers: int = 1, follow: Follow = lambda items, _: items, fixed: Iterable[str] = ()
) -> TunedBlocks:
    """The fastest simulated choice; see the top of this file.

    fixed: what stays as `run` has it, token_blocks or tiles_per_step. follow: sees every simulated time as it comes,
    with how many there will be, and hands it on.
    Raises ValueError with op_host's reasons if the problem has no plan.
    """
    own = run(None, None)
    start, plan = timed(own), own.plan
    tokens = sum(start.blocks)
    sequential = timed(run([tokens], start.tiles_per_step))
    search = Search(run, workers, follow, fixed)
    search.add(start)
    if "token_blocks" not in search.fixed:
        search.add(sequential)
        problem = Problem.of(plan["block_problem"]).as_simulated(sequential.time_us, plan["launch_us"])
        search.simulate((blocks, start.tiles_per_step) for _, blocks in near_least(problem, WITHIN))
    search.descend(search.ranked()[0], plan["block_problem"]["granule"])
    ranked = search.ranked()
    best = ranked[0] if ranked[0].time_us < start.time_us else start
    return TunedBlocks(best, start, sequential, tuple(ranked))
