// Validation reads the limits table; the rules here are those that join several arguments.
#include "problem.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <limits>

#include "limits.h"

namespace fastattn {
namespace {

enum class Layout { SEQ_MAJOR, HEAD_MAJOR, UNKNOWN };

struct Operand {
    const char* name;
    int64_t seq;
    int64_t heads;
    const std::optional<Strides>* strides;
};

std::array<Operand, 4> OperandsOf(const Problem& p)
{
    return {{{"q", p.sQ, p.hQ, &p.qStrides},
             {"k", p.sKv, p.hKv, &p.kStrides},
             {"v", p.sKv, p.hKv, &p.vStrides},
             {"o", p.sQ, p.hQ, &p.oStrides}}};
}

Layout LayoutOf(std::string name)
{
    std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return std::toupper(c); });
    if (name == "BSND" || name == "BSHD" || name == "BSH") {  // BSH is BSND with the last two dimensions joined
        return Layout::SEQ_MAJOR;
    }
    return name == "BNSD" || name == "BHSD" ? Layout::HEAD_MAJOR : Layout::UNKNOWN;
}

Strides ResolveStrides(const Problem& p, const Operand& operand)
{
    Strides strides;
    if (*operand.strides) {
        strides = **operand.strides;
    } else if (LayoutOf(p.layout) == Layout::HEAD_MAJOR) {
        strides = {operand.heads * operand.seq * p.d, p.d, operand.seq * p.d};
    } else {
        strides = {operand.seq * operand.heads * p.d, operand.heads * p.d, p.d};
    }
    if (operand.seq == 1) {
        strides[1] = p.d;  // a single row has no pitch: what the tensor says may not fit the 16-bit field
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
    if (name != "o") {
        CheckLimit(LimitOf("gm_pitch"), name + " seq stride", strides[1], reasons);
        return;
    }
    const int64_t counts[] = {p.b, operand.seq, operand.heads};
    for (size_t i = 0; i < strides.size(); ++i) {
        if (counts[i] > 1 && strides[i] < p.d) {
            reasons.push_back({name + " " + dims[i] + " stride", std::to_string(strides[i]),
                               "at least d = " + std::to_string(p.d) + " (rows of the output must not overlap)",
                               "pass a contiguous output tensor"});
        }
    }
}

double ExtentBytes(const Problem& p, const Operand& operand)
{
    const Strides s = ResolveStrides(p, operand);
    const auto span = [](int64_t count, int64_t stride) { return static_cast<double>(count - 1) * stride; };
    return 2.0 * (span(p.b, s[0]) + span(operand.seq, s[1]) + span(operand.heads, s[2]) + static_cast<double>(p.d));
}

void CheckNames(const Problem& p, Reasons& reasons)
{
    if (p.dtype != "fp16" && p.dtype != "float16") {
        reasons.push_back(
            {"dtype", "'" + p.dtype + "'", "fp16 (this kernel's cube and cast stages)", "cast q, k and v to fp16"});
    }
    if (LayoutOf(p.layout) == Layout::UNKNOWN) {
        reasons.push_back({"layout", "'" + p.layout + "'", "one of BSND (BSHD), BNSD (BHSD), BSH",
                           "transpose or view the tensors in one of these"});
    }
}

void CheckScale(const Problem& p, Reasons& reasons)
{
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
    const std::pair<const char*, int64_t> sizes[] = {{"b", p.b},    {"s_q", p.sQ},   {"s_kv", p.sKv},
                                                     {"h_q", p.hQ}, {"h_kv", p.hKv}, {"d", p.d}};
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
    if (!sizesOk || LayoutOf(p.layout) == Layout::UNKNOWN) {
        return reasons;  // strides cannot be computed from impossible sizes
    }
    double bytes = 0;
    for (const Operand& operand : OperandsOf(p)) {
        CheckStrides(p, operand, reasons);
        bytes += ExtentBytes(p, operand);
    }
    if (bytes > soc.hbmBytes) {
        reasons.push_back({"q, k, v and o", NumberText(bytes / (1 << 30)) + " GiB",
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
    t.headDim = static_cast<uint32_t>(p.d);
    t.causal = p.causal ? 1 : 0;
    t.hasSeqUsedKv = p.hasSeqUsedKv ? 1 : 0;
    t.softmaxScale = static_cast<float>(p.softmaxScale.value_or(1.0 / std::sqrt(static_cast<double>(p.d))));
    return t;
}

double UsefulPairs(const FlashAttentionTiling& t)
{
    const double rows = t.seqQ;
    const double keys = t.seqKv;
    double pairs = rows * keys;
    if (t.causal != 0) {
        // Rows that see a key: the last min(rows, keys); the first of them sees 1 + max(keys - rows, 0) keys.
        const double seeing = std::min(rows, keys);
        pairs = seeing * std::max(keys - rows, 0.0) + seeing * (seeing + 1) / 2;
    }
    return pairs * t.batch * t.headsQ;
}

double OperandBytes(const FlashAttentionTiling& t)
{
    const double qRows = static_cast<double>(t.batch) * t.headsQ * t.seqQ;
    const double kvRows = static_cast<double>(t.batch) * t.headsKv * t.seqKv;
    return 2.0 * t.headDim * (2 * qRows + 2 * kvRows) + 4.0 * qRows;
}

}  // namespace fastattn
