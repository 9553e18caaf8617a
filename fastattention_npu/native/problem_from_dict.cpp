// One row per key; types are checked here, values in op_host.
#include "problem_from_dict.h"

#include <set>
#include <string>

#include "python_values.h"

namespace fastattn {
namespace {

namespace nb = nanobind;

struct SizeKey {
    const char* key;
    int64_t Problem::* member;
};

constexpr SizeKey SIZE_KEYS[] = {{"b", &Problem::b},    {"s_q", &Problem::sQ},   {"s_kv", &Problem::sKv},
                                 {"h_q", &Problem::hQ}, {"h_kv", &Problem::hKv}, {"d", &Problem::d}};

constexpr SizeKey OPTIONAL_SIZE_KEYS[] = {
    {"window_left", &Problem::windowLeft}, {"window_right", &Problem::windowRight}, {"total_q", &Problem::totalQ}};

struct TextKey {
    const char* key;
    std::string Problem::* member;
};

constexpr TextKey TEXT_KEYS[] = {{"dtype", &Problem::dtype}, {"layout", &Problem::layout}};

struct FlagKey {
    const char* key;
    bool Problem::* member;
};

constexpr FlagKey FLAG_KEYS[] = {{"causal", &Problem::causal},
                                 {"has_seq_used_kv", &Problem::hasSeqUsedKv},
                                 {"has_cu_seqlens", &Problem::hasCuSeqlens},
                                 {"has_sinks", &Problem::hasSinks},
                                 {"has_alibi", &Problem::hasAlibi},
                                 {"alibi_per_batch", &Problem::alibiPerBatch}};

struct StridesKey {
    const char* key;
    std::optional<Strides> Problem::* member;
};

constexpr StridesKey STRIDES_KEYS[] = {
    {"q", &Problem::qStrides}, {"k", &Problem::kStrides}, {"v", &Problem::vStrides}, {"o", &Problem::oStrides}};

void WrongType(const std::string& key, nb::handle value, const char* expected, Reasons& reasons)
{
    reasons.push_back({key, ReprOf(value), expected, "correct its type"});
}

template <size_t COUNT>
std::optional<std::array<int64_t, COUNT>> AsIntegers(nb::handle value)
{
    if (!nb::isinstance<nb::list>(value) && !nb::isinstance<nb::tuple>(value)) {
        return std::nullopt;
    }
    std::array<int64_t, COUNT> numbers{};
    if (nb::len(value) != COUNT) {
        return std::nullopt;
    }
    for (size_t i = 0; i < COUNT; ++i) {
        const auto number = AsInteger(value[i]);
        if (!number) {
            return std::nullopt;
        }
        numbers[i] = *number;
    }
    return numbers;
}

void TakeStrides(nb::handle value, Problem& problem, Reasons& reasons)
{
    if (!nb::isinstance<nb::dict>(value)) {
        WrongType("strides", value, "a dict of q, k, v, o", reasons);
        return;
    }
    const nb::dict given = nb::cast<nb::dict>(value);
    for (const auto& [key, entry] : given) {
        const std::string name = TextOf(key);
        bool known = false;
        for (const StridesKey& row : STRIDES_KEYS) {
            if (name != row.key) {
                continue;
            }
            known = true;
            problem.*row.member = AsIntegers<3>(entry);
            if (!(problem.*row.member)) {
                WrongType("strides of " + name, entry, "three integers (batch, seq, head)", reasons);
            }
        }
        if (!known) {
            reasons.push_back({"strides of " + name, ReprOf(entry), "one of q, k, v, o", "remove or rename it"});
        }
    }
}

void TakeValue(const std::string& key, nb::handle value, Problem& problem, Reasons& reasons)
{
    for (const SizeKey& row : SIZE_KEYS) {
        if (key == row.key) {
            const auto number = AsInteger(value);
            number ? void(problem.*row.member = *number) : WrongType(key, value, "a 64-bit integer", reasons);
            return;
        }
    }
    for (const SizeKey& row : OPTIONAL_SIZE_KEYS) {
        if (key == row.key) {
            const auto number = AsInteger(value);
            number ? void(problem.*row.member = *number) : WrongType(key, value, "a 64-bit integer", reasons);
            return;
        }
    }
    for (const TextKey& row : TEXT_KEYS) {
        if (key == row.key) {
            const bool text = nb::isinstance<nb::str>(value);
            text ? void(problem.*row.member = TextOf(value)) : WrongType(key, value, "a string", reasons);
            return;
        }
    }
    for (const FlagKey& row : FLAG_KEYS) {
        if (key == row.key) {
            const auto flag = AsBool(value);
            flag ? void(problem.*row.member = *flag) : WrongType(key, value, "true or false", reasons);
            return;
        }
    }
    if (key == "mask_dtype") {
        if (nb::isinstance<nb::str>(value)) {
            problem.maskDtype = TextOf(value);
        } else if (!value.is_none()) {
            WrongType(key, value, "a string, or none without a mask tensor", reasons);
        }
    } else if (key == "mask_strides") {
        const auto strides = AsIntegers<4>(value);
        strides ? void(problem.maskStrides = *strides)
                : WrongType(key, value, "four integers (batch, head, query, key)", reasons);
    } else if (key == "d_v") {
        problem.dV = AsInteger(value);
        if (!problem.dV && !value.is_none()) {
            WrongType(key, value, "a 64-bit integer, or none for d", reasons);
        }
    } else if (key == "softcap") {
        const auto number = AsNumber(value);
        number ? void(problem.softcap = *number) : WrongType(key, value, "a number", reasons);
    } else if (key == "strides") {
        TakeStrides(value, problem, reasons);
    } else if (key == "softmax_scale") {
        problem.softmaxScale = AsNumber(value);
        if (!problem.softmaxScale && !value.is_none()) {
            WrongType(key, value, "a number, or none for 1 / sqrt(d)", reasons);
        }
    } else {
        reasons.push_back({key, ReprOf(value),
                           "one of b, s_q, s_kv, h_q, h_kv, d, dtype, layout, causal, softmax_scale, has_seq_used_kv, "
                           "strides, d_v, window_left, window_right, softcap, has_cu_seqlens, total_q, has_sinks, "
                           "has_alibi, alibi_per_batch, mask_dtype, mask_strides",
                           "remove or rename it"});
    }
}

// Stands in for a size that could not be read, so that CheckProblem finds fault with the other keys only.
int64_t HarmlessSize(int64_t Problem::* member, nb::dict values)
{
    if (member == &Problem::d) {
        return 16;
    }
    const char* otherHeads = member == &Problem::hQ ? "h_kv" : member == &Problem::hKv ? "h_q" : nullptr;
    if (otherHeads != nullptr && values.contains(otherHeads)) {
        return AsInteger(values[otherHeads]).value_or(1);
    }
    return 1;
}

}  // namespace

Problem ProblemFromDict(nb::dict values, Reasons& reasons)
{
    Problem problem;
    for (const auto& [key, value] : values) {
        TakeValue(TextOf(key), value, problem, reasons);
    }
    for (const SizeKey& row : SIZE_KEYS) {
        if (!values.contains(row.key)) {
            reasons.push_back({row.key, "missing", "an integer", "add it"});
        }
        if (!values.contains(row.key) || !AsInteger(values[row.key])) {
            problem.*row.member = HarmlessSize(row.member, values);
        }
    }
    return problem;
}

Overrides OverridesFromDict(nb::dict values, Reasons& reasons)
{
    Overrides overrides;
    for (const auto& [key, value] : values) {
        const std::string name = TextOf(key);
        const TilingField* field = FindTilingField(name);
        const bool named = field != nullptr && !field->names.empty();
        std::optional<int64_t> number = AsInteger(value);
        if (named && nb::isinstance<nb::str>(value)) {
            number = ValueOfName(*field, TextOf(value));
        }
        if (number) {
            overrides[name] = *number;
        } else if (named) {
            reasons.push_back({name, ReprOf(value), "one of " + JoinNames(*field), "use one of these names"});
        } else {
            reasons.push_back({name, ReprOf(value), "a 64-bit integer", "correct its type"});
        }
    }
    return overrides;
}

}  // namespace fastattn
