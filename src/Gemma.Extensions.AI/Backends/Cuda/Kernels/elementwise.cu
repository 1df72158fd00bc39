// Norms and everything that works number by number. One block a row, or one thread a number.

// What products take of a matrix, next to or in place of its float32 numbers; null: not wanted. Rows from generated on are those of prompts.
struct Packed
{
    u16 *high, *low;            // each number as the sum of two bfloat16 numbers, [rows, floatColumns]; of prompts the first alone
    s8* bytes;                  // signed bytes, [rows, byteColumns], with one scale for 32 of them, and that scale times their sum
    float2* scales;
    int generated, floatColumns, byteColumns;
};

// Stores column i of a row; zero behind the last column. Called by whole warps of 32 neighbours.
// Within 128 columns a lane of a product finds its 32 bytes together: column 32 b + 16 h + 4 q + i is byte 32 q + 8 b + 4 h + i.
DEVICE void pack(const Packed& packed, i64 row, int i, float value)
{
    bool isPrompt = (int)row >= packed.generated;
    if (packed.high && (isPrompt || packed.low) && i < packed.floatColumns)
    {
        u32 rounded = bf16Pair(value, 0.f);
        packed.high[row * packed.floatColumns + i] = (u16)rounded;
        if (!isPrompt)
            packed.low[row * packed.floatColumns + i] = (u16)bf16Pair(__fsub_rn(value, bf16Low(rounded)), 0.f);
    }
    if (packed.bytes && !isPrompt && i < packed.byteColumns)
    {
        u32 largest = __float_as_uint(fabsf(value)); // compared as integers, so that NaN is the largest and not lost
        #pragma unroll
        for (int distance = 16; distance > 0; distance >>= 1)
            largest = max(largest, __shfl_xor_sync(~0u, largest, distance));
        float scale = __uint_as_float(largest) / 127.f;
        int code = scale > 0.f ? __float2int_rn(value / scale) : 0, sum = code;
        #pragma unroll
        for (int distance = 16; distance > 0; distance >>= 1)
            sum += __shfl_xor_sync(~0u, sum, distance);
        i64 first = row * packed.byteColumns;
        int group = i >> 5 & 3, half = i >> 4 & 1, lane = i >> 2 & 3;
        packed.bytes[first + (i & ~127) + 32 * lane + 8 * group + 4 * half + (i & 3)] = (s8)code;
        if ((i & 31) == 0)
            packed.scales[(first + i) >> 5] = make_float2(scale, scale * sum);
    }
}

// The forms of a matrix that nobody packed on the way.
KERNEL pack_activations(const float* x, Packed packed, int columns)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < max(packed.floatColumns, packed.byteColumns)) // whole warps: both are multiples of 32
        pack(packed, blockIdx.y, i, i < columns ? x[(i64)blockIdx.y * columns + i] : 0.f);
}

// x[r] += branch[r] / rms(branch[r]) * weight, where there is a branch; then output[r] = x[r] / rms(x[r]) * next, where there is an output.
KERNEL norms(float* x, const float* branch, const float* weight, const float* next, float* output, Packed packed, int columns, float epsilon)
{
    i64 row = blockIdx.x;
    x += row * columns;
    float square = 0.f;
    if (branch)
    {
        branch += row * columns;
        for (int i = threadIdx.x; i < columns; i += blockDim.x)
            square = fmaf(branch[i], branch[i], square);
        float factor = rsqrtf(blockSum(square) / columns + epsilon);
        square = 0.f;
        for (int i = threadIdx.x; i < columns; i += blockDim.x)
        {
            float sum = x[i] + branch[i] * factor * weight[i];
            x[i] = sum;
            square = fmaf(sum, sum, square);
        }
        if (!output)
            return;
        __syncthreads(); // the first sum is read
    }
    else
        for (int i = threadIdx.x; i < columns; i += blockDim.x)
            square = fmaf(x[i], x[i], square);
    float factor = rsqrtf(blockSum(square) / columns + epsilon);
    output += row * columns;
    for (int i = threadIdx.x; i < max((columns + 31) & ~31, max(packed.floatColumns, packed.byteColumns)); i += blockDim.x)
    {
        float value = 0.f;
        if (i < columns)
            output[i] = value = __fmul_rn(x[i] * factor, next[i]);
        pack(packed, row, i, value);
    }
}

// output[r, i] = gelu_tanh(gateUp[r, i]) * gateUp[r, columns + i]
KERNEL geglu(const float* gateUp, float* output, Packed packed, int columns)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= max((columns + 31) & ~31, max(packed.floatColumns, packed.byteColumns)))
        return; // whole warps
    gateUp += (i64)blockIdx.y * 2 * columns;
    float value = 0.f;
    if (i < columns)
    {
        float gate = gateUp[i];
        float inner = 0.7978845608028654f * (gate + 0.044715f * gate * gate * gate);
        output[(i64)blockIdx.y * columns + i] = value = __fmul_rn(0.5f * gate * (1.f + tanhOf(inner)), gateUp[columns + i]);
    }
    pack(packed, blockIdx.y, i, value);
}

// x = cap * tanh(x / cap)
KERNEL softcap(float* x, float cap, int columns)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < columns)
    {
        x += (i64)blockIdx.y * columns + i;
        *x = cap * tanhOf(*x / cap);
    }
}

// output[r] = x[rows[r]]
KERNEL select_rows(const float* x, const int* rows, float* output, int columns)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < columns)
        output[(i64)blockIdx.y * columns + i] = x[(i64)rows[blockIdx.y] * columns + i];
}

// inner[i, j] = a[j] . x[rows[i]]; one block a number.
KERNEL low_rank_down(const float* x, const int* rows, const float* a, float* inner, int columns)
{
    x += (i64)rows[blockIdx.y] * columns;
    a += (i64)blockIdx.x * columns;
    float sum = 0.f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        sum += x[i] * a[i];
    sum = blockSum(sum);
    if (threadIdx.x == 0)
        inner[blockIdx.y * gridDim.x + blockIdx.x] = sum;
}

// output[rows[i], firstRow + n] += sum over j of inner[i, firstRank + j] * b[j, n]
KERNEL low_rank_up(const float* inner, const int* rows, const float* b, float* output, int innerColumns, int firstRank, int rank, int outputs, int firstRow, int columns)
{
    int n = blockIdx.x * blockDim.x + threadIdx.x;
    if (n >= outputs)
        return;
    inner += blockIdx.y * innerColumns + firstRank;
    output += (i64)rows[blockIdx.y] * columns + firstRow + n;
    float sum = 0.f;
    for (int j = 0; j < rank; j++)
        sum += inner[j] * b[(i64)j * outputs + n];
    *output += sum;
}
