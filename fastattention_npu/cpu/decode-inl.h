// Attention of few rows against many keys, at the speed of memory: vectors lie along d, each key's K and V are loaded
// and widened once for all rows of the GQA group (in registers; nothing is copied), and the running maximum rescales
// the sums once a block of DECODE_KEYS. While a block's K is read its V is prefetched, and the next block's K while V
// is read, so that strided and paged caches stream as contiguous ones do. Included inside a target's namespace.

constexpr int64_t DECODE_KEYS = 32;
constexpr int64_t DECODE_ROWS = 8;
constexpr int ROW_GROUP = MANY_REGISTERS ? 4 : 2;       // rows to a score tile of ROW_GROUP x 4 keys
constexpr int VALUE_VECTORS = MANY_REGISTERS ? 16 : 8;  // accumulators of a value tile

// One KV head's state.
struct DecodeScratch {
    float* q;                  // (rows, qPitch), times Context::qFactor, zero padded
    float* o;                  // (rows, oPitch)
    float* s;                  // (rows, DECODE_KEYS), shared by the task's heads
    float *max, *sum, *alpha;  // (rows)
    int64_t qPitch, oPitch, rows;
};

// Rows of one block. The list is padded to a multiple of 4 with its last row.
template <class T>
struct RowPointers {
    const T* at[DECODE_KEYS];
    int64_t count = 0;
};

template <class T>
FASTATTN_INLINE void PointAt(const Context& c, const Task& t, bool values, int64_t key, RowPointers<T>& rows)
{
    const Sequence& s = c.sequences[t.sequence];
    rows.count = std::max<int64_t>(0, std::min(DECODE_KEYS, t.keyEnd - key));
    if (rows.count == 0) {
        return;
    }
    if (c.p.blockTable != 0) {
        for (int64_t j = 0; j < rows.count; ++j) {
            rows.at[j] = values ? c.ValueRow<T>(s, t.sequence, t.kvHead, key + j)
                                : c.KeyRow<T>(s, t.sequence, t.kvHead, key + j);
        }
    } else {
        const T* first =
            values ? c.ValueRow<T>(s, t.sequence, t.kvHead, key) : c.KeyRow<T>(s, t.sequence, t.kvHead, key);
        const int64_t step = values ? c.p.vStrides.s : c.p.kStrides.s;
        for (int64_t j = 0; j < rows.count; ++j) {
            rows.at[j] = first + j * step;
        }
    }
    for (int64_t j = rows.count; j < RoundUp(rows.count, 4); ++j) {
        rows.at[j] = rows.at[rows.count - 1];
    }
}

FASTATTN_INLINE void PrefetchRow(const void* row, int64_t bytes)
{
    const char* at = static_cast<const char*>(row);
    for (int64_t i = 0; i < bytes; i += 64) {
        __builtin_prefetch(at + i, 0, 2);  // to the second level: the first is busy with what is read now
    }
}

// Scores of R rows against the four keys at `rows`; s is that row's and key's place, DECODE_KEYS from row to row.
template <int R, class T>
FASTATTN_INLINE void DotTile(const T* const* rows, const float* q, int64_t qPitch, int64_t d, float* s)
{
    Vec acc[R][4];
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
        acc[r][0] = acc[r][1] = acc[r][2] = acc[r][3] = Zero();
    }
    const int64_t whole = d / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES) {
        const Vec k0 = LoadAs(rows[0] + i), k1 = LoadAs(rows[1] + i);
        const Vec k2 = LoadAs(rows[2] + i), k3 = LoadAs(rows[3] + i);
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const Vec x = Load(q + r * qPitch + i);
            acc[r][0] = VMulAdd(x, k0, acc[r][0]);
            acc[r][1] = VMulAdd(x, k1, acc[r][1]);
            acc[r][2] = VMulAdd(x, k2, acc[r][2]);
            acc[r][3] = VMulAdd(x, k3, acc[r][3]);
        }
    }
    if (whole < d) {
        alignas(64) float rest[4][LANES];
        for (int j = 0; j < 4; ++j) {
            ConvertRow(rows[j] + whole, 1, d - whole, 1.0f, rest[j], LANES);
        }
#pragma GCC unroll 4
        for (int r = 0; r < R; ++r) {
            const Vec x = Load(q + r * qPitch + whole);
            acc[r][0] = VMulAdd(x, Load(rest[0]), acc[r][0]);
            acc[r][1] = VMulAdd(x, Load(rest[1]), acc[r][1]);
            acc[r][2] = VMulAdd(x, Load(rest[2]), acc[r][2]);
            acc[r][3] = VMulAdd(x, Load(rest[3]), acc[r][3]);
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
        ReduceSum4(acc[r][0], acc[r][1], acc[r][2], acc[r][3], s + r * DECODE_KEYS);
    }
}

template <class T>
void DecodeScores(const Context& c, const RowPointers<T>& k, const RowPointers<T>& v, const DecodeScratch& x)
{
    const int64_t bytes = c.p.dV * sizeof(T);
    for (int64_t row = 0; row < x.rows; row += ROW_GROUP) {
        const float* q = x.q + row * x.qPitch;
        float* s = x.s + row * DECODE_KEYS;
        const int64_t group = std::min<int64_t>(ROW_GROUP, x.rows - row);
        for (int64_t j = 0; j < k.count; j += 4) {
            for (int64_t ahead = j; row == 0 && ahead < std::min(j + 4, v.count); ++ahead) {
                PrefetchRow(v.at[ahead], bytes);
            }
            if (group == 1) {
                DotTile<1>(k.at + j, q, x.qPitch, c.p.dQk, s + j);
            } else if (group == 2) {
                DotTile<2>(k.at + j, q, x.qPitch, c.p.dQk, s + j);
            } else if constexpr (ROW_GROUP == 4) {
                if (group == 3) {
                    DotTile<3>(k.at + j, q, x.qPitch, c.p.dQk, s + j);
                } else {
                    DotTile<4>(k.at + j, q, x.qPitch, c.p.dQk, s + j);
                }
            }
        }
    }
}

// o[r][0, V vectors) = o * alpha + sum over keys of p[r][key] * v[key], for R rows.
template <int R, int V, class T>
FASTATTN_INLINE void WeighTile(const RowPointers<T>& v, const RowPointers<T>& next, int64_t prefetchBytes,
                               const DecodeScratch& x, int64_t row, int64_t column)
{
    Vec acc[R][V];
    float* o = x.o + row * x.oPitch + column;
    const float* p = x.s + row * DECODE_KEYS;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
        for (int i = 0; i < V; ++i) {
            acc[r][i] = VMul(Load(o + r * x.oPitch + i * LANES), Set(x.alpha[row + r]));
        }
    }
    for (int64_t j = 0; j < v.count; ++j) {
        if (prefetchBytes != 0 && j < next.count) {
            PrefetchRow(next.at[j], prefetchBytes);
        }
        const T* from = v.at[j] + column;
#pragma GCC unroll 16
        for (int i = 0; i < V; ++i) {
            const Vec value = LoadAs(from + i * LANES);
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
                acc[r][i] = VMulAdd(Set(p[r * DECODE_KEYS + j]), value, acc[r][i]);
            }
        }
    }
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 16
        for (int i = 0; i < V; ++i) {
            Store(acc[r][i], o + r * x.oPitch + i * LANES);
        }
    }
}

// The columns past the last whole vector.
template <class T>
void WeighRest(const RowPointers<T>& v, const DecodeScratch& x, int64_t column, int64_t dV)
{
    for (int64_t r = 0; r < x.rows; ++r) {
        float* o = x.o + r * x.oPitch;
        for (int64_t i = column; i < dV; ++i) {
            o[i] *= x.alpha[r];
        }
        for (int64_t j = 0; j < v.count; ++j) {
            const float weight = x.s[r * DECODE_KEYS + j];
            for (int64_t i = column; i < dV; ++i) {
                o[i] += weight * ToFloat(v.at[j][i]);
            }
        }
    }
}

template <int R, class T>
void WeighRows(const Context& c, const RowPointers<T>& v, const RowPointers<T>& next, const DecodeScratch& x,
               int64_t row)
{
    constexpr int WIDE = VALUE_VECTORS / R > 8 ? 8 : VALUE_VECTORS / R;
    const int64_t vectors = c.p.dV / LANES;
    int64_t i = 0;
    const auto bytes = [&] { return row == 0 && i == 0 ? c.p.dQk * static_cast<int64_t>(sizeof(T)) : 0; };
    for (; i + WIDE <= vectors; i += WIDE) {
        WeighTile<R, WIDE>(v, next, bytes(), x, row, i * LANES);
    }
    if constexpr (WIDE > 4) {
        for (; i + 4 <= vectors; i += 4) {
            WeighTile<R, 4>(v, next, bytes(), x, row, i * LANES);
        }
    }
    if constexpr (WIDE > 2) {
        for (; i + 2 <= vectors; i += 2) {
            WeighTile<R, 2>(v, next, bytes(), x, row, i * LANES);
        }
    }
    for (; i < vectors; ++i) {
        WeighTile<R, 1>(v, next, bytes(), x, row, i * LANES);
    }
}

template <class T>
void DecodeValues(const Context& c, const RowPointers<T>& v, const RowPointers<T>& next, const DecodeScratch& x)
{
    for (int64_t row = 0; row < x.rows; row += ROW_GROUP) {
        switch (std::min<int64_t>(ROW_GROUP, x.rows - row)) {
            case 1: WeighRows<1>(c, v, next, x, row); break;
            case 2: WeighRows<2>(c, v, next, x, row); break;
            case 3: WeighRows<(ROW_GROUP > 2 ? 3 : 1)>(c, v, next, x, row); break;
            default: WeighRows<ROW_GROUP>(c, v, next, x, row);
        }
    }
    if (c.p.dV % LANES != 0) {
        WeighRest(v, x, c.p.dV / LANES * LANES, c.p.dV);
    }
}
