// Attention of prompts on the tensor cores, for 16-bit keys and values. A block has up to 64 rows of one sequence and one head: four warps of 16 rows. Keys are taken KEYS at a time, those of
// one multiple of KEYS, and keys that a row does not see change nothing of what it has, not one bit: its result depends neither on its batch nor on how the prompt was cut.
#define TILE_ROWS 64

struct F16Numbers
{
    DEVICE static u32 pair(float low, float high)
    {
        u32 pair;
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
        return pair;
    }
    DEVICE static void multiply(float c[4], const u32 a[4], u32 b0, u32 b1)
    {
        asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
            : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
    }
};

struct BF16Numbers
{
    DEVICE static u32 pair(float low, float high) { return bf16Pair(low, high); }
    DEVICE static void multiply(float c[4], const u32 a[4], u32 b0, u32 b1) { mmaBF16(c, a[0], a[1], a[2], a[3], b0, b1); }
};

// The matrices of a tile [.., DIM]: eight rows that are read together lie in different banks.
template<int DIM> DEVICE int keyPlace(int key, int chunk) { return key * (DIM / 8) + (chunk ^ (key & 7)); }

// Copies the keys or values of a tile; what no row of the block sees is zero.
template<int DIM, int KEYS> DEVICE void copyKeys(u32 to, const u8* pool, const Layer& layer, const int* table, i64 part, int kvHead, int firstKey, int least, int most)
{
    #pragma unroll
    for (int i = 0; i < KEYS * DIM / 8 / 128; i++)
    {
        int chunk = threadIdx.x % (DIM / 8), key = threadIdx.x / (DIM / 8) + i * (128 / (DIM / 8)), position = firstKey + key;
        bool isThere = position >= least && position <= most;
        copyAsync(to + 16 * keyPlace<DIM>(key, chunk), isThere ? rowOf(pool, layer, table, position, part, kvHead) + 16 * chunk : pool, isThere);
    }
}

// tiles: for each blockIdx.x the first row and the number of rows.
template<class NUMBERS, int DIM, int KEYS> DEVICE void promptAttention(
    const float* qkv, const u8* pool, const int* positions, const int* offsets, const int* tables, const int2* tiles, float* output, const Layer& layer)
{
    // What does not fit the registers of a query each thread keeps in shared memory, for itself.
    const int HELD = 8, PUT_ASIDE = DIM / 16 - HELD;
    __shared__ uint4 keys[KEYS * DIM / 8], stored[KEYS * DIM / 8], aside[PUT_ASIDE > 0 ? PUT_ASIDE : 1][128];
    int2 tile = tiles[blockIdx.x];
    int head = blockIdx.y, kvHead = head / (layer.heads / layer.kvHeads), warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
    int position = positions[tile.x], most = position + tile.y - 1, least = layer.window > position ? 0 : position - layer.window + 1;
    const int* table = tables + offsets[tile.x];
    u32 keyBase = sharedAddress(keys), valueBase = sharedAddress(stored);
    int firstTile = (u32)least / KEYS, lastTile = (u32)most / KEYS;
    copyKeys<DIM, KEYS>(keyBase, pool, layer, table, layer.keys, kvHead, firstTile * KEYS, least, most);
    commitCopies();

    // Rows g and g + 8 of the warp's 16. Behind the last row it is that one again: its result is not stored.
    int local[2] = { warp * 16 + g, warp * 16 + g + 8 }, at[2], from[2];
    u32 query[HELD][4];
    const float* x[2];
    #pragma unroll
    for (int r = 0; r < 2; r++)
    {
        int row = min(local[r], tile.y - 1);
        at[r] = position + row;
        from[r] = layer.window > at[r] ? 0 : at[r] - layer.window + 1;
        x[r] = qkv + ((i64)(tile.x + row) * (layer.heads + 2 * layer.kvHeads) + head) * DIM + 2 * q;
    }
    #pragma unroll
    for (int t = 0; t < DIM / 16; t++)
    {
        u32 words[4];
        #pragma unroll
        for (int i = 0; i < 4; i++)
        {
            float2 v = *(const float2*)(x[i & 1] + 16 * t + 8 * (i >> 1));
            words[i] = NUMBERS::pair(v.x * layer.scale, v.y * layer.scale);
            if (t < HELD)
                query[t % HELD][i] = words[i];
        }
        if (t >= HELD)
            aside[(t - HELD) % (PUT_ASIDE > 0 ? PUT_ASIDE : 1)][threadIdx.x] = make_uint4(words[0], words[1], words[2], words[3]);
    }

    float sums[DIM / 8][4], largest[2] = { NEVER, NEVER }, total[2] = { 0.f, 0.f };
    #pragma unroll
    for (int j = 0; j < DIM / 8; j++)
        sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.f;

    #pragma unroll 1
    for (int t = firstTile; t <= lastTile; t++)
    {
        copyKeys<DIM, KEYS>(valueBase, pool, layer, table, layer.values, kvHead, t * KEYS, least, most);
        commitCopies();
        waitForCopies<1>();
        __syncthreads(); // the keys are there

        float scores[KEYS / 8][4];
        #pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
            scores[j][0] = scores[j][1] = scores[j][2] = scores[j][3] = 0.f;
        #pragma unroll
        for (int k = 0; k < DIM / 16; k++)
        {
            u32 words[4] = { query[k % HELD][0], query[k % HELD][1], query[k % HELD][2], query[k % HELD][3] };
            if (k >= HELD)
            {
                uint4 v = aside[(k - HELD) % (PUT_ASIDE > 0 ? PUT_ASIDE : 1)][threadIdx.x];
                words[0] = v.x; words[1] = v.y; words[2] = v.z; words[3] = v.w;
            }
            #pragma unroll
            for (int j = 0; j < KEYS / 16; j++)
            {
                u32 b[4];
                loadMatrices(b, keyBase + 16 * keyPlace<DIM>(16 * j + (lane & 7) + (lane >> 4) * 8, 2 * k + (lane >> 3 & 1)));
                NUMBERS::multiply(scores[2 * j], words, b[0], b[1]);
                NUMBERS::multiply(scores[2 * j + 1], words, b[2], b[3]);
            }
        }
        __syncthreads(); // all warps are through with the keys
        if (t < lastTile)
            copyKeys<DIM, KEYS>(keyBase, pool, layer, table, layer.keys, kvHead, (t + 1) * KEYS, least, most);
        commitCopies();

        u32 weights[KEYS / 16][4];
        #pragma unroll
        for (int r = 0; r < 2; r++)
        {
            float next = largest[r], sum = 0.f;
            #pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
                #pragma unroll
                for (int e = 0; e < 2; e++)
                {
                    int key = t * KEYS + 8 * j + 2 * q + e;
                    float score = scores[j][2 * r + e];
                    if (layer.cap > 0.f)
                        score = layer.cap * tanhOf(score / layer.cap);
                    score = key >= from[r] && key <= at[r] ? score : NEVER;
                    scores[j][2 * r + e] = score;
                    next = fmaxf(next, score);
                }
            next = fmaxf(next, __shfl_xor_sync(~0u, next, 1));
            next = fmaxf(next, __shfl_xor_sync(~0u, next, 2));
            float factor = __expf(largest[r] - next);
            largest[r] = next;
            #pragma unroll
            for (int j = 0; j < KEYS / 8; j++)
            {
                float first = scores[j][2 * r] > NEVER ? __expf(scores[j][2 * r] - next) : 0.f, second = scores[j][2 * r + 1] > NEVER ? __expf(scores[j][2 * r + 1] - next) : 0.f;
                sum += first + second;
                weights[j / 2][r + j % 2 * 2] = NUMBERS::pair(first, second);
            }
            sum += __shfl_xor_sync(~0u, sum, 1);
            sum += __shfl_xor_sync(~0u, sum, 2);
            total[r] = fmaf(total[r], factor, sum);
            #pragma unroll
            for (int j = 0; j < DIM / 8; j++)
            {
                sums[j][2 * r] *= factor;
                sums[j][2 * r + 1] *= factor;
            }
        }

        waitForCopies<1>();
        __syncthreads(); // the values are there
        #pragma unroll
        for (int k = 0; k < KEYS / 16; k++)
            #pragma unroll
            for (int j = 0; j < DIM / 16; j++)
            {
                u32 b[4];
                loadTransposed(b, valueBase + 16 * keyPlace<DIM>(16 * k + (lane & 7) + (lane >> 3 & 1) * 8, 2 * j + (lane >> 4)));
                NUMBERS::multiply(sums[2 * j], weights[k], b[0], b[1]);
                NUMBERS::multiply(sums[2 * j + 1], weights[k], b[2], b[3]);
            }
        __syncthreads(); // all warps are through with the values
    }

    #pragma unroll
    for (int r = 0; r < 2; r++)
        if (local[r] < tile.y)
        {
            float* to = output + ((i64)(tile.x + local[r]) * layer.heads + head) * DIM + 2 * q;
            #pragma unroll
            for (int j = 0; j < DIM / 8; j++)
                *(float2*)(to + 8 * j) = make_float2(sums[j][2 * r] / total[r], sums[j][2 * r + 1] / total[r]);
        }
}

#define PROMPT_ATTENTION(NAME, NUMBERS, DIM, KEYS) \
    KERNEL __launch_bounds__(128) prompt_attention_##NAME(const float* qkv, const u8* pool, const int* positions, const int* offsets, const int* tables, const int2* tiles, float* output, Layer layer) \
    { promptAttention<NUMBERS, DIM, KEYS>(qkv, pool, positions, offsets, tables, tiles, output, layer); }

PROMPT_ATTENTION(f16_128, F16Numbers, 128, 64)
PROMPT_ATTENTION(f16_256, F16Numbers, 256, 32)
PROMPT_ATTENTION(bf16_128, BF16Numbers, 128, 64)
PROMPT_ATTENTION(bf16_256, BF16Numbers, 256, 32)
