// Products of prompts: output[r] = weights . x[r], both rounded to bfloat16. A block of four warps computes a tile of rows of x by rows of weights: 32 columns of both are
// copied to shared memory while earlier ones are multiplied. Every number is one sum over the columns from first to last, 16 at a time, so it depends neither on the
// size of the tile nor on the other rows.
#define PROMPT_COLUMNS 32

DEVICE u32 sharedAddress(const void* memory) { return (u32)__cvta_generic_to_shared(memory); }

// Copies 16 bytes, or zeros, some time before it is waited for.
DEVICE void copyAsync(u32 to, const void* from, bool isThere)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(to), "l"(from), "r"(isThere ? 16 : 0) : "memory");
}

DEVICE void commitCopies() { asm volatile("cp.async.commit_group;" : : : "memory"); }

template<int LATER> DEVICE void waitForCopies() { asm volatile("cp.async.wait_group %0;" : : "n"(LATER) : "memory"); }

// Four matrices of 8 by 8: each lane gives the address of a row, and gets two neighbours of row lane / 4 of each matrix.
DEVICE void loadMatrices(u32 words[4], u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(address) : "memory");
}

// The same, each transposed: a lane gets two neighbours of a column.
DEVICE void loadTransposed(u32 words[4], u32 address)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
        : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(address) : "memory");
}

// The place of 16 bytes in a tile of rows of 64 bytes: eight rows that are read together lie in different banks.
DEVICE int tilePlace(int row, int chunk) { return row * 4 + (chunk ^ (row >> 1 & 3)); }

// Each warp computes 16 XTILES by 8 WTILES numbers, XWARPS by 4 / XWARPS warps the block's.
template<int XTILES, int WTILES, int XWARPS, int STAGES> DEVICE void promptProduct(
    const u8* weights, const u8* x, float* output, int weightRows, int paddedColumns, int outputColumns, int count)
{
    const int XROWS = 16 * XTILES * XWARPS, WROWS = 8 * WTILES * (4 / XWARPS);
    __shared__ uint4 tiles[STAGES][(XROWS + WROWS) * 4];
    int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31, chunk = thread & 3;
    int firstX = blockIdx.x * XROWS, firstW = blockIdx.y * WROWS, steps = paddedColumns / PROMPT_COLUMNS;

    // A thread copies the same 16 bytes of some rows in every step. Behind the last row it is that one again: its results are not stored.
    const u8 *fromX[XROWS / 32], *fromW[WROWS / 32];
    #pragma unroll
    for (int i = 0; i < XROWS / 32; i++)
        fromX[i] = x + 2 * ((i64)min(firstX + (thread >> 2) + 32 * i, count - 1) * paddedColumns + 8 * chunk);
    #pragma unroll
    for (int i = 0; i < WROWS / 32; i++)
        fromW[i] = weights + 2 * ((i64)min(firstW + (thread >> 2) + 32 * i, weightRows - 1) * paddedColumns + 8 * chunk);
    u32 base = sharedAddress(tiles), place = base + 16 * tilePlace(thread >> 2, chunk);
    const u32 stageBytes = (XROWS + WROWS) * 64;

    float sums[XTILES][WTILES][4];
    #pragma unroll
    for (int i = 0; i < XTILES; i++)
        #pragma unroll
        for (int j = 0; j < WTILES; j++)
            sums[i][j][0] = sums[i][j][1] = sums[i][j][2] = sums[i][j][3] = 0.f;

    int xRow = (warp % XWARPS) * 16 * XTILES, wRow = XROWS + (warp / XWARPS) * 8 * WTILES;
    int next = 0;
    u32 nextStage = 0, stage = 0;
    #pragma unroll 1
    for (int step = 1 - STAGES; step < steps; step++)
    {
        if (step >= 0)
        {
            waitForCopies<STAGES - 2>();
            __syncthreads(); // and all warps are through with what is overwritten now
        }
        if (next < steps)
        {
            #pragma unroll
            for (int i = 0; i < XROWS / 32; i++)
                copyAsync(place + nextStage + 32 * 64 * i, fromX[i] + next * 2 * PROMPT_COLUMNS, true);
            #pragma unroll
            for (int i = 0; i < WROWS / 32; i++)
                copyAsync(place + nextStage + XROWS * 64 + 32 * 64 * i, fromW[i] + next * 2 * PROMPT_COLUMNS, true);
        }
        commitCopies();
        next++;
        nextStage = nextStage == (STAGES - 1) * stageBytes ? 0 : nextStage + stageBytes;
        if (step < 0)
            continue;
        #pragma unroll
        for (int half = 0; half < 2; half++)
        {
            u32 a[XTILES][4], b[WTILES / 2][4];
            #pragma unroll
            for (int i = 0; i < XTILES; i++)
                loadMatrices(a[i], base + stage + 16 * tilePlace(xRow + 16 * i + (lane & 15), 2 * half + (lane >> 4)));
            #pragma unroll
            for (int j = 0; j < WTILES / 2; j++)
                loadMatrices(b[j], base + stage + 16 * tilePlace(wRow + 16 * j + (lane & 7) + (lane >> 4) * 8, 2 * half + (lane >> 3 & 1)));
            #pragma unroll
            for (int i = 0; i < XTILES; i++)
                #pragma unroll
                for (int j = 0; j < WTILES; j++)
                    mmaBF16(sums[i][j], a[i][0], a[i][1], a[i][2], a[i][3], b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]);
        }
        stage = stage == (STAGES - 1) * stageBytes ? 0 : stage + stageBytes;
    }

    int g = lane >> 2, q = lane & 3;
    #pragma unroll
    for (int i = 0; i < 2 * XTILES; i++)
    {
        int row = firstX + xRow + 8 * i + g;
        if (row >= count)
            continue;
        float* to = output + (i64)row * outputColumns;
        #pragma unroll
        for (int j = 0; j < WTILES; j++)
            #pragma unroll
            for (int e = 0; e < 2; e++)
            {
                int n = firstW + wRow - XROWS + 8 * j + 2 * q + e;
                if (n < weightRows)
                    to[n] = sums[i / 2][j][i % 2 * 2 + e];
            }
    }
}

KERNEL __launch_bounds__(128) prompt_product_128(const u8* weights, const u8* x, float* output, int weightRows, int paddedColumns, int outputColumns, int count)
{
    promptProduct<4, 8, 2, 3>(weights, x, output, weightRows, paddedColumns, outputColumns, count);
}

// For few rows: more blocks share the weights, and each has more of them under way.
KERNEL __launch_bounds__(128) prompt_product_32(const u8* weights, const u8* x, float* output, int weightRows, int paddedColumns, int outputColumns, int count)
{
    promptProduct<2, 2, 1, 6>(weights, x, output, weightRows, paddedColumns, outputColumns, count);
}

// Weights of a format as bfloat16 numbers, for the products of prompts: rows of the matrix from firstRow on to [rows, paddedColumns]. Of integers a thread unpacks what one lane of a product reads.
template<class FORMAT> DEVICE void unpackFloat(const u8* weights, uint4* output, int firstRow, int paddedColumns)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x; // eight columns
    if (8 * i >= paddedColumns)
        return;
    i64 at = (i64)(firstRow + blockIdx.y) * paddedColumns + 8 * i;
    u32 words[4];
    #pragma unroll
    for (int j = 0; j < 4; j++)
        words[j] = bf16Pair(FORMAT::decode(weights, at + 2 * j), FORMAT::decode(weights, at + 2 * j + 1));
    output[((i64)blockIdx.y * paddedColumns >> 3) + i] = make_uint4(words[0], words[1], words[2], words[3]);
}

template<class FORMAT> DEVICE void unpackInteger(const Planes& planes, uint2* output, int firstRow, int chunks, int paddedColumns)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x, chunk = i >> 2, q = i & 3;
    if (chunk >= chunks)
        return;
    IntegerPart part;
    FORMAT::load(planes, firstRow + blockIdx.y, chunk, chunks, q, part);
    #pragma unroll
    for (int b = 0; b < 4; b++)
        #pragma unroll
        for (int w = 0; w < 2; w++)
        {
            float scale = FORMAT::HasHalves ? part.scale[2 * b + w] : part.scale[b], values[4];
            #pragma unroll
            for (int j = 0; j < 4; j++)
            {
                values[j] = __fmul_rn(scale, (float)(s8)(part.words[b][w] >> (8 * j)));
                if (FORMAT::HasMinimum)
                    values[j] = __fsub_rn(values[j], part.minimum[b]);
            }
            int column = 128 * chunk + 32 * b + 16 * w + 4 * q;
            if (column < paddedColumns)
                output[((i64)blockIdx.y * paddedColumns + column) >> 2] = make_uint2(bf16Pair(values[0], values[1]), bf16Pair(values[2], values[3]));
        }
}

#define UNPACK_FLOAT(NAME, FORMAT) \
    KERNEL unpack_##NAME(const u8* weights, uint4* output, int firstRow, int paddedColumns) { unpackFloat<FORMAT>(weights, output, firstRow, paddedColumns); }

#define UNPACK_INTEGER(NAME, FORMAT) \
    KERNEL unpack_##NAME(Planes planes, uint2* output, int firstRow, int chunks, int paddedColumns) { unpackInteger<FORMAT>(planes, output, firstRow, chunks, paddedColumns); }

UNPACK_FLOAT(f16, F16Weights)
UNPACK_FLOAT(f32, F32Weights)
UNPACK_INTEGER(q8_0, Q8_0Weights)
UNPACK_INTEGER(q4_0, Q4_0Weights)
UNPACK_INTEGER(q4_k, Q4_KWeights)
UNPACK_INTEGER(q5_k, Q5_KWeights)
UNPACK_INTEGER(q6_k, Q6_KWeights)
