// One pool of worker threads for the package's CPU kernels. The calling thread works too; regions are serialised, so
// that calls from several Python threads never run more threads than one of them asked for.
#pragma once
#include <cstdint>
#include <functional>

namespace fastattn::cpu {

// Calls body(task, worker) for every task in [0, tasks), worker in [0, threads). Which worker gets a task is not fixed:
// results must not depend on it. An exception from a body is rethrown here after all workers have stopped.
void ParallelFor(int64_t tasks, int threads, const std::function<void(int64_t task, int worker)>& body);

// Threads that have been started and are parked between regions (tests).
int PooledThreads();

}  // namespace fastattn::cpu
