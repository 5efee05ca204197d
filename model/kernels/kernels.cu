// The kernels of every step except convolutions, compiled once per data type of
// the feature maps. They compute in float. The source compiles as CUDA and, with
// the types in tests/cuda/host, as C++ for the CPU.
#include "values.cuh"

#define VALUE __half
#define NAMED(name) name##_f16
#include "elementwise.cuh"
#include "gates.cuh"
#include "input.cuh"
#include "norm.cuh"
#include "pool.cuh"
#undef VALUE
#undef NAMED

#define VALUE __nv_bfloat16
#define NAMED(name) name##_bf16
#include "elementwise.cuh"
#include "gates.cuh"
#include "input.cuh"
#include "norm.cuh"
#include "pool.cuh"
#undef VALUE
#undef NAMED

#define VALUE float
#define NAMED(name) name##_f32
#include "elementwise.cuh"
#include "gates.cuh"
#include "input.cuh"
#include "norm.cuh"
#include "pool.cuh"
#undef VALUE
#undef NAMED
