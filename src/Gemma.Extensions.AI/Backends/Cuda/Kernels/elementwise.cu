// Norms and everything that works number by number. One block a row, or one thread a number.

// output[r] = x[r] / rms(x[r]) * weight
KERNEL rms_norm(const float* x, const float* weight, float* output, int columns, float epsilon)
{
    x += (i64)blockIdx.x * columns;
    output += (i64)blockIdx.x * columns;
    float square = 0.f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        square += x[i] * x[i];
    float factor = rsqrtf(blockSum(square) / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        output[i] = x[i] * factor * weight[i];
}

// residual[r] += branch[r] / rms(branch[r]) * weight
KERNEL add_rms_norm(float* residual, const float* branch, const float* weight, int columns, float epsilon)
{
    residual += (i64)blockIdx.x * columns;
    branch += (i64)blockIdx.x * columns;
    float square = 0.f;
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        square += branch[i] * branch[i];
    float factor = rsqrtf(blockSum(square) / columns + epsilon);
    for (int i = threadIdx.x; i < columns; i += blockDim.x)
        residual[i] += branch[i] * factor * weight[i];
}

// output[r, i] = gelu_tanh(gateUp[r, i]) * gateUp[r, columns + i]
KERNEL geglu(const float* gateUp, float* output, int columns)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= columns)
        return;
    gateUp += (i64)blockIdx.y * 2 * columns;
    float gate = gateUp[i];
    float inner = 0.7978845608028654f * (gate + 0.044715f * gate * gate * gate);
    output[(i64)blockIdx.y * columns + i] = 0.5f * gate * (1.f + tanhOf(inner)) * gateUp[columns + i];
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

// The activations of a product with floating-point weights: each number as the sum of two bfloat16 numbers. Columns behind the last are zero.
KERNEL split_activations(const float* x, u32* high, u32* low, int columns, int paddedColumns)
{
    int pair = blockIdx.x * blockDim.x + threadIdx.x, i = 2 * pair;
    if (i >= paddedColumns)
        return;
    x += (i64)blockIdx.y * columns;
    float first = i < columns ? x[i] : 0.f, second = i + 1 < columns ? x[i + 1] : 0.f;
    u32 rounded = bf16Pair(first, second);
    i64 at = ((i64)blockIdx.y * paddedColumns >> 1) + pair;
    high[at] = rounded;
    low[at] = bf16Pair(first - bf16Low(rounded), second - bf16High(rounded));
}

// The activations of a product with integer weights: signed bytes with one scale for 32 of them, and that scale times their sum. One warp a group.
// Within 128 columns a lane of a product finds its 32 bytes together: column 32 b + 16 h + 4 q + i is byte 32 q + 8 b + 4 h + i.
KERNEL quantize_activations(const float* x, s8* bytes, float2* scales, int columns, int paddedColumns)
{
    int k = blockIdx.x * blockDim.x + threadIdx.x;
    if (k >= paddedColumns)
        return; // whole warps: the padded width is a multiple of 128
    float value = k < columns ? x[(i64)blockIdx.y * columns + k] : 0.f;
    u32 largest = __float_as_uint(fabsf(value)); // compared as integers, so that NaN is the largest and not lost
    #pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
        largest = max(largest, __shfl_xor_sync(~0u, largest, distance));
    float scale = __uint_as_float(largest) / 127.f;
    int code = scale > 0.f ? __float2int_rn(value / scale) : 0, sum = code;
    #pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
        sum += __shfl_xor_sync(~0u, sum, distance);
    i64 row = (i64)blockIdx.y * paddedColumns;
    int group = k >> 5 & 3, half = k >> 4 & 1, lane = k >> 2 & 3;
    bytes[row + (k & ~127) + 32 * lane + 8 * group + 4 * half + (k & 3)] = (s8)code;
    if ((k & 31) == 0)
        scales[(row + k) >> 5] = make_float2(scale, scale * sum);
}
