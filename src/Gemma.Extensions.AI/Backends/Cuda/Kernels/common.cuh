// What all kernels share. There are no headers: the runtime compiler is given this text alone.
typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef long long i64;

#define KERNEL extern "C" __global__ void
#define DEVICE __device__ __forceinline__

// The two bfloat16 numbers of a word.
DEVICE float bf16Low(u32 pair) { return __uint_as_float(pair << 16); }
DEVICE float bf16High(u32 pair) { return __uint_as_float(pair & 0xFFFF0000u); }

// Two numbers rounded to bfloat16, the first in the low half.
DEVICE u32 bf16Pair(float low, float high)
{
    u32 pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
}

DEVICE float fromHalf(u16 bits)
{
    float value;
    asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
    return value;
}

DEVICE u16 toHalf(float value)
{
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
    return bits;
}

DEVICE float warpSum(float value)
{
    #pragma unroll
    for (int distance = 16; distance > 0; distance >>= 1)
        value += __shfl_xor_sync(~0u, value, distance);
    return value;
}

// Sum over the block, in an order that depends on its size alone. Every thread gets it.
DEVICE float blockSum(float value)
{
    __shared__ float sums[32];
    value = warpSum(value);
    if ((threadIdx.x & 31) == 0)
        sums[threadIdx.x >> 5] = value;
    __syncthreads();
    value = (threadIdx.x & 31) < (blockDim.x >> 5) ? sums[threadIdx.x & 31] : 0.f;
    return warpSum(value);
}

// Accurate to about one unit in the last place of 1; exact at the ends.
DEVICE float tanhOf(float x)
{
    float e = __expf(-2.f * fabsf(x));
    return copysignf(__fdividef(1.f - e, 1.f + e), x);
}
