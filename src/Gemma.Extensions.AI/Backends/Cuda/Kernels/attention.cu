// Rotation of queries and keys, storing of keys and values, and attention over them where they lie, in blocks of tokens.
struct Layer
{
    i64 blockBytes;                 // bytes of a block with all its layers
    i64 keys, values;               // offsets of the layer's keys and values in a block
    int heads, kvHeads, headDim, rowBytes, blockTokens;
    u32 blockMagic;                 // floor(2^32 / blockTokens) + 1: a position is divided by a multiplication
    int window;                     // query i sees key j if i - j < window
    float scale, cap;               // cap 0: none
};

DEVICE const u8* rowOf(const u8* pool, const Layer& layer, const int* table, int position, i64 part, int head)
{
    int block = __umulhi((u32)position, layer.blockMagic), token = position - block * layer.blockTokens;
    return pool + (i64)table[block] * layer.blockBytes + part + ((i64)head * layer.blockTokens + token) * layer.rowBytes;
}

struct F16Rows
{
    DEVICE static void store(u8* row, int i, float value) { ((u16*)row)[i] = toHalf(value); }
    DEVICE static float load(const u8* row, int i) { return fromHalf(((const u16*)row)[i]); }
    DEVICE static float low(u32 pair) { return fromHalf((u16)pair); }
    DEVICE static float high(u32 pair) { return fromHalf((u16)(pair >> 16)); }
};

struct BF16Rows
{
    DEVICE static void store(u8* row, int i, float value) { ((u16*)row)[i] = (u16)bf16Pair(value, 0.f); }
    DEVICE static float load(const u8* row, int i) { return __uint_as_float((u32)((const u16*)row)[i] << 16); }
    DEVICE static float low(u32 pair) { return bf16Low(pair); }
    DEVICE static float high(u32 pair) { return bf16High(pair); }
};

struct F32Rows
{
    DEVICE static void store(u8* row, int i, float value) { ((float*)row)[i] = value; }
    DEVICE static float load(const u8* row, int i) { return ((const float*)row)[i]; }
};

// Blocks of a float16 scale and 32 signed bytes. The 32 lanes of a warp have a block.
struct Q8_0Rows
{
    DEVICE static void store(u8* row, int i, float value)
    {
        float largest = fabsf(value);
        #pragma unroll
        for (int distance = 16; distance > 0; distance >>= 1)
            largest = fmaxf(largest, __shfl_xor_sync(~0u, largest, distance));
        u16 scale = toHalf(largest / 127.f);
        float stored = fromHalf(scale), inverse = stored == 0.f ? 0.f : 1.f / stored;
        u8* block = row + (i >> 5) * 34;
        if ((i & 31) == 0)
            *(u16*)block = scale;
        ((s8*)block)[2 + (i & 31)] = (s8)max(-127, min(127, __float2int_rn(value * inverse)));
    }
    DEVICE static float load(const u8* row, int i)
    {
        const u8* block = row + (i >> 5) * 34;
        return fromHalf(*(const u16*)block) * ((const s8*)block)[2 + (i & 31)];
    }
};

// One block a row and head, one thread a number. Heads behind the queries' are those of keys and values. qkv is [rows, (heads + 2 kvHeads) headDim];
// angles has for each position the cosines and then the sines of half a head.
template<class ROWS> DEVICE void ropeAndStore(float* qkv, u8* pool, const int* positions, const int* offsets, const int* tables, const float* angles, const Layer& layer)
{
    int row = blockIdx.x, head = blockIdx.y, i = threadIdx.x, half = layer.headDim >> 1, position = positions[row];
    bool inside = i < layer.headDim, isQuery = head < layer.heads;
    float* x = qkv + ((i64)row * (layer.heads + 2 * layer.kvHeads) + head) * layer.headDim;
    const float* angle = angles + (i64)position * layer.headDim;
    float rotated = 0.f;
    if (inside)
        rotated = i < half ? x[i] * angle[i] - x[i + half] * angle[half + i] : x[i] * angle[i - half] + x[i - half] * angle[i];
    __syncthreads(); // everything is read before it is written
    if (!inside)
        return; // for Q8_0 heads are whole warps
    if (isQuery)
    {
        x[i] = rotated;
        return;
    }
    const int* table = tables + offsets[row];
    head -= layer.heads;
    ROWS::store((u8*)rowOf(pool, layer, table, position, layer.keys, head), i, rotated);
    ROWS::store((u8*)rowOf(pool, layer, table, position, layer.values, head), i, x[i + layer.kvHeads * layer.headDim]);
}

// Attention works in spans of keys that begin at multiples of SPAN, wherever the window begins and however many rows there are: their states are merged in
// order, by one block or by a second kernel, with the same operations, so a row's result does not depend on its batch.
#define SPAN 256
#define ATTENTION_WARPS 4
#define NEVER -1e30f

struct State
{
    float largest, sum;
};

DEVICE void merge(State& state, float values[2], const State& next, const float nextValues[2])
{
    float largest = fmaxf(state.largest, next.largest), old = __expf(state.largest - largest), factor = __expf(next.largest - largest);
    state.sum = fmaf(next.sum, factor, __fmul_rn(state.sum, old));
    values[0] = fmaf(nextValues[0], factor, __fmul_rn(values[0], old));
    values[1] = fmaf(nextValues[1], factor, __fmul_rn(values[1], old));
    state.largest = largest;
}

// A lane's numbers of a row: EACH contiguous ones (headDim = 32 EACH) of a 16-bit type, or, where EACH is 0, every 32nd one.
template<class ROWS, int EACH> struct Lane
{
    u32 words[EACH / 2];
    DEVICE void load(const u8* row, int lane, int headDim)
    {
        if (EACH == 8)
        {
            uint4 v = ((const uint4*)row)[lane];
            words[0] = v.x; words[1] = v.y; words[EACH / 2 - 2] = v.z; words[EACH / 2 - 1] = v.w;
        }
        else
        {
            uint2 v = ((const uint2*)row)[lane];
            words[0] = v.x; words[1] = v.y;
        }
    }
    DEVICE float get(int i) const { return i & 1 ? ROWS::high(words[i >> 1]) : ROWS::low(words[i >> 1]); }
    DEVICE static int index(int i, int lane) { return EACH * lane + i; }
};

template<class ROWS> struct Lane<ROWS, 0>
{
    float numbers[8];
    DEVICE void load(const u8* row, int lane, int headDim)
    {
        #pragma unroll
        for (int i = 0; i < 8; i++)
            numbers[i] = 32 * i + lane < headDim ? ROWS::load(row, 32 * i + lane) : 0.f;
    }
    DEVICE float get(int i) const { return numbers[i]; }
    DEVICE static int index(int i, int lane) { return 32 * i + lane; }
};

// One block a row and head; blockIdx.z: which span, where spans are shared out; partial then receives [row, head, span, 2 + headDim].
template<class ROWS, int EACH> DEVICE void attention(
    const float* qkv, const u8* pool, const int* positions, const int* offsets, const int* tables, float* output, float* partial, const Layer& layer)
{
    const int COUNT = EACH == 0 ? 8 : EACH;
    __shared__ State states[ATTENTION_WARPS];
    __shared__ float sums[ATTENTION_WARPS][256];
    int row = blockIdx.x, head = blockIdx.y, warp = threadIdx.x >> 5, lane = threadIdx.x & 31, position = positions[row];
    int kvHead = head / (layer.heads / layer.kvHeads), first = layer.window > position ? 0 : position - layer.window + 1;
    const int headDim = EACH == 0 ? layer.headDim : 32 * EACH;
    const int* table = tables + offsets[row];
    const float* x = qkv + ((i64)row * (layer.heads + 2 * layer.kvHeads) + head) * headDim;
    float query[COUNT];
    #pragma unroll
    for (int i = 0; i < COUNT; i++)
        query[i] = Lane<ROWS, EACH>::index(i, lane) < headDim ? x[Lane<ROWS, EACH>::index(i, lane)] : 0.f;

    State all = { NEVER, 0.f };
    float values[2] = { 0.f, 0.f };
    int firstSpan = (u32)first / SPAN, lastSpan = (u32)position / SPAN;
    if (partial)
    {
        firstSpan = max(firstSpan, (int)blockIdx.z);
        lastSpan = min(lastSpan, (int)blockIdx.z);
    }
    for (int span = firstSpan; span <= lastSpan; span++)
    {
        int begin = max(first, span * SPAN), end = min(position, span * SPAN + SPAN - 1);
        State state = { NEVER, 0.f };
        float sum[COUNT];
        #pragma unroll
        for (int i = 0; i < COUNT; i++)
            sum[i] = 0.f;

        // Four keys at a time, those of one multiple of four; the warps take turns.
        for (int four = (begin >> 2) + ((warp - (begin >> 2)) & (ATTENTION_WARPS - 1)); 4 * four <= end; four += ATTENTION_WARPS)
        {
            Lane<ROWS, EACH> keys[4], stored[4];
            float score[4], weight[4];
            #pragma unroll
            for (int j = 0; j < 4; j++)
            {
                int key = 4 * four + j;
                if (key >= begin && key <= end)
                {
                    keys[j].load(rowOf(pool, layer, table, key, layer.keys, kvHead), lane, headDim);
                    stored[j].load(rowOf(pool, layer, table, key, layer.values, kvHead), lane, headDim);
                }
            }
            #pragma unroll
            for (int j = 0; j < 4; j++)
            {
                int key = 4 * four + j;
                score[j] = NEVER;
                if (key >= begin && key <= end)
                {
                    float dot = 0.f;
                    #pragma unroll
                    for (int i = 0; i < COUNT; i++)
                        dot = fmaf(query[i], keys[j].get(i), dot);
                    dot = warpSum(dot) * layer.scale;
                    score[j] = layer.cap > 0.f ? layer.cap * tanhOf(dot / layer.cap) : dot;
                }
            }
            float largest = fmaxf(state.largest, fmaxf(fmaxf(score[0], score[1]), fmaxf(score[2], score[3]))), old = __expf(state.largest - largest);
            #pragma unroll
            for (int j = 0; j < 4; j++)
                weight[j] = __expf(score[j] - largest);
            state.sum = fmaf(state.sum, old, (weight[0] + weight[1]) + (weight[2] + weight[3]));
            state.largest = largest;
            #pragma unroll
            for (int i = 0; i < COUNT; i++)
                sum[i] *= old;
            #pragma unroll
            for (int j = 0; j < 4; j++)
            {
                int key = 4 * four + j;
                if (key >= begin && key <= end)
                {
                    #pragma unroll
                    for (int i = 0; i < COUNT; i++)
                        sum[i] = fmaf(weight[j], stored[j].get(i), sum[i]);
                }
            }
        }

        if (lane == 0)
            states[warp] = state;
        #pragma unroll
        for (int i = 0; i < COUNT; i++)
            if (Lane<ROWS, EACH>::index(i, lane) < headDim)
                sums[warp][Lane<ROWS, EACH>::index(i, lane)] = sum[i];
        __syncthreads();

        State spanState = { NEVER, 0.f };
        float spanValues[2] = { 0.f, 0.f };
        #pragma unroll
        for (int w = 0; w < ATTENTION_WARPS; w++)
        {
            int i = threadIdx.x, j = threadIdx.x + 128;
            float next[2] = { i < headDim ? sums[w][i] : 0.f, j < headDim ? sums[w][j] : 0.f };
            merge(spanState, spanValues, states[w], next);
        }
        if (partial)
        {
            float* to = partial + (((i64)row * layer.heads + head) * gridDim.z + span) * (2 + headDim);
            if (threadIdx.x == 0)
            {
                to[0] = spanState.largest;
                to[1] = spanState.sum;
            }
            #pragma unroll
            for (int i = 0; i < 2; i++)
                if (threadIdx.x + 128 * i < headDim)
                    to[2 + threadIdx.x + 128 * i] = spanValues[i];
        }
        else
            merge(all, values, spanState, spanValues);
        __syncthreads(); // the warps' states are read before those of the next span are written
    }

    if (!partial)
    {
        #pragma unroll
        for (int i = 0; i < 2; i++)
            if (threadIdx.x + 128 * i < headDim)
                output[((i64)row * layer.heads + head) * headDim + threadIdx.x + 128 * i] = values[i] / all.sum;
    }
}

// Merges the spans of a row and head that different blocks computed.
KERNEL merge_spans(const float* partial, const int* positions, float* output, int spans, int headDim, int window)
{
    int position = positions[blockIdx.x], first = window > position ? 0 : position - window + 1;
    i64 at = (i64)blockIdx.x * gridDim.y + blockIdx.y;
    State all = { NEVER, 0.f };
    float values[2] = { 0.f, 0.f };
    for (int span = (u32)first / SPAN, last = (u32)position / SPAN; span <= last; span++)
    {
        const float* from = partial + (at * spans + span) * (2 + headDim);
        int i = threadIdx.x, j = threadIdx.x + 128;
        State state = { from[0], from[1] };
        float next[2] = { i < headDim ? from[2 + i] : 0.f, j < headDim ? from[2 + j] : 0.f };
        merge(all, values, state, next);
    }
    #pragma unroll
    for (int i = 0; i < 2; i++)
        if (threadIdx.x + 128 * i < headDim)
            output[at * headDim + threadIdx.x + 128 * i] = values[i] / all.sum;
}

#define ATTENTION_KERNEL(NAME, ROWS, EACH) \
    KERNEL __launch_bounds__(128) attention_##NAME(const float* qkv, const u8* pool, const int* positions, const int* offsets, const int* tables, float* output, float* partial, Layer layer) \
    { attention<ROWS, EACH>(qkv, pool, positions, offsets, tables, output, partial, layer); }

#define STORE_KERNEL(NAME, ROWS) \
    KERNEL __launch_bounds__(256) rope_store_##NAME(float* qkv, u8* pool, const int* positions, const int* offsets, const int* tables, const float* angles, Layer layer) \
    { ropeAndStore<ROWS>(qkv, pool, positions, offsets, tables, angles, layer); }

STORE_KERNEL(f16, F16Rows)
STORE_KERNEL(bf16, BF16Rows)
STORE_KERNEL(q8_0, Q8_0Rows)
STORE_KERNEL(f32, F32Rows)
ATTENTION_KERNEL(f16, F16Rows, 0)
ATTENTION_KERNEL(bf16, BF16Rows, 0)
ATTENTION_KERNEL(q8_0, Q8_0Rows, 0)
ATTENTION_KERNEL(f32, F32Rows, 0)
ATTENTION_KERNEL(f16_128, F16Rows, 4)
ATTENTION_KERNEL(f16_256, F16Rows, 8)
ATTENTION_KERNEL(bf16_128, BF16Rows, 4)
ATTENTION_KERNEL(bf16_256, BF16Rows, 8)
