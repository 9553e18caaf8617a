// Which kernels run: the best target of this processor, or the one that a test or benchmark has forced.
#include "targets.h"

#include <atomic>
#include <stdexcept>

namespace fastattn::cpu {
namespace {

const std::vector<const KernelTable*>& Tables()
{
    static const std::vector<const KernelTable*> tables = [] {
        std::vector<const KernelTable*> all = HighwayTables();
        all.push_back(&PortableKernels());
        return all;
    }();
    return tables;
}

std::atomic<const KernelTable*> forced{nullptr};

}  // namespace

const KernelTable& ActiveKernels()
{
    const KernelTable* chosen = forced.load(std::memory_order_relaxed);
    return chosen != nullptr ? *chosen : *Tables().front();
}

std::vector<std::string> Targets()
{
    std::vector<std::string> names;
    for (const KernelTable* table : Tables()) {
        names.emplace_back(table->name);
    }
    return names;
}

std::string ActiveTarget()
{
    return ActiveKernels().name;
}

void ForceTarget(const std::string& name)
{
    if (name.empty()) {
        forced.store(nullptr);
        return;
    }
    std::string known;
    for (const KernelTable* table : Tables()) {
        if (name == table->name) {
            forced.store(table);
            return;
        }
        known += std::string(known.empty() ? "" : ", ") + table->name;
    }
    throw std::invalid_argument("CPU target '" + name + "' is not available here; this build and processor have: " +
                                known);
}

}  // namespace fastattn::cpu
