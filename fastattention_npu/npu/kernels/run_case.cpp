// Runs one launch from files, through ACL alone: what scripts/cann_sim gives to CANN's CPU twin and cycle simulator.
//   run_case FOLDER
// FOLDER/case.txt has a line for each thing, in the kernel's order: "kernel NAME", "block_dim N", "tiling FILE",
// "in FILE", "out FILE BYTES", "scratch BYTES", "absent". Outputs start as NaN and are written to their files.
#include <acl/acl.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "fastattention_npu/npu/launch_abi.h"

namespace {

using Bytes = std::vector<char>;

struct Operand {
    std::string file;  // of an output
    FastattnOperand memory{0, 0};
    Bytes host;
};

struct Case {
    std::string kernel;
    uint32_t blockDim = 0;
    Bytes tiling;
    std::vector<Operand> operands;
};

[[noreturn]] void Stop(const std::string& why)
{
    std::cerr << "run_case: " << why << std::endl;
    std::exit(1);
}

void Check(aclError status, const char* what)
{
    if (status == ACL_SUCCESS) return;
    const char* text = aclGetRecentErrMsg();
    Stop(std::string(what) + " failed with " + std::to_string(status) + (text ? std::string(": ") + text : ""));
}

Bytes ReadFile(const std::string& path)
{
    std::ifstream file(path, std::ios::binary);
    if (!file) Stop("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Case ReadCase(const std::string& folder)
{
    Case answer;
    std::ifstream file(folder + "/case.txt");
    if (!file) Stop("no case.txt in " + folder);
    constexpr char NAN_BYTE = '\xff';
    for (std::string word, name; file >> word;) {
        size_t bytes = 0;
        if (word == "kernel") {
            file >> answer.kernel;
        } else if (word == "block_dim") {
            file >> answer.blockDim;
        } else if (word == "tiling") {
            file >> name;
            answer.tiling = ReadFile(folder + "/" + name);
        } else if (word == "in") {
            file >> name;
            answer.operands.push_back({"", {}, ReadFile(folder + "/" + name)});
        } else if (word == "out") {
            file >> name >> bytes;
            answer.operands.push_back({folder + "/" + name, {}, Bytes(bytes, NAN_BYTE)});
        } else if (word == "scratch") {
            file >> bytes;
            answer.operands.push_back({"", {}, Bytes(bytes, NAN_BYTE)});
        } else if (word == "absent") {
            answer.operands.emplace_back();
        } else {
            Stop("unknown word in case.txt: " + word);
        }
        if (!file) Stop("case.txt ends within a line");
    }
    return answer;
}

void ToDevice(Operand& operand)
{
    const size_t bytes = operand.host.size();
    if (bytes == 0) return;
    void* address = nullptr;
    Check(aclrtMalloc(&address, bytes, ACL_MEM_MALLOC_HUGE_FIRST), "aclrtMalloc");
    Check(aclrtMemcpy(address, bytes, operand.host.data(), bytes, ACL_MEMCPY_HOST_TO_DEVICE), "copy to the device");
    operand.memory = {reinterpret_cast<uint64_t>(address), bytes};
}

void FromDevice(Operand& operand)
{
    if (!operand.file.empty()) {
        const size_t bytes = operand.host.size();
        const void* address = reinterpret_cast<void*>(operand.memory.address);
        Check(aclrtMemcpy(operand.host.data(), bytes, address, bytes, ACL_MEMCPY_DEVICE_TO_HOST), "copy to the host");
        std::ofstream file(operand.file, std::ios::binary);
        file.write(operand.host.data(), static_cast<std::streamsize>(bytes));
        if (!file) Stop("cannot write " + operand.file);
    }
    if (operand.memory.address != 0) aclrtFree(reinterpret_cast<void*>(operand.memory.address));
}

}  // namespace

int main(int count, char** arguments)
{
    if (count != 2) Stop("one argument, the case's folder");
    Case work = ReadCase(arguments[1]);
    Check(aclInit(nullptr), "aclInit");
    Check(aclrtSetDevice(0), "aclrtSetDevice");
    aclrtStream stream = nullptr;
    Check(aclrtCreateStream(&stream), "aclrtCreateStream");
    std::vector<FastattnOperand> operands;
    for (Operand& operand : work.operands) {
        ToDevice(operand);
        operands.push_back(operand.memory);
    }
    const char* why = fastattn_npu_launch(work.kernel.c_str(), work.blockDim, stream, operands.data(), operands.size(),
                                          work.tiling.data(), work.tiling.size());
    if (why != nullptr) Stop(std::string("no launch: ") + why);
    Check(aclrtSynchronizeStream(stream), "the kernel");
    for (Operand& operand : work.operands) FromDevice(operand);
    aclrtDestroyStream(stream);
    aclrtResetDevice(0);
    aclFinalize();
    std::cout << "run_case: " << work.kernel << " done (" << fastattn_npu_runner() << ")" << std::endl;
    return 0;
}
