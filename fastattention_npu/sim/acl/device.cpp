// Nothing here is freed at exit: torch_npu's own destructors still call the runtime then.
#include "device.h"

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <sstream>

namespace acl_stand_in {
namespace {

thread_local int32_t currentDevice = 0;
thread_local std::string lastError;
thread_local std::string takenError;

bool TakeSetting(const std::string& key, const std::string& value, Settings& settings)
{
    if (key == "name") {
        settings.soc.name = value;
    } else if (key == "soc_name") {
        settings.socName = value;
    } else if (key == "devices") {
        settings.devices = std::stoi(value);
    } else if (key == "threads") {
        settings.threads = static_cast<uint32_t>(std::stoul(value));
    } else if (key == "checks") {
        settings.checks = value == "1";
    } else {
        for (const fastattn::SocField& field : fastattn::SocFields()) {
            if (key == field.key) {
                settings.soc.*field.member = std::stod(value);
                return true;
            }
        }
        return false;
    }
    return true;
}

Settings ReadSettings()
{
    Settings settings;
    const char* path = std::getenv("FASTATTN_NPU_SIM");
    if (path == nullptr) return settings;
    std::ifstream file(path);
    size_t known = 0;
    for (std::string key, value; file >> key >> value;) {
        known += TakeSetting(key, value, settings) ? 1 : 0;
    }
    settings.described = known > fastattn::SocFields().size();  // every constant, and the names
    return settings;
}

}  // namespace

const Settings& TheSettings()
{
    static const auto* settings = new Settings(ReadSettings());
    return *settings;
}

DeviceMemory& TheMemory()
{
    static auto* memory = new DeviceMemory();
    return *memory;
}

void* DeviceMemory::Allocate(int32_t device, size_t bytes)
{
    const size_t whole = (bytes + DEVICE_ALIGN_BYTES - 1) / DEVICE_ALIGN_BYTES * DEVICE_ALIGN_BYTES;
    if (whole < bytes || whole > FreeBytes(device)) return nullptr;
    void* address = std::aligned_alloc(DEVICE_ALIGN_BYTES, whole == 0 ? DEVICE_ALIGN_BYTES : whole);
    if (address == nullptr) return nullptr;
    std::memset(address, 0xFF, whole);
    const std::lock_guard lock(mutex_);
    blocks_[reinterpret_cast<uintptr_t>(address)] = {whole, device};
    return address;
}

bool DeviceMemory::Free(void* address)
{
    const std::lock_guard lock(mutex_);
    if (blocks_.erase(reinterpret_cast<uintptr_t>(address)) == 0) return false;
    std::free(address);
    return true;
}

int32_t DeviceMemory::DeviceOf(const void* address) const
{
    const std::lock_guard lock(mutex_);
    const auto where = reinterpret_cast<uintptr_t>(address);
    auto after = blocks_.upper_bound(where);
    if (after == blocks_.begin()) return -1;
    const auto& [start, block] = *std::prev(after);
    return where - start < block.bytes ? block.device : -1;
}

size_t DeviceMemory::UsedBytes(int32_t device) const
{
    const std::lock_guard lock(mutex_);
    size_t used = 0;
    for (const auto& [address, block] : blocks_) {
        used += block.device == device ? block.bytes : 0;
    }
    return used;
}

size_t DeviceMemory::FreeBytes(int32_t device) const
{
    const auto total = static_cast<size_t>(TheSettings().soc.hbmBytes);
    const size_t used = UsedBytes(device);
    return used < total ? total - used : 0;
}

int32_t CurrentDevice() { return currentDevice; }

bool SetCurrentDevice(int32_t device)
{
    if (device < 0 || device >= TheSettings().devices) return false;
    currentDevice = device;
    return true;
}

int Fail(int status, const std::string& text)
{
    lastError = "stand-in NPU runtime: " + text;
    return status;
}

const std::string& TakeErrorText()
{
    takenError.swap(lastError);
    lastError.clear();
    return takenError;
}

}  // namespace acl_stand_in
