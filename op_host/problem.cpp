// Validation reads the limits table; the rules here are those that join several arguments.
#include "problem.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "limits.h"
#include "mask.h"

namespace fastattn {
namespace {

enum class Layout { SEQ_MAJOR, HEAD_MAJOR, UNKNOWN };

struct Operand {
    const char* name;
    int64_t seq;
    int64_t heads;
    int64_t dim;
    const std::optional<Strides>* strides;
};

std::array<Operand, 4> OperandsOf(const Problem& p)
{
    return {{{"q", p.sQ, p.hQ, p.d, &p.qStrides},
             {"k", p.sKv, p.hKv, p.d, &p.kStrides},
             {"v", p.sKv, p.hKv, DimV(p), &p.vStrides},
             {"o", p.sQ, p.hQ, DimV(p), &p.oStrides}}};
}

Layout LayoutOf(std::string name)
{
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    if (name == "BSND" || name == "BSHD" || name == "BSH" ||
        name == "TND") {  // BSH is BSND with the last two dimensions joined
        return Layout::SEQ_MAJOR;
    }
    return name == "BNSD" || name == "BHSD" ? Layout::HEAD_MAJOR : Layout::UNKNOWN;
}

std::optional<ElementType> ElementTypeOf(const std::string& dtype)
{
    if (dtype == "fp16" || dtype == "float16") {
        return FP16;
    }
    if (dtype == "bf16" || dtype == "bfloat16") {
        return BF16;
    }
    return std::nullopt;
}

Strides ResolveStrides(const Problem& p, const Operand& operand)
{
    Strides strides;
    if (*operand.strides) {
        strides = **operand.strides;
    } else if (LayoutOf(p.layout) == Layout::HEAD_MAJOR) {
        strides = {operand.heads * operand.seq * operand.dim, operand.dim, operand.seq * operand.dim};
    } else {
        strides = {operand.seq * operand.heads * operand.dim, operand.heads * operand.dim, operand.dim};
    }
    if (p.hasCuSeqlens) {
        strides[0] = 0;  // sequences are found by their first token
    }
    if (operand.seq == 1 && !p.hasCuSeqlens) {
        strides[1] = operand.dim;  // a single row has no pitch: what the tensor says may not fit the 16-bit field
    }
    return strides;
}

void CheckStrides(const Problem& p, const Operand& operand, Reasons& reasons)
{
    const std::string name = operand.name;
    const Limit& strideLimit = LimitOf("stride");
    const char* dims[] = {"batch", "seq", "head"};
    const Strides strides = ResolveStrides(p, operand);
    for (size_t i = 0; i < strides.size(); ++i) {
        CheckLimit(strideLimit, name + " " + dims[i] + " stride", strides[i], reasons);
    }
    CheckLimit(LimitOf("gm_pitch"), name + " seq stride", strides[1], reasons);
    if (name != "o") {
        return;
    }
    const int64_t counts[] = {p.hasCuSeqlens ? 1 : p.b, operand.seq, operand.heads};
    for (size_t i = 0; i < strides.size(); ++i) {
        if (counts[i] > 1 && strides[i] < operand.dim) {
            reasons.push_back({name + " " + dims[i] + " stride", std::to_string(strides[i]),
                               "at least d = " + std::to_string(operand.dim) + " (rows of the output must not overlap)",
                               "pass a contiguous output tensor"});
        }
    }
}

double ExtentBytes(const Problem& p, const Operand& operand)
{
    const Strides s = ResolveStrides(p, operand);
    const auto span = [](int64_t count, int64_t stride) { return static_cast<double>(count - 1) * stride; };
    return 2.0 *
           (span(p.b, s[0]) + span(operand.seq, s[1]) + span(operand.heads, s[2]) + static_cast<double>(operand.dim));
}

void CheckNames(const Problem& p, Reasons& reasons)
{
    if (!ElementTypeOf(p.dtype)) {
        reasons.push_back({"dtype", "'" + p.dtype + "'", "fp16 or bf16 (the cube's operand types)",
                           "cast q, k and v to one of them"});
    }
    if (LayoutOf(p.layout) == Layout::UNKNOWN) {
        reasons.push_back({"layout", "'" + p.layout + "'", "one of BSND (BSHD), BNSD (BHSD), BSH, TND",
                           "transpose or view the tensors in one of these"});
    }
}

void CheckVarlen(const Problem& p, Reasons& reasons)
{
    const bool packed = p.layout == "TND" || p.layout == "tnd";
    if (packed != p.hasCuSeqlens) {
        reasons.push_back({"layout", "'" + p.layout + "'",
                           packed ? "used with has_cu_seqlens" : "TND, because has_cu_seqlens is set",
                           "give both or neither"});
    }
}

void CheckScale(const Problem& p, Reasons& reasons)
{
    if (!(p.softcap >= 0 && p.softcap <= std::numeric_limits<float>::max())) {
        reasons.push_back({"softcap", NumberText(p.softcap), "0 (off) or a finite positive number", "leave it out"});
    }
    for (const auto& [name, value] :
         {std::pair<const char*, int64_t>{"window_left", p.windowLeft}, {"window_right", p.windowRight}}) {
        if (value > std::numeric_limits<int32_t>::max()) {
            reasons.push_back({name, std::to_string(value), "at most 2147483647, or -1 for no limit", "use -1"});
        }
    }
    if (p.softmaxScale && !(std::fabs(*p.softmaxScale) <= std::numeric_limits<float>::max())) {
        reasons.push_back(
            {"softmax_scale", NumberText(*p.softmaxScale), "a finite fp32 number", "leave it out for 1 / sqrt(d)"});
    }
}

TensorStrides ToTensorStrides(const Strides& s)
{
    return {static_cast<uint64_t>(s[0]), static_cast<uint64_t>(s[1]), static_cast<uint64_t>(s[2])};
}

}  // namespace

Reasons CheckProblem(const Problem& p, const SocSpec& soc)
{
    Reasons reasons;
    const std::pair<const char*, int64_t> sizes[] = {{"b", p.b},      {"s_q", p.sQ}, {"s_kv", p.sKv}, {"h_q", p.hQ},
                                                     {"h_kv", p.hKv}, {"d", p.d},    {"d_v", DimV(p)}};
    for (const auto& [name, value] : sizes) {
        CheckLimit(LimitOf(name), name, value, reasons);
    }
    const bool sizesOk = reasons.empty();
    if (p.hKv > 0 && p.hQ > 0 && p.hQ % p.hKv != 0) {
        reasons.push_back({"h_q", std::to_string(p.hQ), "a multiple of h_kv = " + std::to_string(p.hKv),
                           "repeat or drop key heads until h_kv divides h_q"});
    }
    CheckNames(p, reasons);
    CheckScale(p, reasons);
    CheckVarlen(p, reasons);
    if (!sizesOk || LayoutOf(p.layout) == Layout::UNKNOWN) {
        return reasons;  // strides cannot be computed from impossible sizes
    }
    CheckMaskTensor(p, reasons);
    double bytes = MaskTensorBytes(p);
    for (const Operand& operand : OperandsOf(p)) {
        CheckStrides(p, operand, reasons);
        bytes += ExtentBytes(p, operand);
    }
    if (bytes > soc.hbmBytes) {
        reasons.push_back({"q, k, v, o and the mask", NumberText(bytes / (1 << 30)) + " GiB",
                           "at most " + NumberText(soc.hbmBytes / (1 << 30)) + " GiB (HBM of " + soc.name + ")",
                           "lower b, the heads or the sequence, or split them over devices"});
    }
    return reasons;
}

FlashAttentionTiling TilingOfProblem(const Problem& p)
{
    const auto operands = OperandsOf(p);
    FlashAttentionTiling t{};
    t.q = ToTensorStrides(ResolveStrides(p, operands[0]));
    t.k = ToTensorStrides(ResolveStrides(p, operands[1]));
    t.v = ToTensorStrides(ResolveStrides(p, operands[2]));
    t.o = ToTensorStrides(ResolveStrides(p, operands[3]));
    t.batch = static_cast<uint32_t>(p.b);
    t.headsQ = static_cast<uint32_t>(p.hQ);
    t.headsKv = static_cast<uint32_t>(p.hKv);
    t.seqQ = static_cast<uint32_t>(p.sQ);
    t.seqKv = static_cast<uint32_t>(p.sKv);
    t.headDimQk = static_cast<uint32_t>(p.d);
    t.headDimV = static_cast<uint32_t>(DimV(p));
    t.elementType = ElementTypeOf(p.dtype).value_or(FP16);
    t.maskMode = MASK_PREDICATE;  // the fastest, docs/masks.md
    t.maskTensor = MaskTensorOf(p);
    t.attnMask = {static_cast<uint64_t>(p.maskStrides[0]), static_cast<uint64_t>(p.maskStrides[2]),
                  static_cast<uint64_t>(p.maskStrides[1])};
    t.windowLeft = static_cast<int32_t>(std::max<int64_t>(p.windowLeft, -1));
    t.windowRight = p.causal ? 0 : static_cast<int32_t>(std::max<int64_t>(p.windowRight, -1));
    t.softcap = static_cast<float>(p.softcap);
    t.hasCuSeqlens = p.hasCuSeqlens ? 1 : 0;
    t.hasSinks = p.hasSinks ? 1 : 0;
    t.hasAlibi = p.hasAlibi ? 1 : 0;
    t.alibiBatchStride = p.alibiPerBatch ? t.headsQ : 0;
    t.lseHeadStride = p.hasCuSeqlens ? static_cast<uint64_t>(p.totalQ) : t.seqQ;
    t.lseBatchStride = p.hasCuSeqlens ? 0 : static_cast<uint64_t>(t.headsQ) * t.seqQ;
    t.hasSeqUsedKv = p.hasSeqUsedKv ? 1 : 0;
    t.softmaxScale = static_cast<float>(p.softmaxScale.value_or(1.0 / std::sqrt(static_cast<double>(p.d))));
    return t;
}

int64_t DimV(const Problem& p) { return p.dV.value_or(p.d); }

double UsefulPairs(const FlashAttentionTiling& t)
{
    const int64_t keys = t.seqKv;
    const int64_t offset = keys - static_cast<int64_t>(t.seqQ);
    double pairs = static_cast<double>(t.seqQ) * t.seqKv;
    if (t.windowLeft >= 0 || t.windowRight >= 0) {
        pairs = 0;
        for (int64_t row = 0; row < t.seqQ; ++row) {
            const int64_t begin = t.windowLeft >= 0 ? std::max<int64_t>(row + offset - t.windowLeft, 0) : 0;
            const int64_t end = t.windowRight >= 0 ? std::min(row + offset + t.windowRight + 1, keys) : keys;
            pairs += static_cast<double>(std::max<int64_t>(end - begin, 0));
        }
    }
    return pairs * t.batch * t.headsQ;
}

double VisibleKeys(const FlashAttentionTiling& t)
{
    const int64_t keys = t.seqKv;
    const int64_t offset = keys - static_cast<int64_t>(t.seqQ);
    const int64_t begin = t.windowLeft >= 0 ? std::max<int64_t>(offset - t.windowLeft, 0) : 0;
    return static_cast<double>(std::max<int64_t>(keys - begin, 0));
}

double KeysOfQuery(const FlashAttentionTiling& t)
{
    const double keys = t.windowRight >= 0 ? t.seqKv / 2.0 : t.seqKv;
    return t.windowLeft >= 0 ? std::min(keys, t.windowLeft + 1.0) : keys;
}

double OperandBytes(const FlashAttentionTiling& t)
{
    const double qRows = static_cast<double>(t.batch) * t.headsQ * t.seqQ;
    const double kvRows = static_cast<double>(t.batch) * t.headsKv * VisibleKeys(t);
    return 2.0 * (t.headDimQk + t.headDimV) * (qRows + kvRows) + 4.0 * qRows;
}

}  // namespace fastattn
