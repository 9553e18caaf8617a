// ACL: initialisation, devices, contexts, device properties, versions, error texts.
#include <cstring>

#include "acl_types.h"
#include "device.h"
#include "stream.h"

using namespace acl_stand_in;

namespace {

// A context is only a device here; its handle is that of the device, counted from 1.
aclrtContext ContextOf(int32_t device) { return reinterpret_cast<aclrtContext>(static_cast<intptr_t>(device) + 1); }

aclError CheckDevice(int32_t device)
{
    if (device >= 0 && device < TheSettings().devices) return OK;
    return Fail(BAD_DEVICE, "there is no device " + std::to_string(device) + ", only 0 to " +
                                std::to_string(TheSettings().devices - 1));
}

}  // namespace

extern "C" {

aclError aclInit(const char*)
{
    if (TheSettings().described) return OK;
    return Fail(NOT_SUPPORTED, "no simulated SoC is described; start the program with: fastattn npu-sim -- PROGRAM");
}

aclError aclFinalize() { return OK; }

const char* aclGetRecentErrMsg()
{
    const std::string& text = TakeErrorText();
    return text.empty() ? nullptr : text.c_str();
}

const char* aclrtGetSocName() { return TheSettings().socName.c_str(); }

aclError aclrtGetDeviceCount(uint32_t* count)
{
    *count = static_cast<uint32_t>(TheSettings().devices);
    return OK;
}

aclError aclrtSetDevice(int32_t device) { return SetCurrentDevice(device) ? OK : CheckDevice(device); }

aclError aclrtResetDevice(int32_t device) { return CheckDevice(device); }

aclError aclrtGetDevice(int32_t* device)
{
    *device = CurrentDevice();
    return OK;
}

aclError aclrtGetCurrentContext(aclrtContext* context)
{
    *context = ContextOf(CurrentDevice());
    return OK;
}

aclError aclrtSetCurrentContext(aclrtContext context)
{
    return aclrtSetDevice(static_cast<int32_t>(reinterpret_cast<intptr_t>(context)) - 1);
}

aclError aclrtGetPrimaryCtxState(int32_t device, uint32_t* flags, int32_t* active)
{
    if (flags != nullptr) *flags = 0;
    if (active != nullptr) *active = 1;
    return CheckDevice(device);
}

aclError aclGetDeviceCapability(uint32_t device, aclDeviceInfo info, int64_t* value)
{
    const fastattn::SocSpec& soc = TheSettings().soc;
    switch (static_cast<int>(info)) {
        case ACL_DEVICE_INFO_AI_CORE_NUM: *value = static_cast<int64_t>(soc.aicCores); break;
        case ACL_DEVICE_INFO_VECTOR_CORE_NUM: *value = 2 * static_cast<int64_t>(soc.aicCores); break;
        case ACL_DEVICE_INFO_L2_SIZE: *value = static_cast<int64_t>(soc.l2Bytes); break;
        default: return Fail(BAD_PARAMETER, "no such device property: " + std::to_string(static_cast<int>(info)));
    }
    return CheckDevice(static_cast<int32_t>(device));
}

aclError aclrtDeviceCanAccessPeer(int32_t* can, int32_t device, int32_t peer)
{
    *can = device != peer ? 1 : 0;
    return OK;
}

aclError aclrtDeviceEnablePeerAccess(int32_t peer, uint32_t) { return CheckDevice(peer); }

// Settings of the chip that change nothing here: the simulated core has one overflow mode and no operator timeout.
aclError aclrtSetDeviceSatMode(aclrtFloatOverflowMode) { return OK; }
aclError aclrtSetOpExecuteTimeOut(uint32_t) { return OK; }
aclError aclrtSetOpWaitTimeout(uint32_t) { return OK; }
aclError aclrtSetSysParamOpt(aclSysParamOpt, int64_t) { return OK; }
aclError aclrtCtxSetSysParamOpt(aclSysParamOpt, int64_t) { return OK; }

aclError aclrtGetSysParamOpt(aclSysParamOpt, int64_t* value)
{
    *value = 0;
    return OK;
}

aclError aclrtGetVersion(int32_t* major, int32_t* minor, int32_t* patch)
{
    *major = *minor = *patch = 0;
    return OK;
}
}
