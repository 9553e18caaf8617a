// ACL: streams, events, host callbacks, and graph capture. Two streams join one capture through an event.
#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "acl_types.h"
#include "device.h"
#include "stream.h"

using namespace acl_stand_in;

namespace {

aclError CheckNotCaptured(Stream& stream, const char* what)
{
    if (stream.Captured() == nullptr) return OK;
    return Fail(STREAM_CAPTURED, std::string(what) + " is not possible while the stream is captured into a graph");
}

// The first failure on the stream since the last look, as a status.
aclError Report(Stream& stream)
{
    const std::string error = stream.TakeError();
    return error.empty() ? aclError{OK} : Fail(KERNEL_REFUSED, error);
}

aclError Synchronize(Stream& stream, int64_t timeoutMs)
{
    const aclError captured = CheckNotCaptured(stream, "synchronising");
    if (captured != OK) return captured;
    if (!stream.Drain(timeoutMs)) return Fail(SYNC_TIMEOUT, "the stream is still busy after the time given");
    return Report(stream);
}

aclError CallOnStream(aclrtStream stream, void (*function)(void*), void* argument)
{
    StreamOf(stream).Push([=](double&) { function(argument); });
    return OK;
}

}  // namespace

extern "C" {

aclError aclrtCreateStreamWithConfig(aclrtStream* stream, uint32_t, uint32_t)
{
    *stream = NewStream();
    return OK;
}

aclError aclrtCreateStream(aclrtStream* stream) { return aclrtCreateStreamWithConfig(stream, 0, 0); }

aclError aclrtDestroyStream(aclrtStream stream)
{
    DeleteStream(stream);
    return OK;
}

aclError aclrtDestroyStreamForce(aclrtStream stream) { return aclrtDestroyStream(stream); }

aclError aclrtSynchronizeStreamWithTimeout(aclrtStream stream, int32_t timeoutMs)
{
    return Synchronize(StreamOf(stream), timeoutMs);
}

aclError aclrtSynchronizeStream(aclrtStream stream) { return Synchronize(StreamOf(stream), -1); }

aclError aclrtSynchronizeDeviceWithTimeout(int32_t timeoutMs)
{
    aclError first = OK;
    for (Stream* stream : StreamsOf(CurrentDevice())) {
        const aclError status = Synchronize(*stream, timeoutMs);
        if (first == OK) first = status;
    }
    return first;
}

aclError aclrtSynchronizeDevice() { return aclrtSynchronizeDeviceWithTimeout(-1); }

aclError aclrtStreamQuery(aclrtStream stream, aclrtStreamStatus* status)
{
    *status = StreamOf(stream).Idle() ? ACL_STREAM_STATUS_COMPLETE : ACL_STREAM_STATUS_NOT_READY;
    return CheckNotCaptured(StreamOf(stream), "a query");
}

aclError aclrtStreamGetId(aclrtStream stream, int32_t* id)
{
    *id = StreamOf(stream).Id();
    return OK;
}

aclError aclrtSetStreamFailureMode(aclrtStream, uint64_t) { return OK; }
aclError aclrtSetStreamOverflowSwitch(aclrtStream, uint32_t) { return OK; }

aclError aclrtLaunchCallback(aclrtCallback function, void* argument, aclrtCallbackBlockType, aclrtStream stream)
{
    return CallOnStream(stream, function, argument);
}

aclError aclrtLaunchHostFunc(aclrtStream stream, aclrtHostFunc function, void* argument)
{
    return CallOnStream(stream, function, argument);
}

aclError aclrtCreateEventExWithFlag(aclrtEvent* event, uint32_t)
{
    *event = new Event();
    return OK;
}

aclError aclrtCreateEventWithFlag(aclrtEvent* event, uint32_t flag) { return aclrtCreateEventExWithFlag(event, flag); }

aclError aclrtCreateEvent(aclrtEvent* event) { return aclrtCreateEventExWithFlag(event, 0); }

aclError aclrtDestroyEvent(aclrtEvent event)
{
    delete static_cast<Event*>(event);
    return OK;
}

aclError aclrtRecordEvent(aclrtEvent event, aclrtStream handle)
{
    Stream& stream = StreamOf(handle);
    const auto record = std::make_shared<Record>();
    record->graph = stream.Captured();
    {
        Event& target = *static_cast<Event*>(event);
        const std::lock_guard lock(target.mutex);
        target.last = record;
    }
    stream.Push([record](double& timeUs) { record->Complete(timeUs); });
    return OK;
}

aclError aclrtResetEvent(aclrtEvent event, aclrtStream)
{
    Event& target = *static_cast<Event*>(event);
    const std::lock_guard lock(target.mutex);
    target.last = nullptr;
    return OK;
}

aclError aclrtStreamWaitEvent(aclrtStream handle, aclrtEvent event)
{
    Stream& stream = StreamOf(handle);
    const std::shared_ptr<Record> record = static_cast<Event*>(event)->Last();
    if (record == nullptr) return OK;
    if (record->graph != nullptr) {
        // Within a graph the order of capture stands for the event.
        if (stream.Captured() == nullptr) stream.Capture(record->graph);
        return OK;
    }
    stream.Push([record](double& timeUs) { timeUs = std::max(timeUs, record->Wait()); });
    return OK;
}

aclError aclrtSynchronizeEvent(aclrtEvent event)
{
    const std::shared_ptr<Record> record = static_cast<Event*>(event)->Last();
    if (record == nullptr) return OK;
    if (record->graph != nullptr) return Fail(STREAM_CAPTURED, "the event belongs to a graph that is being captured");
    record->Wait();
    return OK;
}

aclError aclrtQueryEventStatus(aclrtEvent event, aclrtEventRecordedStatus* status)
{
    const std::shared_ptr<Record> record = static_cast<Event*>(event)->Last();
    const bool done = record == nullptr || record->Done();
    *status = done ? ACL_EVENT_RECORDED_STATUS_COMPLETE : ACL_EVENT_RECORDED_STATUS_NOT_READY;
    return OK;
}

aclError aclrtQueryEventWaitStatus(aclrtEvent event, aclrtEventWaitStatus* status)
{
    const std::shared_ptr<Record> record = static_cast<Event*>(event)->Last();
    const bool done = record == nullptr || record->Done();
    *status = done ? ACL_EVENT_WAIT_STATUS_COMPLETE : ACL_EVENT_WAIT_STATUS_NOT_READY;
    return OK;
}

// Simulated time between two events.
aclError aclrtEventElapsedTime(float* ms, aclrtEvent startEvent, aclrtEvent endEvent)
{
    const std::shared_ptr<Record> start = static_cast<Event*>(startEvent)->Last();
    const std::shared_ptr<Record> end = static_cast<Event*>(endEvent)->Last();
    if (start == nullptr || end == nullptr) return Fail(BAD_PARAMETER, "the time of an event that was never recorded");
    *ms = static_cast<float>((end->Wait() - start->Wait()) / 1e3);
    return OK;
}

aclError aclmdlRICaptureBegin(aclrtStream handle, aclmdlRICaptureMode)
{
    Stream& stream = StreamOf(handle);
    const aclError captured = CheckNotCaptured(stream, "a second capture");
    if (captured != OK) return captured;
    stream.Capture(std::make_shared<Graph>());
    return OK;
}

aclError aclmdlRICaptureGetInfo(aclrtStream handle, aclmdlRICaptureStatus* status, aclmdlRI* model)
{
    const std::shared_ptr<Graph> graph = StreamOf(handle).Captured();
    *status = graph == nullptr ? ACL_MODEL_RI_CAPTURE_STATUS_NONE : ACL_MODEL_RI_CAPTURE_STATUS_ACTIVE;
    if (model != nullptr) *model = graph.get();
    return OK;
}

// The model's handle is the graph, which keeps itself until it is destroyed.
aclError aclmdlRICaptureEnd(aclrtStream handle, aclmdlRI* model)
{
    const std::shared_ptr<Graph> graph = StreamOf(handle).Captured();
    if (graph == nullptr) return Fail(STREAM_NOT_CAPTURED, "the end of a capture that was not begun");
    for (Stream* stream : std::exchange(graph->streams, {})) stream->Capture(nullptr);
    *model = graph.get();
    graph->self = graph;
    return OK;
}

aclError aclmdlRIExecuteAsync(aclmdlRI model, aclrtStream handle)
{
    Stream& stream = StreamOf(handle);
    for (const Task& task : static_cast<Graph*>(model)->tasks) stream.Push(task);
    return OK;
}

aclError aclmdlRIDestroy(aclmdlRI model)
{
    static_cast<Graph*>(model)->self = nullptr;
    return OK;
}

aclError aclmdlRICaptureThreadExchangeMode(aclmdlRICaptureMode*) { return OK; }
}
