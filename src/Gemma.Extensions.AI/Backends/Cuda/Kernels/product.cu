// output[r] = weights . x[r]. A block computes 16 weight rows by 8 TILES rows of x on the tensor cores; its eight warps share the columns, each a contiguous range, and
// their sums are added in order. The order of additions depends on the shape of the weights alone, so a row's result does not depend on the other rows.
#define WARPS 8

DEVICE void mmaBF16(float c[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1)
{
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3]) : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}

DEVICE void mmaInt8(int c[4], const u32 a0[2], const u32 a1[2], u32 b0, u32 b1)
{
    asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%10,%10,%10};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3]) : "r"(a0[0]), "r"(a1[0]), "r"(a0[1]), "r"(a1[1]), "r"(b0), "r"(b1), "r"(0));
}

DEVICE void mmaInt8Half(int c[4], u32 a0, u32 a1, u32 b)
{
    asm("mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%7,%7,%7,%7};"
        : "=r"(c[0]), "=r"(c[1]), "=r"(c[2]), "=r"(c[3]) : "r"(a0), "r"(a1), "r"(b), "r"(0));
}

// The range of chunks of this warp.
DEVICE int firstChunk(int warp, int chunks) { return min(chunks, warp * (int)((u32)(chunks + WARPS - 1) / WARPS)); }

// Adds the warps' sums and stores them. A lane has of each tile rows g, g and g + 8, g + 8 at columns 2 q, 2 q + 1.
template<int TILES> DEVICE void store(const float sums[TILES][4], float* output, int weightRow, int weightRows, int outputColumns, int firstX, int rows)
{
    __shared__ float parts[WARPS][TILES * 128];
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
    #pragma unroll
    for (int t = 0; t < TILES; t++)
        #pragma unroll
        for (int e = 0; e < 4; e++)
            parts[warp][t * 128 + (2 * q + (e & 1)) * 16 + g + 8 * (e >> 1)] = sums[t][e];
    __syncthreads();
    #pragma unroll
    for (int part = 0; part < (TILES + 1) / 2; part++)
    {
        int i = part * 32 * WARPS + threadIdx.x, row = firstX + (i >> 4), n = weightRow + (i & 15);
        if (row < rows && n < weightRows && i < TILES * 128)
        {
            float sum = parts[0][i];
            #pragma unroll
            for (int w = 1; w < WARPS; w++)
                sum += parts[w][i];
            output[(i64)row * outputColumns + n] = sum;
        }
    }
}

template<class FORMAT, int TILES> DEVICE void productFloat(
    const u8* weights, const u8* high, const u8* low, float* output, int weightRows, int paddedColumns, int outputColumns, int rows)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3, chunks = paddedColumns >> 5;
    int weightRow = blockIdx.y * 16, firstX = blockIdx.x * 8 * TILES;
    i64 row0 = (i64)min(weightRow + g, weightRows - 1) * paddedColumns + 8 * q, row1 = (i64)min(weightRow + g + 8, weightRows - 1) * paddedColumns + 8 * q;
    float sums[TILES][4];
    #pragma unroll
    for (int t = 0; t < TILES; t++)
        sums[t][0] = sums[t][1] = sums[t][2] = sums[t][3] = 0.f;
    #pragma unroll(TILES == 1 && !FORMAT::IsSplit ? 4 : 2)
    for (int chunk = firstChunk(warp, chunks), end = firstChunk(warp + 1, chunks); chunk < end; chunk++)
    {
        FloatPart a, b;
        FORMAT::load(weights, row0 + chunk * 32, a);
        FORMAT::load(weights, row1 + chunk * 32, b);
        #pragma unroll
        for (int t = 0; t < TILES; t++)
        {
            // Behind the last row that one again: its results are not stored.
            i64 at = 2 * ((i64)min(firstX + t * 8 + g, rows - 1) * paddedColumns + chunk * 32 + 8 * q);
            uint4 xHigh = *(const uint4*)(high + at), xLow = *(const uint4*)(low + at);
            mmaBF16(sums[t], a.high[0], b.high[0], a.high[1], b.high[1], xHigh.x, xHigh.y);
            mmaBF16(sums[t], a.high[2], b.high[2], a.high[3], b.high[3], xHigh.z, xHigh.w);
            mmaBF16(sums[t], a.high[0], b.high[0], a.high[1], b.high[1], xLow.x, xLow.y);
            mmaBF16(sums[t], a.high[2], b.high[2], a.high[3], b.high[3], xLow.z, xLow.w);
            if (FORMAT::IsSplit)
            {
                mmaBF16(sums[t], a.low[0], b.low[0], a.low[1], b.low[1], xHigh.x, xHigh.y);
                mmaBF16(sums[t], a.low[2], b.low[2], a.low[3], b.low[3], xHigh.z, xHigh.w);
            }
        }
    }
    store<TILES>(sums, output, weightRow, weightRows, outputColumns, firstX, rows);
}

template<class FORMAT, int TILES> DEVICE void productInteger(
    const Planes& planes, const u8* bytes, const float4* scales, float* output, int weightRows, int chunks, int outputColumns, int rows)
{
    int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, g = lane >> 2, q = lane & 3;
    int weightRow = blockIdx.y * 16, firstX = blockIdx.x * 8 * TILES;
    int row0 = min(weightRow + g, weightRows - 1), row1 = min(weightRow + g + 8, weightRows - 1);
    float sums[TILES][4];
    #pragma unroll
    for (int t = 0; t < TILES; t++)
        sums[t][0] = sums[t][1] = sums[t][2] = sums[t][3] = 0.f;
    #pragma unroll 1
    for (int chunk = firstChunk(warp, chunks), end = firstChunk(warp + 1, chunks); chunk < end; chunk++)
    {
        IntegerPart a, b;
        FORMAT::load(planes, row0, chunk, chunks, q, a);
        FORMAT::load(planes, row1, chunk, chunks, q, b);
        #pragma unroll
        for (int t = 0; t < TILES; t++)
        {
            const uint4* at = (const uint4*)(bytes + ((i64)min(firstX + t * 8 + g, rows - 1) * chunks + chunk) * 128 + 32 * q);
            uint4 v = at[0], w = at[1];
            u32 x[8] = { v.x, v.y, v.z, v.w, w.x, w.y, w.z, w.w };
            // Two of these hold scale and sum of two groups of one row of x.
            i64 x0 = ((i64)min(firstX + t * 8 + 2 * q, rows - 1) * chunks + chunk) * 2, x1 = ((i64)min(firstX + t * 8 + 2 * q + 1, rows - 1) * chunks + chunk) * 2;
            #pragma unroll
            for (int b2 = 0; b2 < 2; b2++)
            {
                float4 s0 = scales[x0 + b2], s1 = scales[x1 + b2];
                #pragma unroll
                for (int i = 0; i < 2; i++)
                {
                    int group = 2 * b2 + i;
                    float d0 = i ? s0.z : s0.x, d1 = i ? s1.z : s1.x, m0 = i ? s0.w : s0.y, m1 = i ? s1.w : s1.y;
                    int c[4];
                    if (FORMAT::HasHalves)
                    {
                        #pragma unroll
                        for (int h = 0; h < 2; h++)
                        {
                            mmaInt8Half(c, a.words[group][h], b.words[group][h], x[2 * group + h]);
                            sums[t][0] = fmaf((float)c[0] * d0, a.scale[2 * group + h], sums[t][0]);
                            sums[t][1] = fmaf((float)c[1] * d1, a.scale[2 * group + h], sums[t][1]);
                            sums[t][2] = fmaf((float)c[2] * d0, b.scale[2 * group + h], sums[t][2]);
                            sums[t][3] = fmaf((float)c[3] * d1, b.scale[2 * group + h], sums[t][3]);
                        }
                    }
                    else
                    {
                        mmaInt8(c, a.words[group], b.words[group], x[2 * group], x[2 * group + 1]);
                        sums[t][0] = fmaf((float)c[0] * d0, a.scale[group], sums[t][0]);
                        sums[t][1] = fmaf((float)c[1] * d1, a.scale[group], sums[t][1]);
                        sums[t][2] = fmaf((float)c[2] * d0, b.scale[group], sums[t][2]);
                        sums[t][3] = fmaf((float)c[3] * d1, b.scale[group], sums[t][3]);
                    }
                    if (FORMAT::HasMinimum)
                    {
                        sums[t][0] = fmaf(-a.minimum[group], m0, sums[t][0]);
                        sums[t][1] = fmaf(-a.minimum[group], m1, sums[t][1]);
                        sums[t][2] = fmaf(-b.minimum[group], m0, sums[t][2]);
                        sums[t][3] = fmaf(-b.minimum[group], m1, sums[t][3]);
                    }
                }
            }
        }
    }
    store<TILES>(sums, output, weightRow, weightRows, outputColumns, firstX, rows);
}

// output[i] = table[tokens[i]] * scale for the tokens of this part of the table.
#define FLOAT_KERNELS(NAME, FORMAT) \
    KERNEL __launch_bounds__(256) product_##NAME##_1(const u8* weights, const u8* high, const u8* low, float* output, int weightRows, int paddedColumns, int outputColumns, int rows) \
    { productFloat<FORMAT, 1>(weights, high, low, output, weightRows, paddedColumns, outputColumns, rows); } \
    KERNEL __launch_bounds__(256) product_##NAME##_4(const u8* weights, const u8* high, const u8* low, float* output, int weightRows, int paddedColumns, int outputColumns, int rows) \
    { productFloat<FORMAT, 4>(weights, high, low, output, weightRows, paddedColumns, outputColumns, rows); } \
    KERNEL embed_##NAME(const u8* weights, const int* tokens, float* output, int firstRow, int weightRows, int columns, int paddedColumns, float scale) \
    { \
        int column = blockIdx.x * blockDim.x + threadIdx.x, row = tokens[blockIdx.y] - firstRow; \
        if (column < columns && row >= 0 && row < weightRows) \
            output[(i64)blockIdx.y * columns + column] = FORMAT::decode(weights, (i64)row * paddedColumns + column) * scale; \
    }

#define INTEGER_KERNELS(NAME, FORMAT) \
    KERNEL __launch_bounds__(256) product_##NAME##_1(Planes planes, const u8* bytes, const float4* scales, float* output, int weightRows, int chunks, int outputColumns, int rows) \
    { productInteger<FORMAT, 1>(planes, bytes, scales, output, weightRows, chunks, outputColumns, rows); } \
    KERNEL __launch_bounds__(256) product_##NAME##_4(Planes planes, const u8* bytes, const float4* scales, float* output, int weightRows, int chunks, int outputColumns, int rows) \
    { productInteger<FORMAT, 4>(planes, bytes, scales, output, weightRows, chunks, outputColumns, rows); } \
    KERNEL embed_##NAME(Planes planes, const int* tokens, float* output, int firstRow, int weightRows, int columns, int chunks, float scale) \
    { \
        int column = blockIdx.x * blockDim.x + threadIdx.x, row = tokens[blockIdx.y] - firstRow; \
        if (column < columns && row >= 0 && row < weightRows) \
            output[(i64)blockIdx.y * columns + column] = FORMAT::decode(planes, row, column, chunks) * scale; \
    }

FLOAT_KERNELS(bf16, BF16Weights)
FLOAT_KERNELS(f16, F16Weights)
FLOAT_KERNELS(f32, F32Weights)
INTEGER_KERNELS(q8_0, Q8_0Weights)
INTEGER_KERNELS(q4_0, Q4_0Weights)
INTEGER_KERNELS(q4_k, Q4_KWeights)
INTEGER_KERNELS(q5_k, Q5_KWeights)
INTEGER_KERNELS(q6_k, Q6_KWeights)
