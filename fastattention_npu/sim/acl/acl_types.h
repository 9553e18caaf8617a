// The part of CANN's runtime interface (ACL) that the stand-in has: types and values, as the public documentation
// states them. With FASTATTN_GENUINE_ACL the genuine headers take their place, so that a compiler compares every
// signature of the stand-in with the real one.
#pragma once
#include <cstddef>
#include <cstdint>

#ifdef FASTATTN_GENUINE_ACL
#include <acl/acl.h>
#include <acl/acl_op.h>
#include <acl/acl_op_compiler.h>
#else

using aclError = int;
using aclrtStream = void*;
using aclrtEvent = void*;
using aclrtContext = void*;
using aclmdlRI = void*;
using aclrtCallback = void (*)(void* userData);
using aclrtHostFunc = void (*)(void* args);
struct aclTensorDesc;
struct aclDataBuffer;
struct aclopAttr;

enum aclDeviceInfo : int32_t {
    ACL_DEVICE_INFO_AI_CORE_NUM = 0,
    ACL_DEVICE_INFO_VECTOR_CORE_NUM = 1,
    ACL_DEVICE_INFO_L2_SIZE = 2
};
enum aclrtMemcpyKind : uint32_t { ACL_MEMCPY_HOST_TO_HOST = 0, ACL_MEMCPY_DEFAULT = 4 };
enum aclrtMemMallocPolicy : uint32_t { ACL_MEM_MALLOC_HUGE_FIRST = 0 };
enum aclrtMemAttr : uint32_t { ACL_HBM_MEM = 1 };
enum aclrtEventRecordedStatus : uint32_t {
    ACL_EVENT_RECORDED_STATUS_NOT_READY = 0,
    ACL_EVENT_RECORDED_STATUS_COMPLETE = 1
};
enum aclrtEventWaitStatus : uint32_t { ACL_EVENT_WAIT_STATUS_COMPLETE = 0, ACL_EVENT_WAIT_STATUS_NOT_READY = 1 };
enum aclrtStreamStatus : uint32_t { ACL_STREAM_STATUS_COMPLETE = 0, ACL_STREAM_STATUS_NOT_READY = 1 };
enum aclrtCallbackBlockType : uint32_t { ACL_CALLBACK_NO_BLOCK = 0, ACL_CALLBACK_BLOCK = 1 };
enum aclrtFloatOverflowMode : uint32_t { ACL_RT_OVERFLOW_MODE_SATURATION = 0, ACL_RT_OVERFLOW_MODE_INFNAN = 1 };
enum aclmdlRICaptureMode : uint32_t { ACL_MODEL_RI_CAPTURE_MODE_GLOBAL = 0 };
enum aclmdlRICaptureStatus : uint32_t { ACL_MODEL_RI_CAPTURE_STATUS_NONE = 0, ACL_MODEL_RI_CAPTURE_STATUS_ACTIVE };
enum aclSysParamOpt : uint32_t { ACL_OPT_DETERMINISTIC = 0 };
enum aclCompileOpt : uint32_t { ACL_PRECISION_MODE = 0 };
enum aclLogLevel : uint32_t { ACL_DEBUG = 0 };
enum aclDataType : int32_t { ACL_FLOAT = 0 };
enum aclFormat : int32_t { ACL_FORMAT_ND = 2 };
enum aclMemType : uint32_t { ACL_MEMTYPE_DEVICE = 0 };
enum aclopEngineType : uint32_t { ACL_ENGINE_SYS = 0 };
enum aclopCompileType : uint32_t { ACL_COMPILE_SYS = 0 };

struct aclrtMemLocation {
    uint32_t id;
    uint32_t type;
};
struct aclrtPtrAttributes {
    aclrtMemLocation location;
    uint32_t pageSize;
    uint32_t rsv[4];
};

#endif

namespace acl_stand_in {

// Return values of ACL, by their documented numbers.
enum Status : aclError {
    OK = 0,
    REPEAT_INITIALIZE = 100002,
    BAD_PARAMETER = 107000,
    BAD_DEVICE = 107001,
    STREAM_CAPTURED = 107027,
    STREAM_NOT_CAPTURED = 107029,
    NOT_SUPPORTED = 207000,
    OUT_OF_MEMORY = 207001,
    KERNEL_REFUSED = 507015,  // the number of an exception on an AI core
    SYNC_TIMEOUT = 507046
};

}  // namespace acl_stand_in
