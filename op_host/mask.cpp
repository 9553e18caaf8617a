// The M-mask is filled bytewise: whole bytes of ones up to the diagonal, then the one byte that the diagonal cuts.
#include "mask.h"

#include <algorithm>
#include <cstring>

#include "../op_kernel/flash_attention/storage.h"
#include "limits.h"

namespace fastattn {

std::vector<uint8_t> BuildMMask(uint32_t maskBlock)
{
    const size_t side = 2 * static_cast<size_t>(maskBlock);
    const size_t rowBytes = side / 8;
    std::vector<uint8_t> mask(side * rowBytes, 0);
    for (size_t row = 0; row < side; ++row) {
        uint8_t* line = mask.data() + row * rowBytes;
        const size_t ones = row + 1;
        std::fill_n(line, ones / 8, uint8_t{0xff});
        if (ones % 8 != 0) {
            line[ones / 8] = static_cast<uint8_t>((1u << (ones % 8)) - 1);
        }
    }
    return mask;
}

std::vector<uint8_t> BuildDeviceConstants(uint32_t maskBlock, uint32_t maskMode)
{
    const size_t maskBytes = MMaskBytes(maskMode, maskBlock);
    std::vector<uint8_t> bytes = maskBytes != 0 ? BuildMMask(maskBlock) : std::vector<uint8_t>();
    bytes.resize(maskBytes + maskBlock * sizeof(float));
    for (uint32_t i = 0; i < maskBlock; ++i) {
        const auto value = static_cast<float>(i);
        std::memcpy(bytes.data() + maskBytes + i * sizeof(float), &value, sizeof(value));
    }
    return bytes;
}

std::vector<uint8_t> BuildWindowsMask(uint32_t seqQ, uint32_t seqKv, int64_t windowLeft, int64_t windowRight)
{
    std::vector<uint8_t> mask(static_cast<size_t>(seqQ) * seqKv, 0);
    const int64_t keys = seqKv;
    for (uint32_t row = 0; row < seqQ; ++row) {
        const int64_t diagonal = static_cast<int64_t>(row) + keys - seqQ;
        const int64_t begin = windowLeft >= 0 ? std::clamp<int64_t>(diagonal - windowLeft, 0, keys) : 0;
        const int64_t end = windowRight >= 0 ? std::clamp<int64_t>(diagonal + windowRight + 1, begin, keys) : keys;
        const auto line = mask.begin() + static_cast<int64_t>(row) * keys;
        std::fill(line + begin, line + end, uint8_t{1});
    }
    return mask;
}

void CheckMaskTensor(const Problem& p, Reasons& reasons)
{
    if (!p.maskDtype) {
        return;
    }
    if (MaskTensorOf(p) == NO_MASK_TENSOR) {
        reasons.push_back({"mask_dtype", "'" + *p.maskDtype + "'", "bool, fp32 or that of q, " + p.dtype,
                           "convert the mask to one of them"});
    }
    if (p.hasCuSeqlens) {
        reasons.push_back({"mask_dtype", "'" + *p.maskDtype + "'",
                           "absent with packed sequences (a mask's rows and columns belong to one sequence)",
                           "leave the mask out, or pad the sequences"});
    }
    const char* names[] = {"mask batch stride", "mask head stride", "mask query stride"};
    for (size_t i = 0; i < 3; ++i) {
        CheckLimit(LimitOf("stride"), names[i], p.maskStrides[i], reasons);
    }
    if (p.sKv > 1 && p.maskStrides[3] != 1) {
        reasons.push_back({"mask key stride", std::to_string(p.maskStrides[3]),
                           "1 (a strip's rows are read as runs of keys)",
                           "expand the mask along the keys and make it contiguous"});
    }
}

uint32_t MaskTensorOf(const Problem& p)
{
    if (!p.maskDtype) {
        return NO_MASK_TENSOR;
    }
    if (*p.maskDtype == "bool") {
        return MASK_BOOL;
    }
    if (*p.maskDtype == p.dtype) {
        return MASK_ADD;
    }
    return *p.maskDtype == "fp32" ? MASK_ADD_FP32 : NO_MASK_TENSOR;
}

double MaskTensorBytes(const Problem& p)
{
    const auto span = [](int64_t count, int64_t stride) { return static_cast<double>(count - 1) * stride; };
    const double elements = span(p.b, p.maskStrides[0]) + span(p.hQ, p.maskStrides[1]) + span(p.sQ, p.maskStrides[2]) +
                            static_cast<double>(p.sKv);
    return elements * MaskElementBytes(MaskTensorOf(p));
}

void DeriveMaskTensor(FlashAttentionTiling& t)
{
    const bool windows = t.windowLeft >= 0 || t.windowRight >= 0;
    if (t.maskMode == MASK_FULL && windows && t.maskTensor == NO_MASK_TENSOR) {
        t.maskTensor = MASK_WINDOWS;
        t.attnMask = {0, t.seqKv, 0};
    }
}

void CheckMaskMode(const FlashAttentionTiling& t, const SocSpec& soc, Reasons& reasons)
{
    const bool windows = t.windowLeft >= 0 || t.windowRight >= 0;
    if (t.maskMode != MASK_FULL || !windows) {
        return;
    }
    const char* instead = "use mask tiling or predicate";
    if (t.maskTensor != MASK_WINDOWS) {
        reasons.push_back({"mask", "full", "tiling or predicate with causal or a window and a mask tensor", instead});
    }
    const double bytes = static_cast<double>(t.seqQ) * t.seqKv;
    if (bytes > soc.hbmBytes) {
        reasons.push_back({"mask", "full: " + NumberText(bytes / (1 << 30)) + " GiB",
                           "at most " + NumberText(soc.hbmBytes / (1 << 30)) + " GiB (HBM of " + soc.name + ")",
                           instead});
    }
    if (t.hasCuSeqlens != 0 || t.hasSeqUsedKv != 0) {
        reasons.push_back({"mask", "full", "tiling or predicate where lengths are known on the device only", instead});
    }
}

}  // namespace fastattn
