// Each stage takes the pipes in the order of its data; a pipe starts a step later than the one before it and ends no
// sooner than a step after it.
#include "pipeline_model.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace fastattn {
namespace {

constexpr int WARM_BLOCKS = 10;  // until the interval is steady
constexpr int MEASURED_BLOCKS = 12;
constexpr double STRIP_INSTRUCTIONS =
    70;  // vector queue entries of a strip: the scalar unit runs a queue ahead of them

struct Pipe {
    double free = 0;
};

// One pipe's part of a stage: begins when its first step's data are there and ends no sooner than a step after them.
struct Span {
    double begin;
    double end;
};

Span Take(Pipe& pipe, const Span& before, double cycles, double steps, double beforeSteps, double beforeCycles)
{
    const double firstReady = before.begin + beforeCycles / beforeSteps;
    Span span;
    span.begin = std::max(pipe.free, firstReady);
    span.end = std::max(span.begin + cycles, before.end + cycles / steps);
    pipe.free = span.end;
    return span;
}

class GroupPipeline {
public:
    GroupPipeline(const FlashAttentionTiling& t, const SocSpec& soc, const BlockCost& block)
        : soc_(soc), block_(block), preload_(static_cast<int>(t.preload)), interleave_(t.interleave != 0)
    {
    }

    // Finishing times of so many blocks.
    std::vector<double> Run(int blocks)
    {
        std::vector<double> probabilities;
        std::vector<double> finished;
        for (int i = 0; i < blocks + preload_; ++i) {
            if (i < blocks) {
                probabilities.push_back(OnVector(block_.softmax, Scores()));
            }
            if (i >= preload_) {
                finished.push_back(OnVector(block_.update, Output(probabilities[static_cast<size_t>(i - preload_)])));
            }
        }
        return finished;
    }

private:
    double HandOff() const { return soc_.gmWriteLatencyCycles + soc_.crossCoreCycles; }

    // Q·K^T: every L0 tile leaves through the Fixpipe; the cube is at most two accumulators ahead of it.
    double Scores()
    {
        const StageCost& s = block_.qk;
        const PipeCycles& c = s.pipes;
        const Span loaded = Load(s, scalarCube_);
        const Span l0 = Take(mte1_, loaded, c.mte1, s.l0Tiles, s.l1Tiles, c.mte2Cube);
        Span mmad = Take(cube_, l0, c.cube, s.l0Tiles, s.l0Tiles, c.mte1);
        const double fixpipe = c.fixpipe;
        const Span stored = Take(fixpipe_, mmad, fixpipe, s.l0Tiles, s.l0Tiles, c.cube);
        const double held = stored.end - 2 * fixpipe / s.l0Tiles;
        if (!interleave_) {
            // Otherwise tiles of P·V fill the time that the Fixpipe needs.
            cube_.free = std::max(cube_.free, held);
            mte1_.free = std::max(mte1_.free, held - c.cube / s.l0Tiles);
        }
        scalarCube_ = std::max(scalarCube_, mte1_.free - c.mte1 / s.l0Tiles);
        return stored.end + HandOff();
    }

    // P·V, once the probabilities are there; one accumulator leaves at the end.
    double Output(double probabilities)
    {
        const StageCost& s = block_.pv;
        const PipeCycles& c = s.pipes;
        scalarCube_ = std::max(scalarCube_, probabilities);
        const Span loaded = Load(s, scalarCube_);
        const Span l0 = Take(mte1_, loaded, c.mte1, s.l0Tiles, s.l1Tiles, c.mte2Cube);
        const Span mmad = Take(cube_, l0, c.cube, s.l0Tiles, s.l0Tiles, c.mte1);
        fixpipe_.free = std::max(fixpipe_.free, mmad.end) + c.fixpipe;
        scalarCube_ = std::max(scalarCube_, mte1_.free - c.mte1 / s.l0Tiles);
        return fixpipe_.free + HandOff();
    }

    Span Load(const StageCost& s, double start)
    {
        Span span;
        span.begin = std::max(mte2Cube_.free, start);
        span.end = span.begin + s.pipes.mte2Cube + soc_.l2LatencyCycles;
        mte2Cube_.free = span.end - soc_.l2LatencyCycles;
        return span;
    }

    // Softmax or update: strips in, vector passes, strips out.
    double OnVector(const StageCost& s, double ready)
    {
        const PipeCycles& c = s.pipes;
        scalarVector_ = std::max(scalarVector_, ready);
        Span loaded;
        loaded.begin = std::max(mte2Vector_.free, scalarVector_);
        loaded.end = loaded.begin + c.mte2Vector + soc_.l2LatencyCycles;
        mte2Vector_.free = loaded.end - soc_.l2LatencyCycles;
        const double first = c.mte2Vector + s.strips * soc_.l2LatencyCycles;
        const Span computed = Take(vector_, loaded, c.vector, s.strips, s.strips, first);
        mte2Vector_.free = std::max(mte2Vector_.free, computed.end - 2 * c.vector / s.strips);
        // The scalar unit waits for the next flag a queue of instructions ahead of the vector pipe.
        const double ahead = std::min(1.0, soc_.queueDepth / STRIP_INSTRUCTIONS) * c.vector / s.strips;
        scalarVector_ = std::max(scalarVector_, computed.end - ahead);
        const Span stored = Take(mte3_, computed, c.mte3, s.strips, s.strips, c.vector);
        return (c.mte3 > 0 ? stored.end : computed.end) + HandOff();
    }

    const SocSpec& soc_;
    const BlockCost& block_;
    int preload_;
    bool interleave_;
    Pipe mte2Cube_, mte1_, cube_, fixpipe_, mte2Vector_, vector_, mte3_;
    double scalarCube_ = 0;
    double scalarVector_ = 0;
};

}  // namespace

PipelineTime RunPipeline(const FlashAttentionTiling& t, const SocSpec& soc, const BlockCost& block, double blocks)
{
    // The last `preload` blocks drain: they do not show the steady state.
    const int steady = WARM_BLOCKS + MEASURED_BLOCKS;
    const int most = steady + static_cast<int>(t.preload);
    const int run = std::max(1, static_cast<int>(std::min(std::ceil(blocks), static_cast<double>(most))));
    const std::vector<double> finished = GroupPipeline(t, soc, block).Run(run);
    PipelineTime time;
    time.cycles = finished.back();
    if (run < most) {
        time.intervalCycles = finished.back() / run;
        return time;
    }
    time.intervalCycles = (finished[steady - 1] - finished[WARM_BLOCKS - 1]) / MEASURED_BLOCKS;
    time.cycles += (blocks - run) * time.intervalCycles;
    return time;
}

}  // namespace fastattn
