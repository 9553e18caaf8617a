// Every value of a SoC file ends up in a division or a buffer limit, so none is taken unchecked.
#include "soc_from_dict.h"

#include <cmath>
#include <set>
#include <string>

#include "../../op_host/refusal.h"
#include "python_values.h"

namespace fastattn {
namespace {

constexpr double MAX_VALUE = 9007199254740992.0;  // 2^53: a double holds every integer up to here
constexpr double MAX_CORES = 65535;

bool EndsWith(const std::string& text, const std::string& end)
{
    return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// A delay or a reserved region may be nothing; a size, a rate or a count may not.
bool MayBeZero(const std::string& key) { return EndsWith(key, "cycles") || EndsWith(key, "reserved_bytes"); }

void CheckValue(const std::string& key, double value, Reasons& reasons)
{
    const bool positive = value > 0 || (value == 0 && MayBeZero(key));
    if (!positive || value > MAX_VALUE) {
        reasons.push_back(
            {key, NumberText(value), MayBeZero(key) ? "0 to 2^53" : "above 0, to 2^53", "correct the SoC file"});
    } else if (key == "cores.aic" && (value > MAX_CORES || value != std::floor(value))) {
        reasons.push_back({key, NumberText(value), "a whole number from 1 to 65535", "correct the SoC file"});
    }
}

}  // namespace

SocSpec SocFromDict(nanobind::dict values)
{
    Reasons reasons;
    SocSpec soc;
    std::set<std::string> known = {"name"};
    if (!values.contains("name") || !nanobind::isinstance<nanobind::str>(values["name"])) {
        reasons.push_back(
            {"name", values.contains("name") ? ReprOf(values["name"]) : "missing", "a string", "name the SoC"});
    } else {
        soc.name = TextOf(values["name"]);
    }
    for (const SocField& field : SocFields()) {
        known.insert(field.key);
        if (!values.contains(field.key)) {
            reasons.push_back({field.key, "missing", "a number", "add it to the SoC file or to its architecture file"});
        } else if (const auto value = AsNumber(values[field.key]); !value) {
            reasons.push_back({field.key, ReprOf(values[field.key]), "a number", "correct the SoC file"});
        } else {
            CheckValue(field.key, *value, reasons);
            soc.*field.member = *value;
        }
    }
    for (const auto& [key, value] : values) {
        const std::string name = TextOf(key);
        if (known.count(name) == 0) {
            reasons.push_back({name, ReprOf(value), "one of the keys of soc_fields()", "remove or rename it"});
        }
    }
    if (!reasons.empty()) {
        throw Refusal("this SoC description cannot be used", std::move(reasons));
    }
    return soc;
}

}  // namespace fastattn
