// Scalar unit: identity of the core, register setters, GM reads through the data cache.
#include "engine.h"

using namespace ascend_sim;

namespace ascend_sim {

void At(const CallSite& site, pipe_t pipe)
{
    if (HasCurrentCore()) Self().At(site, PipeOf(pipe));
}

void Limit(const char* argument, int64_t value, int64_t low, int64_t high, Rule rule)
{
    Self().Limit(argument, value, low, high, rule);
}

void Refuse(Rule rule, const char* what) { Self().Refuse(rule, what); }

}  // namespace ascend_sim

int64_t get_block_idx() { return Self().GroupIndex(); }

int64_t get_block_num() { return Self().BlockDim(); }

int64_t get_subblockid() { return Self().SubBlock(); }

int64_t get_subblockdim() { return is_aic() ? 1 : 2; }

bool is_aic() { return Self().Kind() == CoreKind::AIC; }

uint64_t scalar_load(const void* gm, uint32_t bytes)
{
    Instruction in;
    in.name = "scalar_load";
    in.pipe = Pipe::S;
    in.cycles = Self().Soc().scalarGmReadCycles;
    in.operands.Add(Reads("src", Run(Space::GM, AddressOf(gm), bytes), bytes));
    uint64_t value = 0;
    Self().Issue(in, [&] { std::memcpy(&value, gm, bytes); });
    return value;
}

void set_vector_mask(uint64_t high, uint64_t low)
{
    Registers& registers = Self().Regs();
    registers.vectorMask[0] = low;
    registers.vectorMask[1] = high;
    Self().Scalar("set_vector_mask", Self().Soc().scalarIssueCycles);
}

void set_mask_count()
{
    Self().Regs().countMode = true;
    Self().Scalar("set_mask_count", Self().Soc().scalarIssueCycles);
}

void set_mask_norm()
{
    Self().Regs().countMode = false;
    Self().Scalar("set_mask_norm", Self().Soc().scalarIssueCycles);
}

void set_nd_para(uint64_t config)
{
    Self().Regs().ndPara = config;
    Self().Scalar("set_nd_para", Self().Soc().scalarIssueCycles);
}

void set_atomic_none()
{
    Self().Regs().atomicAdd = false;
    Self().Scalar("set_atomic_none", Self().Soc().scalarIssueCycles);
}

// Dimensions of a 3D load, its padding, the pad value of DataCopyPad, the scale of Fixpipe: none is simulated yet.
void set_l1_3d_size(uint64_t) { Self().Scalar("set_l1_3d_size", Self().Soc().scalarIssueCycles); }

void set_padding(uint64_t) { Self().Scalar("set_padding", Self().Soc().scalarIssueCycles); }

void set_mov_pad_val(uint64_t value)
{
    Self().Regs().padValue = value;
    Self().Scalar("set_mov_pad_val", Self().Soc().scalarIssueCycles);
}

void set_quant_pre(uint64_t) { Self().Scalar("set_quant_pre", Self().Soc().scalarIssueCycles); }

half::half(float value) { HostLanes().fromFloat(FloatType::FP16, &value, &bits, 1); }

half::operator float() const
{
    float value;
    HostLanes().toFloat(FloatType::FP16, &bits, &value, 1);
    return value;
}

bfloat16_t::bfloat16_t(float value) { HostLanes().fromFloat(FloatType::BF16, &value, &bits, 1); }

bfloat16_t::operator float() const
{
    float value;
    HostLanes().toFloat(FloatType::BF16, &bits, &value, 1);
    return value;
}
