// How op_host says no: every reason at once, each with what was asked, what it received, the limit and what to change.
// Checks append to a list and never stop at the first finding; MakePlan throws the list as one Refusal.
#pragma once
#include <stdexcept>
#include <string>
#include <vector>

namespace fastattn {

struct Reason {
    std::string name;      // the argument, tiling field or buffer
    std::string received;  // its value
    std::string limit;     // what it must be, and why
    std::string remedy;    // what to change
};

using Reasons = std::vector<Reason>;

// Short text of a number that need not be an integer.
std::string NumberText(double value);

std::string FormatReasons(const std::string& headline, const Reasons& reasons);

class Refusal : public std::invalid_argument {
public:
    Refusal(const std::string& headline, Reasons reasons);
    const Reasons& List() const { return reasons_; }

private:
    Reasons reasons_;
};

}  // namespace fastattn
