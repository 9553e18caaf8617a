// ACL: single operators. torch_npu's own operators are compiled kernels of CANN; the stand-in has none, so each of them
// fails with a text that names it. The descriptions that torch_npu builds before the call are accepted and ignored.
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

}  // namespace

extern "C" {

aclError aclopCompileAndExecute(const char* type, int, const aclTensorDesc* const[], const aclDataBuffer* const[], int,
                                const aclTensorDesc* const[], aclDataBuffer* const[], const aclopAttr*, aclopEngineType,
                                aclopCompileType, const char*, aclrtStream)
{
    return Fail(NOT_SUPPORTED, std::string("operator ") + type +
                                   " is CANN's and there is no CANN here: only copies and the operators of "
                                   "fastattention_npu run; compute it on CPU tensors and copy the result");
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
aclTensorDesc* aclCreateTensorDesc(aclDataType, int, const int64_t*, aclFormat) { return Ignored<aclTensorDesc>(); }
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
