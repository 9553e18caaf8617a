// The decode kernel's task: rows of one KV head against its part of the keys. Scores, softmax by blocks, values; the
// products are in decode-inl.h. Included inside a target's namespace by kernels-inl.h.

int64_t DecodeHeadFloats(const Context& c)
{
    return DECODE_ROWS * (RoundUp(c.p.dQk, 16) + RoundUp(c.p.dV, 16)) + 2 * DECODE_ROWS;
}

int64_t DecodeFloats(const Context& c)
{
    return DECODE_ROWS * (DECODE_KEYS + 2) + c.headsPerTask * DecodeHeadFloats(c);
}

DecodeScratch DecodeHead(const Context& c, const Task& t, int32_t head, float* base)
{
    DecodeScratch x{};
    x.rows = t.rowEnd - t.rowBegin;
    x.qPitch = RoundUp(c.p.dQk, 16);
    x.oPitch = RoundUp(c.p.dV, 16);
    x.s = base;
    x.alpha = base + DECODE_ROWS * DECODE_KEYS;
    x.q = x.alpha + 2 * DECODE_ROWS + head * DecodeHeadFloats(c);
    x.o = x.q + DECODE_ROWS * x.qPitch;
    x.max = x.o + DECODE_ROWS * x.oPitch;
    x.sum = x.max + DECODE_ROWS;
    return x;
}

// Softcap, ALiBi, mask tensor and visible range of one row's scores for keys [key, key + n).
void AdjustRow(const Context& c, const Task& t, int64_t row, int64_t key, int64_t n, float* s)
{
    const Sequence& sequence = c.sequences[t.sequence];
    const int64_t position = c.Position(row);
    const int64_t head = c.Head(t, row);
    const auto diagonal = static_cast<float>(position + sequence.keys - sequence.queries);
    const auto log2e = static_cast<float>(LOG2_E);
    const float slope = c.Slope(t.sequence, head) * log2e;
    const Vec cap = Set(static_cast<float>(c.p.softcap * LOG2_E));
    for (int64_t j = 0; j < n && !c.plainScores; j += LANES) {
        Vec score = Load(s + j);
        if (c.p.softcap > 0) {
            score = VMul(Tanh(score), cap);
        }
        if (c.p.alibi != 0) {
            const Vec index = VAdd(LaneIndices(), Set(static_cast<float>(key + j)));
            score = VSub(score, VMul(Set(slope), VAbs(VSub(Set(diagonal), index))));
        }
        Store(score, s + j);
    }
    for (int64_t j = 0; j < n && c.p.mask != 0; ++j) {
        const float bias = c.MaskBias(t.sequence, head, position, key + j);
        s[j] = bias == MINUS_INFINITY ? bias : s[j] + bias * log2e;
    }
    const int64_t first = std::min(n, std::max<int64_t>(0, c.FirstKey(sequence, position) - key));
    const int64_t end = std::max<int64_t>(0, std::min(n, c.LastKey(sequence, position) + 1 - key));
    std::fill(s, s + first, MINUS_INFINITY);
    std::fill(s + end, s + DECODE_KEYS, MINUS_INFINITY);
}

void RowSoftmax(float* s, float* rowMax, float* rowSum, float* alpha)
{
    Vec best = Set(*rowMax);
    for (int64_t j = 0; j < DECODE_KEYS; j += LANES) {
        best = VMax(best, Load(s + j));
    }
    const float largest = VReduceMax(best);
    const float shift = largest == MINUS_INFINITY ? 0.0f : largest;
    Vec sum = Zero();
    for (int64_t j = 0; j < DECODE_KEYS; j += LANES) {
        const Vec p = Exp2(VSub(Load(s + j), Set(shift)));
        Store(p, s + j);
        sum = VAdd(sum, p);
    }
    *alpha = *rowMax == largest ? 1.0f : std::exp2(*rowMax - shift);
    *rowMax = largest;
    *rowSum = *rowSum * *alpha + VReduceSum(sum);
}

template <class T>
void StartHead(const Context& c, const Task& t, const DecodeScratch& x)
{
    const Sequence& s = c.sequences[t.sequence];
    for (int64_t r = 0; r < x.rows; ++r) {
        const int64_t row = t.rowBegin + r;
        ConvertRow(c.QueryRow<T>(s, t.sequence, c.Head(t, row), c.Position(row)), c.p.qStrides.d, c.p.dQk, c.qFactor,
                   x.q + r * x.qPitch, x.qPitch);
        std::fill(x.o + r * x.oPitch, x.o + (r + 1) * x.oPitch, 0.0f);
        x.max[r] = MINUS_INFINITY;
        x.sum[r] = 0.0f;
    }
}

Task OfHead(const Task& t, int32_t head)
{
    Task one = t;
    one.kvHead += head;
    one.kvHeads = 1;
    one.partial += t.partial < 0 ? 0 : head * (t.rowEnd - t.rowBegin);
    return one;
}

template <class T>
void DecodeTaskOf(const Context& c, const Task& t, float* scratch)
{
    for (int32_t head = 0; head < t.kvHeads; ++head) {
        StartHead<T>(c, OfHead(t, head), DecodeHead(c, t, head, scratch));
    }
    RowPointers<T> k[2], v;
    int now = 0;
    PointAt(c, t, false, t.keyBegin, k[now]);
    for (int64_t key = t.keyBegin; key < t.keyEnd; key += DECODE_KEYS) {
        for (int32_t head = 0; head < t.kvHeads; ++head, now ^= 1) {
            const Task one = OfHead(t, head);
            const DecodeScratch x = DecodeHead(c, t, head, scratch);
            const bool last = head + 1 == t.kvHeads;
            PointAt(c, one, true, key, v);
            // What comes next, so that it can be prefetched: the next head's keys, or the first head's next block.
            PointAt(c, OfHead(t, last ? 0 : head + 1), false, last ? key + DECODE_KEYS : key, k[now ^ 1]);
            DecodeScores(c, k[now], v, x);
            for (int64_t r = 0; r < x.rows; ++r) {
                float* scores = x.s + r * DECODE_KEYS;
                AdjustRow(c, one, t.rowBegin + r, key, v.count, scores);
                RowSoftmax(scores, &x.max[r], &x.sum[r], &x.alpha[r]);
            }
            DecodeValues(c, v, k[now ^ 1], x);
        }
    }
    for (int32_t head = 0; head < t.kvHeads; ++head) {
        const DecodeScratch x = DecodeHead(c, t, head, scratch);
        for (int64_t r = 0; r < x.rows; ++r) {
            EndRow<T>(c, OfHead(t, head), t.rowBegin + r, x.o + r * x.oPitch, x.max[r], x.sum[r]);
        }
    }
}
