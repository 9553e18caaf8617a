// The pool behind ParallelFor. Tasks are handed out by an atomic counter; a worker spins for a few microseconds between
// regions before it sleeps, long enough for a decoder's next layer, too short to steal a core from torch's own pool.
// After a fork the child starts a pool of its own: threads do not survive fork().
#include "thread_pool.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fastattn::cpu {
namespace {

constexpr auto SPIN_TIME = std::chrono::microseconds(20);

inline void Pause()
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

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
        {
            std::lock_guard<std::mutex> lock(wakeMutex);
            wanted = threads - 1;
            generation.fetch_add(1, std::memory_order_release);
        }
        wake.notify_all();
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
            const uint64_t seen = generation.load(std::memory_order_relaxed);
            workers.emplace_back([this, index, seen] { Work(index, seen); });
            workers.back().detach();
        }
    }

    void Work(int index, uint64_t seen)
    {
        for (;;) {
            const auto start = std::chrono::steady_clock::now();
            while (generation.load(std::memory_order_acquire) == seen &&
                   std::chrono::steady_clock::now() - start < SPIN_TIME) {
                Pause();
            }
            int participants = 0;
            {
                std::unique_lock<std::mutex> lock(wakeMutex);
                wake.wait(lock, [&] { return generation.load(std::memory_order_relaxed) != seen; });
                seen = generation.load(std::memory_order_relaxed);
                participants = wanted;
            }
            if (index < participants) {
                Drain(index);
                running.fetch_sub(1, std::memory_order_release);
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
            std::lock_guard<std::mutex> lock(wakeMutex);
            failure = std::current_exception();
            nextTask.store(taskCount, std::memory_order_relaxed);
        }
    }

    std::mutex regionMutex;
    std::mutex wakeMutex;
    std::condition_variable wake;
    std::vector<std::thread> workers;
    std::atomic<uint64_t> generation{0};
    std::atomic<int64_t> nextTask{0};
    std::atomic<int> running{0};
    int wanted = 0;
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
    const int used = static_cast<int>(std::min<int64_t>(std::max(threads, 1), tasks));
    if (used <= 1) {
        for (int64_t task = 0; task < tasks; ++task) {
            body(task, 0);
        }
        return;
    }
    ThePool().Run(tasks, used, body);
}

int PooledThreads()
{
    return ThePool().Size();
}

}  // namespace fastattn::cpu
