// The rules of the chip as data: every refusal and every hazard names one. A new rule is a row of rules.def and the
// check that refuses with it.
#pragma once
#include <cstdint>

namespace ascend_sim {

enum class Severity : uint8_t { ERROR, HAZARD, WARNING };

enum class Rule : uint8_t {
#define FASTATTN_RULE(name, id, severity, statement, page) name,
#include "rules.def"
#undef FASTATTN_RULE
    COUNT
};

struct RuleInfo {
    const char* id;
    Severity severity;
    const char* statement;
    const char* page;  // of the Ascend C API documentation
};

const RuleInfo& InfoOf(Rule rule);
const char* SeverityName(Severity severity);

}  // namespace ascend_sim
