// Movement of matrix tiles on the cube core, in the fractal layouts that Mmad reads: GM rows to L1 column strips (zN),
// L1 to L0A (zZ) and L0B (nZ), L0C back to GM rows. No synchronisation here: the callers' rings order these.
// Layouts: Ascend C documentation, "LoadData" and "DataCopy with Nd2NzParams"; 2-byte elements, 16 x 16 fractals.
#pragma once
#include "hardware.h"
#include "kernel_operator.h"

namespace fastattn {

constexpr uint32_t FRACTAL_ELEMS = FRACTAL_ROWS * C0_B16_ELEMS;
// unitFlag of Mmad and Fixpipe: no unit flags; wait for them; wait for them and turn them (Ascend C documentation,
// "UnitFlag"). Of the Mmads that add to one tile only the last turns them, and the Fixpipe turns them back.
constexpr uint8_t UNIT_OFF = 0;
constexpr uint8_t UNIT_HOLD = 2;
constexpr uint8_t UNIT_TURN = 3;
constexpr uint64_t MAX_ND2NZ_PITCH_ELEMS = 65535;  // srcDValue and srcNdMatrixStride are uint16
constexpr uint32_t DEPENDENT_MMAD_FRACTALS = 10;   // fewer output fractals: dependent Mmads need PIPE_M barriers

__aicore__ inline uint32_t Fractals(uint32_t elems) { return (elems + FRACTAL_ROWS - 1) / FRACTAL_ROWS; }

// Matrices in GM, pitches in elements.
struct GmMatrices {
    uint32_t count;
    uint64_t pitch;
    uint32_t rows;  // of each
    uint32_t cols;
    uint64_t rowPitch;
};

// Matrices of GM, one below the other -> L1 strips of 16 columns, each of stripRows rows. Rows or matrices further
// apart than ND2NZ can say travel one by one, which is slow.
template <class T>
__aicore__ inline void LoadMatricesToL1(const AscendC::LocalTensor<T>& l1, const AscendC::GlobalTensor<T>& gm,
                                        const GmMatrices& m, uint32_t stripRows)
{
    const bool farRows = m.rows > 1 && m.rowPitch > MAX_ND2NZ_PITCH_ELEMS;
    const bool farMatrices = m.count > 1 && m.pitch > MAX_ND2NZ_PITCH_ELEMS;
    const uint32_t rows = farRows ? 1 : m.rows;
    AscendC::Nd2NzParams p;
    p.nValue = rows;
    p.dValue = m.cols;
    p.srcDValue = rows == 1 ? m.cols : m.rowPitch;  // one row has no pitch
    p.dstNzC0Stride = stripRows;
    p.dstNzNStride = 1;
    if (!farRows && !farMatrices) {
        p.ndNum = m.count;
        p.srcNdMatrixStride = m.count > 1 ? m.pitch : 0;
        p.dstNzMatrixStride = m.count > 1 ? rows * C0_B16_ELEMS : 0;
        AscendC::DataCopy(l1, gm, p);
        return;
    }
    p.ndNum = 1;
    p.srcNdMatrixStride = 0;
    p.dstNzMatrixStride = 0;
    for (uint32_t row = 0; row < m.count * m.rows; row += rows) {
        AscendC::DataCopy(l1[row * C0_B16_ELEMS], gm[row / m.rows * m.pitch + row % m.rows * m.rowPitch], p);
    }
}

// One matrix.
template <class T>
__aicore__ inline void LoadRowsToL1(const AscendC::LocalTensor<T>& l1, const AscendC::GlobalTensor<T>& gm,
                                    uint32_t rows, uint32_t cols, uint64_t rowPitch, uint32_t stripRows)
{
    LoadMatricesToL1(l1, gm, {1, 0, rows, cols, rowPitch}, stripRows);
}

// rows x depth of a left operand in L1, from row0 (a multiple of 16) on; its column strips have stripRows rows.
struct LeftTile {
    uint32_t rows;
    uint32_t depth;
    uint32_t stripRows;
    uint32_t row0;
};

// Left operand: zN -> zZ, one row or one column of fractals a call, whichever makes fewer calls.
template <class T>
__aicore__ inline void LoadLeft(const AscendC::LocalTensor<T>& l0a, const AscendC::LocalTensor<T>& l1,
                                const LeftTile& tile)
{
    const uint32_t rowFractals = Fractals(tile.rows);
    const uint32_t depthFractals = Fractals(tile.depth);
    const uint32_t stripFractals = Fractals(tile.stripRows);
    const uint32_t start = Fractals(tile.row0);
    AscendC::LoadData2DParams p;
    p.ifTranspose = false;
    if (depthFractals < rowFractals) {
        p.repeatTimes = rowFractals;
        p.srcStride = 1;
        p.dstGap = depthFractals - 1;
        for (uint32_t i = 0; i < depthFractals; ++i) {
            p.startIndex = start + i * stripFractals;
            AscendC::LoadData(l0a[i * FRACTAL_ELEMS], l1, p);
        }
        return;
    }
    p.repeatTimes = depthFractals;
    p.srcStride = stripFractals;
    p.dstGap = 0;
    for (uint32_t i = 0; i < rowFractals; ++i) {
        p.startIndex = start + i;
        AscendC::LoadData(l0a[i * depthFractals * FRACTAL_ELEMS], l1, p);
    }
}

// Right operand stored as (cols x depth), depth contiguous, as K is for Q·K^T: zN already is nZ.
template <class T>
__aicore__ inline void LoadRightTransposed(const AscendC::LocalTensor<T>& l0b, const AscendC::LocalTensor<T>& l1,
                                           uint32_t cols, uint32_t depth)
{
    AscendC::LoadData2DParams p;
    p.startIndex = 0;
    p.repeatTimes = Fractals(cols) * Fractals(depth);
    p.srcStride = 1;
    p.dstGap = 0;
    p.ifTranspose = false;
    AscendC::LoadData(l0b, l1, p);
}

// Right operand stored as (depth x cols), cols contiguous, as V is for P·V: every fractal is turned on the way.
template <class T>
__aicore__ inline void LoadRight(const AscendC::LocalTensor<T>& l0b, const AscendC::LocalTensor<T>& l1, uint32_t depth,
                                 uint32_t cols)
{
    const uint32_t depthFractals = Fractals(depth);
    const uint32_t colFractals = Fractals(cols);
    AscendC::LoadData2DParams p;
    p.repeatTimes = colFractals;
    p.srcStride = depthFractals;
    p.dstGap = 0;
    p.ifTranspose = true;
    for (uint32_t i = 0; i < depthFractals; ++i) {
        p.startIndex = i;
        AscendC::LoadData(l0b[i * colFractals * FRACTAL_ELEMS], l1, p);
    }
}

// l0c (rows x cols) = or += l0a (rows x depth) · l0b (depth x cols); first: of the products that are
// summed. Rows are rounded up to whole fractals, because a single row would switch the cube to its GEMV mode; the extra
// rows are never stored.
template <class T>
__aicore__ inline void Multiply(const AscendC::LocalTensor<float>& l0c, const AscendC::LocalTensor<T>& l0a,
                                const AscendC::LocalTensor<T>& l0b, uint32_t rows, uint32_t cols, uint32_t depth,
                                bool first, uint8_t unitFlag)
{
    AscendC::MmadParams p;
    p.m = Fractals(rows) * FRACTAL_ROWS;
    p.n = cols;
    p.k = depth;
    p.cmatrixInitVal = first;
    p.unitFlag = unitFlag;
    if (!first && Fractals(rows) * Fractals(cols) < DEPENDENT_MMAD_FRACTALS) {
        AscendC::PipeBarrier<PIPE_M>();
    }
    AscendC::Mmad(l0c, l0a, l0b, p);
}

// Once a core, before StoreAccumulator: results go to GM row by row, and Mmad makes them in that order.
__aicore__ inline void BeginRowMajorStores()
{
    AscendC::SetFixpipeNz2ndFlag(1, 0, 0);
    AscendC::SetMMRowMajor();
}
__aicore__ inline void EndRowMajorStores() { AscendC::SetMMColumnMajor(); }

// What makes T of an accumulator's fp32; rounds to nearest even.
template <class T>
__aicore__ constexpr QuantMode_t QuantOf()
{
    if constexpr (std::is_same_v<T, half>) {
        return QuantMode_t::F322F16;
    } else if constexpr (std::is_same_v<T, bfloat16_t>) {
        return QuantMode_t::F322BF16;
    } else {
        return QuantMode_t::NoQuant;
    }
}

// l0c (rows x cols) -> GM rows. DataCopy takes whole fractals; Fixpipe takes any number of columns, but waits
// for the store before it.
template <class T>
__aicore__ inline void StoreAccumulator(const AscendC::GlobalTensor<T>& gm, const AscendC::LocalTensor<float>& l0c,
                                        uint32_t rows, uint32_t cols, uint32_t rowPitch, uint8_t unitFlag)
{
    if (cols % FRACTAL_ROWS == 0) {
        AscendC::DataCopyCO12DstParams p;
        p.nSize = cols;
        p.mSize = rows;
        p.srcStride = Fractals(rows) * FRACTAL_ROWS;
        p.dstStride = rowPitch;
        p.quantPre = QuantOf<T>();
        p.nz2ndEn = true;
        p.unitFlag = unitFlag;
        AscendC::DataCopy(gm, l0c, p);
        return;
    }
    AscendC::FixpipeParamsV220 p;
    p.nSize = cols;
    p.mSize = rows;
    p.srcStride = Fractals(rows) * FRACTAL_ROWS;
    p.dstStride = rowPitch;
    p.quantPre = QuantOf<T>();
    p.deqScalar = 0;
    p.unitFlag = unitFlag;
    AscendC::Fixpipe<T, float, AscendC::CFG_ROW_MAJOR>(gm, l0c, p);
}

}  // namespace fastattn
