// The instructions of dav-2201 under the names and operand orders of the CCE intrinsics, as far as the kernels need
// them. Narrow fields take 64-bit integers here, so that a value that the chip would wrap is refused instead.
// Each group is implemented in the file of its pipe: scalar, sync, mte1, mte2, mte3, cube, fixpipe, vector_*.
#pragma once
#include <cstdint>
#include <type_traits>

#include "fastattention_npu/sim/isa/lanes.h"
#include "fastattention_npu/sim/isa/types.h"
#include "fastattention_npu/sim/machine/error.h"
#include "fastattention_npu/sim/machine/types.h"

namespace ascend_sim {

// Call site of the API that the following instructions belong to.
void At(const CallSite& site, pipe_t pipe = PIPE_S);
// Refuses unless low <= value <= high, naming the argument.
void Limit(const char* argument, int64_t value, int64_t low, int64_t high, Rule rule = Rule::FIELD_RANGE);
[[noreturn]] void Refuse(Rule rule, const char* what);
[[noreturn]] inline void Refuse(const char* what) { Refuse(Rule::NOT_SIMULATED, what); }

// What the API layer knows and the instructions do not.
void NoteMask(bool chosen);  // did the kernel set the mask, or did an API?
void RequireChosenMask();
enum class AtomicElement : uint8_t { FLOAT, HALF, BFLOAT16, OTHER };
void RequireAtomicType(AtomicElement element);
void Warn(Rule rule, const char* what);
void NoteLanes(uint64_t lanes, uint64_t most);  // a mask of so many leading lanes of a repeat
// The core's TPipe, and the buffers that it places.
void* PipeObject();
void SetPipeObject(void* object);
void NoteBuffer(Space space, uint64_t start, uint64_t bytes);
void ForgetBuffers();
void NoteSyncAll(bool aivOnly);  // before and after the flags of a SyncAll
void UseReservedUb(bool inside);
uint64_t CompareMaskAddress();  // what set_cmpmask last read, as a UB address

template <class T>
inline FloatType FloatTypeOf()
{
    if constexpr (std::is_same_v<T, float>) return FloatType::FP32;
    if constexpr (std::is_same_v<T, half>) return FloatType::FP16;
    // Programs may contain such calls, as the vendor's headers do; they must not run.
    if constexpr (std::is_integral_v<T>) Refuse("arithmetic on integers is not simulated");
    return FloatType::BF16;
}

template <class T>
uint64_t AddressOf(T* pointer)
{
    return reinterpret_cast<uint64_t>(pointer);
}

// ---- vector operands ----
struct VectorOperand {
    uint64_t address;
    int64_t blockStride;   // 32 B blocks between the blocks of a repeat
    int64_t repeatStride;  // 32 B blocks between repeats
};

struct ElementwiseArgs {
    const char* name;
    FloatType type;
    VectorOperand dst;
    VectorOperand src0;
    VectorOperand src1;
    bool hasSrc1;
    int64_t repeat;
    double cyclesPerRepeat;
    bool readsDst = false;  // the destination's old value is an operand
};

enum class Convert : uint8_t { F32_TO_F16, F32_TO_BF16, F16_TO_F32, BF16_TO_F32, U8_TO_F16 };

void VectorBinary(BinaryOp op, const ElementwiseArgs& args);
void VectorScalar(BinaryOp op, const ElementwiseArgs& args, float scalar);
void VectorUnary(UnaryOp op, const ElementwiseArgs& args);
// dst = src0 * dst + src1, rounded after each step.
void VectorFusedMulAdd(const ElementwiseArgs& args);
void VectorDuplicate(const char* name, uint32_t elementBytes, uint32_t bits, const VectorOperand& dst, int64_t repeat);
void VectorConvert(const char* name, Convert kind, const VectorOperand& dst, const VectorOperand& src, int64_t repeat);
void VectorBroadcast(uint32_t elementBytes, const VectorOperand& dst, uint64_t src, int64_t repeat);
enum class ReduceKind : uint8_t { BLOCK_MAX, BLOCK_MIN, BLOCK_SUM, WHOLE_MAX, WHOLE_MIN, WHOLE_SUM };
void VectorReduce(const char* name, ReduceKind kind, FloatType type, uint64_t dst, uint64_t src, int64_t repeat,
                  int64_t dstRepeatStride, int64_t srcBlockStride, int64_t srcRepeatStride);
void VectorNot(const VectorOperand& dst, const VectorOperand& src, int64_t repeat);
void VectorCopy(uint32_t elementBytes, const VectorOperand& dst, const VectorOperand& src, int64_t repeat);
enum class CompareOp : uint8_t { LT, GT, EQ, LE, GE, NE };
void VectorCompare(const char* name, CompareOp op, FloatType type, uint64_t dst, const VectorOperand& src0,
                   const VectorOperand* src1, float scalar, int64_t repeat);
void VectorSelect(FloatType type, const VectorOperand& dst, const VectorOperand& src0, const VectorOperand* src1,
                  uint64_t bits, uint32_t mode, int64_t repeat);
void VectorReduceIndexed(const char* name, bool max, FloatType type, uint64_t dst, uint64_t src, int64_t repeat,
                         int64_t dstRepeatStride, int64_t srcBlockStride, int64_t srcRepeatStride, Order_t order);

// LoadData3DV2, with the fields of its parameter struct.
struct Load3d {
    int64_t l1H, l1W, channelSize, kExtension, mExtension, kStartPt, mStartPt;
    int64_t strideW, strideH, filterW, filterH, dilationW, dilationH;
    bool transpose;
};
void LoadImage(bool left, uint32_t elementBytes, uint64_t dst, uint64_t src, const Load3d& p);
void LoadTransposed(bool left, uint32_t elementBytes, uint64_t dst, uint64_t src, int64_t startIndex, int64_t repeat,
                    int64_t srcStride, int64_t dstGap, int64_t dstFracGap);
double VectorCycles(BinaryOp op);
double VectorCycles(UnaryOp op, FloatType type);

}  // namespace ascend_sim

// ---- scalar and system ----
int64_t get_block_idx();  // logical core
int64_t get_block_num();
int64_t get_subblockid();
int64_t get_subblockdim();
bool is_aic();
uint64_t scalar_load(const void* gm, uint32_t bytes);  // GM through the data cache
void scalar_store(void* gm, uint32_t bytes, uint64_t value);
uint64_t scalar_load_ub(uint64_t address, uint32_t bytes);
void scalar_store_ub(uint64_t address, uint32_t bytes, uint64_t value);
void dcci(const void* gm, cache_line_t lines, dcci_dst_t destination);
template <class... Other>
void dcci(const void*, Other...)
{
    ascend_sim::Refuse("this form of dcci is not simulated");
}

// A constant as the compiler sees it: local addresses count from zero.
inline int64_t get_imm(int64_t value) { return value; }

// The first bit that is 0 (-1: none), and a value with one bit set or cleared.
inline int64_t sff0(uint64_t value) { return ~value == 0 ? -1 : __builtin_ctzll(~value); }
inline uint64_t sbitset1(uint64_t value, int64_t bit) { return value | uint64_t{1} << bit; }
inline uint64_t sbitset0(uint64_t value, int64_t bit) { return value & ~(uint64_t{1} << bit); }

// Register setters that only later instructions notice.
void set_atomic_none();
void set_atomic_add();
void set_atomic_f32();
void set_atomic_f16();
void set_atomic_bf16();
void set_l1_3d_size(uint64_t config);
void set_padding(uint64_t value);
void set_fmatrix(uint64_t config);
void set_mov_pad_val(uint64_t value);
void set_quant_pre(uint64_t config);
void set_fpc(uint64_t config);
uint64_t get_ctrl();
void set_ctrl(uint64_t value);

// ---- synchronisation ----
void set_flag(pipe_t from, pipe_t to, int64_t id);
void wait_flag(pipe_t from, pipe_t to, int64_t id);
void pipe_barrier(pipe_t pipe);
void ffts_cross_core_sync(pipe_t pipe, uint64_t message);
void wait_flag_dev(int64_t id);

// ---- MTE2 ----
void copy_gm_to_cbuf_multi_nd2nz_b16(void* dst, const void* src, uint8_t sid, int64_t ndNum, int64_t nValue,
                                     int64_t dValue, int64_t srcNdMatrixStride, int64_t srcDValue,
                                     int64_t dstNzC0Stride, int64_t dstNzNStride, int64_t dstNzMatrixStride);
void copy_gm_to_cbuf(void* dst, const void* src, uint8_t sid, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                     int64_t dstStride, pad_t pad);
// The suffix _b8, _b16 or _b32 gives the bytes of an element.
void copy_gm_to_ubuf_align(uint32_t elementBytes, void* dst, const void* src, uint8_t sid, int64_t nBurst,
                           int64_t lenBurst, int64_t leftPadding, int64_t rightPadding, int64_t srcGap, int64_t dstGap);
#define FASTATTN_COPY_ALIGN(name, elementBytes)                                                                      \
    inline void name(void* dst, const void* src, uint8_t sid, int64_t nBurst, int64_t lenBurst, int64_t leftPadding, \
                     int64_t rightPadding, int64_t srcGap, int64_t dstGap)                                           \
    {                                                                                                                \
        copy_gm_to_ubuf_align(elementBytes, dst, src, sid, nBurst, lenBurst, leftPadding, rightPadding, srcGap,      \
                              dstGap);                                                                               \
    }
FASTATTN_COPY_ALIGN(copy_gm_to_ubuf_align_b8, 1)
FASTATTN_COPY_ALIGN(copy_gm_to_ubuf_align_b16, 2)
FASTATTN_COPY_ALIGN(copy_gm_to_ubuf_align_b32, 4)
#undef FASTATTN_COPY_ALIGN
void copy_gm_to_ubuf(void* dst, const void* src, uint8_t sid, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                     int64_t dstStride);

// ---- MTE3 ----
void copy_ubuf_to_gm_align(uint32_t elementBytes, void* dst, const void* src, uint8_t sid, int64_t nBurst,
                           int64_t lenBurst, int64_t leftPadding, int64_t rightPadding, int64_t srcGap, int64_t dstGap);
#define FASTATTN_COPY_ALIGN(name, elementBytes)                                                                      \
    inline void name(void* dst, const void* src, uint8_t sid, int64_t nBurst, int64_t lenBurst, int64_t leftPadding, \
                     int64_t rightPadding, int64_t srcGap, int64_t dstGap)                                           \
    {                                                                                                                \
        copy_ubuf_to_gm_align(elementBytes, dst, src, sid, nBurst, lenBurst, leftPadding, rightPadding, srcGap,      \
                              dstGap);                                                                               \
    }
FASTATTN_COPY_ALIGN(copy_ubuf_to_gm_align_b8, 1)
FASTATTN_COPY_ALIGN(copy_ubuf_to_gm_align_b16, 2)
FASTATTN_COPY_ALIGN(copy_ubuf_to_gm_align_b32, 4)
#undef FASTATTN_COPY_ALIGN
void copy_ubuf_to_gm(void* dst, const void* src, uint8_t sid, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                     int64_t dstStride);

// ---- MTE1 ----
// Fractals of 2-byte elements, whatever their type.
void load_cbuf_to_ca(half* dst, half* src, int64_t baseIdx, int64_t repeat, int64_t srcStride, int64_t dstGap,
                     uint8_t sid, bool transpose, addr_cal_mode_t mode);
void load_cbuf_to_cb(half* dst, half* src, int64_t baseIdx, int64_t repeat, int64_t srcStride, int64_t dstGap,
                     uint8_t sid, bool transpose, addr_cal_mode_t mode);
inline void load_cbuf_to_ca(bfloat16_t* dst, bfloat16_t* src, int64_t baseIdx, int64_t repeat, int64_t srcStride,
                            int64_t dstGap, uint8_t sid, bool transpose, addr_cal_mode_t mode)
{
    load_cbuf_to_ca(reinterpret_cast<half*>(dst), reinterpret_cast<half*>(src), baseIdx, repeat, srcStride, dstGap, sid,
                    transpose, mode);
}
inline void load_cbuf_to_cb(bfloat16_t* dst, bfloat16_t* src, int64_t baseIdx, int64_t repeat, int64_t srcStride,
                            int64_t dstGap, uint8_t sid, bool transpose, addr_cal_mode_t mode)
{
    load_cbuf_to_cb(reinterpret_cast<half*>(dst), reinterpret_cast<half*>(src), baseIdx, repeat, srcStride, dstGap, sid,
                    transpose, mode);
}

template <class T>
void load_cbuf_to_ca_transpose(T* dst, T* src, int64_t indexID, int64_t repeat, int64_t srcStride, int64_t dstStride,
                               addr_cal_mode_t, int64_t dstFracStride)
{
    using namespace ascend_sim;
    LoadTransposed(true, sizeof(T), AddressOf(dst), AddressOf(src), indexID, repeat, srcStride, dstStride,
                   dstFracStride);
}
template <class T>
void load_cbuf_to_cb_transpose(T* dst, T* src, int64_t indexID, int64_t repeat, int64_t srcStride, int64_t dstStride,
                               addr_cal_mode_t, int64_t dstFracStride)
{
    using namespace ascend_sim;
    LoadTransposed(false, sizeof(T), AddressOf(dst), AddressOf(src), indexID, repeat, srcStride, dstStride,
                   dstFracStride);
}

// ---- cube ----
void mad(float* c, half* a, half* b, int64_t m, int64_t k, int64_t n, int64_t unitFlag, bool kDirectionAlign,
         bool cmatrixSource, bool cmatrixInitVal);
void mad(float* c, bfloat16_t* a, bfloat16_t* b, int64_t m, int64_t k, int64_t n, int64_t unitFlag,
         bool kDirectionAlign, bool cmatrixSource, bool cmatrixInitVal);

// ---- fixpipe ----
void set_nd_para(uint64_t config);
// bytes of a destination element follow from quantPre
void copy_matrix_cc_to_gm(void* dst, float* src, uint8_t sid, int64_t nSize, int64_t mSize, int64_t dstStride,
                          int64_t srcStride, int64_t unitFlag, QuantMode_t quantPre, int64_t relu, bool channelSplit,
                          bool nz2nd);
void copy_matrix_cc_to_cbuf(void* dst, float* src, uint8_t sid, int64_t nSize, int64_t mSize, int64_t dstStride,
                            int64_t srcStride, int64_t unitFlag, QuantMode_t quantPre, int64_t relu, bool channelSplit,
                            bool nz2nd);

// ---- vector ----
void copy_ubuf_to_ubuf(void* dst, const void* src, uint8_t sid, int64_t nBurst, int64_t lenBurst, int64_t srcStride,
                       int64_t dstStride);
void set_vector_mask(uint64_t high, uint64_t low);
void set_mask_count();
void set_mask_norm();
void set_cmpmask(const void* ub);

#define FASTATTN_VECTOR_BINARY(name, op)                                                                  \
    template <class T>                                                                                    \
    void name(T* dst, T* src0, T* src1, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t src1Blk, \
              int64_t dstRep, int64_t src0Rep, int64_t src1Rep)                                           \
    {                                                                                                     \
        using namespace ascend_sim;                                                                       \
        VectorBinary(op, {#name,                                                                          \
                          FloatTypeOf<T>(),                                                               \
                          {AddressOf(dst), dstBlk, dstRep},                                               \
                          {AddressOf(src0), src0Blk, src0Rep},                                            \
                          {AddressOf(src1), src1Blk, src1Rep},                                            \
                          true,                                                                           \
                          repeat,                                                                         \
                          VectorCycles(op)});                                                             \
    }
FASTATTN_VECTOR_BINARY(vadd, BinaryOp::ADD)
FASTATTN_VECTOR_BINARY(vsub, BinaryOp::SUB)
FASTATTN_VECTOR_BINARY(vmul, BinaryOp::MUL)
FASTATTN_VECTOR_BINARY(vdiv, BinaryOp::DIV)
FASTATTN_VECTOR_BINARY(vmax, BinaryOp::MAX)
FASTATTN_VECTOR_BINARY(vmin, BinaryOp::MIN)
#undef FASTATTN_VECTOR_BINARY

template <class T>
void vmadd(T* dst, T* src0, T* src1, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t src1Blk, int64_t dstRep,
           int64_t src0Rep, int64_t src1Rep)
{
    using namespace ascend_sim;
    VectorFusedMulAdd({"vmadd",
                       FloatTypeOf<T>(),
                       {AddressOf(dst), dstBlk, dstRep},
                       {AddressOf(src0), src0Blk, src0Rep},
                       {AddressOf(src1), src1Blk, src1Rep},
                       true,
                       repeat,
                       VectorCycles(BinaryOp::MUL),
                       true});
}

#define FASTATTN_VECTOR_SCALAR(name, op)                                                                \
    template <class T>                                                                                  \
    void name(T* dst, T* src, T scalar, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep, \
              int64_t srcRep, bool = false, bool = false)                                               \
    {                                                                                                   \
        using namespace ascend_sim;                                                                     \
        VectorScalar(op,                                                                                \
                     {#name,                                                                            \
                      FloatTypeOf<T>(),                                                                 \
                      {AddressOf(dst), dstBlk, dstRep},                                                 \
                      {AddressOf(src), srcBlk, srcRep},                                                 \
                      {},                                                                               \
                      false,                                                                            \
                      repeat,                                                                           \
                      VectorCycles(op)},                                                                \
                     static_cast<float>(scalar));                                                       \
    }
FASTATTN_VECTOR_SCALAR(vadds, BinaryOp::ADD)
FASTATTN_VECTOR_SCALAR(vmuls, BinaryOp::MUL)
FASTATTN_VECTOR_SCALAR(vmaxs, BinaryOp::MAX)
FASTATTN_VECTOR_SCALAR(vmins, BinaryOp::MIN)
#undef FASTATTN_VECTOR_SCALAR

#define FASTATTN_VECTOR_UNARY(name, op)                                                                       \
    template <class T>                                                                                        \
    void name(T* dst, T* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep, int64_t srcRep) \
    {                                                                                                         \
        using namespace ascend_sim;                                                                           \
        VectorUnary(op, {#name,                                                                               \
                         FloatTypeOf<T>(),                                                                    \
                         {AddressOf(dst), dstBlk, dstRep},                                                    \
                         {AddressOf(src), srcBlk, srcRep},                                                    \
                         {},                                                                                  \
                         false,                                                                               \
                         repeat,                                                                              \
                         VectorCycles(op, FloatTypeOf<T>())});                                                \
    }
FASTATTN_VECTOR_UNARY(vexp, UnaryOp::EXP)
FASTATTN_VECTOR_UNARY(vln, UnaryOp::LN)
FASTATTN_VECTOR_UNARY(vabs, UnaryOp::ABS)
FASTATTN_VECTOR_UNARY(vsqrt, UnaryOp::SQRT)
FASTATTN_VECTOR_UNARY(vrelu, UnaryOp::RELU)
#undef FASTATTN_VECTOR_UNARY

#define FASTATTN_VECTOR_REDUCE(name, kind)                                                                           \
    template <class T>                                                                                               \
    void name(T* dst, T* src, int64_t repeat, int64_t dstRep, int64_t srcBlk, int64_t srcRep)                        \
    {                                                                                                                \
        using namespace ascend_sim;                                                                                  \
        VectorReduce(#name, kind, FloatTypeOf<T>(), AddressOf(dst), AddressOf(src), repeat, dstRep, srcBlk, srcRep); \
    }
FASTATTN_VECTOR_REDUCE(vcgmax, ReduceKind::BLOCK_MAX)
FASTATTN_VECTOR_REDUCE(vcgmin, ReduceKind::BLOCK_MIN)
FASTATTN_VECTOR_REDUCE(vcgadd, ReduceKind::BLOCK_SUM)
#undef FASTATTN_VECTOR_REDUCE

#define FASTATTN_WHOLE_REDUCE(name, kind, max)                                                                        \
    template <class T>                                                                                                \
    void name(T* dst, T* src, int64_t repeat, int64_t dstRep, int64_t srcBlk, int64_t srcRep, Order_t order)          \
    {                                                                                                                 \
        using namespace ascend_sim;                                                                                   \
        if (order == Order_t::ONLY_VALUE) {                                                                           \
            VectorReduce(#name, kind, FloatTypeOf<T>(), AddressOf(dst), AddressOf(src), repeat, dstRep, srcBlk,       \
                         srcRep);                                                                                     \
        } else {                                                                                                      \
            VectorReduceIndexed(#name, max, FloatTypeOf<T>(), AddressOf(dst), AddressOf(src), repeat, dstRep, srcBlk, \
                                srcRep, order);                                                                       \
        }                                                                                                             \
    }
FASTATTN_WHOLE_REDUCE(vcmax, ReduceKind::WHOLE_MAX, true)
FASTATTN_WHOLE_REDUCE(vcmin, ReduceKind::WHOLE_MIN, false)
#undef FASTATTN_WHOLE_REDUCE

// Comparison of two tensors, and of a tensor with a scalar, into consecutive bits.
#define FASTATTN_COMPARE(suffix, op)                                                                               \
    template <class T>                                                                                             \
    void vcmpv_##suffix(uint8_t* dst, T* src0, T* src1, int64_t repeat, int64_t, int64_t src0Blk, int64_t src1Blk, \
                        int64_t, int64_t src0Rep, int64_t src1Rep)                                                 \
    {                                                                                                              \
        using namespace ascend_sim;                                                                                \
        const VectorOperand second{AddressOf(src1), src1Blk, src1Rep};                                             \
        VectorCompare("vcmpv_" #suffix, op, FloatTypeOf<T>(), AddressOf(dst), {AddressOf(src0), src0Blk, src0Rep}, \
                      &second, 0, repeat);                                                                         \
    }                                                                                                              \
    template <class T>                                                                                             \
    void vcmpvs_##suffix(uint8_t* dst, T* src0, T scalar, int64_t repeat, int64_t, int64_t srcBlk, int64_t,        \
                         int64_t srcRep)                                                                           \
    {                                                                                                              \
        using namespace ascend_sim;                                                                                \
        VectorCompare("vcmpvs_" #suffix, op, FloatTypeOf<T>(), AddressOf(dst), {AddressOf(src0), srcBlk, srcRep},  \
                      nullptr, static_cast<float>(scalar), repeat);                                                \
    }
FASTATTN_COMPARE(lt, CompareOp::LT)
FASTATTN_COMPARE(gt, CompareOp::GT)
FASTATTN_COMPARE(eq, CompareOp::EQ)
FASTATTN_COMPARE(le, CompareOp::LE)
FASTATTN_COMPARE(ge, CompareOp::GE)
FASTATTN_COMPARE(ne, CompareOp::NE)
#undef FASTATTN_COMPARE

template <class T>
void vcadd(T* dst, T* src, int64_t repeat, int64_t dstRep, int64_t srcBlk, int64_t srcRep, bool mode)
{
    using namespace ascend_sim;
    if (mode) Refuse("accumulation into a register is not simulated");
    VectorReduce("vcadd", ReduceKind::WHOLE_SUM, FloatTypeOf<T>(), AddressOf(dst), AddressOf(src), repeat, dstRep,
                 srcBlk, srcRep);
}

// Conversions: suffix r rounds to nearest even; widening has none.
void vconv_f322f16r(half* dst, float* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                    int64_t srcRep);
void vconv_f322bf16r(bfloat16_t* dst, float* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                     int64_t srcRep);
void vconv_f162f32(float* dst, half* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                   int64_t srcRep);
void vconv_bf162f32(float* dst, bfloat16_t* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                    int64_t srcRep);
void vconv_u82f16(half* dst, uint8_t* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep,
                  int64_t srcRep);
template <class T>
void vector_dup(T* dst, std::common_type_t<T> value, int64_t repeat, int64_t dstBlk, int64_t, int64_t dstRep, int64_t)
{
    static_assert(sizeof(T) == 2 || sizeof(T) == 4, "vector_dup of 2- and 4-byte elements");
    uint32_t bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    ascend_sim::VectorDuplicate("vector_dup", sizeof(T), bits, {ascend_sim::AddressOf(dst), dstBlk, dstRep}, repeat);
}
void vnot(uint16_t* dst, uint16_t* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep, int64_t srcRep);
void vbrcb(uint32_t* dst, uint32_t* src, int64_t dstBlk, int64_t dstRep, int64_t repeat);
void vbrcb(uint16_t* dst, uint16_t* src, int64_t dstBlk, int64_t dstRep, int64_t repeat);
template <class T>
void vcopy(T* dst, T* src, int64_t repeat, int64_t dstBlk, int64_t srcBlk, int64_t dstRep, int64_t srcRep)
{
    using namespace ascend_sim;
    VectorCopy(sizeof(T), {AddressOf(dst), dstBlk, dstRep}, {AddressOf(src), srcBlk, srcRep}, repeat);
}
// Tensor-scalar selection: the scalar is what set_cmpmask last read.
void vsel(float* dst, float* src0, uint8_t* mask, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t src1Blk,
          int64_t dstRep, int64_t src0Rep, int64_t src1Rep, uint8_t mode);
void vsel(half* dst, half* src0, uint8_t* mask, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t src1Blk,
          int64_t dstRep, int64_t src0Rep, int64_t src1Rep, uint8_t mode);
// Two tensors: mode 0 with the bits in the compare mask register, mode 2 with their address there (see set_cmpmask).
template <class T>
void vsel(T* dst, T* src0, T* src1, int64_t repeat, int64_t dstBlk, int64_t src0Blk, int64_t src1Blk, int64_t dstRep,
          int64_t src0Rep, int64_t src1Rep, uint8_t mode = 0)
{
    using namespace ascend_sim;
    const VectorOperand second{AddressOf(src1), src1Blk, src1Rep};
    VectorSelect(FloatTypeOf<T>(), {AddressOf(dst), dstBlk, dstRep}, {AddressOf(src0), src0Blk, src0Rep}, &second,
                 CompareMaskAddress(), mode, repeat);
}
