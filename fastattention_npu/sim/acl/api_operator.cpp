// ACL: single operators. torch_npu's own operators are compiled kernels of CANN; the stand-in has none, so each of them
// fails with a text that names it. The descriptions that torch_npu builds before the call are accepted and ignored.
#include <dlfcn.h>

#include <string>

#include "acl_types.h"
#include "device.h"

using namespace acl_stand_in;

namespace {

char ignored;

template <class T>
T* Ignored()
{
    return reinterpret_cast<T*>(&ignored);
}

// Python's functions, where this process runs Python: nothing here links to it.
template <class Function>
Function OfPython(const char* name)
{
    return reinterpret_cast<Function>(dlsym(RTLD_DEFAULT, name));
}

bool HoldsPythonsLock()
{
    static const auto check = OfPython<int (*)()>("PyGILState_Check");
    return check != nullptr && check() != 0;
}

// Whether this thread held Python's lock while torch_npu described the operator's tensors, before it calls.
thread_local bool heldPythonsLock = false;

aclTensorDesc* Describe()
{
    heldPythonsLock = HoldsPythonsLock();
    return Ignored<aclTensorDesc>();
}

// torch_npu lets go of a lock that its caller holds (x[0] = 1.0 does) around the call, and throws on a failure before
// it takes it again: Python would then make the exception without it, and crash. So the failing call takes it.
void RetakePythonsLock()
{
    static const auto state = OfPython<void* (*)()>("PyGILState_GetThisThreadState");
    static const auto restore = OfPython<void (*)(void*)>("PyEval_RestoreThread");
    if (!heldPythonsLock || HoldsPythonsLock() || state == nullptr || restore == nullptr) return;
    if (void* thread = state()) restore(thread);
}

aclError NotHere(const char* type)
{
    RetakePythonsLock();
    return Fail(NOT_SUPPORTED, std::string("operator ") + type +
                                   " is CANN's and there is no CANN here: only copies and the operators of "
                                   "fastattention_npu run; compute it on CPU tensors and copy the result");
}

}  // namespace

extern "C" {

aclError aclopCompileAndExecute(const char* type, int, const aclTensorDesc* const[], const aclDataBuffer* const[], int,
                                const aclTensorDesc* const[], aclDataBuffer* const[], const aclopAttr*, aclopEngineType,
                                aclopCompileType, const char*, aclrtStream)
{
    return NotHere(type);
}

// Operators whose output's shape the device finds out.
aclError aclopCompileAndExecuteV2(const char* type, int, aclTensorDesc*[], aclDataBuffer*[], int, aclTensorDesc*[],
                                  aclDataBuffer*[], aclopAttr*, aclopEngineType, aclopCompileType, const char*,
                                  aclrtStream)
{
    return NotHere(type);
}

aclError aclSetCompileopt(aclCompileOpt, const char*) { return OK; }
size_t aclGetCompileoptSize(aclCompileOpt) { return 1; }

aclError aclGetCompileopt(aclCompileOpt, char* value, size_t bytes)
{
    if (bytes > 0) value[0] = '\0';
    return OK;
}

aclopAttr* aclopCreateAttr() { return Ignored<aclopAttr>(); }
void aclopDestroyAttr(const aclopAttr*) {}
aclError aclopSetAttrBool(aclopAttr*, const char*, uint8_t) { return OK; }
aclError aclopSetAttrInt(aclopAttr*, const char*, int64_t) { return OK; }
aclError aclopSetAttrFloat(aclopAttr*, const char*, float) { return OK; }
aclError aclopSetAttrString(aclopAttr*, const char*, const char*) { return OK; }
aclError aclopSetAttrListBool(aclopAttr*, const char*, int, const uint8_t*) { return OK; }
aclError aclopSetAttrListInt(aclopAttr*, const char*, int, const int64_t*) { return OK; }
aclError aclopSetAttrListFloat(aclopAttr*, const char*, int, const float*) { return OK; }
aclError aclopSetAttrListListInt(aclopAttr*, const char*, int, const int*, const int64_t* const[]) { return OK; }
aclDataBuffer* aclCreateDataBuffer(void*, size_t) { return Ignored<aclDataBuffer>(); }
aclError aclDestroyDataBuffer(const aclDataBuffer*) { return OK; }
aclError aclopSetAttrDataType(aclopAttr*, const char*, aclDataType) { return OK; }
aclTensorDesc* aclCreateTensorDesc(aclDataType, int, const int64_t*, aclFormat) { return Describe(); }
aclDataType aclGetTensorDescType(const aclTensorDesc*) { return ACL_FLOAT; }
aclFormat aclGetTensorDescFormat(const aclTensorDesc*) { return ACL_FORMAT_ND; }
size_t aclGetTensorDescNumDims(const aclTensorDesc*) { return 0; }

aclError aclGetTensorDescDimV2(const aclTensorDesc*, size_t, int64_t* size)
{
    *size = 0;
    return OK;
}

aclError aclSetTensorFormat(aclTensorDesc*, aclFormat) { return OK; }
aclError aclSetTensorShape(aclTensorDesc*, int, const int64_t*) { return OK; }
aclError aclSetTensorPlaceMent(aclTensorDesc*, aclMemType) { return OK; }
void aclDestroyTensorDesc(const aclTensorDesc*) {}
void aclSetTensorDescName(aclTensorDesc*, const char*) {}

// Printed by torch_npu on its own account; its texts are not ours to drop, but nobody reads the log of a stand-in.
void aclAppLog(aclLogLevel, const char*, const char*, uint32_t, const char*, ...) {}
}
