// ACL: memory. Device memory is host memory, so every copy is memcpy; pinned memory is ordinary memory.
#include <cstdlib>
#include <cstring>

#include "acl_types.h"
#include "device.h"
#include "stream.h"

using namespace acl_stand_in;

namespace {

aclError CheckCopy(const void* to, size_t room, const void* from, size_t bytes)
{
    if (bytes > room) {
        return Fail(BAD_PARAMETER, "a copy of " + std::to_string(bytes) + " bytes into " + std::to_string(room));
    }
    if (bytes != 0 && (to == nullptr || from == nullptr)) return Fail(BAD_PARAMETER, "a copy from or to address 0");
    return OK;
}

// A synchronous copy waits for nothing: callers order it by synchronising, as on the chip.
aclError Copy(void* to, size_t room, const void* from, size_t bytes)
{
    const aclError status = CheckCopy(to, room, from, bytes);
    if (status == OK) std::memmove(to, from, bytes);
    return status;
}

}  // namespace

extern "C" {

aclError aclrtMalloc(void** address, size_t bytes, aclrtMemMallocPolicy)
{
    *address = TheMemory().Allocate(CurrentDevice(), bytes);
    if (*address != nullptr) return OK;
    return Fail(OUT_OF_MEMORY, "no room for " + std::to_string(bytes) + " bytes on device " +
                                   std::to_string(CurrentDevice()) + " (or on this host, which holds its memory)");
}

aclError aclrtMallocAlign32(void** address, size_t bytes, aclrtMemMallocPolicy policy)
{
    return aclrtMalloc(address, bytes, policy);
}

aclError aclrtFree(void* address)
{
    return TheMemory().Free(address) ? OK : Fail(BAD_PARAMETER, "a free of memory that was not allocated");
}

aclError aclrtMallocHost(void** address, size_t bytes)
{
    *address = std::malloc(bytes == 0 ? 1 : bytes);
    return *address != nullptr ? OK : Fail(OUT_OF_MEMORY, "no host memory for " + std::to_string(bytes) + " bytes");
}

aclError aclrtFreeHost(void* address)
{
    std::free(address);
    return OK;
}

aclError aclrtGetMemInfo(aclrtMemAttr, size_t* free, size_t* total)
{
    *free = TheMemory().FreeBytes(CurrentDevice());
    *total = static_cast<size_t>(TheSettings().soc.hbmBytes);
    return OK;
}

aclError aclrtMemcpy(void* to, size_t room, const void* from, size_t bytes, aclrtMemcpyKind)
{
    return Copy(to, room, from, bytes);
}

aclError aclrtMemcpyAsync(void* to, size_t room, const void* from, size_t bytes, aclrtMemcpyKind, aclrtStream stream)
{
    const aclError status = CheckCopy(to, room, from, bytes);
    if (status == OK) StreamOf(stream).Push([=](double&) { std::memmove(to, from, bytes); });
    return status;
}

aclError aclrtMemset(void* to, size_t room, int32_t value, size_t bytes)
{
    if (bytes > room) return Fail(BAD_PARAMETER, "a fill beyond its buffer");
    std::memset(to, value, bytes);
    return OK;
}

aclError aclrtMemsetAsync(void* to, size_t room, int32_t value, size_t bytes, aclrtStream stream)
{
    if (bytes > room) return Fail(BAD_PARAMETER, "a fill beyond its buffer");
    StreamOf(stream).Push([=](double&) { std::memset(to, value, bytes); });
    return OK;
}

aclError aclrtPointerGetAttributes(const void* address, aclrtPtrAttributes* attributes)
{
    enum : uint32_t { ON_DEVICE = 1, UNREGISTERED = 2 };
    const int32_t device = TheMemory().DeviceOf(address);
    std::memset(attributes, 0, sizeof(*attributes));
    attributes->location.id = device < 0 ? 0 : static_cast<uint32_t>(device);
    attributes->location.type = static_cast<decltype(attributes->location.type)>(device < 0 ? UNREGISTERED : ON_DEVICE);
    return OK;
}
}
