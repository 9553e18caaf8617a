// The one text form of a list of reasons; the Python side shows it as it is.
#include "refusal.h"

#include <sstream>
#include <utility>

namespace fastattn {

std::string NumberText(double value)
{
    std::ostringstream text;
    text << value;
    return text.str();
}

std::string FormatReasons(const std::string& headline, const Reasons& reasons)
{
    std::string text =
        headline + " (" + std::to_string(reasons.size()) + (reasons.size() == 1 ? " reason)" : " reasons)");
    for (const Reason& reason : reasons) {
        text += "\n  - " + reason.name + " = " + reason.received + ": must be " + reason.limit + "; " + reason.remedy;
    }
    return text;
}

Refusal::Refusal(const std::string& headline, Reasons reasons)
    : std::invalid_argument(FormatReasons(headline, reasons)), reasons_(std::move(reasons))
{
}

}  // namespace fastattn
