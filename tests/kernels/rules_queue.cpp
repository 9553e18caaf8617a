// Rules of TPipe, queues and TBuf.
#include "rule_kernel.h"

using namespace rules;

namespace {

constexpr uint32_t TILE = 256;  // elements

// out = in + 1 in `tiles` tiles, load, compute and store in queues of `Depth` buffers.
template <int32_t Depth>
class AddOne {
public:
    void Init(TPipe& pipe, GM_ADDR in, GM_ADDR out)
    {
        in_ = Gm<float>(in);
        out_ = Gm<float>(out);
        pipe.InitBuffer(load_, Depth, TILE * sizeof(float));
        pipe.InitBuffer(store_, Depth, TILE * sizeof(float) - 5);  // rounded up to 32 B
        pipe.InitBuffer(scratch_, TILE * sizeof(float));
    }
    void Run(uint32_t tiles)
    {
        for (uint32_t i = 0; i < tiles; ++i) {
            Load(i);
            Compute();
            Store(i);
        }
    }

private:
    void Load(uint32_t tile)
    {
        auto x = load_.template AllocTensor<float>();
        DataCopy(x, in_[tile * TILE], TILE);
        load_.EnQue(x);
    }
    void Compute()
    {
        auto x = load_.template DeQue<float>();
        auto y = store_.template AllocTensor<float>();
        auto t = scratch_.Get<float>();
        PipeBarrier<PIPE_V>();
        Adds(t, x, 0.5F, static_cast<int32_t>(TILE));
        PipeBarrier<PIPE_V>();
        Adds(y, t, 0.5F, static_cast<int32_t>(TILE));
        store_.EnQue(y);
        load_.FreeTensor(x);
    }
    void Store(uint32_t tile)
    {
        auto y = store_.template DeQue<float>();
        DataCopy(out_[tile * TILE], y, TILE);
        store_.FreeTensor(y);
    }

    GlobalTensor<float> in_;
    GlobalTensor<float> out_;
    TQue<TPosition::VECIN, Depth> load_;
    TQue<TPosition::VECOUT, Depth> store_;
    TBuf<TPosition::VECCALC> scratch_;
};

}  // namespace

RULE_KERNEL(queue_add)
{
    TPipe pipe;
    AddOne<2> add;
    add.Init(pipe, in, out);
    add.Run(7);
}

// The same with one buffer each, and tensors handed over in place.
RULE_KERNEL(queue_in_place)
{
    TPipe pipe;
    TQue<TPosition::VECIN, 0> load;
    TQue<TPosition::VECOUT, 0> store;
    pipe.InitBuffer(load, 2, TILE * 4);
    pipe.InitBuffer(store, 2, TILE * 4);
    LocalTensor<float> x;
    LocalTensor<float> y;
    for (uint32_t i = 0; i < 5; ++i) {
        load.AllocTensor(x);
        DataCopy(x, Gm<float>(in)[i * TILE], TILE);
        load.EnQue(x);
        load.DeQue(x);
        store.AllocTensor(y);
        Adds(y, x, 1.0F, static_cast<int32_t>(TILE));
        store.EnQue(y);
        load.FreeTensor(x);
        store.DeQue(y);
        DataCopy(Gm<float>(out)[i * TILE], y, TILE);
        store.FreeTensor(y);
    }
    load.HasIdleBuffer();
}

// A product of 64 x 64 through the queues of the cube.
RULE_KERNEL(queue_cube)
{
    TPipe pipe;
    TQue<TPosition::A1, 1> l1a;
    TQue<TPosition::B1, 1> l1b;
    TQue<TPosition::A2, 1> l0a;
    TQue<TPosition::B2, 1> l0b;
    TQue<TPosition::CO1, 1> l0c;
    pipe.InitBuffer(l1a, 1, 8192);
    pipe.InitBuffer(l1b, 1, 8192);
    pipe.InitBuffer(l0a, 1, 8192);
    pipe.InitBuffer(l0b, 1, 8192);
    pipe.InitBuffer(l0c, 1, 16384);
    Nd2NzParams p;
    p.ndNum = 1;
    p.nValue = 64;
    p.dValue = 64;
    p.srcDValue = 64;
    p.dstNzC0Stride = 64;
    p.dstNzNStride = 1;
    auto a1 = l1a.AllocTensor<half>();
    DataCopy(a1, Gm<half>(in), p);
    l1a.EnQue(a1);
    auto b1 = l1b.AllocTensor<half>();
    DataCopy(b1, Gm<half>(in), p);
    l1b.EnQue(b1);
    LoadData2DParams load;
    load.repeatTimes = 16;
    load.srcStride = 1;
    a1 = l1a.DeQue<half>();
    auto a2 = l0a.AllocTensor<half>();
    LoadData(a2, a1, load);
    l0a.EnQue(a2);
    l1a.FreeTensor(a1);
    b1 = l1b.DeQue<half>();
    auto b2 = l0b.AllocTensor<half>();
    LoadData(b2, b1, load);
    l0b.EnQue(b2);
    l1b.FreeTensor(b1);
    a2 = l0a.DeQue<half>();
    b2 = l0b.DeQue<half>();
    auto c = l0c.AllocTensor<float>();
    MmadParams product;
    product.m = product.n = product.k = 64;
    Mmad(c, a2, b2, product);
    l0c.EnQue(c);
    l0a.FreeTensor(a2);
    l0b.FreeTensor(b2);
    c = l0c.DeQue<float>();
    FixpipeParamsV220 store;
    store.nSize = 64;
    store.mSize = 64;
    store.srcStride = 64;
    store.dstStride = 64;
    Fixpipe<float, float, CFG_ROW_MAJOR>(Gm<float>(out), c, store);
    l0c.FreeTensor(c);
}

RULE_KERNEL(pipe_second)
{
    TPipe pipe;
    if (variant == 0) pipe.Destroy();
    TPipe second;
}

// 64 buffers (0) or one more (1), a buffer without bytes (2), more of a TBuf than there is (3).
RULE_KERNEL(queue_buffers)
{
    TPipe pipe;
    TBuf<TPosition::VECCALC> buffers[65];
    for (int i = 0; i < (variant == 1 ? 65 : 64); ++i) pipe.InitBuffer(buffers[i], variant == 2 ? 0 : 100);
    buffers[0].Get<float>(variant == 3 ? 33 : 32);
    buffers[0].GetWithOffset<float>(16, 64);
}

// The buffers of a position hold an id each while they wait for their consumer.
RULE_KERNEL(queue_events)
{
    TPipe pipe;
    TQue<TPosition::VECIN, 0> queue;
    pipe.InitBuffer(queue, variant == 0 ? 8 : 9, 64);
}

RULE_KERNEL(queue_alloc)
{
    TPipe pipe;
    TQue<TPosition::VECIN, 1> queue;
    pipe.InitBuffer(queue, variant == 0 ? 2 : 1, 64);
    auto first = queue.AllocTensor<float>();
    auto second = queue.AllocTensor<float>();
    queue.FreeTensor(first);
    queue.FreeTensor(second);
}

RULE_KERNEL(queue_depth)
{
    TPipe pipe;
    TQue<TPosition::VECIN, 1> queue;
    pipe.InitBuffer(queue, 2, 64);
    auto first = queue.AllocTensor<float>();
    queue.EnQue(first);
    if (variant == 0) first = queue.DeQue<float>();
    auto second = queue.AllocTensor<float>();
    queue.EnQue(second);
    second = queue.DeQue<float>();
    queue.FreeTensor(first);
    queue.FreeTensor(second);
}

// A tensor of another queue (1), freed twice (2), from an empty queue (3), put in twice (4).
RULE_KERNEL(queue_state)
{
    TPipe pipe;
    TQue<TPosition::VECIN, 2> queue;
    TQue<TPosition::VECIN, 2> other;
    pipe.InitBuffer(queue, 2, 64);
    pipe.InitBuffer(other, 2, 64);
    auto x = variant == 1 ? other.AllocTensor<float>() : queue.AllocTensor<float>();
    queue.EnQue(x);
    if (variant == 4) queue.EnQue(x);
    x = queue.DeQue<float>();
    if (variant == 3) queue.DeQue<float>();
    queue.FreeTensor(x);
    if (variant == 2) queue.FreeTensor(x);
}

// A queue whose tensor is never taken out leaves its flag behind.
RULE_KERNEL(queue_left)
{
    TPipe pipe;
    TQue<TPosition::VECIN, 1> queue;
    pipe.InitBuffer(queue, 1, 64);
    auto x = queue.AllocTensor<float>();
    queue.EnQue(x);
    if (variant == 1) return;
    x = queue.DeQue<float>();
    queue.FreeTensor(x);
}

// An id that stays taken (1); the same id fetched twice and used for both (2).
RULE_KERNEL(event_unreleased)
{
    TPipe pipe;
    const TEventID id = pipe.AllocEventID<HardEvent::V_MTE3>();
    const TEventID fetched = pipe.FetchEventID(HardEvent::V_MTE3);
    const TEventID again = GetTPipePtr()->FetchEventID<HardEvent::V_MTE3>();
    SetFlag<HardEvent::V_MTE3>(fetched);
    if (variant == 2) SetFlag<HardEvent::V_MTE3>(again);
    WaitFlag<HardEvent::V_MTE3>(fetched);
    Pass<HardEvent::V_MTE3>(id);
    if (variant == 0) pipe.ReleaseEventID<HardEvent::V_MTE3>(id);
}

// Past the end of a queue's buffer, into its neighbour.
RULE_KERNEL(buffer_overflow)
{
    TPipe pipe;
    TBuf<TPosition::VECCALC> first;
    TBuf<TPosition::VECCALC> second;
    pipe.InitBuffer(first, 256);
    pipe.InitBuffer(second, 256);
    Duplicate(first.Get<float>(), 1.0F, variant == 0 ? 64 : 72);
}

// More than the memory holds.
RULE_KERNEL(pipe_memory)
{
    TPipe pipe;
    TBuf<TPosition::VECCALC> first;
    TBuf<TPosition::VECCALC> second;
    pipe.InitBuffer(first, 96 * 1024);
    pipe.InitBuffer(second, variant == 0 ? 32 * 1024 : 96 * 1024);
}
