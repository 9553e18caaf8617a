// See unit_flags.h.
#include "unit_flags.h"

#include <algorithm>

namespace ascend_sim {

void UnitFlags::FractalSet::Add(uint64_t first, uint64_t end)
{
    for (uint64_t f = first; f < end; ++f) words_[f / 64] |= uint64_t{1} << (f % 64);
}

// The rows of a last, partial strip come as runs of their own, several to a fractal.
UnitFlags::FractalSet UnitFlags::Touched(const OperandList& operands, bool mmad)
{
    FractalSet touched;
    for (const Operand& operand : operands) {
        if (operand.region.space != Space::L0C || operand.write != mmad) continue;
        operand.region.ForEachRun([&touched](uint64_t start, uint64_t bytes) {
            touched.Add(start / FRACTAL_BYTES, (start + bytes + FRACTAL_BYTES - 1) / FRACTAL_BYTES);
        });
    }
    return touched;
}

UnitFlags::Walked UnitFlags::Walk(const OperandList& operands, bool mmad, const UnitUse& use)
{
    const FractalSet touched = Touched(operands, mmad);
    Walked walk;
    touched.ForEach([&walk](uint32_t f) { walk.at[walk.count++] = f; });
    if (use.order == FractalOrder::COLUMNS_FIRST || walk.count == 0) return walk;
    const uint32_t first = walk.at[0];
    const uint32_t last = walk.at[walk.count - 1];
    walk.count = 0;
    for (uint32_t row = 0; row < use.stripFractals && first + row <= last; ++row) {
        for (uint32_t f = first + row; f <= last; f += use.stripFractals) {
            if (touched.Has(f)) walk.at[walk.count++] = f;
        }
    }
    return walk;
}

int64_t UnitFlags::FirstWrong(const OperandList& operands, bool mmad) const
{
    int64_t wrong = -1;
    Touched(operands, mmad).ForEach([&](uint32_t f) {
        if (wrong < 0 && fractals_[f].set == mmad) wrong = static_cast<int64_t>(f * FRACTAL_BYTES);
    });
    return wrong;
}

int64_t UnitFlags::FirstSet() const
{
    for (size_t f = 0; f < FRACTALS; ++f) {
        if (fractals_[f].set) return static_cast<int64_t>(f * FRACTAL_BYTES);
    }
    return -1;
}

void UnitFlags::Join(const OperandList& operands, bool mmad, VectorClock& clock)
{
    uint32_t joined = NOBODY;
    Touched(operands, mmad).ForEach([&](uint32_t f) {
        Fractal& fractal = fractals_[f];
        if (fractal.turner == NOBODY) return;
        Turner& turner = turners_[fractal.turner];
        if (!fractal.met) --turner.unmet;
        fractal.met = true;
        if (fractal.turner != joined) clock.Join(turner.before);
        joined = fractal.turner;
        if (turner.unmet == 0) clock.at[turner.thread] = std::max(clock.at[turner.thread], turner.time);
    });
}

void UnitFlags::AppendWaits(const OperandList& operands, bool mmad, const UnitUse& use, uint32_t record,
                            std::vector<UnitWait>& waits) const
{
    const Walked walk = Walk(operands, mmad, use);
    const double each = use.tileCycles / static_cast<double>(walk.count);
    const auto start = static_cast<ptrdiff_t>(waits.size());
    uint32_t last = NOBODY;
    UnitWait* wait = nullptr;
    for (uint32_t i = 0; i < walk.count; ++i) {
        const Fractal& fractal = fractals_[walk.at[i]];
        if (fractal.turner == NOBODY) continue;
        const Turner& turner = turners_[fractal.turner];
        if (fractal.turner != last) {
            const auto known = std::find_if(waits.begin() + start, waits.end(),
                                            [&turner](const UnitWait& w) { return w.on == turner.record; });
            wait = known != waits.end() ? &*known : &waits.emplace_back(UnitWait{record, turner.record, 0, 0});
            last = fractal.turner;
        }
        // The first of the fractal's two units may be followed half a fractal before the second one is there.
        const double turned = turner.use.tileCycles / turner.fractals;
        const double done = turner.use.headCycles + turned * fractal.rank;
        const double left = each * (static_cast<double>(walk.count - i) - 0.5);
        if (i == 0) wait->first = static_cast<float>(done - turned / 2);
        wait->last = std::max(wait->last, static_cast<float>(done + left));
    }
    std::sort(waits.begin() + start, waits.end(), [](const UnitWait& a, const UnitWait& b) { return a.on < b.on; });
}

// A place for a turner, of which its fractals tell when nobody needs it any more.
uint32_t UnitFlags::NewTurner()
{
    if (free_.empty()) {
        turners_.emplace_back();
        return static_cast<uint32_t>(turners_.size() - 1);
    }
    const uint32_t turner = free_.back();
    free_.pop_back();
    return turner;
}

void UnitFlags::Replace(Fractal& fractal, const Fractal& by)
{
    if (fractal.turner != NOBODY && --turners_[fractal.turner].held == 0) free_.push_back(fractal.turner);
    fractal = by;
}

void UnitFlags::Turn(const OperandList& operands, bool mmad, const UnitUse& use, uint32_t record,
                     const VectorClock& clock, uint32_t thread, uint32_t time)
{
    const Walked walk = Walk(operands, mmad, use);
    if (walk.count == 0) return;
    const uint32_t index = NewTurner();
    Turner& turner = turners_[index];
    turner.before = clock;
    turner.before.at[thread] = time == 0 ? 0 : time - 1;  // 0: nobody counts, checks are off
    turner.thread = thread;
    turner.time = time;
    turner.record = record;
    turner.use = use;
    turner.fractals = turner.unmet = turner.held = walk.count;
    for (uint32_t i = 0; i < walk.count; ++i) Replace(fractals_[walk.at[i]], {mmad, false, i + 1, index});
}

int64_t UnitFlags::Reset(const VectorClock& clock)
{
    for (size_t f = 0; f < FRACTALS; ++f) {
        const Fractal& fractal = fractals_[f];
        if (!fractal.set) continue;
        const Turner& turner = turners_[fractal.turner];
        if (clock.at[turner.thread] < turner.time) return static_cast<int64_t>(f * FRACTAL_BYTES);
    }
    for (Fractal& fractal : fractals_) {
        if (fractal.set) Replace(fractal, {});
    }
    return -1;
}

}  // namespace ascend_sim
