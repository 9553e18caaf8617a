// Reductions of the vector unit: a block of 32 B to one value, or a whole repeat to one, with or without its index.
// Values are combined as a pairwise tree in fp32; fp16 results are rounded once.
#include <cmath>

#include "cost.h"
#include "vector_operands.h"

using namespace ascend_sim;

namespace {

constexpr uint32_t BLOCKS = 8;
constexpr uint32_t MAX_LANES = 128;

uint32_t BytesOf(FloatType type)
{
    if (type == FloatType::BF16) Refuse(Rule::BF16_ARITHMETIC, "dav-2201 has no bf16 reductions; Cast to float first");
    return type == FloatType::FP32 ? 4 : 2;
}

struct Source {
    FloatType type;
    VectorOperand operand;
    LanePlan plan;
    float neutral;
};

const uint8_t* Block(Core& core, const VectorOperand& operand, uint32_t repeat, uint32_t block)
{
    const auto blocks = static_cast<uint64_t>(repeat * operand.repeatStride + block * operand.blockStride);
    return core.Memory(Space::UB).At(operand.address + blocks * VECTOR_BLOCK_BYTES);
}

// The lanes of a repeat as fp32, masked ones replaced; in place when they lie back to back and all count.
const float* LanesOf(Core& core, const Source& s, uint32_t repeat, float* buffer)
{
    const uint32_t active = s.plan.ActiveIn(repeat);
    if (s.type == FloatType::FP32 && s.operand.blockStride == 1 && s.plan.contiguous && active == s.plan.lanes) {
        return reinterpret_cast<const float*>(Block(core, s.operand, repeat, 0));
    }
    const uint32_t perBlock = s.plan.lanes / BLOCKS;
    for (uint32_t block = 0; block * perBlock < active; ++block) {
        const uint8_t* from = Block(core, s.operand, repeat, block);
        if (s.type == FloatType::FP32) {
            std::memcpy(buffer + block * perBlock, from, VECTOR_BLOCK_BYTES);
        } else {
            HostLanes().toFloat(s.type, reinterpret_cast<const uint16_t*>(from), buffer + block * perBlock, perBlock);
        }
    }
    for (uint32_t lane = 0; lane < s.plan.lanes; ++lane) {
        if (lane >= active || !s.plan.Lane(lane)) buffer[lane] = s.neutral;
    }
    return buffer;
}

void Put(FloatType type, uint8_t* to, const float* values, uint32_t count)
{
    if (type == FloatType::FP32) {
        std::memcpy(to, values, count * sizeof(float));
    } else {
        HostLanes().fromFloat(type, values, reinterpret_cast<uint16_t*>(to), count);
    }
}

// Results must not overwrite what a later repeat reads.
void RequireUnfed(const Source& source, uint32_t elementBytes, uint64_t dst, uint64_t resultBytes, uint64_t dstPitch)
{
    RequireNoFeeding(
        "src", source.plan.repeats,
        [&](uint32_t first, uint32_t count) {
            return Rows(Space::UB, dst + first * dstPitch, resultBytes, count, dstPitch);
        },
        [&](uint32_t first, uint32_t count) {
            return Cover(source.operand, first, count, uint64_t{source.plan.active} * elementBytes);
        });
}

// resultBytes: of a repeat.
Instruction Start(const char* name, bool whole, uint32_t repeats, uint32_t resultBytes, const BankOperands& banks)
{
    const auto& soc = Self().Soc();
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::V;
    instruction.cycles = VectorOccupation(whole ? soc.vectorWholeReduceCycles : soc.vectorSimpleCycles, repeats, banks);
    instruction.latencyCycles = VectorLatency() + soc.vectorReduceTailCycles;
    if (resultBytes % VECTOR_BLOCK_BYTES != 0) instruction.latencyCycles += soc.vectorPartialBlockCycles;
    return instruction;
}

}  // namespace

namespace ascend_sim {

void VectorReduce(const char* name, ReduceKind kind, FloatType type, uint64_t dst, uint64_t src, int64_t repeat,
                  int64_t dstRepeatStride, int64_t srcBlockStride, int64_t srcRepeatStride)
{
    const uint32_t bytes = BytesOf(type);
    const bool sum = kind == ReduceKind::BLOCK_SUM || kind == ReduceKind::WHOLE_SUM;
    const bool max = kind == ReduceKind::BLOCK_MAX || kind == ReduceKind::WHOLE_MAX;
    const bool whole = kind == ReduceKind::WHOLE_MAX || kind == ReduceKind::WHOLE_MIN || kind == ReduceKind::WHOLE_SUM;
    const float neutral = sum ? 0.0F : max ? -__builtin_inff() : __builtin_inff();
    const Source source{type, {src, srcBlockStride, srcRepeatStride}, PlanLanes(bytes, repeat), neutral};
    const LanePlan& plan = source.plan;
    LimitOperand("src", source.operand, 255, false);
    Limit("dstRepStride", dstRepeatStride, 0, 65535, Rule::STRIDE_WRAP);
    if (plan.repeats == 0) return;
    const uint32_t perBlock = plan.lanes / BLOCKS;
    for (uint32_t first = 0; !whole && !plan.contiguous && first < plan.active; first += perBlock) {
        uint32_t lane = first;
        while (lane < first + perBlock && !plan.Lane(lane)) ++lane;
        if (lane == first + perBlock) Refuse("a block reduction whose mask leaves out a block before the last");
    }
    const uint32_t results = whole ? 1 : (plan.active + perBlock - 1) / perBlock;
    const uint64_t dstPitch = static_cast<uint64_t>(dstRepeatStride) * bytes * (whole ? 1 : BLOCKS);
    RequireUnfed(source, bytes, dst, uint64_t{results} * bytes, dstPitch);
    Core& core = Self();
    Instruction instruction = Start(name, whole, plan.repeats, results * bytes,
                                    {nullptr, &source.operand, nullptr, 0, BlocksOfLanes(plan.active, bytes)});
    AddOperand(instruction, "src", source.operand, plan, bytes, false);
    instruction.operands.Add(Writes("dst", Rows(Space::UB, dst, uint64_t{results} * bytes, plan.repeats, dstPitch),
                                    whole ? bytes : BLOCKS * bytes));
    const auto reduce = sum ? HostLanes().blockSum : max ? HostLanes().blockMax : HostLanes().blockMin;
    core.Issue(instruction, [=, &core] {
        alignas(64) float buffer[MAX_LANES];
        float eighths[MAX_LANES / 8];
        float pairs[BLOCKS];
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const float* lanes = LanesOf(core, source, r, buffer);
            uint8_t* to = core.Memory(Space::UB).At(dst + r * dstPitch);
            if (!whole && type == FloatType::FP32) {
                reduce(lanes, reinterpret_cast<float*>(to), results);
                continue;
            }
            reduce(lanes, eighths, plan.lanes / 8);
            // A block of fp16 is 16 lanes: two eighths.
            if (perBlock == 16) {
                for (uint32_t i = 0; i < BLOCKS; ++i) {
                    const float a = eighths[2 * i];
                    const float b = eighths[2 * i + 1];
                    const bool first = max ? (a > b || a != a) : (a < b || a != a);
                    pairs[i] = sum ? a + b : first ? a : b;
                }
            } else {
                std::memcpy(pairs, eighths, sizeof(pairs));
            }
            float one = 0;
            if (whole) reduce(pairs, &one, 1);
            Put(type, to, whole ? &one : pairs, results);
        }
    });
}

// The index is stored as an integer in the bits of the element type; the smallest one wins a tie.
void VectorReduceIndexed(const char* name, bool max, FloatType type, uint64_t dst, uint64_t src, int64_t repeat,
                         int64_t dstRepeatStride, int64_t srcBlockStride, int64_t srcRepeatStride, Order_t order)
{
    const uint32_t bytes = BytesOf(type);
    const float neutral = max ? -__builtin_inff() : __builtin_inff();
    const Source source{type, {src, srcBlockStride, srcRepeatStride}, PlanLanes(bytes, repeat), neutral};
    const LanePlan& plan = source.plan;
    LimitOperand("src", source.operand, 255, false);
    Limit("dstRepStride", dstRepeatStride, 0, 65535, Rule::STRIDE_WRAP);
    if (plan.repeats == 0) return;
    const bool pair = order == Order_t::VALUE_INDEX || order == Order_t::INDEX_VALUE;
    const uint32_t unit = bytes * (pair ? 2 : 1);
    const uint64_t dstPitch = static_cast<uint64_t>(dstRepeatStride) * unit;
    RequireUnfed(source, bytes, dst, unit, dstPitch);
    Core& core = Self();
    Instruction instruction = Start(name, true, plan.repeats, unit,
                                    {nullptr, &source.operand, nullptr, 0, BlocksOfLanes(plan.active, bytes)});
    AddOperand(instruction, "src", source.operand, plan, bytes, false);
    instruction.operands.Add(Writes("dst", Rows(Space::UB, dst, unit, plan.repeats, dstPitch), unit));
    core.Issue(instruction, [=, &core] {
        alignas(64) float buffer[MAX_LANES];
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            const float* lanes = LanesOf(core, source, r, buffer);
            uint32_t best = 0;
            for (uint32_t lane = 1; lane < plan.ActiveIn(r); ++lane) {
                if (!plan.Lane(lane)) continue;
                if (!plan.Lane(best) || (max ? lanes[lane] > lanes[best] : lanes[lane] < lanes[best])) best = lane;
            }
            uint8_t* to = core.Memory(Space::UB).At(dst + r * dstPitch);
            const uint32_t valueAt = order == Order_t::INDEX_VALUE ? bytes : 0;
            const uint32_t indexAt = order == Order_t::VALUE_INDEX ? bytes : 0;
            if (order != Order_t::ONLY_INDEX) Put(type, to + valueAt, lanes + best, 1);
            std::memcpy(to + indexAt, &best, bytes);
        }
    });
}

}  // namespace ascend_sim
