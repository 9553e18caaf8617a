// The table behind rules.h.
#include "rules.h"

namespace ascend_sim {

const RuleInfo& InfoOf(Rule rule)
{
    static constexpr RuleInfo table[] = {
#define FASTATTN_RULE(name, id, severity, statement, page) {id, Severity::severity, statement, page},
#include "rules.def"
#undef FASTATTN_RULE
    };
    static_assert(sizeof(table) / sizeof(table[0]) == static_cast<uint32_t>(Rule::COUNT));
    return table[static_cast<uint32_t>(rule)];
}

const char* SeverityName(Severity severity)
{
    static const char* const names[] = {"error", "hazard", "warning"};
    return names[static_cast<uint32_t>(severity)];
}

}  // namespace ascend_sim
