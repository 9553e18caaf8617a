// attention plan -> projection tiles -> cost of each granule of tokens -> token blocks -> tiling.
#include "fused_plan.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "../op_kernel/flash_attention/packing.h"
#include "../op_kernel/flash_attention/storage.h"

namespace fastattn {
namespace {

constexpr uint32_t MAX_PITCH_ELEMS = 65535;  // srcDValue of ND2NZ
// The projection of a block is spread over this share of the next block's attention: soon, so that the links start,
// and several tiles at a time, for each visit costs the attention's pipeline a stall. Simulated, the layers of fastattn
// bench allreduce are 0.2 to 2 % slower with 0.4 and single tiles, and with 24 tiles 3 %. With 0.25 instead of 0.15
// Llama-2-70B takes 0.5 % longer at 8192 tokens; with at least 5 tiles 4 % at 32768, with at least 12 3 %.
constexpr double PROJECTION_SHARE = 0.15;
constexpr double MIN_TILES_PER_STEP = 4;
// Computing simulated over computing modelled, 1.04 to 1.09 for the layers of fastattn bench allreduce at 8192 tokens.
constexpr double COMPUTE_EXCESS = 1.07;
constexpr int64_t LEAST_ROUNDS = 16;  // of a problem whose blocks end with rounds: fewer leave too little choice
constexpr int64_t FUSED_BLOCK_Q = 128;
constexpr int64_t DEEP_TILE = 256;           // elements of a row in one burst
constexpr uint32_t MAX_LOAD_FRACTALS = 255;  // repeatTimes of LoadData

int64_t Tokens(const Problem& p) { return p.hasCuSeqlens ? p.totalQ : p.b * p.sQ; }

uint32_t Down(uint32_t x, uint32_t to) { return std::max(to, x / to * to); }

// Tiles that fit the attention's buffers: left operand in P's, right one in V's.
MatmulTiling LinearTiling(const FusedProblem& problem, const FlashAttentionTiling& t)
{
    const L1Map l1 = MakeL1Map(t);
    const L0Map l0 = MakeL0Map(t);
    MatmulTiling m{};
    m.m = static_cast<uint32_t>(Tokens(problem.attention));
    m.n = static_cast<uint32_t>(problem.hidden);
    m.k = t.headsQ * t.headDimV;
    m.transB = 1;
    m.gridM = 1;
    m.coreM = m.m;
    m.coreN = m.n;
    m.baseM = t.blockQ;
    m.baseN = Down(l0.c.slotBytes / FLOAT_BYTES / m.baseM, FRACTAL_ROWS);
    const uint32_t fitsA = std::min(l0.a.slotBytes, l1.p.slotBytes) / HALF_BYTES / m.baseM;
    const auto fitsB = [&] { return std::min(l0.b.slotBytes, l1.v.slotBytes) / HALF_BYTES / m.baseN; };
    while (m.baseN > FRACTAL_ROWS && fitsB() < FRACTAL_ROWS) m.baseN = Down(m.baseN / 2, FRACTAL_ROWS);
    const uint32_t loadable = MAX_LOAD_FRACTALS / (m.baseN / FRACTAL_ROWS) * C0_B16_ELEMS;
    m.baseK = Down(std::min({fitsA, fitsB(), loadable}), C0_B16_ELEMS);
    m.stepA = std::max(1U, l1.p.slotBytes / (m.baseM * m.baseK * HALF_BYTES));
    m.stepB = std::max(1U, l1.v.slotBytes / (m.baseN * m.baseK * HALF_BYTES));
    return m;
}

// A tile of a block's rows is at least one fractal wide and deep: too much for the buffers of small attention tiles.
Reasons CheckLinear(const MatmulTiling& m, const FlashAttentionTiling& t)
{
    const L1Map l1 = MakeL1Map(t);
    const L0Map l0 = MakeL0Map(t);
    const uint64_t leftBytes = uint64_t{m.baseM} * m.baseK * HALF_BYTES;
    const uint64_t rightBytes = uint64_t{m.baseN} * m.baseK * HALF_BYTES;
    const uint64_t sumBytes = uint64_t{m.baseM} * m.baseN * FLOAT_BYTES;
    const struct {
        const char* name;
        uint64_t bytes;
        const Buffer& buffer;
    } needs[] = {{"projection's left tile in l1P", leftBytes, l1.p},
                 {"projection's right tile in l1V", rightBytes, l1.v},
                 {"projection's left tile in l0a", leftBytes, l0.a},
                 {"projection's right tile in l0b", rightBytes, l0.b},
                 {"projection's sums in l0c", sumBytes, l0.c}};
    Reasons reasons;
    for (const auto& need : needs) {
        if (need.bytes <= need.buffer.slotBytes) continue;
        reasons.push_back({need.name, std::to_string(need.bytes) + " B",
                           "at most " + std::to_string(need.buffer.slotBytes) + " B, a slot of the attention",
                           "raise l0_tile_q, l0_tile_kv or l1_tile_p, or lower block_q"});
    }
    return reasons;
}

// One operand of a tile on its way to L1, a row of each load in one burst.
double LoadCycles(const SocSpec& soc, uint32_t rows, uint32_t k, uint32_t depth)
{
    const double loads = std::ceil(1.0 * k / depth);
    const double bytes = 1.0 * rows * k * HALF_BYTES;
    return loads * soc.mte2HeadCycles + std::max(bytes / soc.mte2L1BytesPerCycle, loads * rows * soc.mte2L1BurstCycles);
}

// Cycles of one tile, pipe by pipe.
PipeCycles TileCycles(const MatmulTiling& m, const SocSpec& soc)
{
    const double steps = std::ceil(static_cast<double>(m.k) / m.baseK);
    const double fractals = static_cast<double>(m.baseM) * m.baseN * m.k / (FRACTAL_ROWS * FRACTAL_ROWS * C0_B16_ELEMS);
    PipeCycles c;
    c.cube = steps * soc.cubeHeadCycles + fractals * soc.cubeFractalCycles;
    c.mte1 = steps * 2 * soc.mte1HeadCycles +
             1.0 * m.k * HALF_BYTES * (m.baseM / soc.mte1L0aBytesPerCycle + m.baseN / soc.mte1L0bBytesPerCycle);
    c.mte2Cube = LoadCycles(soc, m.baseM, m.k, m.baseK * m.stepA) + LoadCycles(soc, m.baseN, m.k, m.baseK * m.stepB);
    c.fixpipe = soc.fixpipeHeadCycles + 1.0 * m.baseM * m.baseN * FLOAT_BYTES / soc.fixpipeGmBytesPerCycle;
    return c;
}

struct Load {
    double attentionCycles = 0;  // by itself, without launch
    PipeCycles projection;       // of one group, all tokens
};

// Attention's share of the work before each granule's end, 0 ... 1.
std::vector<double> AttentionShares(const FusedProblem& problem, const FlashAttentionTiling& t, size_t granules)
{
    std::vector<double> weights(granules, 0);
    const Problem& p = problem.attention;
    for (size_t i = 0; i < granules; ++i) {
        const auto token = static_cast<int64_t>(i) * t.blockQ;
        const auto row = static_cast<uint32_t>(p.hasCuSeqlens ? 0 : token % p.sQ / BlockTokens(t));
        weights[i] = p.hasCuSeqlens ? 1 : std::max(1U, BlocksOfRow(t, row).blocks);
    }
    double sum = 0;
    for (double& weight : weights) weight = sum += weight;
    for (double& weight : weights) weight /= sum;
    return weights;
}

// Computing of all tokens up to each granule's end. The sum: simulated, the projection's copies fill what the attention
// leaves of MTE2 and little of it comes for nothing.
std::vector<double> ComputeUs(const Load& load, const std::vector<double>& shares, double clockMhz)
{
    std::vector<double> us;
    double total = 0;
    double before = 0;
    for (const double share : shares) {
        const double part = share - before;
        total += load.attentionCycles * part + Longest(load.projection) / static_cast<double>(shares.size());
        us.push_back(COMPUTE_EXCESS * total / clockMhz);
        before = share;
    }
    return us;
}

Reasons CheckFused(const FusedProblem& problem)
{
    Reasons reasons;
    const Problem& p = problem.attention;
    const int64_t depth = p.hQ * DimV(p);
    if (problem.hidden < 1 || problem.hidden > INT32_MAX) {
        reasons.push_back({"hidden", std::to_string(problem.hidden), "1 to 2^31 - 1", "correct the weight's rows"});
    }
    if (depth > MAX_PITCH_ELEMS) {
        reasons.push_back(
            {"h_q * d_v", std::to_string(depth), "at most 65535, the row pitch of a copy into L1", "use more ranks"});
    }
    if (problem.ranks < 1) reasons.push_back({"ranks", std::to_string(problem.ranks), "at least 1", "correct it"});
    if (Tokens(p) > INT32_MAX / 2) {
        reasons.push_back({"tokens", std::to_string(Tokens(p)), "at most 2^30", "split the batch"});
    }
    if (!problem.blocks) return reasons;
    int64_t sum = 0;
    bool positive = true;
    for (const int64_t tokens : *problem.blocks) {
        sum += tokens;
        positive = positive && tokens > 0;
    }
    if (!positive || sum != Tokens(p)) {
        reasons.push_back({"blocks", std::to_string(sum) + " tokens",
                           "positive sizes that add up to the " + std::to_string(Tokens(p)) + " tokens",
                           "correct the token blocks"});
    }
    if (RunsOf(*problem.blocks).size() > MAX_BLOCK_RUNS) {
        reasons.push_back({"blocks", std::to_string(RunsOf(*problem.blocks).size()) + " runs of equal blocks",
                           "at most " + std::to_string(MAX_BLOCK_RUNS), "make more of them equal"});
    }
    return reasons;
}

BlockProblem MakeBlockProblem(const FusedProblem& problem, const FlashAttentionTiling& t, const MatmulTiling& linear,
                              const ModelledCost& cost, const SocSpec& soc)
{
    const double tiles = std::ceil(1.0 * linear.m / linear.baseM) * std::ceil(1.0 * linear.n / linear.baseN);
    const PipeCycles tile = TileCycles(linear, soc);
    Load load;
    load.attentionCycles = cost.cycles - cost.launchCycles;
    AddCycles(tile, tiles / t.blockDim, load.projection);
    BlockProblem blocks;
    blocks.tokens = linear.m;
    blocks.granule = t.blockQ;
    const auto granules = static_cast<size_t>((blocks.tokens + blocks.granule - 1) / blocks.granule);
    blocks.computeUs = ComputeUs(load, AttentionShares(problem, t, granules), soc.clockMhz);
    blocks.lagUsPerToken = Longest(tile) * tiles / t.blockDim / linear.m / soc.clockMhz;
    blocks.blockUs = 2 * (soc.syncAllCycles + soc.crossCoreCycles) / soc.clockMhz;
    blocks.bytesPerToken = static_cast<double>(problem.hidden) * HALF_BYTES;
    blocks.slowdown = soc.linkSlowdown;
    blocks.link = CurveOf(soc, problem.ranks);
    return blocks;
}

// Tokens after which a round of tasks, one for each core group, ends together with a row of query blocks; 0 where
// query blocks do not follow from the tokens.
int64_t RoundTokens(const Problem& p, const FlashAttentionTiling& t)
{
    if (p.hasCuSeqlens || (p.b > 1 && p.sQ % BlockTokens(t) != 0)) return 0;
    return static_cast<int64_t>(BlockTokens(t)) * (t.blockDim / std::gcd(TaskHeads(t), t.blockDim));
}

// Cuts at the nearest ends of rounds, where no core group should be a task behind the others that wait for it at the
// end of a block. The fluid does not know of rounds; simulated, Llama-2-70B gains 0.7 % at 8192 tokens, 2 % at 32768.
// That this is why is inferred: some schedules with such cuts are slower (docs/allreduce.md).
TokenBlocks CutAtRounds(const TokenBlocks& blocks, int64_t tokens, int64_t round)
{
    if (round == 0 || round * LEAST_ROUNDS > tokens) return blocks;
    TokenBlocks cut;
    int64_t end = 0;
    int64_t begin = 0;
    for (const int64_t size : blocks) {
        end += size;
        const int64_t at = end == tokens ? tokens : (end + round / 2) / round * round;
        if (at > begin && at <= tokens) {
            cut.push_back(at - begin);
            begin = at;
        }
    }
    return RunsOf(cut).size() <= MAX_BLOCK_RUNS ? cut : blocks;
}

// What the kernel needs of an attention plan, whatever else is chosen: tasks in order of tokens, and the buffers that
// both products of a query tile share, which the projection borrows.
constexpr std::pair<const char*, int64_t> NEEDED_FIELDS[] = {{"schedule", TOKEN_ORDER}, {"interleave", 0}};

Reasons CheckNeeded(const Overrides& overrides)
{
    Reasons reasons;
    for (const auto& [name, value] : NEEDED_FIELDS) {
        const auto given = overrides.find(name);
        if (given != overrides.end() && given->second != value) {
            reasons.push_back({name, std::to_string(given->second), std::to_string(value) + " for the fused AllReduce",
                               "leave this field out"});
        }
    }
    const auto mask = overrides.find("mask");
    if (mask != overrides.end() && mask->second == MASK_FULL) {
        reasons.push_back({"mask", "full", "tiling or predicate for the fused AllReduce, which takes no mask tensor",
                           "leave this field out"});
    }
    return reasons;
}

Overrides KernelOverrides(const FusedProblem& problem, const SocSpec& soc, const Overrides& overrides)
{
    Overrides forced = overrides;
    for (const auto& [name, value] : NEEDED_FIELDS) forced[name] = value;
    forced.try_emplace("block_dim", static_cast<int64_t>(soc.aicCores));
    const int64_t rows = std::min<int64_t>(problem.attention.sQ, FUSED_BLOCK_Q);
    forced.try_emplace("block_q",
                       static_cast<int64_t>(RoundUp(static_cast<uint64_t>(std::max<int64_t>(rows, 1)), FRACTAL_ROWS)));
    return forced;
}

struct Candidate {
    Plan attention;
    MatmulTiling linear;
    BlockProblem blocks;
};

Candidate MakeCandidate(const FusedProblem& problem, const SocSpec& soc, const Overrides& forced)
{
    Candidate c{MakePlan(problem.attention, soc, forced), {}, {}};
    c.linear = LinearTiling(problem, c.attention.tiling);
    Reasons reasons = CheckLinear(c.linear, c.attention.tiling);
    if (!reasons.empty()) throw Refusal("no plan of the fused AllReduce on " + soc.name, std::move(reasons));
    c.blocks = MakeBlockProblem(problem, c.attention.tiling, c.linear, c.attention.cost, soc);
    return c;
}

// The attention's own best plan, or one with deeper slots in L1, which the attention does not need: the projection's
// operands go through them, and a burst that is half as long takes as much time.
Candidate BestCandidate(const FusedProblem& problem, const SocSpec& soc, const Overrides& forced)
{
    Candidate best = MakeCandidate(problem, soc, forced);
    for (const int64_t blockKv : {512, 1024}) {
        Overrides deep = forced;
        deep.try_emplace("block_kv", blockKv);
        deep.try_emplace("l1_tile_kv", DEEP_TILE);
        deep.try_emplace("l1_tile_p", DEEP_TILE);
        try {
            Candidate other = MakeCandidate(problem, soc, deep);
            if (other.blocks.computeUs.back() < best.blocks.computeUs.back()) best = std::move(other);
        } catch (const Refusal&) {  // does not fit this head dim or these overrides
        }
    }
    return best;
}

}  // namespace

FusedPlan MakeFusedPlan(const FusedProblem& problem, const SocSpec& soc, const Overrides& overrides)
{
    Reasons reasons = CheckFused(problem);
    for (const Reason& reason : CheckNeeded(overrides)) reasons.push_back(reason);
    if (!reasons.empty()) throw Refusal("no plan of the fused AllReduce on " + soc.name, std::move(reasons));
    const Candidate best = BestCandidate(problem, soc, KernelOverrides(problem, soc, overrides));
    const Plan& attention = best.attention;
    FusedPlan plan{};
    plan.tiling.attention = attention.tiling;
    plan.tiling.linear = best.linear;
    plan.workspaceBytes = attention.workspaceBytes;
    plan.blocks = problem.blocks ? *problem.blocks
                                 : CutAtRounds(ChooseTokenBlocks(best.blocks, MAX_BLOCK_RUNS), best.blocks.tokens,
                                               RoundTokens(problem.attention, attention.tiling));
    plan.blockProblem = best.blocks;
    plan.launchUs = attention.cost.launchCycles / soc.clockMhz;
    plan.cost = CostOfBlocks(best.blocks, plan.blocks);
    plan.tiling.hasBias = problem.hasBias ? 1 : 0;
    const MatmulTiling& linear = plan.tiling.linear;
    const double tiles = std::ceil(1.0 * linear.m / linear.baseM) * std::ceil(1.0 * linear.n / linear.baseN);
    const double steps = std::max(1.0, attention.cost.blocks) * attention.tiling.blockDim;
    plan.tiling.tilesPerStep = static_cast<uint32_t>(
        problem.tilesPerStep ? *problem.tilesPerStep
                             : std::max(MIN_TILES_PER_STEP, std::ceil(tiles / steps / PROJECTION_SHARE)));
    for (const auto& [tokens, count] : RunsOf(plan.blocks)) {
        plan.tiling.runTokens[plan.tiling.numRuns] = static_cast<uint32_t>(tokens);
        plan.tiling.runBlocks[plan.tiling.numRuns++] = static_cast<uint32_t>(count);
    }
    return plan;
}

}  // namespace fastattn
