// See unit_flags.h.
#include "unit_flags.h"

#include <algorithm>
#include <map>

namespace ascend_sim {

std::vector<uint32_t> UnitFlags::Touched(const OperandList& operands, bool mmad)
{
    std::vector<uint32_t> touched;
    for (const Operand& operand : operands) {
        if (operand.region.space != Space::L0C || operand.write != mmad) continue;
        operand.region.ForEachRun([&touched](uint64_t start, uint64_t bytes) {
            for (uint64_t f = start / FRACTAL_BYTES; f * FRACTAL_BYTES < start + bytes; ++f) {
                touched.push_back(static_cast<uint32_t>(f));
            }
        });
    }
    // The rows of a last, partial strip come as runs of their own, several to a fractal.
    std::sort(touched.begin(), touched.end());
    touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
    return touched;
}

std::vector<uint32_t> UnitFlags::Walk(const OperandList& operands, bool mmad, const UnitUse& use)
{
    std::vector<uint32_t> walk = Touched(operands, mmad);
    if (use.order == FractalOrder::COLUMNS_FIRST || walk.empty()) return walk;
    const uint32_t first = walk.front();
    std::stable_sort(walk.begin(), walk.end(), [&](uint32_t a, uint32_t b) {
        return (a - first) % use.stripFractals < (b - first) % use.stripFractals;
    });
    return walk;
}

int64_t UnitFlags::FirstWrong(const OperandList& operands, bool mmad) const
{
    for (const uint32_t f : Touched(operands, mmad)) {
        if (fractals_[f].set == mmad) return static_cast<int64_t>(f * FRACTAL_BYTES);
    }
    return -1;
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
    for (const uint32_t f : Touched(operands, mmad)) {
        Fractal& fractal = fractals_[f];
        if (fractal.turner == nullptr) continue;
        Turner& turner = *fractal.turner;
        if (!fractal.met) --turner.unmet;
        fractal.met = true;
        clock.Join(turner.before);
        if (turner.unmet == 0) clock.at[turner.thread] = std::max(clock.at[turner.thread], turner.time);
    }
}

void UnitFlags::AppendWaits(const OperandList& operands, bool mmad, const UnitUse& use, uint32_t record,
                            std::vector<UnitWait>& waits) const
{
    const std::vector<uint32_t> walk = Walk(operands, mmad, use);
    const double each = use.tileCycles / static_cast<double>(walk.size());
    std::map<uint32_t, UnitWait> byTurner;
    for (size_t i = 0; i < walk.size(); ++i) {
        const Fractal& fractal = fractals_[walk[i]];
        if (fractal.turner == nullptr) continue;
        const Turner& turner = *fractal.turner;
        // The first of the fractal's two units may be followed half a fractal before the second one is there.
        const double turned = turner.use.tileCycles / turner.fractals;
        const double done = turner.use.headCycles + turned * fractal.rank;
        const double left = each * (static_cast<double>(walk.size() - i) - 0.5);
        UnitWait& wait = byTurner[turner.record];
        wait.record = record;
        wait.on = turner.record;
        if (i == 0) wait.first = static_cast<float>(done - turned / 2);
        wait.last = std::max(wait.last, static_cast<float>(done + left));
    }
    for (const auto& [on, wait] : byTurner) waits.push_back(wait);
}

void UnitFlags::Turn(const OperandList& operands, bool mmad, const UnitUse& use, uint32_t record,
                     const VectorClock& clock, uint32_t thread, uint32_t time)
{
    const std::vector<uint32_t> walk = Walk(operands, mmad, use);
    auto turner = std::make_shared<Turner>();
    turner->before = clock;
    turner->before.at[thread] = time == 0 ? 0 : time - 1;  // 0: nobody counts, checks are off
    turner->thread = thread;
    turner->time = time;
    turner->record = record;
    turner->use = use;
    turner->fractals = turner->unmet = static_cast<uint32_t>(walk.size());
    for (size_t i = 0; i < walk.size(); ++i) fractals_[walk[i]] = {mmad, false, static_cast<uint32_t>(i + 1), turner};
}

int64_t UnitFlags::Reset(const VectorClock& clock)
{
    for (size_t f = 0; f < FRACTALS; ++f) {
        const Fractal& fractal = fractals_[f];
        if (!fractal.set) continue;
        if (clock.at[fractal.turner->thread] < fractal.turner->time) return static_cast<int64_t>(f * FRACTAL_BYTES);
    }
    for (Fractal& fractal : fractals_) {
        if (fractal.set) fractal = {};
    }
    return -1;
}

}  // namespace ascend_sim
