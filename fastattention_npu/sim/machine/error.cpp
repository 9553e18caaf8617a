// Formatting of error texts.
#include "error.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace ascend_sim {

SimulatorError::SimulatorError(Rule rule, const std::string& text) : std::runtime_error(text + Cite(rule)), rule_(rule)
{
}

SimulatorError::SimulatorError(const SimulatorError& cause, const std::string& place)
    : std::runtime_error(place + cause.what()), rule_(cause.rule_)
{
}

std::string Format(const char* format, ...)
{
    char buffer[2048];
    va_list args;
    va_start(args, format);
    std::vsnprintf(buffer, sizeof(buffer), format, args);
    va_end(args);
    return buffer;
}

std::string Describe(const CallSite& site)
{
    if (site.line == 0) return site.api;
    // The path from the kernel tree on says enough and does not depend on the machine that built it.
    const char* tree = std::strstr(site.file, "op_kernel/");
    if (tree == nullptr) tree = std::strstr(site.file, "tests/kernels/");
    return Format("%s at %s:%u", site.api, tree != nullptr ? tree : site.file, site.line);
}

std::string Cite(Rule rule)
{
    const RuleInfo& info = InfoOf(rule);
    return Format(" [%s %s; page: %s]", SeverityName(info.severity), info.id, info.page);
}

}  // namespace ascend_sim
