// The pool behind ParallelFor. Tasks are handed out by an atomic counter; a worker spins for a few microseconds between
// regions before it sleeps, long enough for a decoder's next layer, too short to steal a core from torch's own pool.
// After a fork the child starts a pool of its own: threads do not survive fork().
#include "thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fastattn::cpu {
namespace {

constexpr int64_t DEFAULT_SPIN_US = 20;
constexpr int IN_PLACE_TURNS = 200;  // of the first kind of waiting, a few microseconds
std::atomic<int64_t> spinUs{DEFAULT_SPIN_US};

inline void Pause()
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// A region's number times this, plus how many workers it wants: one 32-bit word, which the kernel can wait on, says
// both. The number may wrap: only a change matters, and whoever is wanted is never a region behind.
constexpr uint32_t PARTICIPANTS = 4096;

class Pool {
public:
    void Run(int64_t tasks, int threads, const std::function<void(int64_t, int)>& work)
    {
        std::lock_guard<std::mutex> one(regionMutex);
        Grow(threads - 1);
        body = &work;
        taskCount = tasks;
        nextTask.store(0, std::memory_order_relaxed);
        failure = nullptr;
        running.store(threads - 1, std::memory_order_relaxed);
        const uint32_t region = generation.load(std::memory_order_relaxed) / PARTICIPANTS + 1;
        generation.store(region * PARTICIPANTS + static_cast<uint32_t>(threads - 1), std::memory_order_release);
        generation.notify_all();
        Drain(threads - 1);
        for (int spins = 0; running.load(std::memory_order_acquire) != 0; ++spins) {
            if (spins < 2000) {
                Pause();
            } else {
                std::this_thread::yield();
            }
        }
        body = nullptr;
        if (failure) {
            std::rethrow_exception(failure);
        }
    }

    int Size() const { return static_cast<int>(workers.size()); }

private:
    void Grow(int count)
    {
        while (static_cast<int>(workers.size()) < count) {
            const int index = static_cast<int>(workers.size());
            const uint32_t seen = generation.load(std::memory_order_relaxed);
            workers.emplace_back([this, index, seen] { Work(index, seen); });
            workers.back().detach();
        }
    }

    void Work(int index, uint32_t seen)
    {
        for (;;) {
            Spin(seen);
            generation.wait(seen, std::memory_order_acquire);  // a futex: no mutex for the woken to queue at
            seen = generation.load(std::memory_order_acquire);
            if (index < static_cast<int>(seen % PARTICIPANTS)) {
                Drain(index);
                running.fetch_sub(1, std::memory_order_release);
            }
        }
    }

    // Waits a while for the next region without sleeping: first in place, then giving the processor to whoever wants
    // it. A pool that fills every processor would otherwise keep the driver's threads, or the caller, waiting for a
    // scheduler's time slice, milliseconds.
    void Spin(uint32_t seen) const
    {
        const auto start = std::chrono::steady_clock::now();
        const auto limit = std::chrono::microseconds(spinUs.load(std::memory_order_relaxed));
        for (int turns = 0; generation.load(std::memory_order_acquire) == seen; ++turns) {
            if (turns < IN_PLACE_TURNS) {
                Pause();
            } else if (std::chrono::steady_clock::now() - start > limit) {
                return;
            } else {
                std::this_thread::yield();
            }
        }
    }

    void Drain(int worker)
    {
        try {
            for (;;) {
                const int64_t task = nextTask.fetch_add(1, std::memory_order_relaxed);
                if (task >= taskCount) {
                    return;
                }
                (*body)(task, worker);
            }
        } catch (...) {
            std::lock_guard<std::mutex> lock(failureMutex);
            failure = std::current_exception();
            nextTask.store(taskCount, std::memory_order_relaxed);
        }
    }

    std::mutex regionMutex;
    std::mutex failureMutex;
    std::vector<std::thread> workers;
    std::atomic<uint32_t> generation{0};
    std::atomic<int64_t> nextTask{0};
    std::atomic<int> running{0};
    int64_t taskCount = 0;
    const std::function<void(int64_t, int)>* body = nullptr;
    std::exception_ptr failure;
};

std::mutex poolMutex;
Pool* pool = nullptr;  // never destroyed: workers may outlive static destructors
pid_t poolOwner = 0;

Pool& ThePool()
{
    std::lock_guard<std::mutex> lock(poolMutex);
    if (pool == nullptr || poolOwner != getpid()) {
        pool = new Pool();
        poolOwner = getpid();
    }
    return *pool;
}

}  // namespace

void ParallelFor(int64_t tasks, int threads, const std::function<void(int64_t, int)>& body)
{
    const int64_t most = std::clamp<int64_t>(threads, 1, PARTICIPANTS - 1);
    const int used = static_cast<int>(std::min(most, tasks));
    if (used <= 1) {
        for (int64_t task = 0; task < tasks; ++task) {
            body(task, 0);
        }
        return;
    }
    ThePool().Run(tasks, used, body);
}

void SetSpinMicroseconds(int64_t microseconds) { spinUs.store(microseconds < 0 ? DEFAULT_SPIN_US : microseconds); }

int PooledThreads() { return ThePool().Size(); }

}  // namespace fastattn::cpu
