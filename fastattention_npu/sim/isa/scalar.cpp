// Scalar unit: identity of the core, register setters, GM reads through the data cache.
#include "engine.h"

using namespace ascend_sim;

namespace ascend_sim {

void At(const CallSite& site, pipe_t pipe)
{
    if (Core* const core = CurrentCoreIfAny()) core->At(site, PipeOf(pipe));
}

void Limit(const char* argument, int64_t value, int64_t low, int64_t high, Rule rule)
{
    if (value < low || value > high) Self().Limit(argument, value, low, high, rule);
}

void Refuse(Rule rule, const char* what) { Self().Refuse(rule, what); }

void NoteMask(bool chosen) { Self().Regs().maskChosen = chosen; }

void RequireChosenMask()
{
    if (Self().Regs().maskChosen) return;
    Self().Warn(Rule::MASK_STALE, "isSetMask = false takes the mask that an earlier call left behind");
}

void RequireAtomicType(AtomicElement element)
{
    const Registers& registers = Self().Regs();
    if (!registers.atomicAdd) return;
    static const char* const names[] = {"float", "half", "bfloat16_t", "another type"};
    const auto mode = static_cast<uint32_t>(registers.atomicType);
    if (static_cast<uint32_t>(element) == mode) return;
    Self().Refuse(Rule::ATOMIC_TYPE,
                  Format("a store of %s in the atomic mode of %s", names[static_cast<uint32_t>(element)], names[mode]));
}

void Warn(Rule rule, const char* what) { Self().Warn(rule, what); }

void NoteLanes(uint64_t lanes, uint64_t most)
{
    if (lanes <= most) return;
    Self().Warn(Rule::MASK_CLIPPED,
                Format("mask = %llu, more than the %llu lanes of a repeat", static_cast<unsigned long long>(lanes),
                       static_cast<unsigned long long>(most)));
}

void* PipeObject() { return Self().PipeObject(); }

void SetPipeObject(void* object) { Self().SetPipeObject(object); }

void NoteBuffer(Space space, uint64_t start, uint64_t bytes) { Self().NoteBuffer(space, start, bytes); }

void ForgetBuffers() { Self().ForgetBuffers(); }

void NoteSyncAll(bool aivOnly) { Self().NoteSyncAll(aivOnly); }

void UseReservedUb(bool inside) { Self().UseReservedUb(inside); }

}  // namespace ascend_sim

int64_t get_block_idx() { return Self().GroupIndex(); }

int64_t get_block_num() { return Self().BlockDim(); }

int64_t get_subblockid() { return Self().SubBlock(); }

int64_t get_subblockdim() { return Self().SubBlocks(); }

bool is_aic() { return Self().Kind() == CoreKind::AIC; }

uint64_t scalar_load(const void* gm, uint32_t bytes)
{
    Instruction in;
    in.name = "scalar_load";
    in.pipe = Pipe::S;
    in.cycles = Self().ScalarLoadCycles(AddressOf(gm));
    in.operands.Add(Reads("src", Run(Space::GM, AddressOf(gm), bytes), bytes));
    uint64_t value = 0;
    Self().Issue(in, [&] { Self().ScalarLoad(AddressOf(gm), bytes, &value); });
    return value;
}

// The bytes stay in the data cache; dcci brings them to GM.
void scalar_store(void* gm, uint32_t bytes, uint64_t value)
{
    Instruction out;
    out.name = "scalar_store";
    out.pipe = Pipe::S;
    out.cycles = Self().Soc().scalarIssueCycles;
    Self().RequireGmWrite(AddressOf(gm), bytes);
    Operand line = Reads("whole cache line", Self().LineToFetch(AddressOf(gm)), 1);
    line.line = true;
    out.operands.Add(line);
    Self().Issue(out, [&] { Self().ScalarStore(AddressOf(gm), bytes, &value); });
}

uint64_t scalar_load_ub(uint64_t address, uint32_t bytes)
{
    Instruction in;
    in.name = "scalar_load_ub";
    in.pipe = Pipe::S;
    in.cycles = Self().Soc().scalarUbAccessCycles;
    in.operands.Add(Reads("src", Run(Space::UB, address, bytes), bytes));
    uint64_t value = 0;
    Self().Issue(in, [&] { std::memcpy(&value, Bytes(Space::UB, address), bytes); });
    return value;
}

void scalar_store_ub(uint64_t address, uint32_t bytes, uint64_t value)
{
    Instruction out;
    out.name = "scalar_store_ub";
    out.pipe = Pipe::S;
    out.cycles = Self().Soc().scalarUbAccessCycles;
    out.operands.Add(Writes("dst", Run(Space::UB, address, bytes), bytes));
    Self().Issue(out, [&] { std::memcpy(Bytes(Space::UB, address), &value, bytes); });
}

void dcci(const void* gm, cache_line_t lines, dcci_dst_t)
{
    if (lines != cache_line_t::SINGLE_CACHE_LINE) {
        Self().CleanAllLines();
    } else {
        Self().CleanLine(AddressOf(gm));
    }
}

void set_vector_mask(uint64_t high, uint64_t low)
{
    Core& core = Self();
    core.Note(high);
    core.Note(low);
    core.Regs().vectorMask[0] = low;
    core.Regs().vectorMask[1] = high;
    core.Scalar("set_vector_mask", core.Soc().scalarIssueCycles);
}

void set_mask_count()
{
    Core& core = Self();
    core.Regs().countMode = true;
    core.Scalar("set_mask_count", core.Soc().scalarIssueCycles);
}

void set_mask_norm()
{
    Core& core = Self();
    core.Regs().countMode = false;
    core.Scalar("set_mask_norm", core.Soc().scalarIssueCycles);
}

void set_nd_para(uint64_t config)
{
    Self().Note(config);
    Self().Regs().ndPara = config;
    Self().Scalar("set_nd_para", Self().Soc().scalarIssueCycles);
}

namespace {

void SetAtomicType(FloatType type, const char* name)
{
    Self().Regs().atomicType = static_cast<uint8_t>(type);
    Self().Scalar(name, Self().Soc().scalarIssueCycles);
}

}  // namespace

void set_atomic_f32() { SetAtomicType(FloatType::FP32, "set_atomic_f32"); }

void set_atomic_f16() { SetAtomicType(FloatType::FP16, "set_atomic_f16"); }

void set_atomic_bf16() { SetAtomicType(FloatType::BF16, "set_atomic_bf16"); }

void set_atomic_add()
{
    Self().Regs().atomicAdd = true;
    Self().Scalar("set_atomic_add", Self().Soc().scalarIssueCycles);
}

void set_atomic_none()
{
    Self().Regs().atomicAdd = false;
    Self().Scalar("set_atomic_none", Self().Soc().scalarIssueCycles);
}

// Dimensions of a 3D load, its padding, the pad value of DataCopyPad, the scale of Fixpipe: none is simulated yet.
void set_l1_3d_size(uint64_t config)
{
    Self().Note(config);
    Self().Scalar("set_l1_3d_size", Self().Soc().scalarIssueCycles);
}

void set_fmatrix(uint64_t config)
{
    Self().Note(config);
    Self().Regs().fmatrix = config;
    Self().Scalar("set_fmatrix", Self().Soc().scalarIssueCycles);
}

void set_padding(uint64_t value)
{
    Self().Note(value);
    Self().Scalar("set_padding", Self().Soc().scalarIssueCycles);
}

void set_mov_pad_val(uint64_t value)
{
    Self().Note(value);
    Self().Regs().padValue = value;
    Self().Regs().padChosen = true;
    Self().Scalar("set_mov_pad_val", Self().Soc().scalarIssueCycles);
}

uint64_t get_ctrl() { return Self().Regs().ctrl; }

void set_ctrl(uint64_t value)
{
    if ((value & ~CTRL_ROW_MAJOR) != 0) {
        Self().Refuse(Rule::NOT_SIMULATED,
                      Format("CTRL = 0x%llx: of its bits only 51, the order in which Mmad makes its "
                             "result, is simulated",
                             static_cast<unsigned long long>(value)));
    }
    Self().Note(value);
    Self().Regs().ctrl = value;
    Self().Scalar("set_ctrl", Self().Soc().scalarIssueCycles);
}

// Of the parameters for quantisation, which Fixpipe refuses, only bit 63 does something here: it clears unit flags.
void set_fpc(uint64_t config)
{
    constexpr uint64_t RESET_UNIT_FLAGS = uint64_t{1} << 63;
    Self().Note(config);
    Self().Scalar("set_fpc", Self().Soc().scalarIssueCycles);
    if ((config & RESET_UNIT_FLAGS) != 0) Self().ResetUnitFlags();
}

void set_quant_pre(uint64_t config)
{
    Self().Note(config);
    Self().Scalar("set_quant_pre", Self().Soc().scalarIssueCycles);
}

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
