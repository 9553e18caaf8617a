// What the simulator says when it refuses: one exception type whose text names the API, the argument, its value, the
// limit, the core, the pipe and the kernel's source line.
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#include "rules.h"

namespace ascend_sim {

// Where in the kernel an API was called; filled by default arguments of the Ascend C layer.
struct CallSite {
    const char* api = "";
    const char* file = "";
    uint32_t line = 0;
};

// A launch that was refused, and the rule that it broke.
class SimulatorError : public std::runtime_error {
public:
    SimulatorError(Rule rule, const std::string& text);
    // The same refusal with the place before its text.
    SimulatorError(const SimulatorError& cause, const std::string& place);
    Rule Broken() const { return rule_; }

private:
    Rule rule_;
};

// printf-style formatting into a string.
std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));

std::string Describe(const CallSite& site);

// " [rule id; page]", the end of every refusal and hazard.
std::string Cite(Rule rule);

}  // namespace ascend_sim
