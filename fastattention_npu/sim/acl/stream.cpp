// A failed task does not stop its stream: the next synchronisation reports it, once, and later work goes on. A chip may
// need a reset instead.
#include "stream.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <map>
#include <utility>

#include "device.h"

namespace acl_stand_in {
namespace {

struct StreamTable {
    std::mutex mutex;
    std::map<Stream*, std::unique_ptr<Stream>> streams;
    std::map<int32_t, Stream*> defaults;
    int32_t nextId = 0;
};

StreamTable& Table()
{
    static auto* table = new StreamTable();
    return *table;
}

Stream* AddStream(StreamTable& table, int32_t device)
{
    auto stream = std::make_unique<Stream>(device, table.nextId++);
    Stream* handle = stream.get();
    table.streams[handle] = std::move(stream);
    return handle;
}

}  // namespace

void Record::Complete(double timeUs)
{
    const std::lock_guard lock(mutex_);
    done_ = true;
    timeUs_ = timeUs;
    changed_.notify_all();
}

double Record::Wait()
{
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
    return timeUs_;
}

bool Record::Done() const
{
    const std::lock_guard lock(mutex_);
    return done_;
}

std::shared_ptr<Record> Event::Last()
{
    const std::lock_guard lock(mutex);
    return last;
}

Stream::Stream(int32_t device, int32_t id) : device_(device), id_(id) {}

Stream::~Stream()
{
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
        changed_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
}

void Stream::Push(Task task)
{
    const std::lock_guard lock(mutex_);
    if (graph_ != nullptr) {
        graph_->tasks.push_back(std::move(task));
        return;
    }
    queue_.push_back(std::move(task));
    if (!thread_.joinable()) thread_ = std::thread([this] { Work(); });
    changed_.notify_all();
}

void Stream::Work()
{
    std::unique_lock lock(mutex_);
    while (true) {
        changed_.wait(lock, [this] { return stop_ || !queue_.empty(); });
        if (queue_.empty()) return;
        Task task = std::move(queue_.front());
        queue_.pop_front();
        running_ = true;
        double timeUs = timeUs_;
        lock.unlock();
        std::string error;
        try {
            task(timeUs);
        } catch (const std::exception& failure) {
            error = failure.what();
        }
        task = nullptr;
        lock.lock();
        running_ = false;
        timeUs_ = timeUs;
        if (error_.empty()) error_ = error;
        changed_.notify_all();
    }
}

bool Stream::Drain(int64_t timeoutMs)
{
    std::unique_lock lock(mutex_);
    const auto idle = [this] { return queue_.empty() && !running_; };
    if (timeoutMs < 0) {
        changed_.wait(lock, idle);
        return true;
    }
    return changed_.wait_for(lock, std::chrono::milliseconds(timeoutMs), idle);
}

bool Stream::Idle()
{
    const std::lock_guard lock(mutex_);
    return queue_.empty() && !running_;
}

std::string Stream::TakeError()
{
    const std::lock_guard lock(mutex_);
    return std::exchange(error_, {});
}

void Stream::Capture(std::shared_ptr<Graph> graph)
{
    const std::lock_guard lock(mutex_);
    if (graph != nullptr) graph->streams.push_back(this);
    graph_ = std::move(graph);
}

std::shared_ptr<Graph> Stream::Captured()
{
    const std::lock_guard lock(mutex_);
    return graph_;
}

Stream& StreamOf(void* handle)
{
    if (handle != nullptr) return *static_cast<Stream*>(handle);
    StreamTable& table = Table();
    const std::lock_guard lock(table.mutex);
    Stream*& stream = table.defaults[CurrentDevice()];
    if (stream == nullptr) stream = AddStream(table, CurrentDevice());
    return *stream;
}

Stream* NewStream()
{
    StreamTable& table = Table();
    const std::lock_guard lock(table.mutex);
    return AddStream(table, CurrentDevice());
}

void DeleteStream(void* handle)
{
    StreamTable& table = Table();
    std::unique_ptr<Stream> gone;
    {
        const std::lock_guard lock(table.mutex);
        const auto found = table.streams.find(static_cast<Stream*>(handle));
        if (found == table.streams.end()) return;
        gone = std::move(found->second);
        table.streams.erase(found);
    }
    gone->Drain(-1);
}

std::vector<Stream*> StreamsOf(int32_t device)
{
    StreamTable& table = Table();
    const std::lock_guard lock(table.mutex);
    std::vector<Stream*> streams;
    for (const auto& [handle, stream] : table.streams) {
        if (stream->Device() == device) streams.push_back(handle);
    }
    std::sort(streams.begin(), streams.end(), [](Stream* x, Stream* y) { return x->Id() < y->Id(); });
    return streams;
}

}  // namespace acl_stand_in
