// CUDA C++ on a CPU, as far as the kernels of this crate use it: each kernel is compiled as ordinary C++, and a block's
// threads are coroutines that take turns at barriers. So a kernel's arithmetic, indices and barriers are tested where
// there is no GPU. What this cannot show: races between barriers, the memory of a real device, and speed.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__
#define __host__
#define __shared__ static
#define __grid_constant__

struct emulated_dim3 {
    unsigned int x, y, z;
};
extern emulated_dim3 threadIdx, blockIdx, blockDim, gridDim;

// Lets the other threads of the block come to this point.
void __syncthreads();

static inline unsigned int atomicAdd(unsigned int *at, unsigned int v)
{
    const unsigned int before = *at;
    *at = before + v;
    return before;
}

static inline unsigned int __float_as_uint(float v)
{
    unsigned int bits;
    std::memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline float __int_as_float(int bits)
{
    float v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}
