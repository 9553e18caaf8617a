// See fiber.h. makecontext passes ints only, hence the pointer in two halves.
#include "fiber.h"

#include <utility>

namespace ascend_sim {

Fiber::Fiber(std::function<void()> body) : body_(std::move(body)), stack_(new uint8_t[STACK_BYTES])
{
    getcontext(&own_);
    own_.uc_stack.ss_sp = stack_.get();
    own_.uc_stack.ss_size = STACK_BYTES;
    own_.uc_link = &outside_;
    const auto self = reinterpret_cast<uint64_t>(this);
    makecontext(&own_, reinterpret_cast<void (*)()>(&Fiber::Enter), 2, static_cast<uint32_t>(self),
                static_cast<uint32_t>(self >> 32));
}

void Fiber::Enter(uint32_t low, uint32_t high)
{
    auto* self = reinterpret_cast<Fiber*>((static_cast<uint64_t>(high) << 32) | low);
    self->body_();
    self->done_ = true;
}

void Fiber::Resume() { swapcontext(&outside_, &own_); }

void Fiber::Yield() { swapcontext(&own_, &outside_); }

}  // namespace ascend_sim
