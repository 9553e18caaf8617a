// Element-wise vector instructions: binary, with a scalar, unary, multiply-add, fill. Arithmetic is in fp32; fp16
// results are rounded once per instruction, as on the chip.
#include "cost.h"
#include "vector_operands.h"

using namespace ascend_sim;

namespace {

constexpr uint32_t MAX_LANES = 128;

uint32_t ElementBytes(FloatType type)
{
    if (type == FloatType::BF16)
        Refuse(Rule::BF16_ARITHMETIC, "bf16 arithmetic does not exist on dav-2201; Cast to float first");
    return type == FloatType::FP32 ? 4 : 2;
}

const uint8_t* BlockAt(const uint8_t* ub, const VectorOperand& operand, uint32_t repeat, uint32_t block)
{
    return ub + operand.address +
           static_cast<uint64_t>(repeat * operand.repeatStride + block * operand.blockStride) * VECTOR_BLOCK_BYTES;
}

// The lanes of one repeat as fp32: in place when they lie back to back, else gathered into `buffer`.
const float* Load(const uint8_t* ub, FloatType type, const VectorOperand& operand, uint32_t repeat, uint32_t active,
                  float* buffer)
{
    const uint8_t* first = BlockAt(ub, operand, repeat, 0);
    if (operand.blockStride == 1) {
        if (type == FloatType::FP32) return reinterpret_cast<const float*>(first);
        HostLanes().toFloat(type, reinterpret_cast<const uint16_t*>(first), buffer, active);
        return buffer;
    }
    const auto perBlock = static_cast<uint32_t>(VECTOR_BLOCK_BYTES / (type == FloatType::FP32 ? 4 : 2));
    for (uint32_t block = 0; block * perBlock < active; ++block) {
        const uint8_t* from = BlockAt(ub, operand, repeat, block);
        if (type == FloatType::FP32) {
            std::memcpy(buffer + block * perBlock, from, VECTOR_BLOCK_BYTES);
        } else {
            HostLanes().toFloat(type, reinterpret_cast<const uint16_t*>(from), buffer + block * perBlock, perBlock);
        }
    }
    return buffer;
}

// Where a repeat's results go: straight into UB when possible, else through a buffer and the mask.
class Store {
public:
    Store(uint8_t* ub, FloatType type, const VectorOperand& operand, const LanePlan& plan)
        : ub_(ub), type_(type), operand_(operand), plan_(plan)
    {
    }

    float* Begin(uint32_t repeat)
    {
        const bool direct = type_ == FloatType::FP32 && operand_.blockStride == 1 && plan_.contiguous;
        return direct ? reinterpret_cast<float*>(At(repeat, 0)) : buffer_;
    }

    void End(uint32_t repeat, const float* values)
    {
        if (values != buffer_) return;
        const uint32_t active = plan_.ActiveIn(repeat);
        const uint32_t bytes = type_ == FloatType::FP32 ? 4 : 2;
        uint16_t narrow[MAX_LANES];
        if (type_ != FloatType::FP32) HostLanes().fromFloat(type_, buffer_, narrow, active);
        const auto* raw = type_ == FloatType::FP32 ? reinterpret_cast<const uint8_t*>(buffer_)
                                                   : reinterpret_cast<const uint8_t*>(narrow);
        const auto perBlock = static_cast<uint32_t>(VECTOR_BLOCK_BYTES / bytes);
        for (uint32_t lane = 0; lane < active; ++lane) {
            if (!plan_.Lane(lane)) continue;
            std::memcpy(At(repeat, lane / perBlock) + lane % perBlock * bytes, raw + lane * bytes, bytes);
        }
    }

private:
    uint8_t* At(uint32_t repeat, uint32_t block) { return const_cast<uint8_t*>(BlockAt(ub_, operand_, repeat, block)); }

    uint8_t* ub_;
    FloatType type_;
    VectorOperand operand_;
    LanePlan plan_;
    alignas(64) float buffer_[MAX_LANES];
};

bool Dense(const VectorOperand& operand) { return operand.blockStride == 1 && operand.repeatStride == 8; }

// Repeats that can be run as one: all operands fp32, back to back, unmasked.
bool OneRun(const ElementwiseArgs& args, const LanePlan& plan)
{
    return args.type == FloatType::FP32 && plan.contiguous && (plan.active == plan.lanes || plan.repeats == 1) &&
           Dense(args.dst) && Dense(args.src0) && (!args.hasSrc1 || Dense(args.src1));
}

// Runs `compute(src0, src1, dst, count)` over every repeat. If the destination is an operand, dst holds its old values.
template <class Compute>
void ForRepeats(Core& core, const ElementwiseArgs& args, const LanePlan& plan, const Compute& compute)
{
    uint8_t* ub = core.Memory(Space::UB).At(0);
    if (OneRun(args, plan)) {
        const size_t count = static_cast<size_t>(plan.repeats - 1) * plan.lanes + plan.lastActive;
        const float* src1 = args.hasSrc1 ? reinterpret_cast<const float*>(ub + args.src1.address) : nullptr;
        compute(reinterpret_cast<const float*>(ub + args.src0.address), src1,
                reinterpret_cast<float*>(ub + args.dst.address), count);
        return;
    }
    alignas(64) float buffer0[MAX_LANES];
    alignas(64) float buffer1[MAX_LANES];
    alignas(64) float buffer2[MAX_LANES];
    Store store(ub, args.type, args.dst, plan);
    for (uint32_t r = 0; r < plan.repeats; ++r) {
        const uint32_t active = plan.ActiveIn(r);
        const float* src0 = Load(ub, args.type, args.src0, r, active, buffer0);
        const float* src1 = args.hasSrc1 ? Load(ub, args.type, args.src1, r, active, buffer1) : nullptr;
        float* dst = store.Begin(r);
        if (args.readsDst) {
            const float* old = Load(ub, args.type, args.dst, r, active, buffer2);
            if (old != dst) std::copy_n(old, active, dst);
        }
        compute(src0, src1, dst, active);
        store.End(r, dst);
    }
}

template <class Compute>
void IssueElementwise(const ElementwiseArgs& args, const Compute& compute)
{
    const uint32_t bytes = ElementBytes(args.type);
    const auto& soc = Self().Soc();
    const LanePlan plan = PlanLanes(bytes, args.repeat);
    LimitOperand("dst", args.dst, 255, true);
    LimitOperand("src0", args.src0, 255, false);
    if (args.hasSrc1) LimitOperand("src1", args.src1, 255, false);
    if (plan.repeats == 0) return;
    RequireOverlap("src0", args.dst, args.src0, plan, bytes);
    if (args.hasSrc1) RequireOverlap("src1", args.dst, args.src1, plan, bytes, std::strcmp(args.name, "vdiv") != 0);
    Instruction instruction;
    instruction.name = args.name;
    instruction.pipe = Pipe::V;
    BankOperands banks{&args.dst, &args.src0, args.hasSrc1 ? &args.src1 : nullptr};
    banks.readsDst = args.readsDst;
    banks.dstBlocks = banks.srcBlocks = BlocksOfLanes(plan.active, bytes);
    instruction.cycles = VectorOccupation(args.cyclesPerRepeat, plan.repeats, banks);
    instruction.latencyCycles = VectorLatency();
    if (args.cyclesPerRepeat > soc.vectorSimpleCycles) instruction.latencyCycles += soc.vectorLongTailCycles;
    AddOperand(instruction, "src0", args.src0, plan, bytes, false);
    if (args.hasSrc1) AddOperand(instruction, "src1", args.src1, plan, bytes, false);
    if (args.readsDst) AddOperand(instruction, "dst", args.dst, plan, bytes, false);
    AddOperand(instruction, "dst", args.dst, plan, bytes, true);
    Core& core = Self();
    core.Issue(instruction, [&core, args, plan, compute] { ForRepeats(core, args, plan, compute); });
}

}  // namespace

namespace ascend_sim {

double VectorCycles(BinaryOp op)
{
    return op == BinaryOp::DIV ? Self().Soc().vectorDivCycles : Self().Soc().vectorSimpleCycles;
}

double VectorCycles(UnaryOp op, FloatType type)
{
    const auto& soc = Self().Soc();
    const bool slow = op == UnaryOp::EXP || op == UnaryOp::LN || op == UnaryOp::SQRT;
    if (!slow) return soc.vectorSimpleCycles;
    return type == FloatType::FP16 ? soc.vectorHalfExpCycles : soc.vectorExpCycles;
}

void VectorBinary(BinaryOp op, const ElementwiseArgs& args)
{
    IssueElementwise(args, [f = HostLanes().binary[static_cast<size_t>(op)]](const float* a, const float* b, float* dst,
                                                                             size_t n) { f(a, b, dst, n); });
}

void VectorScalar(BinaryOp op, const ElementwiseArgs& args, float scalar)
{
    uint32_t bits;
    std::memcpy(&bits, &scalar, sizeof(bits));
    Self().Note(bits);
    IssueElementwise(args, [f = HostLanes().binaryScalar[static_cast<size_t>(op)], scalar](
                               const float* a, const float*, float* dst, size_t n) { f(a, scalar, dst, n); });
}

void VectorUnary(UnaryOp op, const ElementwiseArgs& args)
{
    IssueElementwise(args, [f = HostLanes().unary[static_cast<size_t>(op)]](const float* a, const float*, float* dst,
                                                                            size_t n) { f(a, dst, n); });
}

void VectorFusedMulAdd(const ElementwiseArgs& args)
{
    IssueElementwise(args, [](const float* a, const float* b, float* dst, size_t n) {
        for (size_t i = 0; i < n; ++i) dst[i] = a[i] * dst[i] + b[i];
    });
}

void VectorDuplicate(const char* name, uint32_t elementBytes, uint32_t bits, const VectorOperand& dst, int64_t repeat)
{
    Self().Note(bits);
    const LanePlan plan = PlanLanes(elementBytes, repeat);
    LimitOperand("dst", dst, 255, true);
    if (plan.repeats == 0) return;
    Core& core = Self();
    Instruction instruction;
    instruction.name = name;
    instruction.pipe = Pipe::V;
    instruction.cycles = VectorOccupation(core.Soc().vectorSimpleCycles, plan.repeats,
                                          {&dst, nullptr, nullptr, BlocksOfLanes(plan.active, elementBytes)});
    instruction.latencyCycles = VectorLatency();
    AddOperand(instruction, "dst", dst, plan, elementBytes, true);
    core.Issue(instruction, [&core, elementBytes, bits, dst, plan] {
        uint8_t* ub = core.Memory(Space::UB).At(0);
        const auto perBlock = static_cast<uint32_t>(VECTOR_BLOCK_BYTES) / elementBytes;
        for (uint32_t r = 0; r < plan.repeats; ++r) {
            for (uint32_t lane = 0; lane < plan.ActiveIn(r); ++lane) {
                if (!plan.Lane(lane)) continue;
                auto* to = const_cast<uint8_t*>(BlockAt(ub, dst, r, lane / perBlock)) + lane % perBlock * elementBytes;
                std::memcpy(to, &bits, elementBytes);
            }
        }
    });
}

}  // namespace ascend_sim
