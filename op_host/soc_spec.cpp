// The table that binds configs/soc/*.yaml to SocSpec; the only place where the two sets of names meet.
#include "soc_spec.h"

namespace fastattn {

const std::vector<SocField>& SocFields()
{
    static const std::vector<SocField> fields = {
        {"cores.aic", &SocSpec::aicCores},
        {"clock.mhz", &SocSpec::clockMhz},
        {"memory.ub_bytes", &SocSpec::ubBytes},
        {"memory.ub_usable_bytes", &SocSpec::ubUsableBytes},
        {"memory.ub_reserved_bytes", &SocSpec::ubReservedBytes},
        {"memory.l1_bytes", &SocSpec::l1Bytes},
        {"memory.l0a_bytes", &SocSpec::l0aBytes},
        {"memory.l0b_bytes", &SocSpec::l0bBytes},
        {"memory.l0c_bytes", &SocSpec::l0cBytes},
        {"memory.bias_table_bytes", &SocSpec::biasTableBytes},
        {"memory.fixpipe_buffer_bytes", &SocSpec::fixpipeBufferBytes},
        {"memory.l2_bytes", &SocSpec::l2Bytes},
        {"memory.hbm_bytes", &SocSpec::hbmBytes},
        {"shared.hbm_gbps", &SocSpec::hbmGbps},
        {"shared.l2_gbps", &SocSpec::l2Gbps},
        {"shared.l2_slice_bytes_per_cycle", &SocSpec::l2SliceBytesPerCycle},
        {"shared.miss_bytes_per_cycle_aic", &SocSpec::missBytesPerCycleAic},
        {"shared.miss_bytes_per_cycle_aiv", &SocSpec::missBytesPerCycleAiv},
        {"shared.l2_read_bytes_per_cycle_per_aic", &SocSpec::l2ReadBytesPerCyclePerAic},
        {"cube.head_cycles", &SocSpec::cubeHeadCycles},
        {"cube.fractal_cycles", &SocSpec::cubeFractalCycles},
        {"mte1.start_cycles", &SocSpec::mte1StartCycles},
        {"mte1.head_cycles", &SocSpec::mte1HeadCycles},
        {"mte1.l0a_bytes_per_cycle", &SocSpec::mte1L0aBytesPerCycle},
        {"mte1.l0b_bytes_per_cycle", &SocSpec::mte1L0bBytesPerCycle},
        {"mte2.head_cycles", &SocSpec::mte2HeadCycles},
        {"mte2.ub_bytes_per_cycle", &SocSpec::mte2UbBytesPerCycle},
        {"mte2.l1_bytes_per_cycle", &SocSpec::mte2L1BytesPerCycle},
        {"mte2.ub_burst_cycles", &SocSpec::mte2UbBurstCycles},
        {"mte2.l1_burst_cycles", &SocSpec::mte2L1BurstCycles},
        {"mte3.head_cycles", &SocSpec::mte3HeadCycles},
        {"mte3.bytes_per_cycle", &SocSpec::mte3BytesPerCycle},
        {"mte3.burst_cycles", &SocSpec::mte3BurstCycles},
        {"fixpipe.head_cycles", &SocSpec::fixpipeHeadCycles},
        {"fixpipe.gm_bytes_per_cycle", &SocSpec::fixpipeGmBytesPerCycle},
        {"fixpipe.l1_bytes_per_cycle", &SocSpec::fixpipeL1BytesPerCycle},
        {"shared.gm_latency_cycles", &SocSpec::gmLatencyCycles},
        {"shared.l2_latency_cycles", &SocSpec::l2LatencyCycles},
        {"shared.gm_write_latency_cycles", &SocSpec::gmWriteLatencyCycles},
        {"vector.head_cycles", &SocSpec::vectorHeadCycles},
        {"vector.tail_cycles", &SocSpec::vectorTailCycles},
        {"vector.long_tail_cycles", &SocSpec::vectorLongTailCycles},
        {"vector.reduce_tail_cycles", &SocSpec::vectorReduceTailCycles},
        {"vector.partial_block_cycles", &SocSpec::vectorPartialBlockCycles},
        {"vector.write_conflict_cycles", &SocSpec::vectorWriteConflictCycles},
        {"vector.simple_cycles", &SocSpec::vectorSimpleCycles},
        {"vector.exp_cycles", &SocSpec::vectorExpCycles},
        {"vector.div_cycles", &SocSpec::vectorDivCycles},
        {"vector.half_exp_cycles", &SocSpec::vectorHalfExpCycles},
        {"vector.whole_reduce_cycles", &SocSpec::vectorWholeReduceCycles},
        {"vector.half_block_reduce_cycles", &SocSpec::vectorHalfBlockReduceCycles},
        {"scalar.queue_depth", &SocSpec::queueDepth},
        {"scalar.issue_cycles", &SocSpec::scalarIssueCycles},
        {"scalar.gm_read_cycles", &SocSpec::scalarGmReadCycles},
        {"scalar.gm_cached_read_cycles", &SocSpec::scalarGmCachedReadCycles},
        {"scalar.dcache_bytes", &SocSpec::dcacheBytes},
        {"scalar.ub_access_cycles", &SocSpec::scalarUbAccessCycles},
        {"sync.flag_cycles", &SocSpec::flagCycles},
        {"sync.cross_core_cycles", &SocSpec::crossCoreCycles},
        {"sync.sync_all_cycles", &SocSpec::syncAllCycles},
        {"launch.cycles", &SocSpec::launchCycles},
        {"links.measured_ranks", &SocSpec::linkMeasuredRanks},
        {"links.switch_mb", &SocSpec::linkSwitchMb},
        {"links.small_us_per_mb", &SocSpec::linkSmallUsPerMb},
        {"links.small_bend_us_per_mb2", &SocSpec::linkSmallBendUsPerMb2},
        {"links.small_us", &SocSpec::linkSmallUs},
        {"links.large_us_per_mb", &SocSpec::linkLargeUsPerMb},
        {"links.large_us", &SocSpec::linkLargeUs},
        {"links.slowdown", &SocSpec::linkSlowdown},
    };
    return fields;
}

double PeakTflops(const SocSpec& soc) { return soc.aicCores * 2.0 * 16 * 16 * 16 * soc.clockMhz * 1e6 / 1e12; }

double L2BytesPerCycle(const SocSpec& soc) { return soc.l2Gbps * 1e3 / soc.clockMhz; }
double HbmBytesPerCycle(const SocSpec& soc) { return soc.hbmGbps * 1e3 / soc.clockMhz; }

double UbLimitBytes(const SocSpec& soc) { return soc.ubUsableBytes - soc.ubReservedBytes; }

}  // namespace fastattn
