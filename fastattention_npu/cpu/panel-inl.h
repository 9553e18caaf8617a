// Attention of many rows: a panel is two vectors of rows, S^T = K Q^T and O^T += V^T P^T are register-blocked products
// with the rows in the lanes, so a row's maximum and sum need no shuffles and only Q and O are transposed, once each.
// K and V pass through float32 tiles of at most BLOCK_KEYS tokens in the thread's scratch (cache-resident), shared by
// all panels of the task. Included inside a target's namespace by kernels-inl.h.

constexpr int PANEL = 2 * LANES;
constexpr int TILE = MANY_REGISTERS ? 12 : 6;  // keys (or channels) to a register tile of TILE x PANEL
constexpr int64_t BLOCK_KEYS = 128;

// K tile pitches are compile-time numbers so that a register tile's rows are displacements of one address.
// V lies in strips of TILE channels, so that a register tile reads one address after the other.
constexpr int64_t STRIP_FLOATS = BLOCK_KEYS * TILE + LANES;  // the last row's store may run on by up to a vector

constexpr int64_t NARROW_PITCH = 144, WIDE_PITCH = 272;  // floats; not multiples of 64 B * 64, against set conflicts

struct PanelScratch {
    float* qT;    // (panels, dQk4, PANEL), times Context::qFactor
    float* oT;    // (panels, dV4, PANEL)
    float* rows;  // (panels, 6, PANEL): first key, last key, diagonal, slope, max, sum
    float* k;     // (BLOCK_KEYS, kPitch)
    float* v;     // (strips, STRIP_FLOATS)
    float* s;     // (BLOCK_KEYS, PANEL)
    float* bias;  // (BLOCK_KEYS, PANEL)
    int64_t dQk4, dV4, kPitch, linePitch, strips, panels, floats;
};

PanelScratch LayOutPanels(const Context& c, float* base)
{
    PanelScratch x{};
    x.dQk4 = RoundUp(c.p.dQk, 4);
    x.dV4 = RoundUp(c.p.dV, 4);
    x.kPitch = c.p.dQk <= 128 ? NARROW_PITCH : WIDE_PITCH;
    x.linePitch = RoundUp(c.p.dV, 16) + 16;
    x.strips = RoundUp(c.p.dV, TILE) / TILE;
    x.panels = RoundUp(c.rowsPerTask, PANEL) / PANEL;
    int64_t at = 0;
    const auto take = [&](int64_t floats) {
        float* start = base == nullptr ? nullptr : base + at;
        at += RoundUp(floats, 16);
        return start;
    };
    x.qT = take(x.panels * x.dQk4 * PANEL);
    x.oT = take(x.panels * x.dV4 * PANEL);
    x.rows = take(x.panels * 6 * PANEL);
    x.k = take(BLOCK_KEYS * x.kPitch);  // also lends PANEL rows to the transpositions
    x.v = take(x.strips * STRIP_FLOATS);
    x.s = take(BLOCK_KEYS * PANEL);
    x.bias = c.p.mask != 0 ? take(BLOCK_KEYS * PANEL) : nullptr;
    x.floats = at;
    return x;
}

// s[r][lane] = sum over i of k[r][i] * qT[i][lane] for R keys.
template <int R, int64_t PITCH>
FASTATTN_INLINE void ScoreTile(const float* k, const float* qT, int64_t d, float* s)
{
    Vec acc[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
        acc[r][0] = Zero();
        acc[r][1] = Zero();
    }
    for (int64_t i = 0; i < d; ++i) {
        const Vec q0 = Load(qT + i * PANEL);
        const Vec q1 = Load(qT + i * PANEL + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const Vec scalar = Set(k[r * PITCH + i]);
            acc[r][0] = VMulAdd(scalar, q0, acc[r][0]);
            acc[r][1] = VMulAdd(scalar, q1, acc[r][1]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
        Store(acc[r][0], s + r * PANEL);
        Store(acc[r][1], s + r * PANEL + LANES);
    }
}

// oT[r][lane] = oT[r][lane] * alpha[lane] + sum over keys of v[key][r] * p[key][lane] for the first R channels of a strip.
template <int R>
FASTATTN_INLINE void ValueTile(const float* v, const float* p, int64_t keys, Vec alpha0, Vec alpha1, float* oT)
{
    Vec acc[R][2];
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
        acc[r][0] = VMul(Load(oT + r * PANEL), alpha0);
        acc[r][1] = VMul(Load(oT + r * PANEL + LANES), alpha1);
    }
    for (int64_t key = 0; key < keys; ++key) {
        const Vec p0 = Load(p + key * PANEL);
        const Vec p1 = Load(p + key * PANEL + LANES);
#pragma GCC unroll 16
        for (int r = 0; r < R; ++r) {
            const Vec scalar = Set(v[key * TILE + r]);
            acc[r][0] = VMulAdd(scalar, p0, acc[r][0]);
            acc[r][1] = VMulAdd(scalar, p1, acc[r][1]);
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
        Store(acc[r][0], oT + r * PANEL);
        Store(acc[r][1], oT + r * PANEL + LANES);
    }
}

// n, like channels below, is a multiple of 4.
template <int64_t PITCH>
void Scores(const float* k, const float* qT, int64_t d, int64_t n, float* s)
{
    int64_t r = 0;
    for (; r + TILE <= n; r += TILE) {
        ScoreTile<TILE, PITCH>(k + r * PITCH, qT, d, s + r * PANEL);
    }
    if constexpr (TILE > 8) {
        for (; r + 8 <= n; r += 8) {
            ScoreTile<8, PITCH>(k + r * PITCH, qT, d, s + r * PANEL);
        }
    }
    for (; r + 4 <= n; r += 4) {
        ScoreTile<4, PITCH>(k + r * PITCH, qT, d, s + r * PANEL);
    }
    for (; r < n; r += 2) {
        ScoreTile<2, PITCH>(k + r * PITCH, qT, d, s + r * PANEL);
    }
}

void Values(const float* v, const float* p, int64_t keys, const float* alpha, int64_t channels, float* oT)
{
    const Vec alpha0 = Load(alpha);
    const Vec alpha1 = Load(alpha + LANES);
    for (; channels >= TILE; channels -= TILE, v += STRIP_FLOATS, oT += TILE * PANEL) {
        ValueTile<TILE>(v, p, keys, alpha0, alpha1, oT);
    }
    if constexpr (TILE > 8) {
        if (channels >= 8) {
            return ValueTile<8>(v, p, keys, alpha0, alpha1, oT);
        }
    }
    if (channels >= 4) {
        ValueTile<4>(v, p, keys, alpha0, alpha1, oT);
    } else if (channels >= 2) {
        ValueTile<2>(v, p, keys, alpha0, alpha1, oT);
    }
}

// Weights in place of scores (base-2 units), per lane: new maximum, rescale factor of what came before, sum.
void Softmax(float* s, int64_t n, float* rowMax, float* rowSum, float* alpha)
{
    const Vec none = Set(MINUS_INFINITY);
    for (int half = 0; half < PANEL; half += LANES) {
        const Vec before = Load(rowMax + half);
        Vec best = before;
        Vec best2 = before;
        for (int64_t key = 0; key < n; key += 2) {
            best = VMax(best, Load(s + key * PANEL + half));
            best2 = VMax(best2, Load(s + (key + 1) * PANEL + half));
        }
        best = VMax(best, best2);
        const Vec shift = Select(Equal(best, none), Zero(), best);
        const Vec factor = Exp2(VSub(before, shift));
        Vec sum = VMul(Load(rowSum + half), factor);
        Vec sum2 = Zero();
        for (int64_t key = 0; key < n; key += 2) {
            const Vec p = Exp2(VSub(Load(s + key * PANEL + half), shift));
            const Vec p2 = Exp2(VSub(Load(s + (key + 1) * PANEL + half), shift));
            Store(p, s + key * PANEL + half);
            Store(p2, s + (key + 1) * PANEL + half);
            sum = VAdd(sum, p);
            sum2 = VAdd(sum2, p2);
        }
        Store(best, rowMax + half);
        Store(VAdd(sum, sum2), rowSum + half);
        Store(factor, alpha + half);
    }
}
