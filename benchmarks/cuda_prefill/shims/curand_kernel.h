// Names that the kernel mentions only where dropout is compiled in, which it is not here.
#pragma once
struct curandStatePhilox4_32_10_t {};
__device__ inline void curand_init(unsigned long long, unsigned long long, unsigned long long, curandStatePhilox4_32_10_t*) {}
__device__ inline void skipahead(unsigned long long, curandStatePhilox4_32_10_t*) {}
__device__ inline float4 curand_uniform4(curandStatePhilox4_32_10_t*) { return float4(); }
