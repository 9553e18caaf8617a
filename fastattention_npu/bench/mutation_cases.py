"""The shapes that mutants run on.

CASES: between them every branch of the kernels, on tilings whose rings are as short as op_host allows (ring = preload +
1), so that a slot is reused as soon as it may be. A mutant that all of them pass goes on to bounded_cases().
"""

from collections.abc import Iterator

from .append_cases import APPEND_CASES, bounded_append_cases
from .fused_cases import FUSED_CASES, bounded_fused_cases
from .kernel_cases import SMALL_TILING, Case
from .matmul_cases import MATMUL_CASES, bounded_matmul_cases
from .mutation_pool import RunnableCase
from .standard_cases import STANDARD_CASES, bounded_standard_cases

TALL_STRIPS = {**SMALL_TILING, "block_q": 64, "strip_rows": 16, "l1_tile_kv": 256, "l0_tile_kv": 128}
SHORT_RING = {**SMALL_TILING, "block_q": 16, "ring": 2, "preload": 1, "l0_tile_kv": 32, "p_slots": 1}
TWO_GROUPS = {**SMALL_TILING, "block_dim": 2, "block_q": 16}
WIDE = {**SMALL_TILING, "block_kv": 512, "mask_block": 512, "l1_tile_kv": 256}
LONG_ROWS = {**SMALL_TILING, "block_kv": 1536, "mask_block": 1536}  # their sums take two folds
# Two query tiles over one copy of K and V: all of V's tiles of a block in L1, and a block of a single tile.
SHARED_KEYS = {**SMALL_TILING, "block_q": 64, "l0_tile_q": 32, "block_kv": 768, "l1_tile_v": 256, "mask_block": 768}
# Slices of a block: all of its K and V in L1, rows of both vector cores from each.
SLICES = {**SMALL_TILING, "block_q": 64, "slice_q": 32, "block_dim": 2}
FEW_KEY_TILES = {**SMALL_TILING, "block_q": 64, "l0_tile_q": 32, "l1_tile_v": 256}
# Products in turns: their own buffers fill L0A and L0C to the last byte; and the shortest ring.
FULL_TURNS = {**SMALL_TILING, "block_q": 128, "l0_tile_q": 128, "l1_tile_v": 128, "l1_tile_p": 128, "interleave": 1}
SHORT_TURNS = {**SHORT_RING, "interleave": 1}
WHOLE_TASKS = {**SMALL_TILING, "block_dim": 3, "block_q": 16, "schedule": 0}
SPLIT_GROUPS = {"block_dim": 3, "schedule": 1}
SPLIT_TASKS = {**SMALL_TILING, **SPLIT_GROUPS}
M_MASK = {**SMALL_TILING, "mask": "tiling"}
FULL_MASK = {**SMALL_TILING, "mask": "full"}
NARROW = {**SMALL_TILING, "s_exchange": "fp16"}
NARROW_BF16 = {**SMALL_TILING, "l0_tile_kv": 32, "s_exchange": "bf16"}
PACKED = {**SMALL_TILING, "pack_gqa": 1}
# Both slots of L0A, L0B (64 KB each) and L0C (128 KB) fill their memory to the last byte.
FULL_L0 = {**SMALL_TILING, "block_q": 128, "l0_tile_kv": 128}
# More than PieceWalk keeps the work before; some are empty.
MANY_SEQUENCES = tuple((i % 6, 8 + 5 * i % 33) for i in range(70))

CASES = (
    Case(40, 600),  # tails of rows and keys, several blocks
    Case(100, 300, causal=True, d=32),
    Case(70, 600, h_q=2, tiling=SHORT_RING),
    Case(5, 600),  # the second vector core has no rows
    Case(300, 300, causal=True, tiling=WIDE),
    Case(300, 40, causal=True, h_q=2),  # rows and whole blocks without any key
    Case(64, 530, h_q=4, h_kv=2, b=2, causal=True, used=(530, 300), tiling=TWO_GROUPS),
    Case(33, 520, b=6, used=(0, 1, 520, 700, -5, 256)),
    Case(90, 900, h_q=2, h_kv=2, b=2, causal=True, tiling=TALL_STRIPS),
    Case(1, 1),
    Case(17, 257, d=80, h_q=3, tiling=TWO_GROUPS),
    Case(128, 1100, d=64, h_q=2, tiling=SHORT_RING),
    Case(40, 600, h_q=2, far=True),
    Case(150, 700, d=128, tiling=FULL_L0),
    Case(20, 1530, tiling=LONG_ROWS),
    Case(150, 700, d=128, tiling=FULL_TURNS),
    Case(70, 900, h_q=2, tiling=SHORT_TURNS),
    Case(60, 600, h_q=2, causal=True, tiling=SHARED_KEYS),
    Case(33, 513, causal=True, tiling=SHARED_KEYS),  # a query tile without visible keys
    Case(60, 600, tiling=FEW_KEY_TILES),
    Case(150, 700, causal=True, tiling=SLICES),
    Case(100, 600, h_q=2, sinks=True, d_v=40, tiling=SLICES),
    Case(100, 900, h_q=2, far=True, window=(300, -1), tiling={**SLICES, "slice_q": 16, "l0_tile_q": 16}),
    Case(20, 330, h_q=4, h_kv=1, window=(40, 7), tiling={**SLICES, "pack_gqa": 1, "ring": 4, "preload": 3}),
    # Rows of a query tile that need none of the last columns of S, at whole tiles of 64 keys and within one of 128.
    Case(200, 330, causal=True, tiling=FULL_TURNS),
    Case(100, 200, causal=True, tiling=TALL_STRIPS),
    # S in 16 bits.
    Case(40, 600, h_q=2, causal=True, tiling=NARROW),
    Case(90, 700, d_v=256, dtype="bf16", tiling=NARROW_BF16),
    Case(40, 300, dtype="bf16", beyond=True, tiling=NARROW_BF16),
    # Windows on either side, partly, wholly and not at all hiding a strip; rows that see nothing.
    Case(100, 700, h_q=2, window=(40, 30)),
    Case(300, 500, window=(300, -1)),
    Case(200, 60, window=(-1, 5), h_q=2),
    Case(70, 300, window=(0, 0), tiling=TALL_STRIPS),
    # What changes scores.
    Case(40, 600, softcap=5.0),
    Case(50, 330, alibi=True, h_q=4, h_kv=2),
    Case(90, 500, alibi=True, causal=True, h_q=2, tiling=TALL_STRIPS),
    Case(20, 64, alibi=True, h_q=2),
    Case(40, 300, sinks=True, h_q=2),
    Case(60, 20, sinks=True, causal=True, h_q=2),
    # Head dims that are no whole fractals, different for K and V.
    Case(40, 300, d=40, d_v=72, h_q=2),
    Case(40, 300, d=7, d_v=1),
    # Windows by the M-mask and by tensor; mask tensors of every type, shared by rows and not.
    Case(100, 300, causal=True, tiling=M_MASK),
    Case(70, 330, window=(40, 30), h_q=2, tiling=M_MASK),
    Case(100, 300, causal=True, tiling=FULL_MASK),
    Case(50, 330, h_q=2, b=2, mask=("bool", "bhqk")),
    Case(50, 330, h_q=2, mask=("bool", "k"), tiling=TALL_STRIPS),
    Case(50, 330, h_q=2, b=2, mask=("add", "hqk"), causal=True),
    Case(50, 600, b=2, mask=("add", "bk"), dtype="bf16"),
    Case(50, 330, h_q=2, mask=("fp32", "hqk"), tiling=M_MASK, causal=True),
    Case(50, 330, mask=("fp32", "k"), softcap=5.0),
    # The heads of a group as rows of one block: one token, strips that several heads share, heads cut by a strip.
    Case(1, 600, h_q=8, h_kv=2, causal=True, tiling=PACKED),
    Case(5, 330, h_q=6, h_kv=2, b=2, window=(40, 7), sinks=True, alibi=True, tiling=PACKED),
    Case(20, 330, h_q=4, h_kv=1, window=(40, 7), tiling={**PACKED, "mask": "tiling"}),
    Case(5, 330, h_q=6, h_kv=2, mask=("bool", "hqk"), d_v=40, tiling=PACKED),
    Case(3, 5, h_q=6, h_kv=2, sinks=True, causal=True, used=(2,), layout="BNSD", tiling=PACKED),
    # Packed sequences, some of them empty.
    Case(65, 300, h_q=2, lens=((40, 300), (0, 5), (65, 65), (9, 0), (1, 270))),
    Case(65, 300, h_q=2, causal=True, lens=((40, 300), (0, 5), (65, 65), (9, 0)), tiling=WHOLE_TASKS),
    Case(40, 300, h_q=2, lens=((1, 300), (40, 300), (0, 5), (9, 0), (1, 270), (1, 300)), tiling=SPLIT_TASKS),
    Case(5, 40, h_q=2, causal=True, lens=MANY_SEQUENCES, tiling=SPLIT_TASKS),
    # Whole tasks over three groups; split tasks over three groups, with parts far below zero and with sinks.
    Case(100, 300, h_q=3, causal=True, tiling=WHOLE_TASKS),
    Case(40, 40, h_q=3, causal=True, used=(0,), tiling=WHOLE_TASKS),
    Case(40, 1100, h_q=2, tiling=SPLIT_TASKS),
    Case(40, 1100, h_q=2, far=True, tiling=SPLIT_TASKS),
    Case(70, 900, sinks=True, causal=True, d_v=40, tiling=SPLIT_TASKS),
    Case(40, 1100, h_q=4, apart=True, tiling=SPLIT_TASKS),
    Case(20, 700, h_q=6, apart=True, causal=True, tiling=SPLIT_TASKS),
    Case(33, 700, b=2, used=(700, 0), tiling=SPLIT_TASKS),
    Case(5, 2000, d=72, tiling=SPLIT_TASKS),
)


def bounded_cases() -> Iterator[Case]:
    """The bounded set on which equivalence is shown: every number of rows up to a block and one; every number of keys
    at and around a multiple of 16 (causal: of 64) up to two blocks and 16; every count of blocks up to twice the ring
    and one, of one task and of several; every head dim; causal offsets of both signs; keys in use from none to all;
    every tiling above."""
    for causal in (False, True):
        for s_q in range(1, 34):
            yield Case(s_q, 270, causal=causal)
        step = 64 if causal else 16
        for border in range(step, 530, step):
            for s_kv in (border - 1, border, border + 1):
                yield Case(17, s_kv, causal=causal)
        for blocks in range(1, 6):
            for tasks in (1, 2, 5):
                yield Case(9, 256 * blocks - 3, h_q=tasks, causal=causal, tiling=SHORT_RING)
        for d in range(16, 129, 16):
            for s_q in (20, 33, 64):
                yield Case(s_q, 300, d=d, causal=causal, tiling=TALL_STRIPS)
        for s_q in (1, 16, 40, 100):
            for s_kv in (1, 20, 100, 257, 600):
                yield Case(s_q, s_kv, h_q=2, causal=causal, tiling=TWO_GROUPS)
        for used in (-1, 0, 1, 255, 256, 257, 519, 520):
            yield Case(20, 520, b=2, causal=causal, used=(used, 300))
        for s_kv in (1, 15, 17, 63, 65, 300, 513):
            yield Case(33, s_kv, causal=causal, tiling=NARROW)
            yield Case(70, s_kv, d=48, causal=causal, dtype="bf16", tiling=NARROW_BF16)
        for tiling in (SMALL_TILING, TALL_STRIPS, SHORT_RING, WIDE, LONG_ROWS, SHARED_KEYS, FEW_KEY_TILES):
            for d in (16, 48, 128):
                yield Case(70, 700, d=d, causal=causal, tiling=tiling)
                yield Case(33, 513, d=d, causal=causal, far=True, tiling=tiling)
        yield Case(130, 700, d=128, causal=causal, tiling=FULL_L0)
    yield from bounded_feature_cases()


def bounded_feature_cases() -> Iterator[Case]:
    """Windows of every kind of offset, what changes scores, packed lengths, and both schedules over three groups."""
    for left in (-1, 0, 17, 255, 300):
        for right in (-1, 0, 17, 255, 300):
            yield Case(70, 600, window=(left, right), h_q=2)
            yield Case(300, 90, window=(left, right))
    for s_q in (1, 8, 9, 33, 70):
        yield Case(s_q, 300, softcap=5.0)
        yield Case(s_q, 300, alibi=True, h_q=2)
        yield Case(s_q, 30, sinks=True, causal=True, h_q=2)
        yield Case(s_q, 300, d=24, d_v=s_q)
    yield from bounded_mask_cases()
    for a in (0, 1, 33):
        for b in (0, 1, 300):
            yield Case(max(65, b), 300, h_q=2, lens=((a, b), (65, 300), (b, a)))
            yield Case(65, 300, causal=True, lens=((65, 300), (a, b), (a, b)), tiling=WHOLE_TASKS)
            yield Case(max(65, b), 300, lens=((65, 300), (a, b), (b, a)), tiling=SPLIT_TASKS)
    for s_q in (1, 17, 40, 100):
        for s_kv in (1, 63, 64, 65, 300, 700, 1100):
            yield Case(s_q, s_kv, h_q=2, tiling=SPLIT_TASKS)
            yield Case(s_q, s_kv, h_q=2, causal=True, sinks=True, tiling=SPLIT_TASKS)
            yield Case(s_q, s_kv, h_q=2, causal=True, tiling=WHOLE_TASKS)


def bounded_mask_cases() -> Iterator[Case]:
    """Every mask mode and kind of tensor, shared by rows, heads and batch entries or not, and packed rows."""
    for tiling in (M_MASK, FULL_MASK):
        for left, right in ((-1, 0), (17, -1), (40, 7), (0, 0)):
            for s_q in (1, 9, 40, 300):
                yield Case(s_q, 290, window=(left, right), h_q=2, tiling=tiling)
    for kind in ("bool", "add", "fp32"):
        for dims in ("bhqk", "hk", "qk", "k"):
            for s_q in (1, 8, 33, 50):
                yield Case(s_q, 330, h_q=2, b=2, mask=(kind, dims))
                yield Case(s_q, 256, h_q=4, h_kv=2, mask=(kind, dims), tiling=PACKED)
            yield Case(50, 700, h_q=2, causal=True, mask=(kind, dims), dtype="bf16", tiling=TALL_STRIPS)
    for s_q in (1, 2, 5, 8, 20):
        for heads in ((4, 2), (8, 1), (3, 1), (15, 3)):
            h_q, h_kv = heads
            yield Case(s_q, 300, h_q=h_q, h_kv=h_kv, window=(40, 7), sinks=True, alibi=True, tiling=PACKED)
            yield Case(s_q, 600, h_q=h_q, h_kv=h_kv, causal=True, layout="BNSD", tiling={**PACKED, "mask": "tiling"})
    yield Case(20, 700, h_q=4, h_kv=1, causal=True, sinks=True, tiling={**PACKED, **SPLIT_GROUPS})


def all_cases() -> tuple[list[RunnableCase], list[RunnableCase]]:
    """The cases and the bounded set of every kernel in this checkout."""
    cases: list[RunnableCase] = [*CASES]
    bounded: list[RunnableCase] = [*bounded_cases()]
    cases += [*MATMUL_CASES, *STANDARD_CASES, *FUSED_CASES, *APPEND_CASES]
    bounded += [*bounded_matmul_cases(), *bounded_standard_cases(), *bounded_fused_cases(), *bounded_append_cases()]
    return cases, list({str(case): case for case in bounded}.values())
