// Unit flags of L0C: a bit for every 512 B, with which Mmad and Fixpipe follow each other through a tile without a flag
// between their pipes. Mmad writes a unit whose bit is 0, Fixpipe reads one whose bit is 1; unitFlag 3 turns the bits
// afterwards, 2 leaves them. Whole fractals are turned, whatever part of them a tile uses. Here stand the bits, who
// turned them last, and from where in a tile to where the other pipe may follow; waiting is the core's business.
// Source: Ascend C documentation, UnitFlag page.
#pragma once
#include <array>
#include <vector>

#include "race.h"
#include "trace.h"
#include "types.h"

namespace ascend_sim {

// In which order a pipe walks the fractals of its tile: down the strips of 16 columns, or along the rows.
enum class FractalOrder : uint8_t { COLUMNS_FIRST, ROWS_FIRST };

// What an instruction with unitFlag does to its tile of L0C.
struct UnitUse {
    uint8_t flag = 0;  // 0: none of this; 2 or 3
    FractalOrder order = FractalOrder::COLUMNS_FIRST;
    uint32_t stripFractals = 1;  // from one strip of 16 columns to the next
    double headCycles = 0;       // before the first fractal
    double tileCycles = 0;       // for all fractals
};

class UnitFlags {
public:
    static constexpr uint64_t UNIT_BYTES = 512;

    // First byte whose bit is not as the pipe needs it, or -1.
    int64_t FirstWrong(const OperandList& operands, bool mmad) const;
    // First byte whose bit is set, or -1.
    int64_t FirstSet() const;
    // What the pipe knows of the other one once it may touch the operands' units: all that came before the
    // instructions that turned them, and these themselves as soon as each of their units has been met.
    void Join(const OperandList& operands, bool mmad, VectorClock& clock);
    // Which instructions turned the units, and how close behind them `use` may be.
    void AppendWaits(const OperandList& operands, bool mmad, const UnitUse& use, uint32_t record,
                     std::vector<UnitWait>& waits) const;
    // The instruction has run. `clock` is what its pipe (`thread`) knew, `time` its own time stamp there.
    void Turn(const OperandList& operands, bool mmad, const UnitUse& use, uint32_t record, const VectorClock& clock,
              uint32_t thread, uint32_t time);
    // Clears every bit; the byte of a unit that was set behind what the clock knows, or -1.
    int64_t Reset(const VectorClock& clock);

private:
    static constexpr uint64_t FRACTAL_BYTES = 2 * UNIT_BYTES;
    static constexpr size_t FRACTALS = 128;

    static constexpr uint32_t NOBODY = UINT32_MAX;

    // One instruction that turned units.
    struct Turner {
        VectorClock before;
        uint32_t thread = 0;
        uint32_t time = 0;
        uint32_t record = 0;
        UnitUse use;
        uint32_t fractals = 0;
        uint32_t unmet = 0;  // fractals that the other pipe has not met yet
        uint32_t held = 0;   // fractals that it turned last
    };
    struct Fractal {
        bool set = false;
        bool met = true;
        uint32_t rank = 0;  // place in the turner's order, from one
        uint32_t turner = NOBODY;
    };
    class FractalSet {
    public:
        void Add(uint64_t first, uint64_t end);
        bool Has(uint32_t f) const { return (words_[f / 64] >> (f % 64) & 1) != 0; }
        // Upwards.
        template <class Visit>
        void ForEach(const Visit& visit) const
        {
            for (uint32_t w = 0; w < words_.size(); ++w) {
                for (uint64_t left = words_[w]; left != 0; left &= left - 1) {
                    visit(w * 64 + static_cast<uint32_t>(__builtin_ctzll(left)));
                }
            }
        }

    private:
        std::array<uint64_t, FRACTALS / 64> words_{};
    };
    // Fractals in the order in which a pipe walks them.
    struct Walked {
        std::array<uint32_t, FRACTALS> at;
        uint32_t count = 0;
    };

    // The fractals that the operands of L0C touch.
    static FractalSet Touched(const OperandList& operands, bool mmad);
    static Walked Walk(const OperandList& operands, bool mmad, const UnitUse& use);
    uint32_t NewTurner();
    void Replace(Fractal& fractal, const Fractal& by);

    std::array<Fractal, FRACTALS> fractals_;
    std::vector<Turner> turners_;
    std::vector<uint32_t> free_;  // of turners_, nobody's
};

}  // namespace ascend_sim
