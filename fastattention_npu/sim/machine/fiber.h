// A stack of its own for each core's program, so that a program can stop in the middle of a wait. POSIX contexts: they
// exist on x86-64 and aarch64 and a switch happens only a few times per block of work.
#pragma once
#include <ucontext.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace ascend_sim {

class Fiber {
public:
    explicit Fiber(std::function<void()> body);
    // Runs the body until it yields or ends; call from outside the fiber only.
    void Resume();
    // Gives control back to whoever resumed; call from inside only.
    void Yield();
    bool Done() const { return done_; }
    // Once it is done.
    void FreeStack() { stack_.reset(); }

private:
    static void Enter(uint32_t low, uint32_t high);

    static constexpr size_t STACK_BYTES = 256 * 1024;
    std::function<void()> body_;
    std::unique_ptr<uint8_t[]> stack_;
    ucontext_t own_{};
    ucontext_t outside_{};
    bool done_ = false;
};

}  // namespace ascend_sim
