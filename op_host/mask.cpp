// Fills the M-mask bytewise: whole bytes of ones up to the diagonal, then the one byte that the diagonal cuts.
#include "mask.h"

#include <algorithm>
#include <cstring>

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

std::vector<uint8_t> BuildDeviceConstants(uint32_t maskBlock)
{
    std::vector<uint8_t> bytes = BuildMMask(maskBlock);
    const size_t maskBytes = bytes.size();
    bytes.resize(maskBytes + maskBlock * sizeof(float));
    for (uint32_t i = 0; i < maskBlock; ++i) {
        const auto value = static_cast<float>(i);
        std::memcpy(bytes.data() + maskBytes + i * sizeof(float), &value, sizeof(value));
    }
    return bytes;
}

}  // namespace fastattn
