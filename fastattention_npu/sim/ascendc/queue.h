// TPipe, TQue, TQueBind and TBuf: buffers that are placed in order and handed round with flags of their own. They lower
// to set_flag, wait_flag and pipe_barrier as the vendor's classes do; what those leave undefined (no buffer left, a
// tensor of another queue, more than 64 buffers) is refused. Source: TPipe, TQue, TQueBind and TBuf pages.
#pragma once
#include <exception>

#include "queue_positions.h"

namespace AscendC {

using TEventID = int8_t;
constexpr TEventID INVALID_TEVENTID = -1;
constexpr uint32_t MAX_PIPE_BUFFERS = 64;

enum class TBufState : uint8_t { FREE, OCCUPIED, ENQUE, DEQUE };

// One buffer of a queue and the events that it holds.
struct TBufType {
    TBufState state = TBufState::FREE;
    HardEvent freeBufEvt = HardEvent::MTE2_V;
    TEventID enQueEvtID = INVALID_TEVENTID;
    TEventID freeBufEvtID = INVALID_TEVENTID;
    uint32_t address = 0;
    uint32_t dataLen = 0;
};
using TBufHandle = TBufType*;

template <TPosition position>
class TBuf;

class TPipe {
public:
    TPipe(ASCENDC_HERE) : file_(file), line_(line)
    {
        Here("TPipe", file, line);
        InitSocState(file, line);
        Init(file, line);
    }
    // An error on its way through the kernel leaves everything as it is.
    ~TPipe() noexcept(false)
    {
        if (!destroyed_ && std::uncaught_exceptions() == 0) Destroy(file_, line_);
    }
    TPipe(const TPipe&) = delete;
    TPipe& operator=(const TPipe&) = delete;

    void Init(ASCENDC_HERE)
    {
        Here("TPipe::Init", file, line);
        if (ascend_sim::PipeObject() != nullptr)
            ascend_sim::Refuse(ascend_sim::Rule::PIPE_SECOND, "a TPipe of this core is alive; Destroy it first");
        ascend_sim::SetPipeObject(this);
        ResetPool();
        // The matrix library of the vendor counts on three flags from M to MTE1.
        if (is_aic()) {
            for (int i = 0; i < 3; ++i) {
                const TEventID id = AllocEventID<HardEvent::M_MTE1>(file, line);
                AscendC::SetFlag<HardEvent::M_MTE1>(id, file, line);
            }
        }
        destroyed_ = false;
    }

    template <class Queue>
    bool InitBuffer(Queue& queue, uint8_t num, uint32_t len, ASCENDC_HERE)
    {
        Here("TPipe::InitBuffer", file, line);
        static_assert(Queue::isTQue, "InitBuffer(queue, num, len) takes a queue; a TBuf has no number of buffers");
        ascend_sim::Limit("num", num, 1, MAX_PIPE_BUFFERS, ascend_sim::Rule::QUEUE_BUFFERS);
        queue.Attach(Place(QueueBuffers(Queue::srcPosition, Queue::dstPosition), num, len), num);
        for (uint32_t i = 0; i < num; ++i) {
            TBufType& buffer = *(queue.bufStart + i);
            buffer.freeBufEvt = Queue::freeBufEvt;
            if constexpr (Queue::queDepth == 0) {
                buffer.enQueEvtID = AllocEventID<Queue::enQueEvt>(file, line);
                buffer.freeBufEvtID = AllocEventID<Queue::freeBufEvt>(file, line);
                AscendC::SetFlag<Queue::freeBufEvt>(buffer.freeBufEvtID, file, line);
            }
        }
        return true;
    }
    template <TPosition position>
    bool InitBuffer(TBuf<position>& buffer, uint32_t len, ASCENDC_HERE)
    {
        Here("TPipe::InitBuffer", file, line);
        buffer.Attach(Place(position, 1, len));
        return true;
    }

    template <HardEvent event>
    TEventID AllocEventID(ASCENDC_HERE)
    {
        Here("TPipe::AllocEventID", file, line);
        const TEventID id = FirstFree(event);
        occupied_[static_cast<uint32_t>(event)] |= 1U << id;
        return id;
    }
    template <HardEvent event>
    void ReleaseEventID(TEventID id, ASCENDC_HERE)
    {
        Here("TPipe::ReleaseEventID", file, line);
        ascend_sim::Limit("id", id, 0, ascend_sim::EVENT_IDS - 1, ascend_sim::Rule::EVENT_ID);
        occupied_[static_cast<uint32_t>(event)] &= ~(1U << id);
    }
    // The first id that nobody has allocated; it stays free, so that a second fetch gives the same.
    TEventID FetchEventID(HardEvent event, ASCENDC_HERE) const
    {
        Here("TPipe::FetchEventID", file, line);
        return FirstFree(event);
    }
    template <HardEvent event>
    TEventID FetchEventID(ASCENDC_HERE) const
    {
        return FetchEventID(event, file, line);
    }

    void Destroy(ASCENDC_HERE)
    {
        TakeBack(file, line);
        if (is_aic()) {
            for (TEventID id = 0; id < 3; ++id) {
                AscendC::WaitFlag<HardEvent::M_MTE1>(id, file, line);
                occupied_[static_cast<uint32_t>(HardEvent::M_MTE1)] &= ~(1U << id);
            }
        }
        Here("TPipe::Destroy", file, line);
        RequireReleased();
        destroyed_ = true;
        ascend_sim::SetPipeObject(nullptr);
        Here("TPipe::Destroy", file, line, PIPE_ALL);
        pipe_barrier(PIPE_ALL);
    }
    // Takes every buffer back, so that InitBuffer may place others.
    void Reset(ASCENDC_HERE)
    {
        TakeBack(file, line);
        InitSocState(file, line);
        ResetPool();
    }

private:
    void ResetPool()
    {
        count_ = 0;
        for (uint32_t& used : used_) used = 0;
        for (uint32_t& ids : occupied_) ids = 0;
        ascend_sim::ForgetBuffers();
    }

    // Buffers follow each other in their memory, each rounded up to 32 B.
    TBufType* Place(TPosition position, uint32_t num, uint32_t len)
    {
        constexpr uint32_t ALIGN_BYTES = 32;
        const ascend_sim::Space space = SpaceOf(position);
        Require(space != ascend_sim::Space::GM, "buffers of a TPipe lie in a local memory");
        if (len == 0) ascend_sim::Refuse(ascend_sim::Rule::QUEUE_BUFFERS, "len = 0: a buffer has at least one byte");
        ascend_sim::Limit("buffers of this TPipe", count_ + num, 1, MAX_PIPE_BUFFERS, ascend_sim::Rule::QUEUE_BUFFERS);
        const uint32_t bytes = (len + ALIGN_BYTES - 1) / ALIGN_BYTES * ALIGN_BYTES;
        TBufType* first = buffers_ + count_;
        for (uint32_t i = 0; i < num; ++i) {
            uint32_t& used = used_[static_cast<uint32_t>(space)];
            ascend_sim::NoteBuffer(space, used, bytes);
            buffers_[count_] = TBufType{};
            buffers_[count_].address = used;
            buffers_[count_].dataLen = bytes;
            used += bytes;
            ++count_;
        }
        return first;
    }

    TEventID FirstFree(HardEvent event) const
    {
        const uint32_t ids = occupied_[static_cast<uint32_t>(event)];
        for (uint32_t id = 0; id < ascend_sim::EVENT_IDS; ++id) {
            if ((ids >> id & 1U) == 0) return static_cast<TEventID>(id);
        }
        ascend_sim::Refuse(ascend_sim::Rule::QUEUE_EVENTS,
                           "all 8 ids of this pair of pipes are taken: queues of one position hold at most 8 buffers");
    }

    // Waits for the consumers of buffers that were given back.
    void TakeBack(const char* file, uint32_t line)
    {
        for (uint32_t i = 0; i < count_; ++i) {
            TBufType& buffer = buffers_[i];
            if (buffer.freeBufEvtID == INVALID_TEVENTID || buffer.state != TBufState::FREE) continue;
            const EventPipes pipes = PipesOf(buffer.freeBufEvt);
            Here("TPipe::Destroy", file, line, pipes.to);
            wait_flag(pipes.from, pipes.to, buffer.freeBufEvtID);
            occupied_[static_cast<uint32_t>(buffer.freeBufEvt)] &= ~(1U << buffer.freeBufEvtID);
            buffer.freeBufEvtID = INVALID_TEVENTID;
        }
    }

    // Ids of buffers that are still under way show as flags that are left set; the others are the kernel's own.
    void RequireReleased()
    {
        for (uint32_t i = 0; i < count_; ++i) {
            if (buffers_[i].enQueEvtID != INVALID_TEVENTID) return;
        }
        uint32_t ids = 0;
        for (const uint32_t of : occupied_) ids |= of;
        if (ids != 0) ascend_sim::Warn(ascend_sim::Rule::EVENT_UNRELEASED, "AllocEventID without its ReleaseEventID");
    }

    TBufType buffers_[MAX_PIPE_BUFFERS];
    uint32_t count_ = 0;
    uint32_t used_[ascend_sim::SPACES] = {};
    uint32_t occupied_[static_cast<uint32_t>(HardEvent::MAX)] = {};
    bool destroyed_ = true;
    const char* file_;  // where it was made, which is all that its end knows
    uint32_t line_;
};

inline TPipe* GetTPipePtr() { return static_cast<TPipe*>(ascend_sim::PipeObject()); }

// A queue between two positions. depth 0: tensors are handed over in place.
template <TPosition source, TPosition destination, int32_t depth, int32_t mask = 0>
class TQueBind {
    static_assert(mask == 0, "queues with format conversion or a configuration are not simulated");

public:
    static constexpr bool isTQue = true;
    static constexpr TPosition srcPosition = source;
    static constexpr TPosition dstPosition = destination;
    static constexpr HardEvent enQueEvt = QueueEvent(source, destination, true);
    static constexpr HardEvent freeBufEvt = QueueEvent(source, destination, false);
    static constexpr int32_t queDepth = depth;

    template <class T>
    LocalTensor<T> AllocTensor(ASCENDC_HERE)
    {
        static_assert(depth != 0, "a queue of depth 0 takes AllocTensor(tensor)");
        TBufType* buffer = NextFree(file, line);
        ++bufUsedCount_;
        if (buffer->freeBufEvtID != INVALID_TEVENTID) {
            AscendC::WaitFlag<freeBufEvt>(buffer->freeBufEvtID, file, line);
            Pipe().template ReleaseEventID<freeBufEvt>(buffer->freeBufEvtID, file, line);
            buffer->freeBufEvtID = INVALID_TEVENTID;
        }
        return TensorOf<T>(buffer);
    }
    template <class T>
    void AllocTensor(LocalTensor<T>& tensor, ASCENDC_HERE)
    {
        static_assert(depth == 0, "AllocTensor(tensor) is for queues of depth 0");
        TBufType* buffer = NextFree(file, line);
        AscendC::WaitFlag<freeBufEvt>(buffer->freeBufEvtID, file, line);
        tensor = TensorOf<T>(buffer);
    }

    template <class T>
    bool EnQue(const LocalTensor<T>& tensor, ASCENDC_HERE)
    {
        Here("TQue::EnQue", file, line);
        TBufType* buffer = Mine(tensor.GetBufferHandle());
        RequireState(buffer->state == TBufState::OCCUPIED || buffer->state == TBufState::DEQUE,
                     "EnQue of a tensor that was not allocated, or is in the queue already");
        if constexpr (depth == 0) {
            AscendC::SetFlag<enQueEvt>(buffer->enQueEvtID, file, line);
        } else {
            if (usedCount_ >= depth) {
                ascend_sim::Refuse(ascend_sim::Rule::QUEUE_DEPTH,
                                   "EnQue into a full queue: its depth is the most EnQues without a DeQue");
            }
            queue_[tail_] = buffer;
            tail_ = (tail_ + 1) % depth;
            ++usedCount_;
            buffer->enQueEvtID = Pipe().template AllocEventID<enQueEvt>(file, line);
            AscendC::SetFlag<enQueEvt>(buffer->enQueEvtID, file, line);
        }
        buffer->state = TBufState::ENQUE;
        return true;
    }

    template <class T>
    LocalTensor<T> DeQue(ASCENDC_HERE)
    {
        static_assert(depth != 0, "a queue of depth 0 takes DeQue(tensor)");
        Here("TQue::DeQue", file, line);
        RequireState(usedCount_ > 0, "DeQue of an empty queue");
        TBufType* buffer = queue_[head_];
        head_ = (head_ + 1) % depth;
        --usedCount_;
        buffer->state = TBufState::DEQUE;
        AscendC::WaitFlag<enQueEvt>(buffer->enQueEvtID, file, line);
        Pipe().template ReleaseEventID<enQueEvt>(buffer->enQueEvtID, file, line);
        buffer->enQueEvtID = INVALID_TEVENTID;
        return TensorOf<T>(buffer);
    }
    template <class T>
    void DeQue(LocalTensor<T>& tensor, ASCENDC_HERE)
    {
        static_assert(depth == 0, "DeQue(tensor) is for queues of depth 0");
        Here("TQue::DeQue", file, line);
        TBufType* buffer = Mine(tensor.GetBufferHandle());
        RequireState(buffer->state == TBufState::ENQUE, "DeQue of a tensor that is not in the queue");
        buffer->state = TBufState::DEQUE;
        AscendC::WaitFlag<enQueEvt>(buffer->enQueEvtID, file, line);
    }

    template <class T>
    void FreeTensor(LocalTensor<T>& tensor, ASCENDC_HERE)
    {
        Here("TQue::FreeTensor", file, line);
        TBufType* buffer = Mine(tensor.GetBufferHandle());
        RequireState(buffer->state != TBufState::FREE, "FreeTensor of a tensor that is free");
        if constexpr (depth != 0) {
            buffer->freeBufEvtID = Pipe().template AllocEventID<freeBufEvt>(file, line);
            --bufUsedCount_;
        }
        AscendC::SetFlag<freeBufEvt>(buffer->freeBufEvtID, file, line);
        buffer->state = TBufState::FREE;
    }

    // Waits until the consumers have given every buffer back.
    void FreeAllEvent(ASCENDC_HERE)
    {
        static_assert(depth != 0, "FreeAllEvent is for queues of a depth above 0");
        for (uint32_t i = 0; i < bufNum_; ++i) {
            TBufType& buffer = bufStart[i];
            if (buffer.freeBufEvtID == INVALID_TEVENTID) continue;
            AscendC::WaitFlag<freeBufEvt>(buffer.freeBufEvtID, file, line);
            Pipe().template ReleaseEventID<freeBufEvt>(buffer.freeBufEvtID, file, line);
            buffer.freeBufEvtID = INVALID_TEVENTID;
        }
    }

    bool VacantInQue() const { return usedCount_ < depth; }
    bool HasTensorInQue() const { return usedCount_ > 0; }
    int32_t GetTensorCountInQue() const { return usedCount_; }
    bool HasIdleBuffer() const { return bufUsedCount_ < bufNum_; }
    template <class T>
    TBufState GetState(const LocalTensor<T>& tensor) const
    {
        TBufHandle buffer = tensor.GetBufferHandle();
        return buffer == nullptr ? TBufState::FREE : buffer->state;
    }

private:
    friend class TPipe;

    void Attach(TBufType* first, uint32_t num)
    {
        bufStart = first;
        bufNum_ = num;
        bufUsedCount_ = cursor_ = 0;
        usedCount_ = head_ = tail_ = 0;
    }
    static void RequireState(bool ok, const char* what) { Require(ok, what, ascend_sim::Rule::QUEUE_STATE); }
    static TPipe& Pipe() { return *GetTPipePtr(); }

    TBufType* Mine(TBufHandle buffer) const
    {
        RequireState(buffer != nullptr && buffer >= bufStart && buffer < bufStart + bufNum_,
                     "the tensor does not come from this queue");
        return buffer;
    }

    // Buffers are taken in turn; the chip's loop has no end where none is free.
    TBufType* NextFree(const char* file, uint32_t line)
    {
        Here("TQue::AllocTensor", file, line);
        RequireState(bufNum_ != 0, "AllocTensor before InitBuffer");
        for (uint32_t i = 0; i < bufNum_; ++i) {
            TBufType* buffer = bufStart + cursor_;
            cursor_ = (cursor_ + 1) % bufNum_;
            if (buffer->state != TBufState::FREE) continue;
            buffer->state = TBufState::OCCUPIED;
            return buffer;
        }
        ascend_sim::Refuse(ascend_sim::Rule::QUEUE_ALLOC,
                           "every buffer of the queue is in use: the chip waits forever");
    }

    template <class T>
    LocalTensor<T> TensorOf(TBufType* buffer) const
    {
        constexpr TPosition position = QueueBuffers(source, destination);
        LocalTensor<T> tensor(position, buffer->address, buffer->dataLen / static_cast<uint32_t>(sizeof(T)));
        tensor.SetBufferHandle(buffer);
        return tensor;
    }

    TBufType* bufStart = nullptr;
    TBufType* queue_[depth == 0 ? 1 : depth] = {};
    uint32_t bufNum_ = 0;
    uint32_t bufUsedCount_ = 0;
    uint32_t cursor_ = 0;
    int32_t usedCount_ = 0;
    int32_t head_ = 0;
    int32_t tail_ = 0;
};

template <TPosition position, int32_t depth, int32_t mask = 0>
class TQue : public TQueBind<QueueEnd(position, true), QueueEnd(position, false), depth, mask> {};

// Memory without a queue: the kernel orders its uses itself.
template <TPosition position = TPosition::VECCALC>
class TBuf {
public:
    static constexpr bool isTQue = false;

    template <class T>
    LocalTensor<T> Get(uint32_t len, ASCENDC_HERE)
    {
        Here("TBuf::Get", file, line);
        Require(buffer_ != nullptr, "Get before InitBuffer", ascend_sim::Rule::QUEUE_STATE);
        ascend_sim::Limit("len * sizeof(T)", uint64_t{len} * sizeof(T), 1, bytes_, ascend_sim::Rule::QUEUE_BUFFERS);
        return Tensor<T>(len, 0);
    }
    template <class T>
    LocalTensor<T> Get(ASCENDC_HERE)
    {
        return Get<T>(bytes_ / static_cast<uint32_t>(sizeof(T)), file, line);
    }
    // bufOffset in bytes.
    template <class T>
    LocalTensor<T> GetWithOffset(uint32_t size, uint32_t bufOffset, ASCENDC_HERE)
    {
        Here("TBuf::GetWithOffset", file, line);
        Require(buffer_ != nullptr, "GetWithOffset before InitBuffer", ascend_sim::Rule::QUEUE_STATE);
        ascend_sim::Limit("bufOffset + size * sizeof(T)", bufOffset + uint64_t{size} * sizeof(T), 1, bytes_,
                          ascend_sim::Rule::QUEUE_BUFFERS);
        return Tensor<T>(size, bufOffset);
    }

private:
    friend class TPipe;
    void Attach(TBufType* buffer)
    {
        buffer_ = buffer;
        bytes_ = buffer->dataLen;
    }
    template <class T>
    LocalTensor<T> Tensor(uint32_t len, uint32_t offset)
    {
        LocalTensor<T> tensor(position, buffer_->address + offset, len);
        tensor.SetBufferHandle(buffer_);
        return tensor;
    }
    TBufType* buffer_ = nullptr;
    uint32_t bytes_ = 0;
};

}  // namespace AscendC
