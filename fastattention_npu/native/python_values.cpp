// Strict conversions on the C API, since casters that convert silently would hide mistakes of a YAML file.
#include "python_values.h"

namespace fastattn {

namespace nb = nanobind;

std::optional<int64_t> AsInteger(nb::handle value)
{
    if (PyBool_Check(value.ptr()) || !PyIndex_Check(value.ptr())) {
        return std::nullopt;
    }
    nb::object index = nb::steal(PyNumber_Index(value.ptr()));
    int overflow = 0;
    const long long number = index.is_valid() ? PyLong_AsLongLongAndOverflow(index.ptr(), &overflow) : 0;
    if (!index.is_valid() || overflow != 0 || PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        return std::nullopt;
    }
    return number;
}

std::optional<double> AsNumber(nb::handle value)
{
    if (PyBool_Check(value.ptr()) || !(PyFloat_Check(value.ptr()) || PyLong_Check(value.ptr()))) {
        return std::nullopt;
    }
    const double number = PyFloat_AsDouble(value.ptr());
    if (PyErr_Occurred() != nullptr) {
        PyErr_Clear();
        return std::nullopt;
    }
    return number;
}

std::optional<bool> AsBool(nb::handle value)
{
    if (!PyBool_Check(value.ptr())) {
        return std::nullopt;
    }
    return value.ptr() == Py_True;
}

std::string TextOf(nb::handle value) { return nb::str(value).c_str(); }

std::string ReprOf(nb::handle value) { return nb::repr(value).c_str(); }

}  // namespace fastattn
