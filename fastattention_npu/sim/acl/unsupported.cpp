// What torch_npu links to and the stand-in does not do: profiling, dumps, virtual memory, sharing between processes,
// peer memory, loading of compiled kernels. Each fails with a text that names it. Not declared with its own parameters,
// since none is looked at.
#include <string>

#include "acl_types.h"
#include "device.h"

namespace {

int Unsupported(const char* name)
{
    return acl_stand_in::Fail(acl_stand_in::NOT_SUPPORTED, std::string(name) + " is not part of it");
}

}  // namespace

#define UNSUPPORTED(name) \
    extern "C" int name() { return Unsupported(#name); }
// Called whether they are wanted or not: silently nothing.
#define NOTHING(name) \
    extern "C" int name() { return 0; }

UNSUPPORTED(aclmdlFinalizeDump)
UNSUPPORTED(aclmdlInitDump)
UNSUPPORTED(aclmdlSetDump)
UNSUPPORTED(aclrtBinaryGetFunction)
UNSUPPORTED(aclrtBinaryLoadFromData)
UNSUPPORTED(aclrtDeviceGetBareTgid)
UNSUPPORTED(aclrtFreePhysical)
UNSUPPORTED(aclrtGetFunctionAddr)
UNSUPPORTED(aclrtMallocPhysical)
UNSUPPORTED(aclrtMapMem)
UNSUPPORTED(aclrtMemExportToShareableHandle)
UNSUPPORTED(aclrtMemImportFromShareableHandle)
UNSUPPORTED(aclrtMemSetPidToShareableHandle)
UNSUPPORTED(aclrtProcessReport)
UNSUPPORTED(aclrtReleaseMemAddress)
UNSUPPORTED(aclrtReserveMemAddress)
UNSUPPORTED(aclrtUnmapMem)
UNSUPPORTED(rtDevBinaryRegister)
UNSUPPORTED(rtFunctionRegister)
UNSUPPORTED(rtGetC2cCtrlAddr)
UNSUPPORTED(rtKernelLaunch)
NOTHING(MsprofGetHashId)
NOTHING(MsprofRegisterCallback)
NOTHING(MsprofReportAdditionalInfo)
NOTHING(MsprofReportApi)
NOTHING(MsprofReportCompactInfo)
NOTHING(MsprofSysCycleTime)
