// See core.h. Order of the checks: what decoding can tell (position, alignment, extent) when the instruction is issued;
// what needs earlier results (bytes that nobody wrote, missing order) when it runs.
#include "core.h"

#include <algorithm>

#include "group.h"
#include "launch.h"
#include "listing.h"

namespace ascend_sim {

namespace {

thread_local Core* currentCore = nullptr;

constexpr uint64_t RESERVED_UB_START = 184 * 1024;
constexpr uint64_t L1_KEPT_BYTES = 256;  // mix kernels lose the last 256 B of L1 (CANN platform file)

bool Has(CoreKind kind, Space space)
{
    if (space == Space::GM) return true;
    return (kind == CoreKind::AIV) == (space == Space::UB);
}

}  // namespace

bool Has(CoreKind kind, Pipe pipe)
{
    if (pipe == Pipe::S || pipe == Pipe::MTE2 || pipe == Pipe::MTE3) return true;
    return (kind == CoreKind::AIV) == (pipe == Pipe::V);
}

Core& CurrentCore() { return *currentCore; }
Core* CurrentCoreIfAny() { return currentCore; }
void SetCurrentCore(Core* core) { currentCore = core; }

Core::Core(const fastattn::SocSpec& soc, CoreKind kind, uint32_t coreInGroup, Group& group)
    : soc_(soc), kind_(kind), coreInGroup_(coreInGroup), group_(&group)
{
    const LaunchOptions& options = group.Owner().Options();
    functional_ = options.functional;
    checks_ = options.checks;
    lists_ = options.listing;
    trace_.kind = kind_;
    trace_.group = group.Index();
    trace_.coreInGroup = coreInGroup_;
}

void Core::PowerOn()
{
    const auto add = [this](Space space, double bytes) {
        auto& memory = memories_[static_cast<uint32_t>(space)];
        memory = std::make_unique<LocalMemory>(space, static_cast<uint64_t>(bytes));
        memory->Poison();
    };
    if (kind_ == CoreKind::AIV) {
        add(Space::UB, soc_.ubBytes);
    } else {
        add(Space::L1, soc_.l1Bytes);
        add(Space::L0A, soc_.l0aBytes);
        add(Space::L0B, soc_.l0bBytes);
        add(Space::L0C, soc_.l0cBytes);
        add(Space::BT, soc_.biasTableBytes);
        add(Space::FB, soc_.fixpipeBufferBytes);
    }
}

void Core::PowerOff()
{
    for (auto& memory : memories_) memory.reset();
    filler_.reset();
    patterns_.reset();
}

namespace {

// Where something with this key is, or where it goes: the first place that `fits`, or the last one tried.
template <class Places, class Fits>
auto& PlaceOf(Places& places, uint64_t key, const Fits& fits)
{
    constexpr size_t TRIES = 4;
    const size_t first = (key * 0x9E3779B97F4A7C15ULL) >> 40;
    size_t tried = 0;
    while (tried + 1 < TRIES && !fits(places[(first + tried) % places.size()])) ++tried;
    return places[(first + tried) % places.size()];
}

bool SameSite(const CallSite& a, const CallSite& b) { return a.api == b.api && a.file == b.file && a.line == b.line; }

}  // namespace

uint16_t Core::NameId(const char* name)
{
    KnownName& known = PlaceOf(names_, reinterpret_cast<uint64_t>(name),
                               [name](const KnownName& k) { return k.name == name || k.name == nullptr; });
    if (known.name != name) known = {name, group_->Owner().InternName(name)};
    return known.id;
}

uint32_t Core::SiteId(const CallSite& site)
{
    const uint64_t key = reinterpret_cast<uint64_t>(site.api) * 31 + reinterpret_cast<uint64_t>(site.file) + site.line;
    KnownSite& known =
        PlaceOf(sites_, key, [&site](const KnownSite& k) { return SameSite(k.site, site) || k.site.api == nullptr; });
    if (!SameSite(known.site, site)) known = {site, group_->Owner().InternSite(site)};
    return known.id;
}

uint32_t Core::GroupIndex() const { return group_->Index(); }

uint32_t Core::SubBlocks() const
{
    return kind_ == CoreKind::AIV && group_->Owner().Options().type == KernelType::MIX ? 2 : 1;
}

uint32_t Core::BlockDim() const { return group_->Owner().Options().blockDim; }

void Core::RefuseMemory(Space space) const
{
    Refuse(Rule::POSITION, Format("%s has no %s", Name().c_str(), SpaceName(space)));
}

std::string Core::Name() const
{
    return kind_ == CoreKind::AIC ? Format("AIC %u", GroupIndex()) : Format("AIV %u.%u", GroupIndex(), SubBlock());
}

void Core::Refuse(Rule rule, const std::string& what) const
{
    throw SimulatorError(
        rule, Format("%s on %s, %s: %s", Describe(site_).c_str(), Name().c_str(), PipeName(sitePipe_), what.c_str()));
}

void Core::Warn(Rule rule, const std::string& what) const
{
    const std::string text =
        Format("%s on %s, %s: %s", Describe(site_).c_str(), Name().c_str(), PipeName(sitePipe_), what.c_str()) +
        Cite(rule);
    for (const Hazard& known : group_->Hazards()) {
        if (known.rule == rule && known.text == text) return;
    }
    group_->Hazards().push_back({rule, text});
}

void Core::Limit(const char* argument, int64_t value, int64_t low, int64_t high, Rule rule) const
{
    if (value >= low && value <= high) return;
    Refuse(rule, Format("%s = %lld is outside %lld ... %lld", argument, static_cast<long long>(value),
                        static_cast<long long>(low), static_cast<long long>(high)));
}

uint64_t Core::LimitBytes(Space space) const
{
    if (space == Space::UB) return static_cast<uint64_t>(soc_.ubUsableBytes);
    const uint64_t bytes = memories_[static_cast<uint32_t>(space)]->Bytes();
    return space == Space::L1 ? bytes - L1_KEPT_BYTES : bytes;
}

void Core::CheckLocal(const Operand& operand) const
{
    const Region& region = operand.region;
    if (!Has(kind_, region.space)) {
        Refuse(Rule::POSITION, Format("operand '%s' lies in %s, which %s does not have", operand.name,
                                      SpaceName(region.space), Name().c_str()));
    }
    const uint64_t start = region.start - operand.skipBytes;
    if (start % operand.alignBytes != 0) {
        Refuse(Rule::ALIGNMENT,
               Format("operand '%s' starts at %s offset %llu, which is not a multiple of %u B", operand.name,
                      SpaceName(region.space), static_cast<unsigned long long>(start), operand.alignBytes));
    }
    const uint64_t limit = LimitBytes(region.space);
    if (region.End() > limit) {
        Refuse(Rule::EXTENT,
               Format("operand '%s' covers %s bytes [%llu, %llu), %llu past the %llu that can be used", operand.name,
                      SpaceName(region.space), static_cast<unsigned long long>(region.start),
                      static_cast<unsigned long long>(region.End()),
                      static_cast<unsigned long long>(region.End() - limit), static_cast<unsigned long long>(limit)));
    }
}

// start: of the operand, of which the region may be a later part.
void Core::CheckBuffer(uint64_t start, const Operand& operand) const
{
    const Region& region = operand.region;
    for (const Buffer& buffer : buffers_[static_cast<uint32_t>(region.space)]) {
        if (start < buffer.start || start >= buffer.end || region.End() <= buffer.end) continue;
        Refuse(Rule::BUFFER_OVERFLOW,
               Format("operand '%s' covers %s bytes [%llu, %llu), %llu past the buffer [%llu, %llu) of the TPipe",
                      operand.name, SpaceName(region.space), static_cast<unsigned long long>(region.start),
                      static_cast<unsigned long long>(region.End()),
                      static_cast<unsigned long long>(region.End() - buffer.end),
                      static_cast<unsigned long long>(buffer.start), static_cast<unsigned long long>(buffer.end)));
    }
}

void Core::NoteBuffer(Space space, uint64_t start, uint64_t bytes)
{
    if (!Has(kind_, space)) return;  // queues of the other kind of core are declared here, too
    const uint64_t limit = LimitBytes(space);
    if (start + bytes > limit) {
        Refuse(Rule::EXTENT, Format("the buffers take %llu B of %s, of which %llu can be used",
                                    static_cast<unsigned long long>(start + bytes), SpaceName(space),
                                    static_cast<unsigned long long>(limit)));
    }
    buffers_[static_cast<uint32_t>(space)].push_back({start, start + bytes});
}

void Core::ForgetBuffers()
{
    for (std::vector<Buffer>& buffers : buffers_) buffers.clear();
}

void Core::CheckGm(const Operand& operand) const
{
    const Region& region = operand.region;
    GlobalMemory& gm = group_->Owner().Gm();
    const GmBuffer* buffer = gm.Find(region.start);
    if (buffer == nullptr) {
        const GmBuffer* near = gm.Nearest(region.start);
        Refuse(
            Rule::GM_BOUNDS,
            Format("operand '%s' starts outside every GM buffer of the launch (%s)", operand.name,
                   near == nullptr ? "below all of them"
                                   : Format("%llu B past the end of '%s'",
                                            static_cast<unsigned long long>(region.start - near->address - near->bytes),
                                            near->name.c_str())
                                         .c_str()));
    }
    const uint64_t end = buffer->address + buffer->bytes;
    if (region.End() > end) {
        Refuse(Rule::GM_BOUNDS, Format("operand '%s' runs %llu B past the end of GM buffer '%s' (%llu B)", operand.name,
                                       static_cast<unsigned long long>(region.End() - end), buffer->name.c_str(),
                                       static_cast<unsigned long long>(buffer->bytes)));
    }
    if (operand.write && !buffer->writable) {
        Refuse(Rule::GM_READ_ONLY,
               Format("operand '%s' writes GM buffer '%s', which is an input", operand.name, buffer->name.c_str()));
    }
}

void Core::CheckWritten(const Operand& operand, InitMap& init, uint64_t base, const CallSite& site, Pipe pipe)
{
    Work().initWords += operand.region.TotalBytes() / InitMap::WORD_BYTES + operand.region.Runs();
    operand.region.ForEachRun([&](uint64_t start, uint64_t bytes) {
        const int64_t unwritten = init.FirstUnwritten(start - base, bytes);
        if (unwritten < 0) return;
        const bool filler = operand.region.space == Space::UB && filler_ != nullptr &&
                            filler_->Written(static_cast<uint64_t>(unwritten), 1);
        throw SimulatorError(
            filler ? Rule::PAD_FILLER : Rule::UNWRITTEN,
            Format("%s on %s, %s: operand '%s' reads %s byte %lld, which %s", Describe(site).c_str(), Name().c_str(),
                   PipeName(pipe), operand.name, SpaceName(operand.region.space), static_cast<long long>(unwritten),
                   filler ? "DataCopyPad filled without a padding value" : "nobody has written"));
    });
}

uint32_t Core::Admit(const Instruction& instruction)
{
    if (!Has(kind_, instruction.pipe)) {
        Refuse(Rule::PIPE, Format("%s runs on %s, which %s does not have", instruction.name, PipeName(instruction.pipe),
                                  Name().c_str()));
    }
    Record record;
    record.pipe = instruction.pipe;
    record.cycles = static_cast<float>(instruction.cycles);
    record.latencyCycles = static_cast<float>(instruction.latencyCycles);
    record.name = NameId(instruction.name);
    record.site = SiteId(site_);
    record.scalarCycles = static_cast<float>(pendingScalarCycles_);
    record.mode = instruction.units.flag;
    pendingScalarCycles_ = 0;
    const auto index = static_cast<uint32_t>(trace_.records.size());
    trace_.records.push_back(record);
    ++trace_.traffic.instructions;
    trace_.traffic.cubeMacs += instruction.cubeMacs;
    if (Lists()) List(instruction);
    const Operand* part = nullptr;  // the first of an operand that comes in several
    for (const Operand& operand : instruction.operands) {
        if (operand.region.Empty()) continue;
        if (operand.region.space == Space::GM) {
            CheckGm(operand);
            uint64_t& total = operand.write ? trace_.traffic.gmBytesWritten : trace_.traffic.gmBytesRead;
            if (!operand.line) total += operand.region.TotalBytes();
            if (group_->Owner().Options().keepGmAccesses) {
                trace_.gmAccesses.push_back({operand.region.start, operand.region.TotalBytes(), index, operand.write});
            }
            if (instruction.gmTransfer) AddTransfer(instruction, operand);
        } else {
            CheckLocal(operand);
            if (pipeObject_ != nullptr) {
                const bool goesOn = part != nullptr && part->name == operand.name && part->write == operand.write;
                if (!goesOn) part = &operand;
                CheckBuffer(part->region.start, operand);
            }
            if (operand.region.End() > RESERVED_UB_START && operand.region.space == Space::UB) CheckReservedUb(operand);
        }
    }
    return index;
}

// Select in modes 1 and 2 keeps its scalar or its addresses in the last 8 KB of UB.
void Core::CheckReservedUb(const Operand& operand)
{
    if (insideReserved_) {
        reservedUsed_ = true;
    } else {
        reservedData_ = site_.api;
    }
    if (!reservedUsed_ || *reservedData_ == '\0') return;
    Refuse(Rule::SELECT_RESERVED,
           Format("operand '%s' covers UB bytes [%llu, %llu): %s has data in the bytes from %llu on, which Select "
                  "overwrites",
                  operand.name, static_cast<unsigned long long>(operand.region.start),
                  static_cast<unsigned long long>(operand.region.End()), reservedData_,
                  static_cast<unsigned long long>(RESERVED_UB_START)));
}

void Core::AddTransfer(const Instruction& instruction, const Operand& operand)
{
    const Region& region = operand.region;
    const GmBuffer* buffer = group_->Owner().Gm().Find(region.start);
    Transfer transfer;
    transfer.address = buffer->modelAddress + (region.start - buffer->address);
    transfer.runBytes = static_cast<uint32_t>(region.bytes);
    transfer.count1 = region.count1;
    transfer.count2 = region.count2;
    transfer.pitch1 = region.pitch1;
    transfer.pitch2 = region.pitch2;
    transfer.headCycles = static_cast<float>(instruction.headCycles);
    transfer.write = operand.write;
    trace_.transfers.push_back(transfer);
    trace_.records.back().transfer = static_cast<uint32_t>(trace_.transfers.size());
}

void Core::Before(const Instruction& instruction, const CallSite& site, uint32_t record)
{
    InheritScalar(instruction.pipe);
    if (instruction.units.flag != 0) JoinUnits(instruction, record);
    if (!Checks()) return;
    const uint32_t thread = Thread(instruction.pipe);
    Access access;
    access.time = group_->Races().Tick(thread);
    access.site = site;
    access.unordered = instruction.ownResultNeedsBarrier;
    access.atomic = instruction.atomic;
    access.unitEpoch = instruction.units.flag != 0 ? unitEpoch_ + 1 : 0;
    for (const Operand& operand : instruction.operands) {
        if (operand.region.Empty()) continue;
        uint32_t owner = coreInGroup_;
        if (operand.region.space == Space::GM) {
            GmBuffer* buffer = group_->Owner().Gm().Find(operand.region.start);
            if (!buffer->writable) continue;
            owner = 0;
            if (!operand.write && !operand.line && buffer->init != nullptr) {
                CheckWritten(operand, *buffer->init, buffer->address, site, instruction.pipe);
            }
        } else if (!operand.write && !operand.tracksInit) {
            CheckWritten(operand, Memory(operand.region.space).Init(), 0, site, instruction.pipe);
        }
        access.write = operand.write;
        access.line = operand.line;
        access.region = operand.region;
        access.operand = operand.name;
        if (operand.region.space == Space::GM) group_->Gm().Note(thread, access, group_->Races().Clock(thread));
        group_->Races().Check(thread, owner, access, group_->Hazards());
    }
}

void Core::After(const Instruction& instruction, uint32_t record)
{
    if (instruction.units.flag == 3) TurnUnits(instruction, record);
    if (!Checks()) return;
    for (const Operand& operand : instruction.operands) {
        if (!operand.write || operand.tracksInit || operand.line || operand.region.Empty()) continue;
        InitMap* init = nullptr;
        uint64_t base = 0;
        if (operand.region.space == Space::GM) {
            GmBuffer* buffer = group_->Owner().Gm().Find(operand.region.start);
            init = buffer->init.get();
            base = buffer->address;
        } else {
            init = &Memory(operand.region.space).Init();
        }
        if (init == nullptr) continue;
        Work().initWords += operand.region.TotalBytes() / InitMap::WORD_BYTES + operand.region.Runs();
        operand.region.ForEachRun([&](uint64_t start, uint64_t bytes) { init->Mark(start - base, bytes); });
    }
}

void Core::Scalar(const char* name, double cycles)
{
    if (Lists()) ListScalar(name);
    pendingScalarCycles_ += cycles;
}

void Core::InheritScalar(Pipe pipe)
{
    if (pipe == Pipe::S || !checks_) return;
    RaceDetector& races = group_->Races();
    races.Clock(Thread(pipe)).Join(races.Clock(Thread(Pipe::S)));
}

void Core::MarkFiller(uint64_t ubOffset, uint64_t bytes)
{
    if (!Checks()) return;
    LocalMemory& ub = Memory(Space::UB);
    if (filler_ == nullptr) filler_ = std::make_unique<InitMap>(ub.Bytes(), false);
    // The map's unit is 2 bytes: an odd first byte belongs to the row.
    const uint64_t start = (ubOffset + 1) / 2 * 2;
    const uint64_t end = ubOffset + bytes;
    if (start >= end) return;
    filler_->Mark(start, end - start);
    ub.Init().Unmark(start, end - start);
}

void Core::TakeAtomicTurn() { group_->TakeAtomicTurn(*this); }

}  // namespace ascend_sim
