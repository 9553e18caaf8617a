// The tiling struct of the FlashAttention forward kernel: everything that op_host decides and the kernel obeys.
// Plain data, passed by value at launch; its layout is the contract between op_host and op_kernel, so every field is
// 4 or 8 bytes wide and the 8-byte ones come first. Sizes are in elements or rows unless the name says bytes.
#pragma once
#include <cstdint>

namespace fastattn {

// Element strides of a tensor seen as (batch, sequence, head, dim); dim is contiguous in every layout.
struct TensorStrides {
    uint64_t batch;
    uint64_t seq;
    uint64_t head;
};

enum ElementType : uint32_t { FP16 = 0, BF16 = 1 };

// How the windows (and causality) reach the scores of a block that they cut.
enum MaskMode : uint32_t {
    MASK_TILING = 0,     // bits of the M-mask, read from GM
    MASK_PREDICATE = 1,  // each row's hidden columns overwritten by lane masks, nothing read
    MASK_FULL = 2,       // the attnMask operand, an S x S tensor, holds them
};

// What the attnMask operand holds, an element a (query, key) pair; keys are contiguous.
enum MaskTensor : uint32_t {
    NO_MASK_TENSOR = 0,
    MASK_BOOL = 1,      // bytes: 0 hides, 1 shows
    MASK_ADD = 2,       // added to the scores after softcap and ALiBi, in the type of Q
    MASK_ADD_FP32 = 3,  // ... in fp32
    MASK_WINDOWS = 4,   // bytes as in MASK_BOOL, made of the windows by the host for MASK_FULL
};

// In what S crosses from the cube core to the vector cores.
enum SExchange : uint32_t {
    EXCHANGE_FP32 = 0,
    EXCHANGE_FP16 = 1,  // rounded; a score before scaling beyond 65504 becomes infinite
    EXCHANGE_BF16 = 2,  // rounded, for operands in bf16
};

// How tasks (query blocks of heads) go over the core groups, see partition.h.
enum WorkSchedule : uint32_t {
    FOLDED = 0,       // whole tasks back and forth, heaviest first
    RANGES = 1,       // equal ranges of keys; a task may be split between groups
    ROUND_ROBIN = 2,  // whole tasks in turn, in their natural order: the baseline
    TOKEN_ORDER = 3,  // whole tasks back and forth, sequence by sequence from the first query block to the last
};

struct FlashAttentionTiling {
    // Memory layout of the operands.
    TensorStrides q;
    TensorStrides k;
    TensorStrides v;
    TensorStrides o;
    TensorStrides attnMask;  // 0 where one row serves all

    // Workspace of one core group (cube + two vector cores), offsets in bytes from the group's base.
    uint64_t workspaceBytesPerGroup;
    uint64_t workspaceSOffsetBytes;     // ring x (sliceQ x blockKv) in sExchange's type
    uint64_t workspacePOffsetBytes;     // ring x (sliceQ x blockKv) fp16
    uint64_t workspaceOOffsetBytes;     // ring x (sliceQ x padded headDimV) fp32
    uint64_t workspacePartOffsetBytes;  // blockQ x (padded headDimV + 2) fp32: the partial result of a split task

    // lse is fp32; element strides of its batch and head, rows are contiguous.
    uint64_t lseBatchStride;
    uint64_t lseHeadStride;

    // Problem.
    uint32_t elementType;  // ElementType
    uint32_t batch;
    uint32_t headsQ;
    uint32_t headsKv;
    uint32_t seqQ;          // longest query sequence
    uint32_t seqKv;         // longest key sequence, or the key capacity; see hasSeqUsedKv
    uint32_t headDimQk;     // 1 ... 256
    uint32_t headDimV;      // 1 ... 256
    int32_t windowLeft;     // row r sees key c only if c >= r + d - windowLeft, d = keys - queries; negative: no limit
    int32_t windowRight;    // ... and only if c <= r + d + windowRight; 0 is causal; negative: no limit
    uint32_t hasCuSeqlens;  // 1: sequences lie back to back, their starts are the cuSeqlensQ and cuSeqlensKv operands
    uint32_t hasSeqUsedKv;  // 1: the seqUsedKv operand holds the number of valid keys of each batch entry
    uint32_t hasSinks;      // 1: the sinks operand holds one extra logit a query head
    uint32_t hasAlibi;      // 1: the alibiSlopes operand holds a slope for each batch entry (or for all) and query head
    uint32_t alibiBatchStride;
    uint32_t maskTensor;  // MaskTensor
    float softmaxScale;
    float softcap;  // scores become softcap * tanh(score / softcap); 0: off

    // Level 1: the unit of exchange between the cube core and the vector cores.
    uint32_t blockQ;     // query rows of a block, multiple of 16
    uint32_t sliceQ;     // ... that the cores hand over at a time: all, or a part of whole query tiles. The slices of a
                         // block follow each other; with RANGES they find its keys in L1, as far as K and V have slots
    uint32_t blockKv;    // keys of a block, multiple of MASK_ROW_ALIGN_ELEMS
    uint32_t ring;       // workspace slots for S, P and the partial O of a slice
    uint32_t preload;    // slices that the cube core runs ahead with Q·K^T before it turns to P·V
    uint32_t sExchange;  // SExchange
    uint32_t stagger;  // core groups are in so many phases of a block: the first block of group g is g % stagger steps
                       // shorter, so that not all of them ask the L2 for the same at the same time; 1: in step

    // Level 2: the unit inside a core.
    uint32_t l1TileKv;    // keys of a K tile in L1, multiple of l0TileKv
    uint32_t l1TileV;     // keys of a V tile in L1, multiple of l0TileKv
    uint32_t l1TileP;     // keys of a P tile in L1 and in the workspace, multiple of l0TileKv
    uint32_t l0TileQ;     // query rows of one L0 tile, multiple of 16
    uint32_t l0TileKv;    // keys of one L0 tile, multiple of 16
    uint32_t interleave;  // 1: the cube core alternates between tiles of Q·K^T and P·V; 0: whole blocks of either
    uint32_t stripRows;   // score rows that a vector core holds in UB at a time, multiple of 8
    uint32_t pSlots;      // strips of probabilities in UB: 2, or 1 where the vector core waits for a strip's way to GM

    // Windows: MaskMode; the side of the tiling-mask's M-mask is 2 * maskBlock.
    uint32_t maskMode;
    uint32_t maskBlock;

    // Schedule.
    uint32_t blockDim;    // core groups launched
    uint32_t numBlocksQ;  // query blocks of one (batch, head)
    uint32_t packGqa;     // 1: the query heads of a key head are rows of one block, see packing.h
    uint32_t schedule;    // WorkSchedule
    uint32_t blockUnits;  // what a block costs besides its keys, in columns of 32 keys
    uint32_t taskUnits;   // what a task costs besides its blocks
};

}  // namespace fastattn
