// Streams, events and graph capture of the stand-in runtime. A stream runs its tasks in order on a thread of its own,
// so that work on two streams really is unordered unless an event orders it. Each keeps a simulated time: launches
// advance it by what the simulator says, copies and callbacks take none, and two streams do not slow each other down.
#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace acl_stand_in {

// Runs on the stream's thread; adds to the stream's time in microseconds. Throws to fail.
using Task = std::function<void(double& timeUs)>;

// One recording of an event: done once the stream got there.
class Record {
public:
    void Complete(double timeUs);
    double Wait();
    bool Done() const;

    std::shared_ptr<struct Graph> graph;  // the capture that it was recorded in

private:
    mutable std::mutex mutex_;
    std::condition_variable changed_;
    bool done_ = false;
    double timeUs_ = 0;
};

struct Event {
    std::shared_ptr<Record> last;  // null: never recorded
    std::mutex mutex;
    std::shared_ptr<Record> Last();
};

class Stream;

// Captured tasks in the order of capture, which respects every event between the captured streams.
struct Graph {
    std::vector<Task> tasks;
    std::vector<Stream*> streams;
    std::shared_ptr<Graph> self;  // while a handle to it is out
};

class Stream {
public:
    Stream(int32_t device, int32_t id);
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    // Queues a task, or adds it to the graph that the stream is being captured into.
    void Push(Task task);
    // Waits until the queue is empty. False after timeoutMs (negative: none).
    bool Drain(int64_t timeoutMs);
    bool Idle();
    // What the first failed task since the last call said, or empty.
    std::string TakeError();

    void Capture(std::shared_ptr<Graph> graph);
    std::shared_ptr<Graph> Captured();
    int32_t Device() const { return device_; }
    int32_t Id() const { return id_; }

private:
    void Work();

    const int32_t device_;
    const int32_t id_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> queue_;
    bool running_ = false;
    bool stop_ = false;
    double timeUs_ = 0;
    std::string error_;
    std::shared_ptr<Graph> graph_;
    std::thread thread_;  // started by the first task
};

// The stream behind a handle; null means the current device's default stream.
Stream& StreamOf(void* handle);
Stream* NewStream();
void DeleteStream(void* handle);
// Every stream of a device, the default one included.
std::vector<Stream*> StreamsOf(int32_t device);

}  // namespace acl_stand_in
