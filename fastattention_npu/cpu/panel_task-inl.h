// The panel kernel's task: pack Q, walk the key blocks, hide what a row may not see, write the rows. The products and
// the softmax are in panel-inl.h. Included inside a target's namespace by kernels-inl.h.

enum RowField { FIRST_KEY, LAST_KEY, DIAGONAL, SLOPE, ROW_MAX, ROW_SUM, ROW_FIELDS };

// Lanes past the task's last row repeat it; their results are computed and dropped.
template <class T>
void PackQueries(const Context& c, const Task& t, const PanelScratch& x)
{
    const Sequence& s = c.sequences[t.sequence];
    float* lines = x.k;  // free until the first key block
    for (int64_t panel = 0; panel * PANEL < t.rowEnd - t.rowBegin; ++panel) {
        float* fields = x.rows + panel * ROW_FIELDS * PANEL;
        for (int lane = 0; lane < PANEL; ++lane) {
            const int64_t row = std::min(t.rowBegin + panel * PANEL + lane, t.rowEnd - 1);
            const int64_t position = c.Position(row);
            const int64_t head = c.Head(t, row);
            ConvertRow(c.QueryRow<T>(s, t.sequence, head, position), c.p.qStrides.d, c.p.dQk, c.qFactor,
                       lines + lane * x.kPitch, x.dQk4);
            fields[FIRST_KEY * PANEL + lane] = static_cast<float>(c.FirstKey(s, position));
            fields[LAST_KEY * PANEL + lane] = static_cast<float>(c.LastKey(s, position));
            fields[DIAGONAL * PANEL + lane] = static_cast<float>(position + s.keys - s.queries);
            fields[SLOPE * PANEL + lane] = c.Slope(t.sequence, head) * static_cast<float>(LOG2_E);
            fields[ROW_MAX * PANEL + lane] = MINUS_INFINITY;
            fields[ROW_SUM * PANEL + lane] = 0.0f;
        }
        float* qT = x.qT + panel * x.dQk4 * PANEL;
        for (int64_t i = 0; i < x.dQk4; i += 4) {
            for (int lane = 0; lane < PANEL; lane += 4) {
                Transpose4(lines + lane * x.kPitch + i, x.kPitch, qT + i * PANEL + lane, PANEL);
            }
        }
        std::fill(x.oT + panel * x.dV4 * PANEL, x.oT + (panel + 1) * x.dV4 * PANEL, 0.0f);
    }
}

// One token's V into row j of its strips. Stores run on into row j + 1, which comes later.
template <class T>
FASTATTN_INLINE void StripRow(const T* from, int64_t stride, int64_t dV, int64_t j, float* strips)
{
    int64_t at = 0;
    float* to = strips + j * TILE;
    constexpr int64_t reach = RoundUp(TILE, LANES);
    if (stride == 1) {
        for (; at + reach <= dV; at += TILE, to += STRIP_FLOATS) {
            for (int64_t i = 0; i < TILE; i += LANES) {
                Store(LoadAs(from + at + i), to + i);
            }
        }
    }
    for (; at < dV; at += TILE, to += STRIP_FLOATS) {
        for (int64_t i = 0; i < TILE; ++i) {
            to[i] = at + i < dV ? ToFloat(from[(at + i) * stride]) : 0.0f;
        }
    }
}

// Fetches keys [key, key + n) into the float32 tiles; rows up to the next multiple of 4 are zero.
template <class T>
void LoadKeyBlock(const Context& c, const Task& t, int64_t key, int64_t n, const PanelScratch& x)
{
    const Sequence& s = c.sequences[t.sequence];
    for (int64_t j = 0; j < n; ++j) {
        ConvertRow(c.KeyRow<T>(s, t.sequence, t.kvHead, key + j), c.p.kStrides.d, c.p.dQk, 1.0f, x.k + j * x.kPitch,
                   c.p.dQk);
        StripRow(c.ValueRow<T>(s, t.sequence, t.kvHead, key + j), c.p.vStrides.d, c.p.dV, j, x.v);
    }
    for (int64_t j = n; j < RoundUp(n, 4); ++j) {
        std::fill(x.k + j * x.kPitch, x.k + j * x.kPitch + c.p.dQk, 0.0f);
        for (int64_t strip = 0; strip < x.strips; ++strip) {
            std::fill_n(x.v + strip * STRIP_FLOATS + j * TILE, TILE, 0.0f);
        }
    }
}

template <class M>
void FillBiasOf(const Context& c, const Task& t, int64_t firstRow, int64_t key, int64_t n, float* bias)
{
    const Strides& stride = c.p.maskStrides;
    for (int lane = 0; lane < PANEL; ++lane) {
        const int64_t row = std::min(firstRow + lane, t.rowEnd - 1);
        const M* from = reinterpret_cast<const M*>(c.p.mask) + t.sequence * stride.b + c.Head(t, row) * stride.h +
                        c.Position(row) * stride.s + key * stride.d;
        for (int64_t j = 0; j < n; ++j) {
            if constexpr (std::is_same_v<M, uint8_t>) {
                bias[j * PANEL + lane] = from[j * stride.d] != 0 ? 0.0f : MINUS_INFINITY;
            } else {
                bias[j * PANEL + lane] = ToFloat(from[j * stride.d]);
            }
        }
    }
}

void FillBias(const Context& c, const Task& t, int64_t firstRow, int64_t key, int64_t n, float* bias)
{
    switch (static_cast<DType>(c.p.maskDtype)) {
    case DType::kBool:
        return FillBiasOf<uint8_t>(c, t, firstRow, key, n, bias);
    case DType::kFloat16:
        return FillBiasOf<Half>(c, t, firstRow, key, n, bias);
    case DType::kBFloat16:
        return FillBiasOf<BFloat>(c, t, firstRow, key, n, bias);
    default:
        return FillBiasOf<float>(c, t, firstRow, key, n, bias);
    }
}

// Everything between the product and the softmax: softcap, ALiBi, the mask tensor, and the range of visible keys.
void AdjustScores(const Context& c, const float* fields, int64_t key, int64_t n, bool bounded, const float* bias,
                  float* s)
{
    const Vec none = Set(MINUS_INFINITY);
    const Vec log2e = Set(static_cast<float>(LOG2_E));
    const Vec cap = Set(static_cast<float>(c.p.softcap * LOG2_E));
    for (int half = 0; half < PANEL; half += LANES) {
        const Vec first = Load(fields + FIRST_KEY * PANEL + half);
        const Vec last = Load(fields + LAST_KEY * PANEL + half);
        const Vec diagonal = Load(fields + DIAGONAL * PANEL + half);
        const Vec slope = Load(fields + SLOPE * PANEL + half);
        for (int64_t j = 0; j < n; ++j) {
            float* at = s + j * PANEL + half;
            const Vec index = Set(static_cast<float>(key + j));
            Vec score = Load(at);
            if (c.p.softcap > 0) {
                score = VMul(Tanh(score), cap);
            }
            if (c.p.alibi != 0) {
                score = VSub(score, VMul(slope, VAbs(VSub(diagonal, index))));
            }
            if (bias != nullptr) {
                const Vec add = Load(bias + j * PANEL + half);
                score = Select(Equal(add, none), none, VMulAdd(add, log2e, score));
            }
            if (bounded) {
                score = Select(Both(LessEqual(first, index), LessEqual(index, last)), score, none);
            }
            Store(score, at);
        }
    }
}

// One panel against the loaded block; keys outside what any of its rows sees are not computed.
void PanelBlock(const Context& c, const Task& t, int64_t panel, int64_t key, int64_t n, const PanelScratch& x)
{
    float* fields = x.rows + panel * ROW_FIELDS * PANEL;
    float first = fields[FIRST_KEY * PANEL], last = fields[LAST_KEY * PANEL];
    float latestFirst = first, earliestLast = last;
    for (int lane = 1; lane < PANEL; ++lane) {
        first = std::min(first, fields[FIRST_KEY * PANEL + lane]);
        last = std::max(last, fields[LAST_KEY * PANEL + lane]);
        latestFirst = std::max(latestFirst, fields[FIRST_KEY * PANEL + lane]);
        earliestLast = std::min(earliestLast, fields[LAST_KEY * PANEL + lane]);
    }
    const int64_t begin = std::max<int64_t>(0, static_cast<int64_t>(first) - key) / 4 * 4;
    const int64_t end = std::min<int64_t>(n, static_cast<int64_t>(last) + 1 - key);
    if (begin >= end) {
        return;
    }
    const int64_t padded = RoundUp(end, 4) - begin;
    const bool bounded = latestFirst > static_cast<float>(key + begin) || earliestLast < static_cast<float>(key + end - 1);
    const float* qT = x.qT + panel * x.dQk4 * PANEL;
    const float* k = x.k + begin * x.kPitch;
    if (x.kPitch == NARROW_PITCH) {
        Scores<NARROW_PITCH>(k, qT, c.p.dQk, padded, x.s);
    } else {
        Scores<WIDE_PITCH>(k, qT, c.p.dQk, padded, x.s);
    }
    if (bounded || !c.plainScores) {
        if (c.p.mask != 0) {
            FillBias(c, t, t.rowBegin + panel * PANEL, key + begin, end - begin, x.bias);
        }
        AdjustScores(c, fields, key + begin, end - begin, bounded, x.bias, x.s);
    }
    std::fill(x.s + (end - begin) * PANEL, x.s + padded * PANEL, MINUS_INFINITY);
    alignas(64) float alpha[PANEL];
    Softmax(x.s, padded, fields + ROW_MAX * PANEL, fields + ROW_SUM * PANEL, alpha);
    Values(x.v + begin * TILE, x.s, padded, alpha, x.dV4, x.oT + panel * x.dV4 * PANEL);
}

template <class T>
void WritePanels(const Context& c, const Task& t, const PanelScratch& x)
{
    float* lines = x.k;  // free after the last key block
    for (int64_t row = t.rowBegin; row < t.rowEnd; ++row) {
        const int64_t panel = (row - t.rowBegin) / PANEL;
        const int64_t lane = (row - t.rowBegin) % PANEL;
        const float* fields = x.rows + panel * ROW_FIELDS * PANEL;
        if (lane == 0) {
            const float* oT = x.oT + panel * x.dV4 * PANEL;
            for (int64_t i = 0; i < x.dV4; i += 4) {
                for (int j = 0; j < PANEL; j += 4) {
                    Transpose4(oT + i * PANEL + j, PANEL, lines + j * x.linePitch + i, x.linePitch);
                }
            }
        }
        EndRow<T>(c, t, row, lines + lane * x.linePitch, fields[ROW_MAX * PANEL + lane], fields[ROW_SUM * PANEL + lane]);
    }
}

template <class T>
void PanelTaskOf(const Context& c, const Task& t, float* scratch)
{
    const PanelScratch x = LayOutPanels(c, scratch);
    PackQueries<T>(c, t, x);
    const int64_t panels = RoundUp(t.rowEnd - t.rowBegin, PANEL) / PANEL;
    for (int64_t key = t.keyBegin; key < t.keyEnd; key += BLOCK_KEYS) {
        const int64_t n = std::min(BLOCK_KEYS, t.keyEnd - key);
        LoadKeyBlock<T>(c, t, key, n, x);
        for (int64_t panel = 0; panel < panels; ++panel) {
            PanelBlock(c, t, panel, key, n, x);
        }
    }
    WritePanels<T>(c, t, x);
}
