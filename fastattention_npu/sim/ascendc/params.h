// Parameter structs of the API, with the documented field widths.
#pragma once
#include "tensor.h"

namespace AscendC {

struct DataCopyParams {
    DataCopyParams() = default;
    DataCopyParams(Narrow<uint16_t> count, Narrow<uint16_t> len, Narrow<uint16_t> src, Narrow<uint16_t> dst)
        : blockCount(count), blockLen(len), srcStride(src), dstStride(dst)
    {
    }
    Narrow<uint16_t> blockCount = 1;
    Narrow<uint16_t> blockLen = 0;
    Narrow<uint16_t> srcStride = 0;
    Narrow<uint16_t> dstStride = 0;
};

struct DataCopyExtParams {
    DataCopyExtParams() = default;
    DataCopyExtParams(Narrow<uint16_t> count, Narrow<uint32_t> len, Narrow<uint32_t> src, Narrow<uint32_t> dst,
                      Narrow<uint32_t> rsvIn)
        : blockCount(count), blockLen(len), srcStride(src), dstStride(dst), rsv(rsvIn)
    {
    }
    Narrow<uint16_t> blockCount = 1;
    Narrow<uint32_t> blockLen = 0;
    Narrow<uint32_t> srcStride = 0;
    Narrow<uint32_t> dstStride = 0;
    Narrow<uint32_t> rsv = 0;
};

template <class T>
struct DataCopyPadExtParams {
    DataCopyPadExtParams() = default;
    DataCopyPadExtParams(bool pad, Narrow<uint8_t> left, Narrow<uint8_t> right, T value)
        : isPad(pad), leftPadding(left), rightPadding(right), paddingValue(value)
    {
    }
    bool isPad = false;
    Narrow<uint8_t> leftPadding = 0;
    Narrow<uint8_t> rightPadding = 0;
    T paddingValue{};
};

struct Nd2NzParams {
    Narrow<uint16_t> ndNum = 0;
    Narrow<uint16_t> nValue = 0;
    Narrow<uint16_t> dValue = 0;
    Narrow<uint16_t> srcNdMatrixStride = 0;
    Narrow<uint16_t> srcDValue = 0;
    Narrow<uint16_t> dstNzC0Stride = 0;
    Narrow<uint16_t> dstNzNStride = 0;
    Narrow<uint16_t> dstNzMatrixStride = 0;
};

struct LoadData2DParams {
    Narrow<uint16_t> startIndex = 0;
    Narrow<uint16_t> dstGap = 0;
    Narrow<uint16_t> srcStride = 0;
    bool ifTranspose = false;
    Narrow<uint8_t> repeatTimes = 0;
    Narrow<uint8_t> sid = 0;
    Narrow<uint8_t> addrMode = 0;
};

struct LoadData2dTransposeParams {
    Narrow<uint16_t> startIndex = 0;
    Narrow<uint8_t> repeatTimes = 0;
    Narrow<uint16_t> srcStride = 0;
    Narrow<uint16_t> dstGap = 0;
    Narrow<uint16_t> dstFracGap = 0;
    Narrow<uint8_t> addrMode = 0;
};

template <class T>
struct LoadData3DParamsV2 {
    uint8_t padList[4] = {0, 0, 0, 0};
    Narrow<uint16_t> l1H = 0;
    Narrow<uint16_t> l1W = 0;
    Narrow<uint16_t> channelSize = 0;
    Narrow<uint16_t> kExtension = 0;
    Narrow<uint16_t> mExtension = 0;
    Narrow<uint16_t> kStartPt = 0;
    Narrow<uint16_t> mStartPt = 0;
    Narrow<uint8_t> strideW = 1;
    Narrow<uint8_t> strideH = 1;
    Narrow<uint8_t> filterW = 1;
    Narrow<uint8_t> filterH = 1;
    Narrow<uint8_t> dilationFilterW = 1;
    Narrow<uint8_t> dilationFilterH = 1;
    bool enTranspose = false;
    bool enSmallK = false;
    T padValue{};
    bool filterSizeW = false;
    bool filterSizeH = false;
    bool fMatrixCtrl = false;
};

struct MmadParams {
    Narrow<uint16_t> m = 0;
    Narrow<uint16_t> n = 0;
    Narrow<uint16_t> k = 0;
    bool isBias = false;
    Narrow<uint8_t> unitFlag = 0;
    bool kDirectionAlign = false;
    bool cmatrixSource = false;
    bool cmatrixInitVal = true;
};

struct FixpipeParamsV220 {
    Narrow<uint16_t> nSize = 0;
    Narrow<uint16_t> mSize = 0;
    Narrow<uint16_t> srcStride = 0;
    Narrow<uint32_t> dstStride = 0;
    QuantMode_t quantPre = NoQuant;
    uint64_t deqScalar = 0;
    Narrow<uint16_t> ndNum = 1;
    Narrow<uint16_t> srcNdStride = 0;
    Narrow<uint16_t> dstNdStride = 0;
    bool reluEn = false;
    Narrow<uint8_t> unitFlag = 0;
    bool isChannelSplit = false;
};

struct DataCopyCO12DstParams {
    uint8_t sid = 0;
    Narrow<uint16_t> nSize = 0;
    Narrow<uint16_t> mSize = 0;
    Narrow<uint32_t> dstStride = 0;
    Narrow<uint16_t> srcStride = 0;
    Narrow<uint8_t> unitFlag = 0;
    uint8_t clipReluPre = 0;
    uint8_t eltWiseOp = 0;
    QuantMode_t quantPre = NoQuant;
    uint8_t reluPre = 0;
    bool channelSplit = false;
    bool nz2ndEn = false;
};

enum class CO2Layout : uint8_t { NZ, ROW_MAJOR };
struct FixpipeConfig {
    CO2Layout format;
};
constexpr FixpipeConfig CFG_NZ = {CO2Layout::NZ};
constexpr FixpipeConfig CFG_ROW_MAJOR = {CO2Layout::ROW_MAJOR};

struct BinaryRepeatParams {
    BinaryRepeatParams() = default;
    BinaryRepeatParams(Narrow<uint8_t> dstBlk, Narrow<uint8_t> src0Blk, Narrow<uint8_t> src1Blk, Narrow<uint8_t> dstRep,
                       Narrow<uint8_t> src0Rep, Narrow<uint8_t> src1Rep)
        : dstBlkStride(dstBlk),
          src0BlkStride(src0Blk),
          src1BlkStride(src1Blk),
          dstRepStride(dstRep),
          src0RepStride(src0Rep),
          src1RepStride(src1Rep)
    {
    }
    Narrow<uint8_t> dstBlkStride = 1;
    Narrow<uint8_t> src0BlkStride = 1;
    Narrow<uint8_t> src1BlkStride = 1;
    Narrow<uint8_t> dstRepStride = 8;
    Narrow<uint8_t> src0RepStride = 8;
    Narrow<uint8_t> src1RepStride = 8;
};

struct UnaryRepeatParams {
    UnaryRepeatParams() = default;
    UnaryRepeatParams(Narrow<uint16_t> dstBlk, Narrow<uint16_t> srcBlk, Narrow<uint8_t> dstRep, Narrow<uint8_t> srcRep)
        : dstBlkStride(dstBlk), srcBlkStride(srcBlk), dstRepStride(dstRep), srcRepStride(srcRep)
    {
    }
    Narrow<uint16_t> dstBlkStride = 1;
    Narrow<uint16_t> srcBlkStride = 1;
    Narrow<uint8_t> dstRepStride = 8;
    Narrow<uint8_t> srcRepStride = 8;
};

struct BrcbRepeatParams {
    BrcbRepeatParams() = default;
    BrcbRepeatParams(Narrow<uint16_t> dstBlk, Narrow<uint16_t> dstRep) : dstBlkStride(dstBlk), dstRepStride(dstRep) {}
    Narrow<uint16_t> dstBlkStride = 1;
    Narrow<uint16_t> dstRepStride = 8;
};

struct CopyRepeatParams {
    CopyRepeatParams() = default;
    CopyRepeatParams(Narrow<uint16_t> dst, Narrow<uint16_t> src, Narrow<uint16_t> dstRep, Narrow<uint16_t> srcRep)
        : dstStride(dst), srcStride(src), dstRepeatSize(dstRep), srcRepeatSize(srcRep)
    {
    }
    Narrow<uint16_t> dstStride = 1;
    Narrow<uint16_t> srcStride = 1;
    Narrow<uint16_t> dstRepeatSize = 8;
    Narrow<uint16_t> srcRepeatSize = 8;
};

enum class CMPMODE : uint8_t { LT, GT, EQ, LE, GE, NE };
enum class RoundMode : uint8_t { CAST_NONE, CAST_RINT, CAST_FLOOR, CAST_CEIL, CAST_ROUND, CAST_TRUNC, CAST_ODD };
enum class ReduceOrder : uint8_t { ORDER_VALUE_INDEX, ORDER_INDEX_VALUE, ORDER_ONLY_VALUE, ORDER_ONLY_INDEX };
enum class SELMODE : uint8_t { VSEL_CMPMASK_SPR, VSEL_TENSOR_SCALAR_MODE, VSEL_TENSOR_TENSOR_MODE };
enum class MaskMode : uint8_t { NORMAL, COUNTER };

}  // namespace AscendC
