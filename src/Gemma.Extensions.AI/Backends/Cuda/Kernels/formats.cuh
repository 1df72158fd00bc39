// How a product's lane gets its part of a weight row. A product works on 16 rows; of a row the four lanes q = 0 ... 3 have a quarter each.
//
// Floating point: of 32 columns, lane q has columns 8 q ... 8 q + 7 as pairs of bfloat16; what does not fit one bfloat16 number is in a second one.
struct FloatPart
{
    u32 high[4], low[4];
};

struct BF16Weights
{
    enum { IsSplit = 0 };
    DEVICE static void load(const u8* weights, i64 at, FloatPart& part)
    {
        uint4 v = __ldcs((const uint4*)(weights + 2 * at));
        part.high[0] = v.x; part.high[1] = v.y; part.high[2] = v.z; part.high[3] = v.w;
    }
    DEVICE static float decode(const u8* weights, i64 at) { return __uint_as_float((u32)((const u16*)weights)[at] << 16); }
};

// The upper half of a float32 number is a bfloat16 number; the rest is rounded to one.
DEVICE void splitPair(float first, float second, u32& high, u32& low)
{
    u32 a = __float_as_uint(first) & 0xFFFF0000u, b = __float_as_uint(second) & 0xFFFF0000u;
    high = a >> 16 | b;
    low = bf16Pair(first - __uint_as_float(a), second - __uint_as_float(b));
}

// 11 significant bits are exactly the sum of two bfloat16 numbers.
struct F16Weights
{
    enum { IsSplit = 1 };
    DEVICE static void load(const u8* weights, i64 at, FloatPart& part)
    {
        uint4 v = __ldcs((const uint4*)(weights + 2 * at));
        u32 words[4] = { v.x, v.y, v.z, v.w };
        #pragma unroll
        for (int i = 0; i < 4; i++)
            splitPair(fromHalf((u16)words[i]), fromHalf((u16)(words[i] >> 16)), part.high[i], part.low[i]);
    }
    DEVICE static float decode(const u8* weights, i64 at) { return fromHalf(((const u16*)weights)[at]); }
};

// 16 of 24 significant bits.
struct F32Weights
{
    enum { IsSplit = 1 };
    DEVICE static void load(const u8* weights, i64 at, FloatPart& part)
    {
        float4 a = __ldcs((const float4*)(weights + 4 * at)), b = __ldcs((const float4*)(weights + 4 * at) + 1);
        splitPair(a.x, a.y, part.high[0], part.low[0]);
        splitPair(a.z, a.w, part.high[1], part.low[1]);
        splitPair(b.x, b.y, part.high[2], part.low[2]);
        splitPair(b.z, b.w, part.high[3], part.low[3]);
    }
    DEVICE static float decode(const u8* weights, i64 at) { return ((const float*)weights)[at]; }
};

// Integers: of 128 columns, lane q has of each group b = 0 ... 3 of 32 the columns 4 q + i (word 0) and 16 + 4 q + i (word 1), i = 0 ... 3.
// The planes of a matrix: the numbers' low bits, their high bits, scales, and a second kind of scales; WeightPacking.cs writes them.
struct Planes
{
    const u8 *low, *high, *scales, *outer;
};

struct IntegerPart
{
    u32 words[4][2];
    float scale[8];    // of each group, or of each half of a group
    float minimum[4];
};

// Bytes of 0 ... 127 less a small number, four at a time: with the top bit set no byte borrows from the next.
DEVICE u32 subtractEach(u32 bytes, u32 each) { return ((bytes | 0x80808080u) - each) ^ 0x80808080u; }

// Columns of a block of 128: which quarter, group, word and byte they are in.
struct Place
{
    int chunk, q, group, word, byte;
    DEVICE Place(int column) : chunk(column >> 7), q(column >> 2 & 3), group(column >> 5 & 3), word(column >> 4 & 1), byte(column & 3) { }
};

struct Q8_0Weights
{
    enum { HasMinimum = false, HasHalves = false };
    DEVICE static void load(const Planes& planes, int row, int chunk, int chunks, int q, IntegerPart& part)
    {
        i64 block = (i64)row * chunks + chunk;
        const uint4* low = (const uint4*)planes.low + (block * 4 + q) * 2;
        uint4 a = __ldcs(low), b = __ldcs(low + 1);
        uint2 scales = ((const uint2*)planes.scales)[block];
        part.words[0][0] = a.x; part.words[0][1] = a.y; part.words[1][0] = a.z; part.words[1][1] = a.w;
        part.words[2][0] = b.x; part.words[2][1] = b.y; part.words[3][0] = b.z; part.words[3][1] = b.w;
        part.scale[0] = fromHalf((u16)scales.x); part.scale[1] = fromHalf((u16)(scales.x >> 16));
        part.scale[2] = fromHalf((u16)scales.y); part.scale[3] = fromHalf((u16)(scales.y >> 16));
    }
    DEVICE static float decode(const Planes& planes, int row, int column, int chunks)
    {
        Place p(column);
        i64 block = (i64)row * chunks + p.chunk;
        int code = ((const s8*)planes.low)[block * 128 + 32 * p.q + 8 * p.group + 4 * p.word + p.byte];
        return fromHalf(((const u16*)planes.scales)[block * 4 + p.group]) * code;
    }
};

// Word b of a lane has its columns of group b: word 0 in the low nibbles, word 1 in the high ones.
DEVICE void loadNibbles(const Planes& planes, i64 block, int q, u32 words[4][2])
{
    uint4 v = __ldcs((const uint4*)planes.low + block * 4 + q);
    u32 packed[4] = { v.x, v.y, v.z, v.w };
    #pragma unroll
    for (int b = 0; b < 4; b++)
    {
        words[b][0] = packed[b] & 0x0F0F0F0Fu;
        words[b][1] = packed[b] >> 4 & 0x0F0F0F0Fu;
    }
}

DEVICE int nibble(const Planes& planes, i64 block, const Place& p)
{
    return planes.low[block * 64 + 16 * p.q + 4 * p.group + p.byte] >> (4 * p.word) & 15;
}

struct Q4_0Weights
{
    enum { HasMinimum = false, HasHalves = false };
    DEVICE static void load(const Planes& planes, int row, int chunk, int chunks, int q, IntegerPart& part)
    {
        i64 block = (i64)row * chunks + chunk;
        uint2 scales = ((const uint2*)planes.scales)[block];
        loadNibbles(planes, block, q, part.words);
        #pragma unroll
        for (int b = 0; b < 4; b++)
        {
            part.words[b][0] = subtractEach(part.words[b][0], 0x08080808u);
            part.words[b][1] = subtractEach(part.words[b][1], 0x08080808u);
        }
        part.scale[0] = fromHalf((u16)scales.x); part.scale[1] = fromHalf((u16)(scales.x >> 16));
        part.scale[2] = fromHalf((u16)scales.y); part.scale[3] = fromHalf((u16)(scales.y >> 16));
    }
    DEVICE static float decode(const Planes& planes, int row, int column, int chunks)
    {
        Place p(column);
        i64 block = (i64)row * chunks + p.chunk;
        return fromHalf(((const u16*)planes.scales)[block * 4 + p.group]) * (nibble(planes, block, p) - 8);
    }
};

// Scales and minima of Q4_K and Q5_K, 16 bytes for 256 columns as in the file: two float16 numbers and twelve bytes with sixteen six-bit numbers.
// Those of four groups, one in each byte.
DEVICE void sixBits(const uint4& header, int half, u32& scales, u32& minima)
{
    scales = half ? (header.w & 0x0F0F0F0Fu) | (header.y >> 2 & 0x30303030u) : header.y & 0x3F3F3F3Fu;
    minima = half ? (header.w >> 4 & 0x0F0F0F0Fu) | (header.z >> 2 & 0x30303030u) : header.z & 0x3F3F3F3Fu;
}

DEVICE void loadScalesAndMinima(const Planes& planes, int row, int chunk, int chunks, IntegerPart& part)
{
    uint4 header = ((const uint4*)planes.scales)[(i64)row * (chunks >> 1) + (chunk >> 1)];
    u32 scales, minima;
    sixBits(header, chunk & 1, scales, minima);
    float d = fromHalf((u16)header.x), dmin = fromHalf((u16)(header.x >> 16));
    #pragma unroll
    for (int b = 0; b < 4; b++)
    {
        part.scale[b] = d * (float)(scales >> (8 * b) & 255);
        part.minimum[b] = dmin * (float)(minima >> (8 * b) & 255);
    }
}

DEVICE float decodeWithMinimum(const Planes& planes, int row, const Place& p, int chunks, int code)
{
    uint4 header = ((const uint4*)planes.scales)[(i64)row * (chunks >> 1) + (p.chunk >> 1)];
    u32 scales, minima;
    sixBits(header, p.chunk & 1, scales, minima);
    float scale = fromHalf((u16)header.x) * (float)(scales >> (8 * p.group) & 255);
    float minimum = fromHalf((u16)(header.x >> 16)) * (float)(minima >> (8 * p.group) & 255);
    return __fsub_rn(__fmul_rn(scale, (float)code), minimum);
}

struct Q4_KWeights
{
    enum { HasMinimum = true, HasHalves = false };
    DEVICE static void load(const Planes& planes, int row, int chunk, int chunks, int q, IntegerPart& part)
    {
        loadNibbles(planes, (i64)row * chunks + chunk, q, part.words);
        loadScalesAndMinima(planes, row, chunk, chunks, part);
    }
    DEVICE static float decode(const Planes& planes, int row, int column, int chunks)
    {
        Place p(column);
        return decodeWithMinimum(planes, row, p, chunks, nibble(planes, (i64)row * chunks + p.chunk, p));
    }
};

// The fifth bits of a lane's 32 columns are a word: byte i has bit b for word 1 of group b and bit 4 + b for word 0.
struct Q5_KWeights
{
    enum { HasMinimum = true, HasHalves = false };
    DEVICE static void load(const Planes& planes, int row, int chunk, int chunks, int q, IntegerPart& part)
    {
        i64 block = (i64)row * chunks + chunk;
        u32 fifth = __ldcs((const u32*)planes.high + block * 4 + q);
        loadNibbles(planes, block, q, part.words);
        #pragma unroll
        for (int b = 0; b < 4; b++)
        {
            part.words[b][0] |= fifth >> b & 0x10101010u;
            part.words[b][1] |= fifth << (4 - b) & 0x10101010u;
        }
        loadScalesAndMinima(planes, row, chunk, chunks, part);
    }
    DEVICE static float decode(const Planes& planes, int row, int column, int chunks)
    {
        Place p(column);
        i64 block = (i64)row * chunks + p.chunk;
        int fifth = planes.high[block * 16 + 4 * p.q + p.byte] >> (p.word ? p.group : 4 + p.group) & 1;
        return decodeWithMinimum(planes, row, p, chunks, nibble(planes, block, p) | fifth << 4);
    }
};

// The upper two bits of a lane's 32 columns are two words, for two groups each: byte i has bits 0 and 1 for word 1 of the first group, 2 and 3 for
// word 1 of the second, 4 and 5 for word 0 of the first, 6 and 7 for word 0 of the second.
struct Q6_KWeights
{
    enum { HasMinimum = false, HasHalves = true };
    DEVICE static void load(const Planes& planes, int row, int chunk, int chunks, int q, IntegerPart& part)
    {
        i64 block = (i64)row * chunks + chunk;
        uint2 high = __ldcs((const uint2*)planes.high + block * 4 + q), scales = ((const uint2*)planes.scales)[block];
        float d = fromHalf(((const u16*)planes.outer)[(i64)row * (chunks >> 1) + (chunk >> 1)]);
        loadNibbles(planes, block, q, part.words);
        #pragma unroll
        for (int b = 0; b < 4; b++)
        {
            u32 bits = b < 2 ? high.x : high.y;
            part.words[b][0] = subtractEach(part.words[b][0] | (bits >> (2 * (b & 1)) & 0x30303030u), 0x20202020u);
            part.words[b][1] = subtractEach(part.words[b][1] | (bits << (b & 1 ? 2 : 4) & 0x30303030u), 0x20202020u);
        }
        #pragma unroll
        for (int i = 0; i < 8; i++)
            part.scale[i] = d * (float)(s8)((i < 4 ? scales.x : scales.y) >> (8 * (i & 3)));
    }
    DEVICE static float decode(const Planes& planes, int row, int column, int chunks)
    {
        Place p(column);
        i64 block = (i64)row * chunks + p.chunk;
        int upper = planes.high[block * 32 + 8 * p.q + 4 * (p.group >> 1) + p.byte] >> (4 * (1 - p.word) + 2 * (p.group & 1)) & 3;
        float scale = fromHalf(((const u16*)planes.outer)[(i64)row * (chunks >> 1) + (p.chunk >> 1)]) * ((const s8*)planes.scales)[block * 8 + 2 * p.group + p.word];
        return scale * ((nibble(planes, block, p) | upper << 4) - 32);
    }
};
