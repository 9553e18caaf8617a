// The devices of the stand-in runtime: one simulated SoC, described by a file that `fastattn npu-sim` writes, as many
// devices of it as asked for, and their memory, which is the host's.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "op_host/soc_spec.h"

namespace acl_stand_in {

struct Settings {
    std::string socName = "Ascend910B2";  // as aclrtGetSocName spells it
    int32_t devices = 1;
    uint32_t threads = 1;  // of the simulator, for one launch
    bool checks = true;    // races and unwritten memory
    bool described = false;
    fastattn::SocSpec soc;
};

// From the file named by FASTATTN_NPU_SIM: lines "key value", keys as in configs/soc or a setting above.
const Settings& TheSettings();

constexpr size_t DEVICE_ALIGN_BYTES = 512;

// Allocations of all devices. New memory is filled with NaN, so that a result nobody wrote is seen.
class DeviceMemory {
public:
    // Null if the device or the host has no room.
    void* Allocate(int32_t device, size_t bytes);
    bool Free(void* address);
    // The device whose allocation holds the address, or -1.
    int32_t DeviceOf(const void* address) const;
    size_t FreeBytes(int32_t device) const;

private:
    struct Block {
        size_t bytes;
        int32_t device;
    };
    size_t UsedBytes(int32_t device) const;

    mutable std::mutex mutex_;
    std::map<uintptr_t, Block> blocks_;
};

DeviceMemory& TheMemory();

// The calling thread's device.
int32_t CurrentDevice();
bool SetCurrentDevice(int32_t device);

// Remembers the text for aclGetRecentErrMsg of this thread and returns the status.
int Fail(int status, const std::string& text);
// The text of this thread's last failure; empties it.
const std::string& TakeErrorText();

}  // namespace acl_stand_in
